//! What every part of a session needs to act: the time it is, the ports, and the log of events. A conversation is handed
//! the other parts beside it, as `Parts`.

use voicebridge_audio::Time;

use super::log::Log;
use crate::{event::EventKind, ports::Ports, reason};

/// See the module.
pub(crate) struct Context<'a> {
    now: Time,
    ports: &'a mut dyn Ports,
    log: &'a mut Log,
}

impl<'a> Context<'a> {
    pub(crate) fn new(now: Time, ports: &'a mut dyn Ports, log: &'a mut Log) -> Self {
        Self { now, ports, log }
    }

    pub(crate) const fn now(&self) -> Time {
        self.now
    }

    pub(crate) fn ports(&mut self) -> &mut dyn Ports {
        self.ports
    }

    /// Reports what happened.
    pub(crate) fn emit(&mut self, kind: EventKind) {
        self.log.emit(self.now, kind, self.ports);
    }

    /// Reports what went wrong without ending the call.
    pub(crate) fn incident(&mut self, reason: &'static str, message: String, upstream_code: String) {
        self.emit(EventKind::Incident { reason, message, upstream_code, command_id: String::new() });
    }

    /// Reports that a command was not carried out.
    pub(crate) fn refused(&mut self, command_id: &str, message: String) {
        let (reason, command_id) = (reason::COMMAND_REFUSED, command_id.to_owned());
        self.emit(EventKind::Incident { reason, message, upstream_code: String::new(), command_id });
    }
}
