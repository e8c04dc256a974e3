//! The control plane goes away, politely or not, and comes back: calls are known again and every one of them ends.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use sqlx::{ConnectOptions as _, sqlite::SqliteConnectOptions};
use support::{Graph, Node, Plane, connect, plane, system, terminate, terminate_failed};
use tonic::Code;
use voicebridge_proto::{
    control::v1::{AdvanceSessionRequest, CallPhase, StartSessionRequest, StartSessionResponse},
    types::v1::{Agent, SignallingStage, TerminationResult, event::Kind},
};
use voicebridge_telemetry::status::{metadata, reason};

fn ending(result: TerminationResult, reason: &str, code: &str) -> (TerminationResult, String, String) {
    (result, reason.to_owned(), code.to_owned())
}

#[tokio::test]
async fn a_live_call_outlives_the_control_plane() {
    let (graph, mut plane, node) = system().await;
    plane.deliver(&[connect("lives")]).await;
    let before = plane.phase("lives", CallPhase::Active).await;
    plane.terminate().await.unwrap();
    // Meanwhile the conversation goes on.
    let said = |text: &str| {
        Kind::Transcript(voicebridge_proto::types::v1::Transcript { text: text.to_owned(), ..Default::default() })
    };
    node.emit(&before.session_id, said("meanwhile"));
    assert!(node.session("lives", "session", |_| true).await.ended.is_none());
    plane.restart().await;
    plane.nodes(1).await;
    assert_eq!(plane.get("/health").await.1["activeCalls"], 1);
    assert_eq!(plane.call("lives").await.unwrap().phase(), CallPhase::Active);
    assert_eq!(plane.said("lives", 1).await.len(), 1);
    plane.deliver(&[terminate("lives")]).await;
    assert_eq!(plane.ended("lives").await, ending(TerminationResult::Completed, "USER_HANGUP", ""));
    assert_eq!(node.session("lives", "ended", |s| s.ended.is_some()).await.ended.unwrap().reason, "USER_HANGUP");
    assert_eq!(graph.actions("lives"), ["pre_accept", "accept"]);
    let events = plane.events("lives", "").await;
    assert_eq!(
        events.iter().map(|event| event.sequence).collect::<Vec<_>>(),
        (1..=events.len() as u64).collect::<Vec<_>>()
    );
    let names = plane::kind_names(&events);
    for once in ["transcript meanwhile", "VOICE_BRIDGE_SESSION_CREATED", "MEDIA_BRIDGE_ACTIVE", "transport connected"] {
        assert_eq!(names.iter().filter(|name| *name == once).count(), 1, "{once}: {names:?}");
    }
}

#[tokio::test]
async fn a_shutdown_finishes_what_it_is_setting_up() {
    let (graph, mut plane, node) = system().await;
    graph.hold();
    plane.deliver(&[connect("ringing"), connect("gone")]).await;
    graph.wait("ringing", "pre_accept").await;
    graph.wait("gone", "pre_accept").await;
    let stopped = plane.terminate();
    // A webhook that comes before the signal has arrived is still taken, and rightly.
    support::until("it drains", || async {
        let (code, health) = plane.get("/health").await;
        ((code, health["status"].as_str()) == (503, Some("draining"))).then_some(())
    })
    .await;
    assert_eq!(plane.deliver(&[connect("new")]).await, 503, "new webhooks are turned away");
    assert_eq!(plane.post("/sessions/start", serde_json::json!({"callId": "n", "sdpOffer": "v=0"})).await.0, 503);
    assert!(!stopped.is_finished());
    // Of a delivery that begins one call and ends another only the end is taken; Meta delivers the whole again.
    assert_eq!(plane.deliver(&[connect("newer"), terminate("gone")]).await, 503);
    assert_eq!(graph.actions("gone"), ["pre_accept"], "Meta knows, and hears nothing more");
    node.session("gone", "ended", |s| s.ended.is_some()).await;
    graph.release();
    stopped.await.unwrap();
    let session = node.session("ringing", "accepted", |s| s.stage == SignallingStage::Accepted).await;
    assert!(session.ended.is_none(), "the node keeps the call");
    assert_eq!(graph.actions("ringing"), ["pre_accept", "accept"]);
    assert!(graph.actions("new").is_empty() && graph.actions("newer").is_empty());
    plane.restart().await;
    // Delivered again by Meta.
    assert_eq!(plane.deliver(&[connect("ringing"), terminate("ringing")]).await, 200);
    assert_eq!(plane.ended("ringing").await.1, "USER_HANGUP");
    assert_eq!(plane.ended("gone").await.1, "CALLER_ABANDONED");
}

