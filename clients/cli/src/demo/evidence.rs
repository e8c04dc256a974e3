//! What is known of one call of the demo once it is over, from all sides.

use voicebridge_proto::{
    control::v1::Call,
    types::v1::{BargedIn, Event, Transcript, event::Kind},
};
use voicebridge_simulator::{ai::SessionRecord, meta::CallRecord};

use super::cast::Caller;
use crate::timeline::GraphTimes;

/// One call, seen by the caller, by the AI and by the control plane.
#[derive(Debug)]
pub(crate) struct Evidence {
    pub(crate) caller: Caller,
    /// What Meta and the caller saw.
    pub(crate) record: CallRecord,
    /// What the AI saw; none if it never got a session for this call.
    pub(crate) session: Option<SessionRecord>,
    /// What the control plane says of it.
    pub(crate) call: Call,
    pub(crate) transcripts: Vec<Transcript>,
    pub(crate) events: Vec<Event>,
}

impl Evidence {
    /// The provider's id of the session that belongs to this call.
    pub(crate) fn provider_session(events: &[Event]) -> Option<&str> {
        events.iter().find_map(|event| match event.kind.as_ref()? {
            Kind::ProviderReady(ready) => Some(ready.provider_session_id.as_str()),
            _ => None,
        })
    }

    pub(crate) fn graph_times(&self) -> GraphTimes {
        let mut times = GraphTimes::default();
        for event in &self.events {
            if let Some(Kind::GraphAnswered(answered)) = &event.kind {
                times.note(answered);
            }
        }
        times
    }

    /// Interruptions, in order.
    pub(crate) fn barge_ins(&self) -> impl Iterator<Item = &BargedIn> {
        self.events.iter().filter_map(|event| match event.kind.as_ref()? {
            Kind::BargedIn(cut) => Some(cut),
            _ => None,
        })
    }
}
