//! The control plane is restarted under live calls.

use std::time::Duration;

use tonic::Code;
use voicebridge_proto::control::v1::{CallPhase, Command, Say, SendCommandRequest, command::Kind};
use voicebridge_simulator::meta::{EndedBy, Step};
use voicebridge_system_tests::{SOON, Setup};
use voicebridge_telemetry::status::reason;

use crate::talk::{
    assert_ended, assert_heard, assert_no_violations, assert_understood, caller, hangs_up_at_once, heard, say,
    sensible_ai, stays,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_go_on_without_the_control_plane_and_are_known_again_after_its_restart() {
    let mut world = Setup { ai: Some(sensible_ai()), ..Setup::default() }.start().await;
    // The question and its answer fall into the absence of the control plane.
    let script = vec![heard(), say("opening-hours"), heard(), Step::Listen];
    let live = world.meta.call(caller(script)).await.unwrap();
    let before = world.calls.active(live.id()).await;
    world.control.terminate();
    let status = world.control.end(SOON).await;
    assert!(status.success(), "{status}");

    let understood = world.ai().until(SOON, |sessions| sessions[0].replies.len() == 2).await;
    assert!(understood, "the conversation goes on");
    world.restart_control().await;
    let known = world.calls.get(live.id()).await.unwrap().expect("it knows the call");
    assert_eq!((known.phase(), &known.session_id), (CallPhase::Active, &before.session_id));

    // Everything that happened meanwhile arrives.
    world.calls.until_said(live.id(), 3).await;
    assert_eq!(world.calls.get(live.id()).await.unwrap().unwrap().node_id, before.node_id);
    live.hang_up().await;
    let record = live.finish().await;
    let call = world.calls.ended(&record.call_id).await;
    assert_ended(&call, "USER_HANGUP", "");
    assert_heard(&record, &["welcome", "open-from-nine"]);
    let closed = world.ai().until(SOON, |sessions| sessions[0].closed.is_some()).await;
    assert!(closed, "the node has let go of the call");
    assert_understood(&world.ai().sessions()[0], &["opening-hours"]);
    assert_no_violations(&record, &world.ai().sessions()[0]);

    let record = world.meta.call(hangs_up_at_once()).await.unwrap().finish().await;
    assert_eq!(record.ended_by, EndedBy::Caller, "and new calls are answered");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_is_repeated_after_a_kill_is_said_once() {
    let mut world = Setup { ai: Some(sensible_ai()), ..Setup::default() }.start().await;
    let live = world.meta.call(stays()).await.unwrap();
    world.calls.until_said(live.id(), 1).await;
    let announce = |text: &str| SendCommandRequest {
        call_id: live.id().to_owned(),
        command: Some(Command { kind: Some(Kind::Say(Say { text: text.to_owned() })) }),
        command_id: "announcement-1".to_owned(),
    };
    world.calls.client().send_command(announce("Please hold the line.")).await.unwrap();
    world.calls.until_said(live.id(), 2).await;
    world.control.kill();
    world.control.end(SOON).await;
    world.restart_control().await;

    // As by somebody whose first answer got lost.
    let again = world.calls.client().send_command(announce("Please hold the line.")).await.unwrap();
    assert_eq!(again.into_inner().command_id, "announcement-1");
    let other = world.calls.client().send_command(announce("Good-bye.")).await.unwrap_err();
    assert_eq!((other.code(), reason(&other).as_deref()), (Code::AlreadyExists, Some("COMMAND_ID_REUSED")));
    let fresh = SendCommandRequest { command_id: "announcement-2".to_owned(), ..announce("Still there?") };
    world.calls.client().send_command(fresh).await.unwrap();
    world.calls.until_said(live.id(), 3).await;
    live.hang_up().await;
    live.finish().await;
    let replies = world.ai().sessions()[0].replies.len();
    assert_eq!(replies, 3, "the greeting and two announcements");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hang_up_while_the_control_plane_is_away_is_handled_when_meta_repeats_it() {
    let mut setup = Setup { ai: Some(sensible_ai()), ..Setup::default() };
    setup.meta.webhooks.attempts = 60;
    setup.meta.webhooks.pause = Duration::from_millis(500);
    let mut world = setup.start().await;
    let live = world.meta.call(stays()).await.unwrap();
    world.calls.active(live.id()).await;
    world.control.kill();
    world.control.end(SOON).await;
    live.hang_up().await;
    world.restart_control().await;
    let record = live.finish().await;
    assert_eq!(record.ended_by, EndedBy::Caller);
    assert_ended(&world.calls.ended(&record.call_id).await, "USER_HANGUP", "");
    assert!(world.ai().until(SOON, |sessions| sessions[0].closed.is_some()).await);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_being_set_up_is_finished_before_the_control_plane_exits() {
    let mut ai = sensible_ai();
    // Setting up takes long enough to be caught in the middle.
    ai.faults.update = voicebridge_simulator::ai::UpdateFault::Slow(Duration::from_millis(1_000));
    let mut world = Setup { ai: Some(ai), ..Setup::default() }.start().await;
    let live = world.meta.call(stays()).await.unwrap();
    live.reached(voicebridge_simulator::meta::Moment::PreAcceptAnswered).await.expect("pre_accept");
    world.control.terminate();
    let status = world.control.end(SOON).await;
    assert!(status.success(), "{status}");
    live.reached(voicebridge_simulator::meta::Moment::AcceptAnswered).await.expect("it was answered all the same");
    live.reached(voicebridge_simulator::meta::Moment::FirstSpeech).await.expect("and greeted");
    world.restart_control().await;
    live.hang_up().await;
    let record = live.finish().await;
    assert_ended(&world.calls.ended(&record.call_id).await, "USER_HANGUP", "");
    world.stop().await;
}
