//! What every store must do. A second database runs the same checks.

#![allow(clippy::unwrap_used)]

use voicebridge_core::{
    identity::{Caller, PhoneNumber, UserId, Wacid},
    termination::{Termination, TerminationResult},
};

use super::{search_contract, *};
use crate::ids::example as id;

fn wacid(name: &str) -> Wacid {
    Wacid::parse(format!("wacid.{name}=")).unwrap()
}

fn call(name: &str) -> NewCall {
    NewCall {
        call_id: id(name),
        wacid: wacid(name),
        holder: Holder::Managed,
        phase: "PLACING",
        phone_number_id: "106".to_owned(),
        caller: Caller {
            phone_number: PhoneNumber::parse("5511900000001"),
            user_id: UserId::parse("BR.13"),
            name: Some("Ana".to_owned()),
        },
        labels: Labels::default(),
        payloads: Payloads::default(),
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
    Tombstone { hung_up_at_ms: 5_000, failed: code.is_some(), error_code: code }
}

async fn the_first_claim_wins(store: &dyn Store) {
    assert_eq!(store.claim(&call("first")).await.unwrap(), Claim::Claimed);
    let again = |name: &str| NewCall { call_id: id(name), ..call("first") };
    assert_eq!(store.claim(&again("another id of ours")).await.unwrap(), Claim::Duplicate(id("first")));
    assert!(store.call(&id("another id of ours")).await.unwrap().is_none());
    let race = |n: u8| NewCall { call_id: id(&format!("race {n}")), ..call("race") };
    let claims =
        futures_util::future::join_all((0..8).map(|n| async move { store.claim(&race(n)).await.unwrap() })).await;
    let winner = claims.iter().position(|claim| *claim == Claim::Claimed).unwrap();
    for (n, claim) in claims.into_iter().enumerate().filter(|(n, _)| *n != winner) {
        assert_eq!(claim, Claim::Duplicate(id(&format!("race {winner}"))), "{n}");
    }

    let row = store.call(&id("first")).await.unwrap().unwrap();
    assert_eq!((row.phase.as_str(), row.holder), ("PLACING", Holder::Managed));
    assert_eq!(row.caller, call("first").caller);
    assert_eq!((row.received_at_ms, row.ring_until_ms), (1_000, 31_000));
    assert_eq!((row.last_sequence, row.node_sequence), (0, 0));
    assert!(row.session.is_none() && row.termination.is_none() && row.ended_at_ms.is_none());
    assert_eq!((&row.call_id, &row.wacid), (&id("first"), &wacid("first")));
    let found = store.call_by_wacid(&wacid("first")).await.unwrap().unwrap();
    assert_eq!((found.call_id, found.ordinal), (row.call_id, row.ordinal));
    assert!(store.call(&id("nobody")).await.unwrap().is_none());
    assert!(store.call_by_wacid(&wacid("nobody")).await.unwrap().is_none());
}

async fn an_end_that_comes_first_is_remembered(store: &dyn Store) {
    assert_eq!(store.record_hang_up(&wacid("early"), &hangup(Some(138_021))).await.unwrap(), HangUpOutcome::Unknown);
    assert_eq!(store.record_hang_up(&wacid("early"), &hangup(None)).await.unwrap(), HangUpOutcome::Unknown);
    assert_eq!(store.tombstone(&wacid("early")).await.unwrap(), Some(hangup(Some(138_021))), "the first stands");
    assert_eq!(store.claim(&call("early")).await.unwrap(), Claim::Tombstoned);
    assert!(store.call(&id("early")).await.unwrap().is_none());

    store.claim(&call("late")).await.unwrap();
    assert_eq!(store.record_hang_up(&wacid("late"), &hangup(None)).await.unwrap(), HangUpOutcome::Live(id("late")));
    assert_eq!(store.claim(&call("late")).await.unwrap(), Claim::Duplicate(id("late")));
    close(store, "late", 0, &Termination::new(TerminationResult::Completed, "X", ""), 1_500).await;
    assert_eq!(store.record_hang_up(&wacid("late"), &hangup(None)).await.unwrap(), HangUpOutcome::Ended(id("late")));

    let later = Tombstone { hung_up_at_ms: 5_001 + TOMBSTONE_RETENTION_MS, ..hangup(None) };
    store.record_hang_up(&wacid("much later"), &later).await.unwrap();
    assert_eq!(store.tombstone(&wacid("early")).await.unwrap(), None, "old ones go");
    assert_eq!(store.tombstone(&wacid("nobody")).await.unwrap(), None);
}

/// Writes after as many events; of what was stored its position.
async fn write(store: &dyn Store, call: &str, after: u64, events: Vec<NewEvent>, change: Change) -> Written {
    store.write(&id(call), &Write { after, events, change }).await.unwrap()
}

async fn append(store: &dyn Store, call: &str, after: u64, event: NewEvent) -> u64 {
    match write(store, call, after, vec![event], Change::default()).await {
        Written::Stored { position: Some(position) } => position,
        other => panic!("{call} after {after}: {other:?}"),
    }
}

fn closing(termination: &Termination, at_ms: i64) -> Change {
    Change {
        phase: Some("ENDED"),
        termination: Some(termination.clone()),
        ended_at_ms: Some(at_ms),
        ..Change::default()
    }
}

async fn close(store: &dyn Store, call: &str, after: u64, termination: &Termination, at_ms: i64) -> Written {
    let last = NewEvent { occurred_at_ms: at_ms, ..event(LAST_KIND, None) };
    write(store, call, after, vec![last], closing(termination, at_ms)).await
}

async fn events_are_gapless_and_stored_once(store: &dyn Store) {
    let call_id = id("events");
    let none = Change::default;
    let refused = write(store, "events", 0, vec![event("stage_reached", None)], none()).await;
    assert_eq!(refused, Written::Refused, "no such call");
    store.claim(&call("events")).await.unwrap();
    append(store, "events", 0, event("stage_reached", None)).await;
    let batch = vec![event("offer_answered", Some(1)), event("graph_answered", None), event("transcript", Some(4))];
    let first = write(store, "events", 1, batch.clone(), none()).await;
    assert_eq!(store.call(&call_id).await.unwrap().unwrap().node_sequence, 4);
    let again = write(store, "events", 1, batch.clone(), none()).await;
    assert_eq!(again, first, "the answer got lost: the same again is the same");
    for after in [0, 2, 3, 5] {
        let foreign = write(store, "events", after, batch.clone(), none()).await;
        assert_eq!(foreign, Written::Refused, "from somebody who knows {after} events");
    }
    assert_eq!(write(store, "events", 3, Vec::new(), none()).await, Written::Refused);
    assert_eq!(write(store, "events", 4, Vec::new(), none()).await, Written::Stored { position: None });

    let sequences = |events: Vec<StoredEvent>| events.into_iter().map(|event| event.sequence).collect::<Vec<_>>();
    assert_eq!(sequences(store.events(&call_id, 0, 100).await.unwrap()), [1, 2, 3, 4]);
    assert_eq!(sequences(store.events(&call_id, 1, 2).await.unwrap()), [2, 3]);
    assert_eq!(sequences(store.events(&call_id, u64::MAX, 2).await.unwrap()), [0_u64; 0]);
    assert_eq!(sequences(store.events_of_kind(&call_id, "transcript").await.unwrap()), [4]);
    assert_eq!(store.events(&call_id, 1, 1).await.unwrap()[0].payload, event("offer_answered", Some(1)).payload);

    // Of writers who think the same only one is right.
    let write = Write { after: 4, events: vec![event("incident", None)], change: none() };
    let others = (0..20_u64).map(|n| Write { events: vec![event("incident", Some(n + 10)); 2], ..write.clone() });
    let written = futures_util::future::join_all(others.map(|write| {
        let call_id = &call_id;
        async move { store.write(call_id, &write).await.unwrap() }
    }));
    let stored = store.events(&call_id, 4, 100);
    let written = written.await;
    assert!(written.iter().any(|written| matches!(written, Written::Stored { .. })), "{written:?}");
    assert_eq!(sequences(stored.await.unwrap()), [5, 6]);
}

async fn a_record_is_written_and_closed_once(store: &dyn Store) {
    let call_id = id("record");
    let change = |change| write(store, "record", 1, Vec::new(), change);
    store.claim(&call("record")).await.unwrap();
    let placed = Change { phase: Some("PLACING"), session: Some(place("s1")), ..Change::default() };
    write(store, "record", 0, vec![event("offer_answered", Some(7))], placed).await;
    let again = Change { phase: Some("ACTIVE"), accepted_at_ms: Some(2_000), ..Change::default() };
    change(again.clone()).await;
    let row = store.call(&call_id).await.unwrap().unwrap();
    assert_eq!((row.phase.as_str(), row.session.clone(), row.node_sequence), ("ACTIVE", Some(place("s1")), 7));
    change(Change { session: Some(place("s1")), accepted_at_ms: Some(3_000), ..Change::default() }).await;
    let row = store.call(&call_id).await.unwrap().unwrap();
    assert_eq!((row.node_sequence, row.accepted_at_ms), (7, Some(2_000)), "the same session goes on");
    change(Change { session: Some(place("s2")), ..Change::default() }).await;
    assert_eq!(store.call(&call_id).await.unwrap().unwrap().node_sequence, 0, "another session counts anew");

    let first = Termination::new(TerminationResult::Failed, "NODE_LOST", "gone").with_code("7");
    let second = Termination::new(TerminationResult::Completed, "USER_HANGUP", "");
    change(Change { termination: Some(first.clone()), ..Change::default() }).await;
    change(Change { termination: Some(second.clone()), ..Change::default() }).await;
    let closed = close(store, "record", 1, &second, 1_500).await;
    assert!(matches!(closed, Written::Stored { position: Some(_) }));
    assert_eq!(close(store, "record", 1, &second, 1_500).await, closed, "the answer got lost");
    assert_eq!(close(store, "record", 2, &second, 1_500).await, Written::Refused, "nothing follows the last event");
    let after = write(store, "record", 2, Vec::new(), again).await;
    assert_eq!(after, Written::Refused);
    let row = store.call(&call_id).await.unwrap().unwrap();
    assert_eq!((row.phase.as_str(), row.termination, row.ended_at_ms), ("ENDED", Some(first), Some(1_500)));
    assert_eq!((row.accepted_at_ms, row.last_sequence), (Some(2_000), 2));
    let events = store.events(&call_id, 0, 10).await.unwrap();
    assert_eq!(events.iter().map(|event| event.is_last).collect::<Vec<_>>(), [false, true]);
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::parse(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))).unwrap()
}

