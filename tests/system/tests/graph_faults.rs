//! Graph refuses, fails or falls silent: the call ends with Meta's code, the slot is free again, nobody is left ringing.

use std::time::Duration;

use voicebridge_proto::{
    control::v1::Call,
    types::v1::{GraphAction, TerminationResult, event::Kind},
};
use voicebridge_simulator::meta::{Action, CallRecord, CallerSettings, EndedBy, Faults, GraphFault};
use voicebridge_system_tests::{SOON, Setup, World, eventually, termination};

use crate::talk::{assert_ended, granted, hangs_up_at_once, sensible_ai};

async fn world() -> World {
    let control = [("VOICEBRIDGE_GRAPH_TIMEOUT_MS".to_owned(), "700".to_owned())].into();
    Setup { ai: Some(sensible_ai()), control, ..Setup::default() }.start().await
}

/// One call that meets `faults`. Whoever still rings after a while gives up, so that a forgotten call fails the test
/// and does not hang it.
async fn call(world: &World, faults: Faults) -> (CallRecord, Call) {
    let hang_up_while_ringing = Some(Duration::from_secs(20));
    let settings = CallerSettings { faults, hang_up_while_ringing, ..hangs_up_at_once() };
    let record = world.meta.call(settings).await.unwrap().finish().await;
    let call = world.calls.ended(&record.call_id).await;
    (record, call)
}

/// Neither the node nor the AI holds anything of a call any more.
async fn assert_freed(world: &World) {
    eventually("no active call", SOON, || async {
        let health = world.http.get("/health").await.ok()?;
        (health.body["activeCalls"] == 0).then_some(())
    })
    .await;
    assert!(
        world.ai().until(SOON, |sessions| sessions.iter().all(|session| session.closed.is_some())).await,
        "an AI session is still open"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_answer_ends_the_call_with_metas_code() {
    let world = world().await;
    for (action, code) in [(Action::PreAccept, 100), (Action::Accept, 138_008), (Action::Accept, 138_006)] {
        let (record, call) = call(&world, Faults::none().always(action, GraphFault::Refuse(code))).await;
        assert_ended(&call, "GRAPH_REFUSED", &code.to_string());
        assert_eq!(termination(&call).result(), TerminationResult::Failed);
        assert_eq!(record.ended_by, EndedBy::BusinessRejected, "{action:?} {code}: the caller is not left ringing");
        let answered = world.calls.events(&record.call_id).await.into_iter().filter_map(|event| match event.kind {
            Some(Kind::GraphAnswered(answer)) => Some((answer.action(), answer.error_code)),
            _ => None,
        });
        let asked = match action {
            Action::PreAccept => GraphAction::PreAccept,
            _ => GraphAction::Accept,
        };
        let expected = (asked, i32::try_from(code).unwrap());
        assert!(answered.into_iter().any(|answer| answer == expected), "{action:?} {code} is among the events");
    }
    assert_freed(&world).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_passing_failure_is_tried_again() {
    let world = world().await;
    for action in [Action::PreAccept, Action::Accept] {
        let (record, call) = call(&world, Faults::none().times(action, GraphFault::Refuse(503), 1)).await;
        assert_eq!(record.ended_by, EndedBy::Caller, "{action:?}");
        assert_eq!(granted(&record), [Action::PreAccept, Action::Accept]);
        assert_ended(&call, "USER_HANGUP", "");
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lasting_failure_ends_the_call() {
    let world = world().await;
    for action in [Action::PreAccept, Action::Accept] {
        let (record, call) = call(&world, Faults::none().always(action, GraphFault::Refuse(503))).await;
        assert_ended(&call, "GRAPH_REFUSED", "503");
        assert_eq!(record.ended_by, EndedBy::BusinessRejected, "{action:?}");
    }
    assert_freed(&world).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_counts_as_unreachable() {
    let world = world().await;
    for action in [Action::PreAccept, Action::Accept] {
        let (record, call) = call(&world, Faults::none().always(action, GraphFault::Hang)).await;
        assert_ended(&call, "GRAPH_UNREACHABLE", "timeout");
        assert_eq!(record.ended_by, EndedBy::BusinessRejected, "{action:?}");
    }
    assert_freed(&world).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_accept_whose_answer_got_lost_does_not_leave_a_caller_in_silence() {
    let world = world().await;
    let (record, call) = call(&world, Faults::none().times(Action::Accept, GraphFault::LoseAnswer, 1)).await;
    // Meta counts the call as answered. Whether it went on or was ended, the caller did not have to wait for it.
    assert_eq!(granted(&record)[..2], [Action::PreAccept, Action::Accept]);
    assert!(matches!(record.ended_by, EndedBy::Caller | EndedBy::BusinessTerminated), "{record:?}");
    assert_ne!(termination(&call).reason, "RING_TIMEOUT");
    assert_freed(&world).await;
    world.stop().await;
}
