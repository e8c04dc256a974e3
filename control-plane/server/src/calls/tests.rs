//! One call over a store that fails and a process that is killed, from a seed and in virtual time: whatever happens, the
//! record ends as it would have, Meta is told, the node gets its slot back, nothing is stored twice.

#![allow(clippy::unwrap_used)]

mod elsewhere;
mod faulty;
mod outside;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use voicebridge_core::{
    identity::{CallName, Caller, Wacid},
    webhook::{Connect, Terminate},
};
use voicebridge_proto::types::v1::event::Kind;

use super::*;
use crate::{
    config::{Config, RawConfig},
    convert,
    events::Hub,
    store::{Store, memory::Memory},
};
use elsewhere::Elsewhere;
use faulty::{Faults, Faulty};
use outside::{End, Outside};

/// How long anything may take: a call that is not closed by then is stuck.
const STUCK: Duration = Duration::from_secs(600);
const LOOK: Duration = Duration::from_millis(20);

fn wacid() -> Wacid {
    Wacid::parse("wacid.A").unwrap()
}

/// A number below `bound`, the next one of a seed (SplitMix64).
fn draw(state: &mut u64, bound: u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (mixed ^ (mixed >> 31)) % bound
}

/// A process of the control plane, in the runtime it dies with.
fn calls(store: &Arc<Faulty>, outside: &Arc<Outside>) -> Calls {
    let config = Config::resolve(RawConfig::default()).unwrap();
    let store = Arc::clone(store) as Arc<dyn Store>;
    let ports = Arc::clone(outside) as Arc<dyn Ports>;
    Calls::with_ports(store, Arc::new(Hub::new(0, 1)), ports, config.limits, Lifetime::default())
}

/// What Meta and an API caller do, as far as it has not been done: Meta delivers again until it is answered.
async fn drive(calls: &Calls, store: &Faulty, outside: &Outside, done: &Mutex<(bool, bool)>) {
    while !done.lock().unwrap().0 {
        let connect = Connect {
            wacid: wacid(),
            phone_number_id: Some("106".to_owned()),
            caller: Caller::default(),
            payloads: Payloads::default(),
            timestamp_s: None,
            sdp_offer: "v=0".to_owned(),
        };
        match calls.connect(connect, None, Labels::default()).await {
            Ok(_) => done.lock().unwrap().0 = true,
            Err(_) => tokio::time::sleep(LOOK).await,
        }
    }
    while !is_closed(store).await {
        tokio::time::sleep(LOOK).await;
        if outside.is_talking() && !done.lock().unwrap().1 {
            let ended = match outside.end {
                End::CallerHangsUp => {
                    let terminate = Terminate {
                        wacid: wacid(),
                        phone_number_id: None,
                        timestamp_s: None,
                        failed: false,
                        error_code: None,
                        payloads: Payloads::default(),
                    };
                    calls.terminate(terminate).await.is_ok()
                }
                End::ApiEnds => !matches!(
                    calls.end(&CallName::parse("wacid.A").unwrap(), EndReason::ApiHangup).await,
                    Err(CallError::Store(_))
                ),
                _ => {
                    outside.end_it();
                    true
                }
            };
            done.lock().unwrap().1 = ended;
        }
    }
}

async fn is_closed(store: &Faulty) -> bool {
    store.inner.call_by_wacid(&wacid()).await.unwrap().is_some_and(|row| row.ended_at_ms.is_some())
}

/// How a call ended, and what is stored of it.
#[derive(Debug, PartialEq, Eq)]
struct Record {
    phase: String,
    termination: Termination,
    answered: bool,
    /// Kinds of events, in order.
    kinds: Vec<&'static str>,
    /// The words of the node's events, in order.
    of_node: Vec<String>,
}

impl Record {
    /// What must be the same however long each write took. A node that is gone has taken with it what was not stored yet.
    fn told(&self, end: End) -> (&Termination, bool, Vec<&'static str>, &[String]) {
        let (mut kinds, mut of_node) = (self.kinds.clone(), self.of_node.as_slice());
        kinds.sort_unstable();
        if end == End::NodeLost {
            (kinds, of_node) = (Vec::new(), &[]);
        }
        (&self.termination, self.answered, kinds, of_node)
    }
}