async fn labels_are_kept_changed_and_found_on_live_and_ended_calls(store: &dyn Store) {
    let of = async |name: &str| store.call(&id(name)).await.unwrap().unwrap().labels;
    let first = labels(&[("a", "1"), ("b", "it's \"2\" \u{1f338}")]);
    store.claim(&NewCall { labels: first.clone(), ..call("labels") }).await.unwrap();
    store.claim(&call("no labels")).await.unwrap();
    assert!(of("labels").await == first && of("no labels").await.is_empty());
    let change = |set, remove: &[&str]| LabelChange::new(set, remove.iter().map(|name| (*name).to_owned())).unwrap();
    let merge = change(labels(&[("a", ""), ("c", "3")]), &["b", "never-there"]);
    let merged = labels(&[("a", ""), ("c", "3")]);
    for _ in 0..2 {
        assert_eq!(store.label(&id("labels"), &merge).await.unwrap(), Labelled::Changed(merged.clone()));
    }
    assert_eq!(store.label(&id("nobody"), &merge).await.unwrap(), Labelled::Unknown);
    let many: Vec<_> = (0..15).map(|n| (format!("n{n}"), String::new())).collect();
    let many = change(Labels::parse(many).unwrap(), &[]);
    assert_eq!(store.label(&id("labels"), &many).await.unwrap(), Labelled::TooMany);
    assert!(of("labels").await == merged, "nothing of it was done");

    close(store, "labels", 0, &Termination::new(TerminationResult::Completed, "X", ""), 1_500).await;
    // Each sees what the one before left.
    let each = |n: u8| change(labels(&[(&format!("by-{n}"), "x")]), &[]);
    let changes = (0..8).map(|n| async move { store.label(&id("labels"), &each(n)).await.unwrap() });
    for labelled in futures_util::future::join_all(changes).await {
        assert!(matches!(labelled, Labelled::Changed(_)), "{labelled:?}");
    }
    assert_eq!(of("labels").await.iter().len(), 10);

    let found = async |wanted: &Labels| {
        let filter = CallFilter { labels: wanted.clone(), ..CallFilter::default() };
        let rows = store.calls(&Search { filter, size: 10, ..Search::default() }).await.unwrap();
        rows.into_iter().map(|row| (row.call_id, row.labels)).collect::<Vec<_>>()
    };
    let both = labels(&[("by-3", "x"), ("c", "3")]);
    assert!(found(&both).await == [(id("labels"), of("labels").await)]);
    for other in [&[("c", "4")], &[("b", "2")]] {
        assert!(found(&labels(other)).await.is_empty(), "{other:?}");
    }
    assert!(found(&labels(&[("c", "3"), ("by-3", "y")])).await.is_empty());
}

