//! What an operator wants done, and what keys the caller presses do.

use voicebridge_audio::dtmf::Pressed;

use super::{Conversation, Parts, taken_commands::Taken};
use crate::{
    event::EventKind,
    ports::{Command, CommandIdReused},
    provider::ProviderCommand,
};

impl Conversation {
    /// Carries a command out, or tells why not; once for each id.
    pub(crate) fn on_command(
        &mut self,
        id: &str,
        command: &Command,
        on: &mut Parts<'_>,
    ) -> Result<(), CommandIdReused> {
        if self.commands.take(id, command)? == Taken::Now {
            self.carry_out(id, command, on);
        }
        Ok(())
    }

    fn carry_out(&mut self, id: &str, command: &Command, on: &mut Parts<'_>) {
        let done = match command {
            Command::Interrupt => {
                self.interrupt(on);
                Ok(())
            }
            Command::SendDtmf(digits) => {
                on.leg.send_keys(digits).map_err(|why| format!("the keys were not sent: {why}"))
            }
            Command::Say(text) => self.may_speak(on).map(|()| on.command(ProviderCommand::Say(text))),
            Command::InjectText(text) => self.may_speak(on).map(|()| self.ask(ProviderCommand::InjectText(text), on)),
        };
        if let Err(message) = done {
            on.refused(id, message);
        }
    }

    fn may_speak(&self, on: &Parts<'_>) -> Result<(), String> {
        let refused = |why| Err(format!("the command was not carried out: {why}"));
        if !on.connections.is_ready() {
            return refused("the AI is not ready");
        }
        if self.is_open() { Ok(()) } else { refused("the call is ending") }
    }

    /// Keys the caller pressed: each is reported, interrupts what is being said, and is told to the AI with its group.
    pub(super) fn take_keys(&mut self, on: &mut Parts<'_>) {
        for Pressed { digit, duration_ms, .. } in on.leg.take_keys(on.now()) {
            let digit = digit.as_char();
            on.emit(EventKind::DtmfReceived { digit, duration_ms });
            if self.agent.dtmf.interrupts && self.is_open() {
                self.interrupt(on);
            }
            self.keypad.add(on.now(), digit);
            self.report_keys(on);
        }
        self.report_keys(on);
    }

    fn report_keys(&mut self, on: &mut Parts<'_>) {
        // While the AI is not there, or the call is ending, keys are reported and not acted on.
        if let Some(keys) = self.keypad.take(on.now())
            && self.is_open()
        {
            self.ask(ProviderCommand::InjectText(&format!("[caller pressed {keys}]")), on);
        }
    }
}
