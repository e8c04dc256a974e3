//! One event as subscribers share it, with what they choose by.

use std::sync::OnceLock;

use voicebridge_core::identity::{CallId, PhoneNumber};
use voicebridge_proto::types::v1::{Event, EventKind};

use crate::{
    convert, json,
    store::{CallRow, HistoryRow},
};

/// What an entry takes besides its text, about.
const OVERHEAD_BYTES: usize = 512;
/// And its text: once decoded, and once more as JSON.
const EXPANSION: usize = 2;

#[derive(Debug)]
pub(crate) struct Entry {
    /// Of a durable event its own; of a transient one that of the durable event of its call before it.
    pub(crate) position: u64,
    pub(crate) call_id: CallId,
    pub(crate) phone_number_id: String,
    /// Digits; may be empty.
    pub(crate) caller_phone: String,
    /// Unspecified for a kind of a later version.
    pub(crate) kind: EventKind,
    /// The last event of its call.
    pub(crate) is_last: bool,
    /// `None`: the stored bytes are no event.
    pub(crate) event: Option<Event>,
    /// Size in memory, about.
    pub(crate) bytes: usize,
    /// Written when somebody wants it, once for all.
    json: OnceLock<String>,
}

impl Entry {
    pub(crate) fn stored(row: HistoryRow) -> Self {
        let event = convert::event_from_row(&row.call_id, &row.event).ok();
        if event.is_none() {
            tracing::error!(call_id = %row.call_id, position = row.position, "a stored event is unreadable");
        }
        Self {
            position: row.position,
            call_id: row.call_id,
            phone_number_id: row.phone_number_id,
            caller_phone: row.caller_phone,
            kind: kind_of(event.as_ref()),
            is_last: row.event.is_last,
            event,
            bytes: OVERHEAD_BYTES + EXPANSION * row.event.payload.len(),
            json: OnceLock::new(),
        }
    }

    /// `after`: position of the durable event of this call before it.
    pub(crate) fn transient(call: &CallRow, event: Event, after: u64) -> Self {
        Self {
            position: after,
            call_id: call.call_id.clone(),
            phone_number_id: call.phone_number_id.clone(),
            caller_phone: call.caller.phone_number.as_ref().map_or("", PhoneNumber::digits).to_owned(),
            kind: kind_of(Some(&event)),
            is_last: false,
            event: Some(event),
            bytes: OVERHEAD_BYTES,
            json: OnceLock::new(),
        }
    }

    /// The contract's name, e.g. `call_ended`; of a kind of a later version `event`.
    pub(crate) fn kind_name(&self) -> &'static str {
        let kind = self.event.as_ref().and_then(|event| event.kind.as_ref());
        kind.map_or("event", |kind| convert::event_kind(kind).0)
    }

    /// The event in protobuf's mapping.
    pub(crate) fn json(&self) -> &str {
        self.json.get_or_init(|| self.event.as_ref().map(json::line).unwrap_or_default())
    }

    #[cfg(test)]
    pub(super) fn example(position: u64, bytes: usize) -> Self {
        Self {
            position,
            call_id: crate::ids::example("a"),
            phone_number_id: "106".to_owned(),
            caller_phone: "5511900000001".to_owned(),
            kind: EventKind::Transcript,
            is_last: false,
            event: Some(Event::default()),
            bytes,
            json: OnceLock::new(),
        }
    }
}

fn kind_of(event: Option<&Event>) -> EventKind {
    event.and_then(|event| event.kind.as_ref()).map_or(EventKind::Unspecified, |kind| convert::event_kind(kind).1)
}