#[tokio::test]
async fn after_a_crash_nobody_is_left_ringing_and_no_slot_is_kept() {
    let (graph, mut plane, node) = system().await;
    plane.deliver(&[connect("active")]).await;
    plane.phase("active", CallPhase::Active).await;
    graph.hold();
    plane.deliver(&[connect("setup")]).await;
    graph.wait("setup", "pre_accept").await;
    plane.kill();
    graph.release();
    plane.restart().await;
    assert_eq!(plane.ended("setup").await, ending(TerminationResult::Failed, "CONTROL_RESTARTED", ""));
    graph.wait("setup", "reject").await;
    node.session("setup", "ended", |s| s.ended.is_some()).await;
    assert_eq!(plane.call("active").await.unwrap().phase(), CallPhase::Active);
    let session = node.session("active", "session", |_| true).await.session_id;
    node.end(&session, TerminationResult::Completed, "AGENT_HANGUP", "");
    assert_eq!(plane.ended("active").await.1, "AGENT_HANGUP");
    assert_eq!(graph.actions("active"), ["pre_accept", "accept", "terminate"]);
}

#[tokio::test]
async fn a_second_process_leaves_the_calls_of_the_first_alone() {
    let (graph, mut plane, node) = system().await;
    plane.deliver(&[connect("lives")]).await;
    plane.phase("lives", CallPhase::Active).await;
    graph.hold();
    plane.deliver(&[connect("rings")]).await;
    graph.wait("rings", "pre_accept").await;
    let refused = plane.second(Duration::ZERO).await.unwrap_err();
    assert!(format!("{refused:#}").contains("another process has the calls of the database"), "{refused:#}");
    graph.release();
    plane.phase("rings", CallPhase::Active).await;
    assert_eq!(graph.actions("rings"), ["pre_accept", "accept"], "nobody else turned it down");
    // One that waits takes over at once when the first is killed.
    plane.kill();
    plane.restart().await;
    plane.nodes(1).await;
    assert_eq!(plane.call("lives").await.unwrap().phase(), CallPhase::Active);
    node.end(
        &node.session("lives", "session", |_| true).await.session_id,
        TerminationResult::Completed,
        "AGENT_HANGUP",
        "",
    );
    assert_eq!(plane.ended("lives").await.1, "AGENT_HANGUP");
}

#[tokio::test]
async fn a_node_that_does_not_come_back_ends_its_calls() {
    let graph = Graph::start().await;
    let mut config = plane::config(&graph.url);
    config.limits.restore_grace = Duration::from_millis(200);
    let mut plane = Plane::start_with(config).await;
    let node = Node::start("node-1").await;
    node.register(&plane.url, "local", 10);
    plane.nodes(1).await;
    plane.deliver(&[connect("orphan")]).await;
    plane.phase("orphan", CallPhase::Active).await;
    plane.terminate().await.unwrap();
    node.vanish();
    plane.restart().await;
    assert_eq!(plane.ended("orphan").await, ending(TerminationResult::Failed, "NODE_LOST", ""));
    assert_eq!(graph.actions("orphan"), ["pre_accept", "accept", "terminate"]);
}

