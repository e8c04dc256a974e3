//! What a request for events asks for, and how it is answered over gRPC. The events themselves: see [`crate::events`].

use std::pin::Pin;

use futures_util::{Stream, stream};
use tonic::{Code, Status};
use voicebridge_core::identity::{CallId, PhoneNumber};
use voicebridge_proto::{
    control::v1::{Lagged, StreamEventsRequest, StreamEventsResponse, StreamStart},
    types::v1::EventKind,
};

use super::{Api, Fault, arguments::MAX_NUMBER_ID_BYTES, shares::Share};
use crate::{
    access::Principal,
    calls::CallError,
    events::{Begin, Cursors, Delivery, End, Entry, Filter, Kinds, MAX_CURSOR_BYTES, Subscriber},
    store::StoreError,
};

/// Values one filter may name; by contract.
const MAX_FILTER: usize = 64;

pub(super) type Responses = Pin<Box<dyn Stream<Item = Result<StreamEventsResponse, Status>> + Send>>;

/// A subscriber and how its cursors are written.
pub(super) struct EventStream {
    subscriber: Subscriber,
    cursors: Cursors,
    _share: Share,
}

/// One delivery on its way out.
pub(super) struct StreamItem {
    pub(super) delivery: Delivery,
    pub(super) cursor: String,
}

impl Api {
    /// Subscribes as asked.
    pub(super) async fn follow(
        &self,
        principal: &Principal,
        request: StreamEventsRequest,
    ) -> Result<EventStream, Fault> {
        let start = request.start();
        let call_id = self.readable_or_all(principal, &request.call_id).await?;
        let (filter, cursor) = parse(call_id.clone(), request)?;
        let begin = match (cursor.as_str(), start, &call_id) {
            ("", StreamStart::Oldest, _) | ("", StreamStart::Unspecified, Some(_)) => Begin::Oldest,
            ("", StreamStart::Now, _) | ("", StreamStart::Unspecified, None) => Begin::Now,
            (cursor, ..) => Begin::After(self.position(call_id.as_ref(), cursor).await?),
        };
        let share = self.streams.take(&principal.name).ok_or_else(|| {
            let limit = self.limits.subscribers_per_key;
            let message = format!("This key has {limit} event streams already, which is the limit; close some.");
            Fault::new(Code::ResourceExhausted, "TOO_MANY_SUBSCRIBERS", message)
        })?;
        let subscribed = Subscriber::new(self.events.clone(), filter, begin);
        let mut subscriber = subscribed.map_err(|_| {
            let limit = self.limits.subscribers;
            let message = format!("There are {limit} event streams already, which is the limit; close some.");
            Fault::new(Code::ResourceExhausted, "TOO_MANY_SUBSCRIBERS", message)
        })?;
        if let Some(call_id) = call_id {
            // After subscribing: a call that ends from now on ends the stream by its last event.
            let row = self.store.call(&call_id).await?.ok_or(CallError::NotFound)?;
            if row.ended_at_ms.is_some() {
                // Its last event is stored, whether anybody has been told of it yet or not.
                self.events.hub.stored(self.store.last_position().await?);
                subscriber.set_closed();
            }
        }
        Ok(EventStream { subscriber, cursors: self.cursors.clone(), _share: share })
    }

    async fn position(&self, call_id: Option<&CallId>, cursor: &str) -> Result<u64, Fault> {
        let refused = |message| Err(cursor_invalid(message));
        let cursors = &self.cursors;
        let position = match (cursors.read(call_id.map(CallId::as_str), cursor), call_id) {
            // Written when calls were keyed by Meta's id.
            (None, Some(call_id)) => {
                let row = self.store.call(call_id).await?;
                row.and_then(|row| cursors.read(Some(row.wacid.as_str()), cursor))
            }
            (position, _) => position,
        };
        match position {
            None => refused(
                "The cursor is none of this database's, or of a stream over another call, or over all calls instead of \
                 one; begin without a cursor.",
            ),
            Some(position) if position > self.events.hub.last() => refused(
                "The cursor is ahead of what is stored: the database is older than the stream it came from; begin \
                 without a cursor.",
            ),
            Some(position) => Ok(position),
        }
    }
}