async fn payloads_are_kept_and_added_to_but_never_replaced(store: &dyn Store) {
    let of = async || store.call(&id("payloads")).await.unwrap().unwrap().payloads;
    let first = Payloads::cleaned("campaign-7", "", "");
    store.claim(&NewCall { payloads: first.clone(), ..call("payloads") }).await.unwrap();
    assert!(of().await == first);
    store.add_payloads(&id("payloads"), &Payloads::cleaned("another", "btn-42", "")).await.unwrap();
    close(store, "payloads", 0, &Termination::new(TerminationResult::Completed, "X", ""), 1_500).await;
    store.add_payloads(&id("payloads"), &Payloads::cleaned("", "", "job-9")).await.unwrap();
    assert!(of().await == Payloads::cleaned("campaign-7", "btn-42", "job-9"));
    store.add_payloads(&id("nobody"), &first).await.unwrap();
}

/// Not in memory, where nothing is ever stored.
async fn text_of_strangers_can_always_be_stored(store: &dyn Store) {
    let name = Some("A\0na".to_owned());
    store.claim(&NewCall { caller: Caller { name, ..Caller::default() }, ..call("nul") }).await.unwrap();
    let place = SessionPlace { region: "s\0a".to_owned(), ..place("s\x001") };
    let termination = Termination::new(TerminationResult::Failed, "X", "a\0b").with_code("7\0");
    let change = Change { session: Some(place), termination: Some(termination), ..Change::default() };
    write(store, "nul", 0, vec![NewEvent { payload: vec![0, 1], ..event("x", None) }], change).await;
    let row = store.call(&id("nul")).await.unwrap().unwrap();
    let (session, termination) = (row.session.unwrap(), row.termination.unwrap());
    assert_eq!(
        (row.caller.name.as_deref(), session.session_id.as_str(), session.region.as_str()),
        (Some("Ana"), "s1", "sa")
    );
    assert_eq!((termination.message.as_str(), termination.upstream_code.as_str()), ("ab", "7"));
    assert_eq!(store.events(&id("nul"), 0, 1).await.unwrap()[0].payload, [0, 1]);
}