#[tokio::test]
async fn a_call_that_ended_meanwhile_is_closed_as_it_ended() {
    let (graph, mut plane, node) = system().await;
    plane.deliver(&[connect("done"), connect("failed")]).await;
    let done = plane.phase("done", CallPhase::Active).await.session_id;
    plane.phase("failed", CallPhase::Active).await;
    plane.terminate().await.unwrap();
    node.end(&done, TerminationResult::Completed, "MAX_DURATION_REACHED", "");
    plane.restart().await;
    assert_eq!(plane.ended("done").await.1, "MAX_DURATION_REACHED");
    assert_eq!(graph.actions("done"), ["pre_accept", "accept", "terminate"]);
    let call = plane.call("done").await.unwrap();
    assert_eq!(call.usage.unwrap().output_audio_tokens, 7);
    plane.deliver(&[terminate_failed("failed", 138_022)]).await;
    assert_eq!(plane.ended("failed").await, ending(TerminationResult::Failed, "MEDIA_TIMEOUT", "138022"));
}

#[tokio::test]
async fn a_self_held_call_goes_on_where_it_was() {
    let (graph, mut plane, node) = system().await;
    let start = StartSessionRequest {
        call_id: "self".to_owned(),
        sdp_offer: "v=0\r\ns=self\r\n".to_owned(),
        ..StartSessionRequest::default()
    };
    let started = plane.client().await.start_session(start.clone()).await.unwrap().into_inner();
    plane.terminate().await.unwrap();
    plane.restart().await;
    plane.nodes(1).await;
    let again = plane.client().await.start_session(start.clone()).await.unwrap().into_inner();
    assert_eq!(
        again,
        StartSessionResponse { already_started: true, ..started.clone() },
        "the same answer, from the node"
    );
    let other = |field: &str, other: StartSessionRequest| {
        let (plane, field) = (&plane, field.to_owned());
        async move {
            let status = plane.client().await.start_session(other).await.unwrap_err();
            assert_eq!(
                (status.code(), reason(&status).as_deref()),
                (Code::AlreadyExists, Some("START_ARGUMENTS_DIFFER"))
            );
            assert_eq!(metadata(&status, "field"), Some(field));
        }
    };
    other(
        "agent",
        StartSessionRequest { agent: Some(Agent { voice: "cedar".into(), ..Agent::default() }), ..start.clone() },
    )
    .await;
    other("phone_number_id", StartSessionRequest { phone_number_id: "107".to_owned(), ..start.clone() }).await;
    assert_eq!(node.sessions().len(), 1);
    for stage in [SignallingStage::AnswerDelivered, SignallingStage::Accepted] {
        let request = AdvanceSessionRequest { call_id: "self".to_owned(), stage: stage.into() };
        let answer = plane.client().await.advance_session(request).await.unwrap().into_inner();
        assert_eq!(answer.stage(), stage);
    }
    plane.phase("self", CallPhase::Active).await;
    node.end(&started.session_id, TerminationResult::Completed, "AGENT_HANGUP", "");
    assert_eq!(plane.ended("self").await.1, "AGENT_HANGUP");
    assert_eq!(graph.actions("self"), ["terminate"], "nobody else knows of the end");
    let status = plane.client().await.start_session(start).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
}

/// A newer version on the same database brings its schema up to date when the calls are its own, and not before: the process
/// that still has them knows the schema of its time. Here the schema is one that the second cannot even use.
#[tokio::test]
async fn the_schema_is_touched_by_nobody_but_the_owner_of_the_calls() {
    let (_graph, plane, _node) = system().await;
    let options: SqliteConnectOptions = plane.config.database_url.parse().unwrap();
    let mut database = options.busy_timeout(Duration::from_secs(10)).connect().await.unwrap();
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
                 VALUES (9999, 'of a later version', 1, x'00', 0)";
    sqlx::query(newer).execute(&mut database).await.unwrap();
    let refused = format!("{:#}", plane.second(Duration::ZERO).await.unwrap_err());
    assert!(refused.contains("another process has the calls of the database"), "{refused}");
}
