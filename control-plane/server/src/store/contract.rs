//! What every store must do. A second database runs the same checks.

#![allow(clippy::unwrap_used)]

use voicebridge_core::{
    identity::{CallId, Caller, PhoneNumber, UserId},
    termination::{Termination, TerminationResult},
};

use super::*;

fn id(text: &str) -> CallId {
    CallId::parse(text).unwrap()
}

fn call(text: &str) -> NewCall {
    NewCall {
        call_id: id(text),
        holder: Holder::Managed,
        phase: "PLACING",
        phone_number_id: "106".to_owned(),
        caller: Caller {
            phone_number: PhoneNumber::parse("5511900000001"),
            user_id: UserId::parse("BR.13"),
            name: Some("Ana".to_owned()),
        },
        received_at_ms: 1_000,
        ring_until_ms: 31_000,
    }
}

fn event(kind: &'static str, node_sequence: Option<u64>) -> NewEvent {
    NewEvent { kind, occurred_at_ms: 1_500, node_sequence, payload: format!("{kind} {node_sequence:?}").into_bytes() }
}

fn place(session: &str) -> SessionPlace {
    SessionPlace {
        session_id: session.to_owned(),
        node_id: "node-1".to_owned(),
        node_url: "http://127.0.0.1:1".to_owned(),
        region: "sa".to_owned(),
    }
}

fn hangup(code: Option<i64>) -> Tombstone {
    Tombstone { buried_at_ms: 5_000, failed: code.is_some(), error_code: code }
}

async fn the_first_claim_wins(store: &dyn Store) {
    assert_eq!(store.claim(&call("first")).await.unwrap(), Claim::Claimed);
    assert_eq!(store.claim(&call("first")).await.unwrap(), Claim::Duplicate);
    let claims =
        futures_util::future::join_all((0..8).map(|_| async { store.claim(&call("race")).await.unwrap() })).await;
    assert_eq!(claims.iter().filter(|claim| **claim == Claim::Claimed).count(), 1);

    let row = store.call(&id("first")).await.unwrap().unwrap();
    assert_eq!((row.phase.as_str(), row.holder), ("PLACING", Holder::Managed));
    assert_eq!(row.caller, call("first").caller);
    assert_eq!((row.received_at_ms, row.ring_until_ms), (1_000, 31_000));
    assert_eq!((row.last_sequence, row.node_sequence), (0, 0));
    assert!(row.session.is_none() && row.termination.is_none() && row.ended_at_ms.is_none());
    assert!(store.call(&id("nobody")).await.unwrap().is_none());
}

async fn an_end_that_comes_first_is_remembered(store: &dyn Store) {
    assert_eq!(store.bury(&id("early"), &hangup(Some(138_021))).await.unwrap(), Burial::Unknown);
    assert_eq!(store.bury(&id("early"), &hangup(None)).await.unwrap(), Burial::Unknown);
    assert_eq!(store.tombstone(&id("early")).await.unwrap(), Some(hangup(Some(138_021))), "the first stands");
    assert_eq!(store.claim(&call("early")).await.unwrap(), Claim::Tombstoned);
    assert!(store.call(&id("early")).await.unwrap().is_none());

    store.claim(&call("late")).await.unwrap();
    assert_eq!(store.bury(&id("late"), &hangup(None)).await.unwrap(), Burial::Live);
    assert_eq!(store.claim(&call("late")).await.unwrap(), Claim::Duplicate);
    let last = event(LAST_KIND, None);
    store.close(&id("late"), &Termination::new(TerminationResult::Completed, "X", ""), &last).await.unwrap();
    assert_eq!(store.bury(&id("late"), &hangup(None)).await.unwrap(), Burial::Ended);

    let later = Tombstone { buried_at_ms: 5_001 + TOMBSTONE_RETENTION_MS, ..hangup(None) };
    store.bury(&id("much later"), &later).await.unwrap();
    assert_eq!(store.tombstone(&id("early")).await.unwrap(), None, "old ones go");
    assert_eq!(store.tombstone(&id("nobody")).await.unwrap(), None);
}

