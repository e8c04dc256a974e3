//! WaitForSession: answers when a call has got so far.
//!
//! Flow: subscribed to the call's events from now on, what is stored already is read, then live events are waited for, in one
//! place of an event stream. So nothing is missed in between, and a restart of this process changes nothing. Keeps nothing
//! of a call when the answer is given.

use std::{collections::BTreeMap, time::Duration};

use voicebridge_core::identity::CallId;
use voicebridge_proto::{
    control::v1::{Progress, Reached, StreamEventsRequest, StreamStart, WaitForSessionRequest, WaitForSessionResponse},
    types::v1::{Event, EventKind, Stage, Termination, event::Kind},
};

use super::{Api, Fault, stream::EventStream};
use crate::{access::Principal, calls::CallError, convert, store::StoreError};

/// Longest wait; by contract.
const MAX_WAIT_MS: u32 = 30_000;
/// Kinds of events that tell how far a call has got, by their names in the store.
const TELLING: [(EventKind, &str); 5] = [
    (EventKind::StageReached, "stage_reached"),
    (EventKind::TransportConnected, "transport_connected"),
    (EventKind::ProviderReady, "provider_ready"),
    (EventKind::SessionEnded, "session_ended"),
    (EventKind::CallEnded, "call_ended"),
];

/// How far a call has got.
#[derive(Debug, Default)]
struct Standing {
    reached: BTreeMap<Progress, u64>,
    termination: Option<Termination>,
}

impl Standing {
    fn take(&mut self, event: &Event) {
        let progress = match &event.kind {
            Some(Kind::TransportConnected(_)) => Progress::TransportConnected,
            Some(Kind::ProviderReady(_)) => Progress::AiReady,
            Some(Kind::StageReached(reached)) if reached.stage() == Stage::MediaBridgeActive => Progress::MediaActive,
            Some(Kind::SessionEnded(ended)) => return self.over(ended.termination.as_ref()),
            Some(Kind::CallEnded(ended)) => {
                self.over(ended.termination.as_ref());
                Progress::Ended
            }
            _ => return,
        };
        self.reached.entry(progress).or_insert(event.elapsed_ms);
    }

    /// The first termination stands.
    fn over(&mut self, termination: Option<&Termination>) {
        if self.termination.is_none() {
            self.termination = termination.cloned();
        }
    }

    /// Nothing that is wanted can still come.
    fn is_enough(&self, wanted: &[Progress]) -> bool {
        self.reached.contains_key(&Progress::Ended)
            || wanted.iter().all(|wanted| self.reached.contains_key(wanted))
            || (self.termination.is_some() && !wanted.contains(&Progress::Ended))
    }

    fn response(self, call_id: &CallId) -> WaitForSessionResponse {
        let reached = self.reached.into_iter();
        let reached = reached.map(|(progress, elapsed_ms)| Reached { progress: progress.into(), elapsed_ms });
        WaitForSessionResponse {
            call_id: call_id.as_str().to_owned(),
            reached: reached.collect(),
            termination: self.termination,
        }
    }
}

/// What is asked for, checked.
fn wanted(request: &WaitForSessionRequest) -> Result<Vec<Progress>, Fault> {
    if request.until.is_empty() {
        return Err(Fault::invalid("until", "must be given"));
    }
    if request.timeout_ms > MAX_WAIT_MS {
        return Err(Fault::invalid("timeout_ms", "must be at most 30000"));
    }
    let known = |number: &i32| Progress::try_from(*number).ok().filter(|known| *known != Progress::Unspecified);
    let known = request.until.iter().map(known).collect::<Option<Vec<_>>>();
    known.ok_or_else(|| Fault::invalid("until", "must be TRANSPORT_CONNECTED, AI_READY, MEDIA_ACTIVE or ENDED"))
}