fn cursor_invalid(message: &str) -> Fault {
    Fault::new(Code::InvalidArgument, "CURSOR_INVALID", message).violating("cursor", message)
}

fn parse(call_id: Option<CallId>, request: StreamEventsRequest) -> Result<(Filter, String), Fault> {
    let few = |field: &str, count: usize| match count {
        0..=MAX_FILTER => Ok(()),
        _ => Err(Fault::invalid(field, "must be at most 64")),
    };
    if request.cursor.len() > MAX_CURSOR_BYTES {
        return Err(cursor_invalid("A cursor has at most 256 bytes."));
    }
    if StreamStart::try_from(request.start).is_err() {
        return Err(Fault::invalid("start", "must be OLDEST, NOW or unset"));
    }
    few("kinds", request.kinds.len())?;
    let mut kinds = Kinds::default();
    for number in request.kinds {
        match EventKind::try_from(number) {
            Ok(EventKind::Unspecified) | Err(_) => return Err(Fault::invalid("kinds", "must be kinds of events")),
            Ok(kind) => kinds.add(kind),
        }
    }
    few("phone_number_ids", request.phone_number_ids.len())?;
    if request.phone_number_ids.iter().any(|id| id.is_empty() || id.len() > MAX_NUMBER_ID_BYTES) {
        return Err(Fault::invalid("phone_number_ids", "must be 1 to 64 bytes each"));
    }
    few("caller_phone_numbers", request.caller_phone_numbers.len())?;
    let callers = request.caller_phone_numbers.iter().map(|number| PhoneNumber::parse(number));
    let callers = callers.collect::<Option<Vec<_>>>();
    let callers = callers.ok_or_else(|| Fault::invalid("caller_phone_numbers", "must be international digits"))?;
    let filter = Filter { call_id, kinds, phone_number_ids: request.phone_number_ids, callers };
    Ok((filter, request.cursor))
}

impl EventStream {
    /// The call it is about had ended when it began: it ends by itself without anything happening.
    pub(super) fn is_closed(&self) -> bool {
        self.subscriber.is_closed()
    }

    pub(super) fn keepalive(&self) -> std::time::Duration {
        self.subscriber.keepalive()
    }

    /// `None`: all was delivered. After an error there is nothing more.
    pub(super) async fn next(&mut self) -> Option<Result<StreamItem, Fault>> {
        let delivery = match self.subscriber.next().await? {
            Ok(delivery) => delivery,
            Err(End::Draining) => return Some(Err(CallError::Draining.into())),
            Err(End::Store(error)) => return Some(Err(error.into())),
        };
        if delivery.entry.as_ref().is_some_and(|entry| entry.event.is_none()) {
            return Some(Err(StoreError::Corrupt("events.payload").into()));
        }
        let call_id = self.subscriber.filter().call_id.as_ref();
        let cursor = self.cursors.write(call_id.map(CallId::as_str), delivery.position);
        Some(Ok(StreamItem { delivery, cursor }))
    }
}

/// Answered one by one as the connection takes them.
pub(super) fn responses(following: EventStream) -> Responses {
    let keepalive_ms = u32::try_from(following.keepalive().as_millis()).unwrap_or(u32::MAX);
    Box::pin(stream::unfold(Some(following), move |following| async move {
        let mut following = following?;
        match following.next().await? {
            Ok(StreamItem { delivery, cursor }) => {
                let response = StreamEventsResponse {
                    event: delivery.entry.as_deref().and_then(|entry: &Entry| entry.event.clone()),
                    cursor,
                    lagged: delivery.lagged.map(|transient_missed| Lagged { transient_missed }),
                    keepalive_interval_ms: if delivery.is_first { keepalive_ms } else { 0 },
                };
                Some((Ok(response), Some(following)))
            }
            Err(fault) => Some((Err(fault.status()), None)),
        }
    }))
}