async fn events_are_gapless_and_stored_once(store: &dyn Store) {
    let call_id = id("events");
    assert_eq!(store.append(&call_id, &event("stage_reached", None)).await.unwrap(), None, "no such call");
    store.claim(&call("events")).await.unwrap();
    assert_eq!(store.append(&call_id, &event("stage_reached", None)).await.unwrap(), Some(1));
    assert_eq!(store.append(&call_id, &event("offer_answered", Some(1))).await.unwrap(), Some(2));
    assert_eq!(store.append(&call_id, &event("offer_answered", Some(1))).await.unwrap(), None, "stored already");
    assert_eq!(store.append(&call_id, &event("graph_answered", None)).await.unwrap(), Some(3));
    assert_eq!(store.append(&call_id, &event("transcript", Some(4))).await.unwrap(), Some(4), "the node lost some");
    assert_eq!(store.append(&call_id, &event("transcript", Some(3))).await.unwrap(), None);
    assert_eq!(store.call(&call_id).await.unwrap().unwrap().node_sequence, 4);

    let sequences = |events: Vec<StoredEvent>| events.into_iter().map(|event| event.sequence).collect::<Vec<_>>();
    assert_eq!(sequences(store.events(&call_id, 0, 100).await.unwrap()), [1, 2, 3, 4]);
    assert_eq!(sequences(store.events(&call_id, 1, 2).await.unwrap()), [2, 3]);
    assert_eq!(sequences(store.events(&call_id, u64::MAX, 2).await.unwrap()), [0_u64; 0]);
    assert_eq!(sequences(store.events_of_kind(&call_id, "transcript").await.unwrap()), [4]);
    assert_eq!(store.events(&call_id, 1, 1).await.unwrap()[0].payload, event("offer_answered", Some(1)).payload);

    let writers = futures_util::future::join_all(
        (0..20).map(|_| async { store.append(&call_id, &event("incident", None)).await.unwrap().unwrap() }),
    );
    let mut numbers = writers.await;
    numbers.sort_unstable();
    assert_eq!(numbers, (5..=24).collect::<Vec<u64>>());
}

async fn a_record_is_written_and_closed_once(store: &dyn Store) {
    let call_id = id("record");
    store.claim(&call("record")).await.unwrap();
    let change = Change { phase: Some("PLACING"), session: Some(place("s1")), ..Change::default() };
    store.update(&call_id, &change).await.unwrap();
    store.append(&call_id, &event("offer_answered", Some(7))).await.unwrap();
    let again = Change { phase: Some("ACTIVE"), accepted_at_ms: Some(2_000), ..Change::default() };
    store.update(&call_id, &again).await.unwrap();
    let row = store.call(&call_id).await.unwrap().unwrap();
    assert_eq!((row.phase.as_str(), row.session.clone(), row.node_sequence), ("ACTIVE", Some(place("s1")), 7));

    store.update(&call_id, &Change { session: Some(place("s2")), ..Change::default() }).await.unwrap();
    assert_eq!(store.call(&call_id).await.unwrap().unwrap().node_sequence, 0, "another session counts anew");

    let first = Termination::new(TerminationResult::Failed, "NODE_LOST", "gone").with_code("7");
    let second = Termination::new(TerminationResult::Completed, "USER_HANGUP", "");
    store.update(&call_id, &Change { termination: Some(first.clone()), ..Change::default() }).await.unwrap();
    store.update(&call_id, &Change { termination: Some(second.clone()), ..Change::default() }).await.unwrap();
    assert_eq!(store.close(&call_id, &second, &event(LAST_KIND, None)).await.unwrap(), Some(2));
    assert_eq!(store.close(&call_id, &second, &event(LAST_KIND, None)).await.unwrap(), None);
    assert_eq!(store.append(&call_id, &event("incident", None)).await.unwrap(), None, "nothing follows the last event");
    store.update(&call_id, &again).await.unwrap();
    let row = store.call(&call_id).await.unwrap().unwrap();
    assert_eq!((row.phase.as_str(), row.termination, row.ended_at_ms), ("ENDED", Some(first), Some(1_500)));
    assert_eq!(row.accepted_at_ms, Some(2_000));
    let events = store.events(&call_id, 0, 10).await.unwrap();
    assert_eq!(events.iter().map(|event| event.is_last).collect::<Vec<_>>(), [false, true]);
}

