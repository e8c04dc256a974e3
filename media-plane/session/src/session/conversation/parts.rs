//! The other parts of a session, handed to the conversation, which alone acts on them: the leg it is heard on, the
//! connections it speaks through, who hears whom; and the `Context` that every part acts in.

use voicebridge_audio::Time;

use super::super::{
    connections::Connections,
    context::Context,
    leg::Leg,
    routing::{CALLER, Party, Routing},
};
use crate::{event::EventKind, ports::Watch, provider::ProviderCommand};

/// See the module.
pub(crate) struct Parts<'a> {
    pub(crate) leg: &'a mut Leg,
    pub(crate) connections: &'a mut Connections,
    pub(crate) routing: &'a mut Routing,
    pub(crate) context: Context<'a>,
}

impl Parts<'_> {
    pub(crate) const fn now(&self) -> Time {
        self.context.now()
    }

    pub(crate) fn emit(&mut self, kind: EventKind) {
        self.context.emit(kind);
    }

    pub(crate) fn incident(&mut self, reason: &'static str, message: String, upstream_code: String) {
        self.context.incident(reason, message, upstream_code);
    }

    /// Reports that a command was not carried out.
    pub(crate) fn refused(&mut self, command_id: &str, message: String) {
        self.context.refused(command_id, message);
    }

    /// Has the AI do this.
    pub(crate) fn command(&mut self, command: ProviderCommand<'_>) {
        self.connections.command(self.context.now(), command, self.context.ports());
    }

    /// Queues audio of an item of the AI's, as the caller is to hear it. False when there is no room.
    pub(crate) fn play(&mut self, item: &str, pcm: &[i16]) -> bool {
        let heard = self.routing.heard(Party::Ai, Party::Leg(CALLER), pcm);
        self.leg.play(self.context.now(), item, heard)
    }

    pub(crate) fn watch(&mut self, watch: Watch) {
        self.connections.watch(watch, self.context.ports());
    }

    /// Lets go of the AI.
    pub(crate) fn close_connections(&mut self) {
        self.connections.close(self.context.ports());
    }
}
