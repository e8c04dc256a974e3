//! Keys the caller presses: each is reported once, and the AI is told of them in groups, as a text of the caller's.
//!
//! A group is over with `#`, as people end numbers, when no key followed for [`Limits::keypad_ms`], or when it is full.
//!
//! Does not act on keys itself: what `1` means is for the agent's instructions.
//!
//! [`Limits::keypad_ms`]: crate::Limits::keypad_ms

use std::time::Duration;

use voicebridge_audio::{
    Time,
    dtmf::{Pressed, Receiver},
};

use super::super::Session;
use crate::{event::EventKind, ports::Ports, provider::ProviderCommand, reason};

/// Keys of a group; longer than any number people type.
const MAX_GROUP: usize = 64;

/// See the module.
#[derive(Debug)]
pub(in crate::session) struct Keypad {
    receiver: Receiver,
    /// Pressed, not reported yet: two at most, which one packet can complete.
    pressed: Vec<Pressed>,
    /// Reported, and not told to the AI yet.
    group: String,
    last: Time,
    patience: Duration,
}

impl Keypad {
    pub(in crate::session) fn new(rtp_clock_hz: u32, patience_ms: u64) -> Self {
        Self {
            receiver: Receiver::new(rtp_clock_hz),
            pressed: Vec::new(),
            group: String::new(),
            last: Time::ZERO,
            patience: Duration::from_millis(patience_ms),
        }
    }

    /// Takes a telephone-event packet.
    pub(in crate::session) fn receive(&mut self, now: Time, timestamp: u32, payload: &[u8]) {
        let pressed = &mut self.pressed;
        // What is no report on a key is counted by the receiver.
        let _counted = self.receiver.receive(now, timestamp, payload, &mut |key| pressed.push(key));
    }

    /// Payloads that were no report on a key.
    pub(in crate::session) const fn bad_packets(&self) -> u64 {
        self.receiver.statistics().bad
    }

    pub(in crate::session) fn deadline(&self) -> Option<Time> {
        let group = (!self.group.is_empty()).then(|| self.last + self.patience);
        [self.receiver.deadline(), group].into_iter().flatten().min()
    }

    fn take_pressed(&mut self, now: Time) -> Vec<Pressed> {
        let pressed = &mut self.pressed;
        self.receiver.poll(now, &mut |key| pressed.push(key));
        std::mem::take(pressed)
    }

    fn add(&mut self, now: Time, key: char) {
        self.group.push(key);
        self.last = now;
    }

    /// The group, if it is over.
    fn take_group(&mut self, now: Time) -> Option<String> {
        let full = self.group.ends_with('#') || self.group.len() >= MAX_GROUP;
        let over = !self.group.is_empty() && (full || self.last + self.patience <= now);
        over.then(|| std::mem::take(&mut self.group))
    }
}

impl Session {
    pub(in crate::session) fn run_keypad(&mut self, now: Time, ports: &mut dyn Ports) {
        for Pressed { digit, duration_ms, .. } in self.keypad.take_pressed(now) {
            let digit = digit.as_char();
            self.emit(now, EventKind::DtmfReceived { digit, duration_ms }, ports);
            if self.agent.dtmf.interrupts && self.is_open() {
                self.barge_in(now, ports);
            }
            self.keypad.add(now, digit);
            self.tell_keys(now, ports);
        }
        self.tell_keys(now, ports);
    }

    fn tell_keys(&mut self, now: Time, ports: &mut dyn Ports) {
        // While the AI is not there, or the call is ending, keys are reported and not acted on.
        if let Some(keys) = self.keypad.take_group(now)
            && self.is_open()
        {
            self.ask(now, ProviderCommand::InjectText(&format!("[caller pressed {keys}]")), ports);
        }
    }

    /// Sends keys to the caller.
    pub(in crate::session) fn send_dtmf(&mut self, now: Time, digits: &str, ports: &mut dyn Ports) {
        let taken = match self.stages.active_since() {
            Some(_) => self.downlink.send_dtmf(digits),
            None => Err("audio does not flow yet".to_owned()),
        };
        let Err(refused) = taken else { return };
        let message = format!("the keys were not sent: {refused}");
        self.incident(now, reason::COMMAND_REFUSED, message, String::new(), ports);
    }
}
