//! What every store must find. Times begin where no other check has calls.

#![allow(clippy::unwrap_used)]

use voicebridge_core::{
    identity::{Caller, PhoneNumber, UserId, Wacid},
    labels::Labels,
    termination::{Termination, TerminationResult},
};

use super::*;
use crate::ids::example as id;

const START_MS: i64 = 1_000_000_000;

/// One call of a list, as this page has it.
#[derive(Clone, Copy)]
struct Known {
    name: &'static str,
    at_ms: i64,
    number: &'static str,
    phone: &'static str,
    user: &'static str,
    node: &'static str,
    label: &'static str,
    ending: Option<(TerminationResult, &'static str)>,
}

const CALLS: [Known; 7] = {
    use TerminationResult::{Abandoned, Completed, Failed};
    [
        Known {
            name: "a",
            at_ms: 0,
            number: "106",
            phone: "551",
            user: "BR.1",
            node: "n1",
            label: "x",
            ending: Some((Completed, "USER_HANGUP")),
        },
        Known {
            name: "b",
            at_ms: 10,
            number: "107",
            phone: "551",
            user: "",
            node: "n2",
            label: "y",
            ending: Some((Failed, "NODE_LOST")),
        },
        Known {
            name: "c",
            at_ms: 10,
            number: "106",
            phone: "",
            user: "BR.2",
            node: "n1",
            label: "x",
            ending: Some((Completed, "API_HANGUP")),
        },
        // Claimed late: its caller had been waiting.
        Known {
            name: "d",
            at_ms: 5,
            number: "106",
            phone: "552",
            user: "BR.1",
            node: "",
            label: "",
            ending: Some((Abandoned, "RING_TIMEOUT")),
        },
        Known { name: "e", at_ms: 30, number: "107", phone: "552", user: "", node: "n2", label: "", ending: None },
        Known { name: "f", at_ms: 40, number: "106", phone: "553", user: "", node: "n1", label: "y", ending: None },
        Known {
            name: "g",
            at_ms: 50,
            number: "108",
            phone: "551",
            user: "BR.1",
            node: "n3",
            label: "x",
            ending: Some((Completed, "USER_HANGUP")),
        },
    ]
};

/// One label beside one that all have, or none.
fn label(value: &str) -> Labels {
    let pairs = [("l", value), ("all", "yes")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    Labels::parse(pairs.into_iter().filter(|_| !value.is_empty())).unwrap()
}

async fn fill(store: &dyn Store) {
    for known in CALLS {
        let call_id = id(&format!("search {}", known.name));
        let call = NewCall {
            call_id: call_id.clone(),
            wacid: Wacid::parse(known.name).unwrap(),
            holder: Holder::Managed,
            phase: "PLACING",
            phone_number_id: known.number.to_owned(),
            caller: Caller {
                phone_number: PhoneNumber::parse(known.phone),
                user_id: UserId::parse(known.user),
                name: None,
            },
            labels: label(known.label),
            payloads: Payloads::default(),
            received_at_ms: START_MS + known.at_ms,
            ring_until_ms: 0,
        };
        assert_eq!(store.claim(&call).await.unwrap(), Claim::Claimed);
        let session = SessionPlace { session_id: "s".to_owned(), node_id: known.node.to_owned(), ..Default::default() };
        let mut change = Change { session: (!known.node.is_empty()).then_some(session), ..Change::default() };
        if known.name == "f" {
            // Its end is known, but not over.
            change.termination = Some(Termination::new(TerminationResult::Completed, "USER_HANGUP", ""));
        }
        store.write(&call_id, &Write { change, ..Write::default() }).await.unwrap();
        let Some((result, reason)) = known.ending else { continue };
        let last = NewEvent { kind: LAST_KIND, occurred_at_ms: 1, node_sequence: None, payload: Vec::new() };
        let change = Change {
            termination: Some(Termination::new(result, reason, "")),
            ended_at_ms: Some(START_MS + 100),
            ..Change::default()
        };
        store.write(&call_id, &Write { after: 0, events: vec![last], change }).await.unwrap();
    }
}

/// Names of all calls found, page by page.
async fn found(store: &dyn Store, filter: &CallFilter, order: CallOrder, size: u32) -> String {
    let mut search = Search { filter: filter.clone(), order, after: None, size };
    search.filter.from_ms = search.filter.from_ms.or(Some(START_MS));
    let mut names = String::new();
    loop {
        let rows = store.calls(&search).await.unwrap();
        assert!(rows.len() <= size as usize);
        names.extend(rows.iter().map(|row| row.wacid.as_str()));
        match rows.last() {
            Some(last) if rows.len() == size as usize => search.after = Some(CallPlace::of(last)),
            _ => return names,
        }
    }
}

fn texts(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

/// See the module.
pub(super) async fn check(store: &dyn Store) {
    use TerminationResult::{Completed, Failed};
    fill(store).await;
    let all = CallFilter::default;
    let phone = |digits| CallerKey::Phone(PhoneNumber::parse(digits).unwrap());
    let user = |id| CallerKey::User(UserId::parse(id).unwrap());
    let at = |from: Option<i64>, before: Option<i64>| CallFilter {
        from_ms: from.map(|ms| START_MS + ms),
        before_ms: before.map(|ms| START_MS + ms),
        ..all()
    };
    let live = CallFilter { state: Some(CallState::Live), ..all() };
    let expected = [
        (all(), "gfecbda"),
        (at(Some(10), None), "gfecb"),
        (at(None, Some(10)), "da"),
        (at(Some(5), Some(40)), "ecbd"),
        (at(Some(41), Some(50)), ""),
        (CallFilter { phone_number_ids: texts(&["106"]), ..all() }, "fcda"),
        (CallFilter { phone_number_ids: texts(&["107", "108", "none"]), ..all() }, "geb"),
        (CallFilter { callers: vec![phone("551")], ..all() }, "gba"),
        (CallFilter { callers: vec![user("BR.1")], ..all() }, "gda"),
        (CallFilter { callers: vec![user("BR.1"), phone("551"), user("BR.2")], ..all() }, "gcbda"),
        (CallFilter { node_ids: texts(&["n1", "n3"]), ..all() }, "gfca"),
        (CallFilter { labels: label("x"), ..all() }, "gca"),
        (CallFilter { labels: label("z"), ..all() }, ""),
        (CallFilter { labels: label("x"), phone_number_ids: texts(&["106"]), ..at(Some(1), Some(50)) }, "c"),
        (CallFilter { labels: label("y"), state: Some(CallState::Live), ..all() }, "f"),
        (CallFilter { labels: label("x"), callers: vec![phone("551")], ..all() }, "ga"),
        (CallFilter { results: vec![Completed], ..all() }, "gca"),
        (CallFilter { results: vec![Completed, Failed], ..all() }, "gcba"),
        (CallFilter { reasons: texts(&["USER_HANGUP", "RING_TIMEOUT"]), ..all() }, "gda"),
        (live.clone(), "fe"),
        (CallFilter { state: Some(CallState::Ended), ..all() }, "gcbda"),
        (CallFilter { results: vec![Completed], ..live.clone() }, ""),
        (CallFilter { phone_number_ids: texts(&["107"]), ..live }, "e"),
        (CallFilter { callers: vec![phone("551")], results: vec![Completed], ..at(Some(1), None) }, "g"),
        (CallFilter { node_ids: texts(&["n1"]), reasons: texts(&["API_HANGUP"]), ..all() }, "c"),
        (CallFilter { phone_number_ids: texts(&["106"]), results: vec![Completed, Failed], ..all() }, "ca"),
        (CallFilter { reasons: texts(&["USER_HANGUP"]), phone_number_ids: texts(&["106", "107"]), ..all() }, "a"),
    ];
    for (filter, names) in &expected {
        let oldest: String = names.chars().rev().collect();
        for size in [1, 2, 3, 10] {
            assert_eq!(found(store, filter, CallOrder::NewestFirst, size).await, *names, "{size} of {filter:?}");
            assert_eq!(found(store, filter, CallOrder::OldestFirst, size).await, oldest, "{size} of {filter:?}");
        }
    }
}

/// A search for each index, with whatever else may be asked for beside it.
pub(super) fn of_every_index() -> Vec<(&'static str, Search)> {
    let mut searches = Vec::new();
    let phone = |digits| CallerKey::Phone(PhoneNumber::parse(digits).unwrap());
    let after = Some(CallPlace { received_at_ms: 5_000, ordinal: 5_000 });
    let all = CallFilter::default;
    let more = |filter: CallFilter| CallFilter {
        from_ms: Some(10),
        before_ms: Some(9_000),
        results: vec![TerminationResult::Completed],
        ..filter
    };
    for (index, filter) in [
        ("calls_by_time", all()),
        ("calls_live_by_time", CallFilter { state: Some(CallState::Live), ..all() }),
        ("calls_by_caller_phone", CallFilter { callers: vec![phone("551"), phone("552")], ..all() }),
        (
            "calls_by_caller_user_id",
            CallFilter { callers: vec![CallerKey::User(UserId::parse("BR.7").unwrap())], ..all() },
        ),
        ("labels_by_value", CallFilter { labels: label("x7"), ..all() }),
        ("calls_by_node", CallFilter { node_ids: texts(&["n1", "n2"]), ..all() }),
        ("calls_by_reason", CallFilter { reasons: texts(&["r1", "r2"]), ..all() }),
        ("calls_by_number", CallFilter { phone_number_ids: texts(&["106", "107"]), ..all() }),
        ("calls_by_result", CallFilter { results: vec![TerminationResult::Completed], ..all() }),
    ] {
        for order in [CallOrder::NewestFirst, CallOrder::OldestFirst] {
            for after in [None, after] {
                searches.push((index, Search { filter: filter.clone(), order, after, size: 20 }));
            }
        }
        if index != "calls_by_time" && index != "calls_live_by_time" {
            searches.push((index, Search { filter: more(filter), after, size: 20, ..Search::default() }));
        }
    }
    searches
}

/// Sorting is for what has been found, never for what is walked along.
#[tokio::test]
async fn sqlite_reads_a_page_along_an_index_in_its_order() {
    let store = Sqlite::open("sqlite::memory:").await.unwrap();
    for (index, search) in of_every_index() {
        let plan = store.plan(&search).await;
        let reads: Vec<&String> = plan.iter().filter(|line| line.contains(" calls USING ")).collect();
        let walks = search.filter.callers.len().max(search.filter.node_ids.len()).max(search.filter.reasons.len());
        let walks = walks.max(search.filter.phone_number_ids.len()).max(1);
        assert_eq!(reads.len(), walks + 1, "{plan:#?}");
        assert_eq!(plan.iter().filter(|line| line.contains(&format!(" INDEX {index}"))).count(), walks, "{plan:#?}");
        assert!(reads[walks].contains("INTEGER PRIMARY KEY"), "{plan:#?}");
        assert!(plan.iter().all(|line| !line.contains("SCAN calls") || line.contains(index)), "{plan:#?}");
        let mut is_walking = false;
        for line in &plan {
            is_walking = line.starts_with("CO-ROUTINE walk_") || (is_walking && !line.starts_with("SCAN walk_"));
            assert!(!is_walking || !line.contains("TEMP B-TREE"), "{plan:#?}");
        }
    }
}