impl Api {
    pub(super) async fn wait(
        &self,
        principal: &Principal,
        request: WaitForSessionRequest,
    ) -> Result<WaitForSessionResponse, Fault> {
        let call_id = self.readable(principal, &request.call_id).await?;
        let wanted = wanted(&request)?;
        let live = StreamEventsRequest {
            call_id: call_id.as_str().to_owned(),
            start: StreamStart::Now.into(),
            kinds: TELLING.iter().map(|(kind, _)| i32::from(*kind)).collect(),
            ..StreamEventsRequest::default()
        };
        let mut events = self.follow(principal, live).await?;
        let mut standing = self.standing(&call_id).await?;
        let waiting = listen(&mut events, &mut standing, &wanted);
        match tokio::time::timeout(Duration::from_millis(request.timeout_ms.into()), waiting).await {
            Ok(Err(fault)) => Err(fault),
            // Reached, or not in time: the response says which.
            Ok(Ok(())) | Err(_) => Ok(standing.response(&call_id)),
        }
    }

    /// As stored.
    async fn standing(&self, call_id: &CallId) -> Result<Standing, Fault> {
        let mut standing = Standing::default();
        for (_, kind) in TELLING {
            for row in self.store.events_of_kind(call_id, kind).await? {
                let event =
                    convert::event_from_row(call_id, &row).map_err(|_| StoreError::Corrupt("events.payload"))?;
                standing.take(&event);
            }
        }
        let row = self.store.call(call_id).await?.ok_or(CallError::NotFound)?;
        standing.over(row.termination.as_ref().map(convert::termination_to_wire).as_ref());
        Ok(standing)
    }
}

/// Until it is enough.
async fn listen(events: &mut EventStream, standing: &mut Standing, wanted: &[Progress]) -> Result<(), Fault> {
    while !standing.is_enough(wanted) {
        let Some(item) = events.next().await else { return Ok(()) };
        if let Some(event) = item?.delivery.entry.as_ref().and_then(|entry| entry.event.as_ref()) {
            standing.take(event);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use voicebridge_proto::types::v1::{CallEnded, ProviderReady, SessionEnded, StageReached, TransportConnected};

    use super::*;

    #[track_caller]
    fn check(told: &[Kind], wanted: &[Progress], expect: bool) {
        let mut standing = Standing::default();
        told.iter().for_each(|kind| standing.take(&Event { kind: Some(kind.clone()), ..Event::default() }));
        assert_eq!(standing.is_enough(wanted), expect, "{told:?} {wanted:?}");
    }

    #[test]
    fn all_that_is_wanted_must_be_reached_unless_it_cannot_be_any_more() {
        use Progress::{AiReady, Ended, MediaActive, TransportConnected as Transport};
        let termination = Some(Termination { reason: "USER_HANGUP".to_owned(), ..Termination::default() });
        let transport = Kind::TransportConnected(TransportConnected::default());
        let ai = Kind::ProviderReady(ProviderReady::default());
        let stage = |stage: Stage| Kind::StageReached(StageReached { stage: stage.into() });
        let over = Kind::SessionEnded(SessionEnded { termination: termination.clone(), ..SessionEnded::default() });
        let closed = Kind::CallEnded(CallEnded { termination, ..CallEnded::default() });
        check(&[], &[Transport], false);
        check(std::slice::from_ref(&transport), &[Transport], true);
        check(std::slice::from_ref(&transport), &[Transport, AiReady], false);
        check(&[ai.clone(), transport.clone()], &[Transport, AiReady], true);
        check(&[stage(Stage::WaCallAccepted)], &[MediaActive], false);
        check(&[stage(Stage::MediaBridgeActive)], &[MediaActive], true);
        check(std::slice::from_ref(&over), &[MediaActive], true);
        check(std::slice::from_ref(&over), &[Ended], false);
        check(&[over.clone(), transport], &[Transport, Ended], false);
        check(std::slice::from_ref(&closed), &[Ended], true);
        check(&[closed], &[AiReady], true);
    }

    #[test]
    fn a_wait_has_bounds() {
        let field = |until: &[i32], timeout_ms| {
            let request = WaitForSessionRequest { until: until.to_vec(), timeout_ms, ..Default::default() };
            wanted(&request).err().map(|fault| fault.message().split(' ').next().unwrap_or_default().to_owned())
        };
        assert_eq!(field(&[1, 4], MAX_WAIT_MS), None);
        assert_eq!(field(&[1], MAX_WAIT_MS + 1).as_deref(), Some("timeout_ms"));
        for until in [&[] as &[i32], &[0], &[1, 5], &[-1]] {
            assert_eq!(field(until, 0).as_deref(), Some("until"), "{until:?}");
        }
    }
}