async fn history_is_told_in_the_order_of_storing(store: &dyn Store) {
    let before = store.last_position().await.unwrap();
    assert_eq!(store.history(None, before, u64::MAX, 10).await.unwrap(), []);
    for name in ["left", "right"] {
        store.claim(&call(name)).await.unwrap();
    }
    let mut places = Vec::new();
    for (n, name) in ["left", "right", "left", "left", "right"].into_iter().enumerate() {
        let after = store.call(&id(name)).await.unwrap().unwrap().last_sequence;
        let position = append(store, name, after, event("transcript", Some(n as u64 + 1))).await;
        places.push((position, id(name), after + 1));
    }
    let last = store.last_position().await.unwrap();
    assert_eq!(last, places[4].0);
    let told = async |call_id: Option<&str>, after, through, limit| {
        let call_id = call_id.map(id);
        let rows = store.history(call_id.as_ref(), after, through, limit).await.unwrap();
        rows.into_iter().map(|row| (row.position, row.call_id, row.event.sequence)).collect::<Vec<_>>()
    };
    assert_eq!(told(None, before, u64::MAX, 10).await, places);
    assert_eq!(told(None, before, u64::MAX, 2).await, places[..2]);
    assert_eq!(told(None, places[1].0, places[3].0, 10).await, places[2..4]);
    assert_eq!(told(Some("right"), 0, last, 10).await, [places[1].clone(), places[4].clone()]);
    assert_eq!(told(Some("left"), places[0].0, last, 1).await, [places[2].clone()]);
    assert_eq!(told(Some("nobody"), 0, last, 1).await, []);
    let row = store.history(None, before, u64::MAX, 1).await.unwrap().remove(0);
    assert_eq!((row.phone_number_id.as_str(), row.caller_phone.as_str()), ("106", "5511900000001"));
    assert_eq!(row.event.payload, event("transcript", Some(1)).payload);
}

