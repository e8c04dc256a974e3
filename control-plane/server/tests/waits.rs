//! Waiting until a call has got so far, by one request and without a stream.

#![allow(clippy::unwrap_used)]

mod support;

use support::{PATIENCE, Plane, connect, system, terminate};
use tonic::{Code, Status};
use voicebridge_proto::{
    control::v1::{
        AdvanceSessionRequest, Progress, StartSessionRequest, WaitForSessionRequest, WaitForSessionResponse,
    },
    types::v1::{ProviderReady, SignallingStage, TerminationResult, event::Kind},
};
use voicebridge_telemetry::status::reason;

async fn wait(
    plane: &Plane,
    call_id: &str,
    until: &[Progress],
    timeout_ms: u32,
) -> Result<WaitForSessionResponse, Status> {
    let until = until.iter().map(|progress| i32::from(*progress)).collect();
    let request = WaitForSessionRequest { call_id: call_id.to_owned(), until, timeout_ms };
    let mut client = plane.client().await;
    let answered = tokio::time::timeout(PATIENCE, client.wait_for_session(request)).await;
    answered.expect("an answer in time").map(tonic::Response::into_inner)
}

fn reached(response: &WaitForSessionResponse) -> Vec<Progress> {
    response.reached.iter().map(|reached| reached.progress()).collect()
}

fn reason_of(response: &WaitForSessionResponse) -> Option<&str> {
    response.termination.as_ref().map(|termination| termination.reason.as_str())
}

async fn start(plane: &Plane, call_id: &str) {
    let sdp_offer = format!("v=0\r\ns={call_id}\r\n");
    let request = StartSessionRequest { call_id: call_id.to_owned(), sdp_offer, elapsed_ms: 40, ..Default::default() };
    plane.client().await.start_session(request).await.unwrap();
}

async fn advance(plane: &Plane, call_id: &str, stage: SignallingStage) {
    let request = AdvanceSessionRequest { call_id: call_id.to_owned(), stage: stage.into() };
    plane.client().await.advance_session(request).await.unwrap();
}

/// More than any of these takes; the answer must not wait for it.
const LONG: u32 = 15_000;
use Progress::{AiReady, Ended, MediaActive, TransportConnected as Transport};

#[tokio::test]
async fn who_waits_is_answered_when_it_is_reached_and_who_comes_later_at_once() {
    let (_graph, plane, node) = system().await;
    node.without_ai();
    start(&plane, "one").await;
    let ready = async { wait(&plane, "one", &[Transport, AiReady], LONG).await.unwrap() };
    let transport = async { wait(&plane, "one", &[Transport], LONG).await.unwrap() };
    let go_on = async {
        let before = wait(&plane, "one", &[Transport], 0).await.unwrap();
        assert_eq!((reached(&before), before.termination), (vec![], None));
        advance(&plane, "one", SignallingStage::AnswerDelivered).await;
        let session = node.session("one", "session", |_| true).await.session_id;
        // Not enough for whoever wants both.
        let some = wait(&plane, "one", &[Transport], LONG).await.unwrap();
        assert_eq!(reached(&some), [Transport]);
        node.emit(&session, Kind::ProviderReady(ProviderReady::default()));
    };
    let (ready, transport, ()) = tokio::join!(ready, transport, go_on);
    assert_eq!(reached(&ready), [Transport, AiReady]);
    assert_eq!(ready.call_id, plane.id("one").await);
    assert!(ready.reached.iter().all(|reached| reached.elapsed_ms >= 40), "{ready:?}");
    assert!(reached(&transport).contains(&Transport));
    advance(&plane, "one", SignallingStage::Accepted).await;
    let active = wait(&plane, "one", &[MediaActive], LONG).await.unwrap();
    assert_eq!(reached(&active), [Transport, AiReady, MediaActive]);
    let later = wait(&plane, &ready.call_id, &[Transport, AiReady], LONG).await.unwrap();
    assert_eq!(reached(&later), reached(&active), "by our id, too");
}

