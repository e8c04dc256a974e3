//! A media node drains or crashes while it has a call, or the control plane stands still and does not hear it.

use std::time::Duration;

use voicebridge_proto::types::v1::TerminationResult;
use voicebridge_simulator::meta::{EndedBy, Moment, Step};
use voicebridge_system_tests::{SOON, Setup, eventually, termination};

use crate::talk::{
    asks_one_question, assert_heard, assert_understood, caller, hangs_up_at_once, heard, say, sensible_ai, stays,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draining_node_finishes_its_call_and_exits_while_others_take_the_new_ones() {
    let mut world = Setup { nodes: 2, ai: Some(sensible_ai()), ..Setup::default() }.start().await;
    // Long enough that the call is still there after the new ones; the question comes after the signal.
    let script = vec![heard(), Step::Silence(Duration::from_secs(4)), say("opening-hours"), heard(), Step::HangUp];
    let live = world.meta.call(caller(script)).await.unwrap();
    let placed = world.calls.active(live.id()).await;
    let draining = world.node_of(&placed);
    world.nodes[draining].process.terminate();

    for _ in 0..2 {
        let record = world.meta.call(hangs_up_at_once()).await.unwrap().finish().await;
        let call = world.calls.ended(&record.call_id).await;
        assert_eq!(record.ended_by, EndedBy::Caller);
        assert_ne!(call.node_id, placed.node_id, "a new call went to the draining node");
    }
    assert!(world.nodes[draining].process.exited().is_none(), "it has a live call");

    let record = live.finish().await;
    assert_eq!(record.ended_by, EndedBy::Caller);
    assert_heard(&record, &["welcome", "open-from-nine"]);
    assert_understood(&world.ai().sessions()[0], &["opening-hours"]);
    assert_eq!(termination(&world.calls.ended(&record.call_id).await).reason, "USER_HANGUP");
    let status = world.nodes[draining].process.end(SOON).await;
    assert!(status.success(), "{status}");
    eventually("the control plane to see it leave", SOON, || {
        let log = world.control.log();
        async move { log.contains("node left after its drain").then_some(()) }
    })
    .await;
    assert!(!world.control.log().contains("node lost"), "who leaves politely is not lost");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_does_not_wait_for_calls() {
    let mut world = Setup { ai: Some(sensible_ai()), ..Setup::default() }.start().await;
    let live = world.meta.call(stays()).await.unwrap();
    world.calls.active(live.id()).await;
    world.nodes[0].process.terminate();
    eventually("the node to say that it drains", SOON, || {
        let log = world.nodes[0].process.log();
        async move { log.contains("drain").then_some(()) }
    })
    .await;
    world.nodes[0].process.terminate();
    world.nodes[0].process.end(SOON).await;
    let record = live.finish().await;
    assert_eq!(record.ended_by, EndedBy::BusinessTerminated, "the caller is not left in silence");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_calls_of_a_crashed_node_are_ended_at_meta_within_seconds() {
    let mut world = Setup { nodes: 2, ai: Some(sensible_ai()), ..Setup::default() }.start().await;
    let live = world.meta.call(stays()).await.unwrap();
    let placed = world.calls.active(live.id()).await;
    live.reached(Moment::FirstSpeech).await.expect("the greeting begins");
    let crashed = world.node_of(&placed);
    world.nodes[crashed].process.kill();

    let record = live.finish().await;
    let call = world.calls.ended(&record.call_id).await;
    // Not by Meta for want of media, which takes 20 s and more.
    assert_eq!(record.ended_by, EndedBy::BusinessTerminated);
    assert_eq!(termination(&call).reason, "NODE_LOST");
    assert_eq!(termination(&call).result(), TerminationResult::Failed);

    let record = world.meta.call(asks_one_question()).await.unwrap().finish().await;
    assert_heard(&record, &["welcome", "open-from-nine"]);
    assert_ne!(world.calls.ended(&record.call_id).await.node_id, placed.node_id);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_control_plane_that_stood_still_for_longer_than_the_limit_loses_no_node() {
    // Two missed beats instead of ten, so that the test is short.
    let control = [("VOICEBRIDGE_NODE_LOST_BEATS".to_owned(), "2".to_owned())].into();
    let mut world = Setup { nodes: 2, ai: Some(sensible_ai()), control, ..Setup::default() }.start().await;
    let mut live = Vec::new();
    for _ in 0..2 {
        let call = world.meta.call(stays()).await.unwrap();
        world.calls.active(call.id()).await;
        live.push(call);
    }
    world.control.pause();
    // The nodes find their registration dead after 4 s.
    for node in &world.nodes {
        eventually("the node's registration to break", SOON, || {
            let log = node.process.log();
            async move { log.contains("not registered with the control plane").then_some(()) }
        })
        .await;
    }
    world.control.resume();
    for node in &world.nodes {
        eventually("the node's second registration", SOON, || {
            let log = node.process.log();
            async move { (log.matches("registered with the control plane control_url").count() > 1).then_some(()) }
        })
        .await;
    }
    assert!(!world.control.log().contains("node lost"), "a node was given up");
    for call in live {
        call.hang_up().await;
        let record = call.finish().await;
        assert_eq!(termination(&world.calls.ended(&record.call_id).await).reason, "USER_HANGUP");
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_announces_another_host_is_refused_by_name_and_gets_no_calls() {
    let mut world = Setup { nodes: 0, ai: Some(sensible_ai()), ..Setup::default() }.start().await;
    let elsewhere = [("VOICEBRIDGE_MEDIA_ADVERTISE".to_owned(), "http://192.0.2.7:3200".to_owned())].into();
    world.add_node("elsewhere", &elsewhere).unwrap();
    eventually("the node to be refused", SOON, || {
        let log = world.nodes[0].process.log();
        async move { log.contains("NODE_ADDRESS_REFUSED").then_some(()) }
    })
    .await;
    let record = world.meta.call(hangs_up_at_once()).await.unwrap().finish().await;
    assert_eq!(record.ended_by, EndedBy::BusinessRejected);
    assert_eq!(termination(&world.calls.ended(&record.call_id).await).reason, "NO_NODE_AVAILABLE");
    world.stop().await;
}