/// [`play_on`] a store of its own.
fn play(end: End, seed: u64, faults: Faults, kills: &[Duration]) -> (Record, Arc<Outside>) {
    play_on(Arc::new(Memory::default()), end, seed, faults, kills)
}

/// Plays one call; the process is killed at these times of its life, one after the other, and started again.
fn play_on(inner: Arc<dyn Store>, end: End, seed: u64, faults: Faults, kills: &[Duration]) -> (Record, Arc<Outside>) {
    let store = Arc::new(Faulty::new(inner, seed, faults));
    let outside = Arc::new(Outside::new(end, seed));
    let done = Mutex::new((false, false));
    for life in 0..=kills.len() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let limit = kills.get(life).copied().unwrap_or(STUCK);
        let finished = runtime.block_on(async {
            let calls = calls(&store, &outside);
            let life = async {
                while calls.recover().await.is_err() {
                    tokio::time::sleep(LOOK).await;
                }
                drive(&calls, &store, &outside, &done).await;
                // What gives back a slot outlives the record.
                calls.environment.lifetime.finish(STUCK).await;
            };
            tokio::time::timeout(limit, life).await.is_ok()
        });
        drop(runtime);
        if finished {
            break;
        }
        assert!(life < kills.len(), "{end:?}, seed {seed}: stuck");
    }
    (record(&store), outside)
}

fn record(store: &Faulty) -> Record {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let row = runtime.block_on(store.inner.call_by_wacid(&wacid())).unwrap().unwrap();
    let events = runtime.block_on(store.inner.events(&row.call_id, 0, i32::MAX as u32)).unwrap();
    assert_eq!(
        events.iter().map(|event| event.sequence).collect::<Vec<_>>(),
        (1..=row.last_sequence).collect::<Vec<_>>(),
        "gapless"
    );
    assert_eq!(events.iter().filter(|event| event.is_last).count(), 1, "one end");
    assert!(events.last().unwrap().is_last, "and it is the last");
    let events: Vec<_> =
        events.iter().map(|event| convert::event_from_row(&row.call_id, event).unwrap().kind.unwrap()).collect();
    let text = |kind: &Kind| match kind {
        Kind::Transcript(transcript) => Some(transcript.text.clone()),
        Kind::SessionEnded(_) => Some("session ended".to_owned()),
        _ => None,
    };
    Record {
        phase: row.phase,
        termination: row.termination.unwrap(),
        answered: row.accepted_at_ms.is_some(),
        kinds: events.iter().map(|kind| convert::event_kind(kind).0).collect(),
        of_node: events.iter().filter_map(text).collect(),
    }
}

/// What holds however the call went.
fn check(record: &Record, outside: &Outside, context: &str) {
    assert_eq!(record.phase, "ENDED", "{context}");
    outside.check(record.termination.reason.as_ref(), context);
    let mut said = record.of_node.clone();
    said.dedup();
    assert_eq!(said, record.of_node, "{context}: an event of the node was stored twice");
}

/// Seeds per kind of end; a long run sets more.
fn seeds() -> u64 {
    std::env::var("VOICEBRIDGE_SOAK_SEEDS").map_or(150, |seeds| seeds.parse().unwrap())
}

const ENDS: [End; 7] = [
    End::CallerHangsUp,
    End::AiHangsUp,
    End::ApiEnds,
    End::NodeLost,
    End::PreAcceptRefused,
    End::AcceptRefused,
    End::NoNode,
];

#[test]
fn a_call_ends_as_it_does_without_faults() {
    let reasons = ENDS.map(|end| play(end, 1, Faults::None, &[]).0.termination.reason.into_owned());
    assert_eq!(
        reasons,
        [
            "USER_HANGUP",
            "AGENT_HANGUP",
            "API_HANGUP",
            "NODE_LOST",
            "GRAPH_REFUSED",
            "GRAPH_REFUSED",
            "NO_NODE_AVAILABLE"
        ]
    );
}