async fn lists_go_from_new_to_old(store: &dyn Store) {
    let before = store.calls(Page { before: None, size: 1, live_only: false }).await.unwrap();
    for n in 0..5 {
        store.claim(&call(&format!("list-{n}"))).await.unwrap();
    }
    let gone = Termination::new(TerminationResult::Abandoned, "CALLER_ABANDONED", "");
    store.close(&id("list-3"), &gone, &event(LAST_KIND, None)).await.unwrap();
    let names = |rows: &[CallRow]| rows.iter().map(|row| row.call_id.as_str().to_owned()).collect::<Vec<_>>();
    let page = store.calls(Page { before: None, size: 2, live_only: false }).await.unwrap();
    assert_eq!(names(&page), ["list-4", "list-3"]);
    let page = store.calls(Page { before: Some(page[1].ordinal), size: 2, live_only: false }).await.unwrap();
    assert_eq!(names(&page), ["list-2", "list-1"]);
    let page = store.calls(Page { before: None, size: 3, live_only: true }).await.unwrap();
    assert_eq!(names(&page), ["list-4", "list-2", "list-1"]);
    let oldest = page.last().unwrap().ordinal - 1;
    let page = store.calls(Page { before: Some(oldest), size: 1, live_only: false }).await.unwrap();
    assert_eq!(names(&page), names(&before));
}

/// Runs last: it empties the store of what has ended.
async fn old_calls_go_with_their_events(store: &dyn Store) {
    let gone = Termination::new(TerminationResult::Completed, "USER_HANGUP", "");
    for (name, ended_at_ms) in [("old-1", 100), ("old-2", 200), ("old-3", 300), ("old-4", 400)] {
        store.claim(&call(name)).await.unwrap();
        store.append(&id(name), &event("transcript", None)).await.unwrap();
        let last = NewEvent { occurred_at_ms: ended_at_ms, ..event(LAST_KIND, None) };
        store.close(&id(name), &gone, &last).await.unwrap();
    }
    store.claim(&call("old-live")).await.unwrap();
    let known = async |name: &str| store.call(&id(name)).await.unwrap().is_some();
    assert_eq!(store.prune(400, 2).await.unwrap(), 2, "no more than asked for");
    assert_eq!((known("old-1").await, known("old-2").await, known("old-3").await), (false, false, true));
    assert!(store.events(&id("old-1"), 0, 10).await.unwrap().is_empty());
    assert_eq!(store.events(&id("old-3"), 0, 10).await.unwrap().len(), 2);
    assert_eq!(store.prune(400, 2).await.unwrap(), 1);
    assert!(known("old-4").await, "not old enough yet");
    while store.prune(i64::MAX, 2).await.unwrap() > 0 {}
    assert!(known("old-live").await, "live calls stay however old they are");
    let ended = store.calls(Page { before: None, size: 1_000, live_only: false }).await.unwrap();
    assert!(ended.iter().all(|row| row.ended_at_ms.is_none()));
}

async fn check(store: &dyn Store) {
    the_first_claim_wins(store).await;
    an_end_that_comes_first_is_remembered(store).await;
    events_are_gapless_and_stored_once(store).await;
    a_record_is_written_and_closed_once(store).await;
    lists_go_from_new_to_old(store).await;
    old_calls_go_with_their_events(store).await;
}

#[tokio::test]
async fn sqlite_in_memory() {
    check(&Sqlite::open("sqlite::memory:").await.unwrap()).await;
}

#[tokio::test]
async fn sqlite_in_a_file_that_is_created_and_found_again() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", directory.path().join("new.db").display());
    let store = Sqlite::open(&url).await.unwrap();
    check(&store).await;
    store.shut().await;
    let again = Sqlite::open(&url).await.unwrap();
    assert_eq!(again.claim(&call("first")).await.unwrap(), Claim::Duplicate);
}