#[tokio::test]
async fn a_call_that_ends_answers_everybody_who_waits_with_how_it_ended() {
    let (_graph, plane, node) = system().await;
    node.without_ai();
    start(&plane, "over").await;
    let session = node.session("over", "session", |_| true).await.session_id;
    let waiting = async { wait(&plane, "over", &[AiReady], LONG).await.unwrap() };
    let closed = async { wait(&plane, "over", &[Ended], LONG).await.unwrap() };
    let end = async { node.end(&session, TerminationResult::Failed, "PROVIDER_SESSION_FAILED", "") };
    let (waiting, closed, ()) = tokio::join!(waiting, closed, end);
    assert_eq!(reason_of(&waiting), Some("PROVIDER_SESSION_FAILED"));
    assert_eq!((reached(&closed), reason_of(&closed)), (vec![Ended], Some("PROVIDER_SESSION_FAILED")));
    // Also of one that the control plane speaks for.
    plane.deliver(&[connect("managed"), terminate("managed")]).await;
    let managed = wait(&plane, "managed", &[Ended], LONG).await.unwrap();
    assert_eq!(
        (managed.call_id, plane.ended("managed").await.1),
        (plane.id("managed").await, "CALLER_ABANDONED".to_owned())
    );
}

#[tokio::test]
async fn what_is_not_reached_in_time_is_told_as_it_stands() {
    let (_graph, plane, node) = system().await;
    node.without_ai();
    start(&plane, "slow").await;
    advance(&plane, "slow", SignallingStage::AnswerDelivered).await;
    wait(&plane, "slow", &[Transport], LONG).await.unwrap();
    let answer = wait(&plane, "slow", &[Transport, AiReady], 50).await.unwrap();
    assert_eq!((reached(&answer), answer.termination), (vec![Transport], None));
}

#[tokio::test]
async fn a_restart_of_the_control_plane_changes_nothing() {
    let (_graph, mut plane, node) = system().await;
    start(&plane, "kept").await;
    advance(&plane, "kept", SignallingStage::AnswerDelivered).await;
    let before = wait(&plane, "kept", &[Transport, AiReady], LONG).await.unwrap();
    plane.kill();
    plane.restart().await;
    let after = wait(&plane, "kept", &[Transport, AiReady], LONG).await.unwrap();
    assert_eq!(before, after);
    let session = node.session("kept", "session", |_| true).await.session_id;
    let ended = async { wait(&plane, "kept", &[Ended], LONG).await.unwrap() };
    let end = async {
        plane.nodes(1).await;
        node.end(&session, TerminationResult::Completed, "AGENT_HANGUP", "");
    };
    let (ended, ()) = tokio::join!(ended, end);
    assert_eq!(reason_of(&ended), Some("AGENT_HANGUP"));
}

#[tokio::test]
async fn a_wait_that_the_end_of_the_process_cuts_off_is_to_be_made_again() {
    let (_graph, mut plane, _node) = system().await;
    start(&plane, "left").await;
    let mut client = plane.client().await;
    let request = WaitForSessionRequest { call_id: "left".to_owned(), until: vec![Ended.into()], timeout_ms: LONG };
    let waiting = tokio::spawn(async move { client.wait_for_session(request).await });
    support::until("it waits", || async {
        let metrics = plane.http.get(format!("{}/metrics", plane.url)).send().await.ok()?.text().await.ok()?;
        metrics.contains("voicebridge_control_subscribers 1").then_some(())
    })
    .await;
    let ended = plane.terminate();
    let refused = tokio::time::timeout(PATIENCE, waiting).await.unwrap().unwrap().unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_deref()), (Code::Unavailable, Some("CONTROL_DRAINING")));
    ended.await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_waited_for_is_refused_by_name() {
    let (_graph, plane, _node) = system().await;
    start(&plane, "one").await;
    for (call_id, until, timeout_ms, expect) in [
        ("none", &[Transport] as &[_], 0, (Code::NotFound, "CALL_NOT_FOUND")),
        ("one", &[], 0, (Code::InvalidArgument, "INVALID_ARGUMENT")),
        ("one", &[Progress::Unspecified], 0, (Code::InvalidArgument, "INVALID_ARGUMENT")),
        ("one", &[Transport], 30_001, (Code::InvalidArgument, "INVALID_ARGUMENT")),
    ] {
        let refused = wait(&plane, call_id, until, timeout_ms).await.unwrap_err();
        assert_eq!((refused.code(), reason(&refused).as_deref()), (expect.0, Some(expect.1)), "{call_id} {until:?}");
    }
}