#[test]
fn whatever_the_store_refuses_the_record_ends_equal() {
    for seed in 0..seeds() {
        for end in ENDS {
            let context = format!("{end:?}, seed {seed}");
            let (expected, _) = play(end, seed, Faults::None, &[]);
            let (found, outside) = play(end, seed, Faults::Some, &[]);
            check(&found, &outside, &context);
            assert_eq!(found.told(end), expected.told(end), "{context}");
        }
    }
}

/// When the process is killed, and whether the store fails as well.
fn kills(seed: u64) -> (Vec<Duration>, Faults) {
    let mut state = seed ^ 0x5EED;
    let kills = (0..=draw(&mut state, 3)).map(|_| Duration::from_millis(draw(&mut state, 1_500))).collect();
    (kills, if draw(&mut state, 2) == 0 { Faults::None } else { Faults::Some })
}

#[test]
fn whenever_the_process_is_killed_the_call_ends() {
    for seed in 0..seeds() {
        for end in ENDS {
            let (kills, faults) = kills(seed);
            let context = format!("{end:?}, seed {seed}, killed after {kills:?}, {faults:?}");
            let (found, outside) = play(end, seed, faults, &kills);
            check(&found, &outside, &context);
            let (expected, _) = play(end, seed, Faults::None, &[]);
            let reason = found.termination.reason.as_ref();
            // A set-up that was cut short is turned down; whatever was answered ends as it would have.
            let cut_short = reason == "CONTROL_RESTARTED" && !found.answered;
            assert!(cut_short || found.termination == expected.termination, "{context}: {found:?}");
        }
    }
}

/// A store that takes nothing for longer than Meta lets a call ring, from any write of the set-up on.
#[test]
fn a_call_is_turned_down_before_it_has_rung_too_long() {
    let outage = Duration::from_secs(90);
    for (seed, taken) in (0..20).flat_map(|seed| (0..12).map(move |taken| (seed, taken))) {
        let (found, outside) = play(End::CallerHangsUp, seed, Faults::Outage(taken, outage), &[]);
        let context = format!("seed {seed}, after {taken} writes");
        check(&found, &outside, &context);
        if taken == 0 {
            assert_eq!(found.termination.reason, "RING_TIMEOUT", "{context}");
        }
        if found.termination.reason == "RING_TIMEOUT" {
            let told = ["reject", "terminate"].into_iter().find_map(|action| outside.asked(action));
            let (at, _) = told.unwrap_or_else(|| panic!("{context}: Meta was not told"));
            assert!(at <= Duration::from_secs(31), "{context}: told after {at:?}");
        }
    }
}

/// Both of the above on a real database.
fn ends_equal_on(url: &str) {
    let store = Arc::new(Elsewhere::open(url));
    let play_in_memory = play;
    let play = |end, seed, faults, kills: &[Duration]| {
        store.clear();
        play_on(Arc::clone(&store) as Arc<dyn Store>, end, seed, faults, kills)
    };
    for seed in 0..real_seeds() {
        for end in ENDS {
            let (expected, _) = play_in_memory(end, seed, Faults::None, &[]);
            let (found, outside) = play(end, seed, Faults::Some, &[]);
            let context = format!("{end:?}, seed {seed}");
            check(&found, &outside, &context);
            assert_eq!(found.told(end), expected.told(end), "{context}");

            let (kills, faults) = kills(seed);
            let (found, outside) = play(end, seed, faults, &kills);
            let context = format!("{end:?}, seed {seed}, killed after {kills:?}, {faults:?}");
            check(&found, &outside, &context);
            let cut_short = found.termination.reason == "CONTROL_RESTARTED" && !found.answered;
            assert!(cut_short || found.termination == expected.termination, "{context}: {found:?}");
        }
    }
}

/// Seeds per kind of end on real databases; a long run sets more.
fn real_seeds() -> u64 {
    std::env::var("VOICEBRIDGE_SOAK_SEEDS").map_or(15, |seeds| seeds.parse().unwrap())
}

#[test]
fn whatever_fails_the_record_ends_equal_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    ends_equal_on(&format!("sqlite://{}", folder.path().join("calls.db").display()));
}

#[test]
fn whatever_fails_the_record_ends_equal_on_postgres() {
    ends_equal_on(&voicebridge_postgres::database());
}
