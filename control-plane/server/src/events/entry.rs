//! One event as subscribers share it, with what they choose by.

use voicebridge_core::identity::{CallId, PhoneNumber};
use voicebridge_proto::types::v1::{Event, EventKind};

use crate::{
    convert,
    store::{CallRow, HistoryRow},
};

/// What an entry takes besides its text, about.
const OVERHEAD_BYTES: usize = 512;

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
}

impl Entry {
    pub(crate) fn stored(row: HistoryRow) -> Self {
        let event = convert::event_from_row(&row.event).ok();
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
            bytes: OVERHEAD_BYTES + row.event.payload.len(),
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
        }
    }
}

fn kind_of(event: Option<&Event>) -> EventKind {
    event.and_then(|event| event.kind.as_ref()).map_or(EventKind::Unspecified, |kind| convert::event_kind(kind).1)
}
