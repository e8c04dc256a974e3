//! The control plane is killed, `kill -9`, at every phase of a call, and started again on its database.

use std::time::Duration;

use voicebridge_postgres::{Pooler, database, shared};
use voicebridge_proto::{
    control::v1::CallPhase,
    types::v1::{Event, event::Kind},
};
use voicebridge_simulator::meta::{Action, CallRecord, CallerSettings, EndedBy, Moment, Step};
use voicebridge_system_tests::{SOON, Setup, World};

use crate::talk::{caller, hangs_up_at_once, heard, say, sensible_ai};

/// When the process is killed: as soon as the first call of a round got there. Each round has two calls, one that its caller
/// ends and one that the AI does.
const MOMENTS: [Moment; 10] = [
    Moment::ConnectSent,
    Moment::ConnectAnswered,
    Moment::PreAcceptReceived,
    Moment::PreAcceptAnswered,
    Moment::TransportConnected,
    Moment::AcceptReceived,
    Moment::AcceptAnswered,
    Moment::FirstSpeech,
    Moment::CallerHungUp,
    Moment::Terminated,
];

fn says_goodbye() -> CallerSettings {
    caller(vec![heard(), say("goodbye-en"), Step::Listen])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whenever_the_control_plane_is_killed_every_call_ends_once_and_meta_knows_it() {
    every_call_ends(Setup::default()).await;
}

/// Through a pooler that gives each transaction another connection, as Supabase does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_they_do_on_postgres_behind_a_pooler() {
    let pooler = Pooler::before(shared());
    let mut setup = Setup::default();
    setup.control.insert("DATABASE_URL".to_owned(), pooler.url(&database()));
    every_call_ends(setup).await;
}

async fn every_call_ends(mut setup: Setup) {
    setup.ai = Some(sensible_ai());
    // Meta repeats what was not taken.
    setup.meta.webhooks.attempts = 60;
    setup.meta.webhooks.pause = Duration::from_millis(300);
    let mut world = setup.start().await;
    for moment in MOMENTS {
        let calls =
            [world.meta.call(hangs_up_at_once()).await.unwrap(), world.meta.call(says_goodbye()).await.unwrap()];
        let first = if moment == Moment::Terminated { &calls[1] } else { &calls[0] };
        first.reached(moment).await.unwrap_or_else(|| panic!("{moment:?} is never reached"));
        world.control.kill();
        world.control.end(SOON).await;
        world.restart_control().await;
        let [theirs, ours] = calls;
        let record = theirs.finish().await;
        if moment >= Moment::FirstSpeech {
            assert_eq!(record.ended_by, EndedBy::Caller, "killed at {moment:?}: a restart leaves a live call alone");
        }
        check(&world, moment, &record).await;
        check(&world, moment, &ours.finish().await).await;
    }
    let closed = world.ai().until(SOON, |sessions| sessions.iter().all(|session| session.closed.is_some())).await;
    assert!(closed, "the node has let go of every call");
    world.stop().await;
}

async fn check(world: &World, moment: Moment, record: &CallRecord) {
    let granted = |action| record.graph.iter().filter(|asked| asked.action == action && asked.result.is_ok()).count();
    let context = format!("killed at {moment:?}: {:?}, {:?}", record.ended_by, record.graph);
    assert!(granted(Action::Accept) <= 1, "{context}");
    match record.ended_by {
        EndedBy::Caller | EndedBy::CallerAbandoned => {}
        EndedBy::BusinessRejected => assert_eq!(granted(Action::Reject), 1, "{context}"),
        EndedBy::BusinessTerminated => assert_eq!(granted(Action::Terminate), 1, "{context}"),
        _ => panic!("nobody told Meta of the end. {context}"),
    }
    // A call that the caller gave up before anybody had taken its beginning has no record, only its end is remembered.
    if world.calls.get(&record.call_id).await.unwrap().is_none() {
        assert_eq!((moment, record.ended_by), (Moment::ConnectSent, EndedBy::CallerAbandoned), "{context}");
        return;
    }
    let call = world.calls.ended(&record.call_id).await;
    assert_eq!((call.phase(), call.termination.is_some()), (CallPhase::Ended, true), "{context}");
    let events = world.calls.events(&record.call_id).await;
    let sequences: Vec<u64> = events.iter().map(|event| event.sequence).collect();
    assert_eq!(sequences, (1..=events.len() as u64).collect::<Vec<_>>(), "gapless. {context}");
    let ends =
        |wanted: fn(&Kind) -> bool| events.iter().filter(|event| event.kind.as_ref().is_some_and(wanted)).count();
    assert_eq!(ends(|kind| matches!(kind, Kind::CallEnded(_))), 1, "{context}");
    assert_eq!(
        ends(|kind| matches!(kind, Kind::SessionEnded(_))),
        ends(|kind| matches!(kind, Kind::OfferAnswered(_))),
        "what began ended. {context}"
    );
    let of_node: Vec<Event> =
        events.into_iter().filter(is_of_node).map(|event| Event { sequence: 0, ..event }).collect();
    for (index, event) in of_node.iter().enumerate() {
        assert!(!of_node[..index].contains(event), "an event of the node is there twice: {event:?}. {context}");
    }
}

fn is_of_node(event: &Event) -> bool {
    !event.session_id.is_empty()
}