async fn keys_are_made_once(store: &dyn Store) {
    assert_eq!(store.own_key("one", [1; KEY_BYTES]).await.unwrap(), [1; KEY_BYTES]);
    assert_eq!(store.own_key("one", [2; KEY_BYTES]).await.unwrap(), [1; KEY_BYTES]);
    assert_eq!(store.own_key("two", [2; KEY_BYTES]).await.unwrap(), [2; KEY_BYTES]);
}

/// Runs last: it empties the store of what has ended.
async fn old_calls_go_with_their_events(store: &dyn Store) {
    let gone = Termination::new(TerminationResult::Completed, "USER_HANGUP", "");
    for (name, ended_at_ms) in [("old-1", 100), ("old-2", 200), ("old-3", 300), ("old-4", 400)] {
        store.claim(&call(name)).await.unwrap();
        append(store, name, 0, event("transcript", None)).await;
        close(store, name, 1, &gone, ended_at_ms).await;
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
    append(store, "old-live", 0, event("transcript", None)).await;
    let last = store.last_position().await.unwrap();
    let gone = Termination::new(TerminationResult::Completed, "USER_HANGUP", "");
    close(store, "old-live", 1, &gone, 1_500).await;
    while store.prune(i64::MAX, 2).await.unwrap() > 0 {}
    let labelled = CallFilter { labels: labels(&[("c", "3")]), ..CallFilter::default() };
    assert!(store.calls(&Search { filter: labelled, size: 1, ..Search::default() }).await.unwrap().is_empty());
    store.claim(&call("old-new")).await.unwrap();
    let position = append(store, "old-new", 0, event("transcript", None)).await;
    assert!(position > last + 1, "no position is used twice");
    let ended = store.calls(&Search { size: 1_000, ..Search::default() }).await.unwrap();
    assert!(ended.iter().all(|row| row.ended_at_ms.is_none()));
}

async fn check(store: &dyn Store) {
    the_first_claim_wins(store).await;
    an_end_that_comes_first_is_remembered(store).await;
    events_are_gapless_and_stored_once(store).await;
    history_is_told_in_the_order_of_storing(store).await;
    keys_are_made_once(store).await;
    a_record_is_written_and_closed_once(store).await;
    labels_are_kept_changed_and_found_on_live_and_ended_calls(store).await;
    payloads_are_kept_and_added_to_but_never_replaced(store).await;
    search_contract::check(store).await;
    old_calls_go_with_their_events(store).await;
}

#[tokio::test]
async fn in_memory() {
    check(&memory::Memory::default()).await;
}

#[tokio::test]
async fn sqlite_in_memory() {
    let store = Sqlite::open("sqlite::memory:").await.unwrap();
    check(&store).await;
    text_of_strangers_can_always_be_stored(&store).await;
}

#[tokio::test]
async fn sqlite_in_a_file_that_is_created_and_found_again() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", directory.path().join("new.db").display());
    let store = Sqlite::open(&url).await.unwrap();
    check(&store).await;
    store.shut().await;
    let again = Sqlite::open(&url).await.unwrap();
    assert_eq!(again.claim(&call("first")).await.unwrap(), Claim::Duplicate(id("first")));
}

/// The owner of a database of its own on the PostgreSQL of this process, and the right to its calls.
async fn owned(url: &str) -> (Postgres, Owner) {
    let database = Database::open(url).await.unwrap();
    let owner = database.own_calls(std::time::Duration::ZERO).await.unwrap();
    let Database::Postgres(store) = database else { panic!("{url}") };
    (store, owner)
}

#[tokio::test]
async fn postgres_that_is_created_and_found_again() {
    let url = voicebridge_postgres::database();
    let (store, owner) = owned(&url).await;
    check(&store).await;
    text_of_strangers_can_always_be_stored(&store).await;
    owner.give_back().await;
    store.shut().await;
    let (again, _owner) = owned(&url).await;
    assert_eq!(again.claim(&call("first")).await.unwrap(), Claim::Duplicate(id("first")));
}

#[tokio::test]
async fn postgres_behind_a_pooler_in_transaction_mode() {
    let url = voicebridge_postgres::database();
    let pooler = voicebridge_postgres::Pooler::before(voicebridge_postgres::shared());
    let (store, _owner) = owned(&pooler.url(&url)).await;
    check(&store).await;
    // More at a time than the pooler has connections: each transaction gets another one.
    store.claim(&call("crowd")).await.unwrap();
    let crowd_id = id("crowd");
    let reads = (0..40).map(|_| store.call(&crowd_id));
    for row in futures_util::future::join_all(reads).await {
        assert!(row.unwrap().is_some());
    }
}
