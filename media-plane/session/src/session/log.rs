//! The event log of a session: numbers what it reports, and bounds what the far side can make it report.

use voicebridge_audio::Time;

use crate::{
    event::{Event, EventKind},
    ports::Ports,
};

/// See the module.
#[derive(Debug)]
pub(crate) struct Log {
    sequence: u64,
    incidents_left: u32,
}

impl Log {
    pub(crate) const fn new(incidents: u32) -> Self {
        Self { sequence: 0, incidents_left: incidents }
    }

    pub(crate) fn emit(&mut self, now: Time, kind: EventKind, ports: &mut dyn Ports) {
        if matches!(kind, EventKind::Incident { .. }) {
            if self.incidents_left == 0 {
                return;
            }
            self.incidents_left -= 1;
        }
        let sequence = if kind.is_transient() {
            0
        } else {
            self.sequence += 1;
            self.sequence
        };
        ports.emit(Event { sequence, at: now, kind });
    }
}
