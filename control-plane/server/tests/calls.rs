//! The life of a call against a real server: what Graph, the node and the record see.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use support::{Behaviour, Graph, Node, Plane, Reply, connect, connect_at, now_s, plane, terminate, terminate_failed};
use voicebridge_proto::{
    control::v1::CallPhase,
    types::v1::{SignallingStage, TerminationResult},
};

/// Graph, control plane and one registered node.
async fn system() -> (Graph, Plane, Node) {
    let graph = Graph::start().await;
    let plane = Plane::start(&graph).await;
    let node = Node::start("node-1").await;
    node.register(&plane.url, "local", 10);
    plane.nodes(1).await;
    (graph, plane, node)
}

fn ending(result: TerminationResult, reason: &str, code: &str) -> (TerminationResult, String, String) {
    (result, reason.to_owned(), code.to_owned())
}

#[tokio::test]
async fn a_caller_talks_and_hangs_up() {
    let (graph, plane, node) = system().await;
    assert_eq!(plane.deliver(&[connect("wacid.A=")]).await, 200);
    let pre_accept = graph.wait("wacid.A=", "pre_accept").await;
    let accept = graph.wait("wacid.A=", "accept").await;
    assert_eq!(pre_accept.sdp.as_deref(), Some("v=0\r\ns=answer to wacid.A= of node-1\r\n"));
    assert_eq!(accept.sdp, pre_accept.sdp, "accept carries the identical SDP");
    let session = node.session("wacid.A=", "accepted", |s| s.stage == SignallingStage::Accepted).await;
    assert_eq!(session.caller.phone_number, "5511900000001");
    assert_eq!(session.caller.name, "Aná");
    let active = plane.phase("wacid.A=", CallPhase::Active).await;
    assert_eq!((active.node_id.as_str(), active.session_id.as_str()), ("node-1", session.session_id.as_str()));
    assert_eq!(plane.get("/health").await.1["activeCalls"], 1);

    assert_eq!(plane.deliver(&[terminate("wacid.A=")]).await, 200);
    assert_eq!(plane.ended("wacid.A=").await, ending(TerminationResult::Completed, "USER_HANGUP", ""));
    let told = node.session("wacid.A=", "ended", |s| s.ended.is_some()).await.ended.unwrap();
    assert_eq!(told.reason, "USER_HANGUP");
    assert_eq!(graph.actions("wacid.A="), ["pre_accept", "accept"], "no terminate when the user hung up");

    let call = plane.call("wacid.A=").await.unwrap();
    let mut stages: Vec<_> = call.timeline.iter().map(|entry| entry.stage().as_str_name()).collect();
    stages.sort_unstable();
    assert_eq!(
        stages,
        [
            "STAGE_MEDIA_BRIDGE_ACTIVE",
            "STAGE_VOICE_BRIDGE_SESSION_CREATED",
            "STAGE_WA_CALL_ACCEPTED",
            "STAGE_WA_CALL_CONNECT",
            "STAGE_WA_CALL_PRE_ACCEPTED",
        ]
    );
    assert_eq!(call.usage.unwrap().output_audio_tokens, 7);
    assert_eq!(call.statistics.unwrap().packets_sent, 50);
    let events = plane.events("wacid.A=", "").await;
    assert_eq!(
        events.iter().map(|event| event.sequence).collect::<Vec<_>>(),
        (1..=events.len() as u64).collect::<Vec<_>>()
    );
    assert_eq!(plane::kind_names(&events).last().unwrap(), "call ended USER_HANGUP");
    assert_eq!(plane.get("/health").await.1["activeCalls"], 0);

    let stored = plane.stored_bytes();
    for secret in ["EAAG-token", "app-secret", "verify-word", "answer to wacid", "s=wacid"] {
        assert!(!stored.windows(secret.len()).any(|bytes| bytes == secret.as_bytes()), "{secret} is stored");
    }
}

#[tokio::test]
async fn who_ends_it_decides_what_meta_hears() {
    let (graph, plane, node) = system().await;
    for id in ["agent", "lost"] {
        plane.deliver(&[connect(id)]).await;
        plane.phase(id, CallPhase::Active).await;
    }
    let session = |id| node.session(id, "session", |_| true);
    let agent = session("agent").await.session_id;
    node.end(&agent, TerminationResult::Completed, "AGENT_HANGUP", "");
    assert_eq!(plane.ended("agent").await, ending(TerminationResult::Completed, "AGENT_HANGUP", ""));
    assert_eq!(graph.actions("agent"), ["pre_accept", "accept", "terminate"]);

    let lost = session("lost").await.session_id;
    node.end(&lost, TerminationResult::Failed, "PROVIDER_LOST", "1006");
    assert_eq!(plane.ended("lost").await, ending(TerminationResult::Failed, "PROVIDER_LOST", "1006"));
    assert_eq!(graph.actions("lost"), ["pre_accept", "accept", "terminate"]);

    plane.deliver(&[connect("failed")]).await;
    plane.phase("failed", CallPhase::Active).await;
    plane.deliver(&[terminate_failed("failed", 138_021)]).await;
    assert_eq!(plane.ended("failed").await, ending(TerminationResult::Failed, "MEDIA_TIMEOUT", "138021"));
}

#[tokio::test]
async fn an_ai_that_refuses_before_accept_rejects_the_call() {
    let (graph, plane, node) = system().await;
    node.without_ai();
    for id in ["rejected", "terminated"] {
        if id == "terminated" {
            // Graph will not reject any more.
            graph.script("reject", &[Reply::Error(400, 100)]);
        }
        plane.deliver(&[connect(id)]).await;
        let session = node.session(id, "session", |_| true).await.session_id;
        node.end(&session, TerminationResult::Failed, "PROVIDER_SESSION_FAILED", "model_not_found");
        let expect = ending(TerminationResult::Failed, "PROVIDER_SESSION_FAILED", "model_not_found");
        assert_eq!(plane.ended(id).await, expect);
        let mut actions = graph.actions(id);
        actions.retain(|action| action != "pre_accept");
        let expect: &[&str] = if id == "rejected" { &["reject"] } else { &["reject", "terminate"] };
        assert_eq!(actions, expect);
    }
}

#[tokio::test]
async fn a_slow_ai_is_waited_for_only_so_long() {
    let graph = Graph::start().await;
    let mut config = plane::config(&graph.url);
    config.limits.accept_patience = Duration::from_millis(150);
    let plane = Plane::start_with(config).await;
    let node = Node::start("node-1").await;
    node.without_ai();
    node.register(&plane.url, "local", 10);
    plane.nodes(1).await;
    plane.deliver(&[connect("slow")]).await;
    let call = plane.phase("slow", CallPhase::Active).await;
    let accepted = call.timeline.iter().find(|entry| entry.stage().as_str_name() == "STAGE_WA_CALL_ACCEPTED").unwrap();
    assert!(accepted.elapsed_ms >= 150, "{accepted:?}");
}

#[tokio::test]
async fn the_next_node_is_tried_and_nobody_is_left_ringing() {
    let graph = Graph::start().await;
    let mut config = plane::config(&graph.url);
    config.limits.place_timeout = Duration::from_millis(200);
    config.placement = voicebridge_core::placement::Rules::parse("BR=a,b,c;*=d").unwrap();
    let plane = Plane::start_with(config).await;
    let mut nodes = Vec::new();
    for (region, behaviour) in
        [("a", Behaviour::Full), ("b", Behaviour::Draining), ("c", Behaviour::Silent), ("d", Behaviour::Take)]
    {
        let node = Node::start(&format!("node-{region}")).await;
        node.behave(behaviour);
        node.register(&plane.url, region, 10);
        nodes.push(node);
    }
    plane.nodes(4).await;
    plane.deliver(&[connect("next")]).await;
    let call = plane.phase("next", CallPhase::Active).await;
    assert_eq!((call.node_id.as_str(), call.region.as_str()), ("node-d", "d"));

    nodes[3].behave(Behaviour::Full);
    plane.deliver(&[connect("none")]).await;
    assert_eq!(plane.ended("none").await, ending(TerminationResult::Rejected, "NO_NODE_AVAILABLE", ""));
    assert_eq!(graph.actions("none"), ["reject"]);

    nodes[0].behave(Behaviour::Take);
    plane.deliver(&[connect("near")]).await;
    assert_eq!(plane.phase("near", CallPhase::Active).await.region, "a", "the caller's own region first");
}

#[tokio::test]
async fn without_any_node_the_call_is_rejected() {
    let graph = Graph::start().await;
    let plane = Plane::start(&graph).await;
    plane.deliver(&[connect("lonely")]).await;
    assert_eq!(plane.ended("lonely").await.1, "NO_NODE_AVAILABLE");
    assert_eq!(graph.actions("lonely"), ["reject"]);
}

#[tokio::test]
async fn a_bad_offer_is_rejected_by_its_rule() {
    let (graph, plane, node) = system().await;
    node.behave(Behaviour::Refuse("no-fingerprint"));
    let mut empty = connect("empty");
    empty["session"] = serde_json::json!({});
    plane.deliver(&[connect("bad"), empty]).await;
    assert_eq!(plane.ended("bad").await, ending(TerminationResult::Rejected, "SDP_INVALID", "no-fingerprint"));
    assert_eq!(graph.actions("bad"), ["reject"]);
    let message = plane.call("bad").await.unwrap().termination.unwrap().message;
    assert!(message.contains("no-fingerprint"), "{message}");
    assert_eq!(plane.ended("empty").await, ending(TerminationResult::Rejected, "SDP_INVALID", "no-sdp"));
}

#[tokio::test]
async fn graphs_refusals_end_the_call_and_free_the_slot() {
    let graph = Graph::start().await;
    let mut config = plane::config(&graph.url);
    config.limits.graph_timeout = Duration::from_millis(300);
    let plane = Plane::start_with(config).await;
    let node = Node::start("node-1").await;
    node.register(&plane.url, "local", 10);
    plane.nodes(1).await;
    let twice = |reply: Reply| [reply.clone(), reply];
    let cases: [(&str, &str, Vec<Reply>, &str, &str); 7] = [
        ("g100", "pre_accept", vec![Reply::Error(400, 100)], "GRAPH_REFUSED", "100"),
        ("g138000", "pre_accept", vec![Reply::Error(401, 138_000)], "GRAPH_REFUSED", "138000"),
        ("g138003", "accept", vec![Reply::Error(400, 138_003)], "GRAPH_REFUSED", "138003"),
        ("g138007", "accept", twice(Reply::Error(500, 138_007)).to_vec(), "GRAPH_REFUSED", "138007"),
        ("g503", "pre_accept", twice(Reply::Bare(503)).to_vec(), "GRAPH_UNREACHABLE", "503"),
        ("gsilent", "pre_accept", twice(Reply::Silence).to_vec(), "GRAPH_UNREACHABLE", "timeout"),
        ("gsilent2", "accept", twice(Reply::Silence).to_vec(), "GRAPH_UNREACHABLE", "timeout"),
    ];
    for (id, action, replies, reason, code) in cases {
        graph.script(action, &replies);
        plane.deliver(&[connect(id)]).await;
        assert_eq!(plane.ended(id).await, ending(TerminationResult::Failed, reason, code), "{id}");
        assert_eq!(graph.actions(id).last().map(String::as_str), Some("reject"), "{id}");
        assert_eq!(node.session(id, "ended", |s| s.ended.is_some()).await.ended.unwrap().reason, reason);
        let events = plane::kind_names(&plane.events(id, "").await);
        assert!(events.iter().any(|event| event == "graph reject 200"), "{id}: {events:?}");
    }
    // One retry is enough for what passes.
    graph.script("accept", &[Reply::Bare(502)]);
    plane.deliver(&[connect("passes")]).await;
    plane.phase("passes", CallPhase::Active).await;
    assert!(node.sessions().iter().all(|session| session.ended.is_some() || session.name == "passes"));
}

#[tokio::test]
async fn the_ring_budget_counts_from_metas_timestamp() {
    let (graph, plane, node) = system().await;
    node.without_ai();
    // 30 s old, not stale: nothing is left of the budget.
    plane.deliver(&[connect_at("late", now_s() - 31)]).await;
    assert_eq!(plane.ended("late").await, ending(TerminationResult::Failed, "RING_TIMEOUT", ""));
    assert_eq!(graph.actions("late").last().map(String::as_str), Some("reject"));
    assert!(node.sessions().iter().all(|session| session.ended.is_some()), "a slot was kept");
}

#[tokio::test]
async fn a_caller_who_gives_up_early_is_abandoned() {
    let (graph, plane, node) = system().await;
    graph.hold();
    plane.deliver(&[connect("early")]).await;
    graph.wait("early", "pre_accept").await;
    plane.deliver(&[terminate("early")]).await;
    node.session("early", "ended", |s| s.ended.is_some()).await;
    graph.release();
    assert_eq!(plane.ended("early").await, ending(TerminationResult::Abandoned, "CALLER_ABANDONED", ""));
    assert_eq!(graph.actions("early"), ["pre_accept"], "Meta knows");
}

#[tokio::test]
async fn a_lost_node_ends_its_calls() {
    let (graph, plane, node) = system().await;
    plane.deliver(&[connect("lost")]).await;
    plane.phase("lost", CallPhase::Active).await;
    node.vanish();
    assert_eq!(plane.ended("lost").await, ending(TerminationResult::Failed, "NODE_LOST", ""));
    assert_eq!(graph.actions("lost"), ["pre_accept", "accept", "terminate"]);
    plane.nodes(0).await;
}

#[tokio::test]
async fn a_node_that_returns_has_its_leftovers_ended() {
    let (graph, plane, node) = system().await;
    plane.deliver(&[connect("left")]).await;
    plane.phase("left", CallPhase::Active).await;
    // Cut off in both directions, but alive.
    node.deaf(true);
    node.fall_silent();
    assert_eq!(plane.ended("left").await, ending(TerminationResult::Failed, "NODE_LOST", ""));
    assert_eq!(graph.actions("left"), ["pre_accept", "accept", "terminate"]);
    assert!(node.session("left", "session", |_| true).await.ended.is_none());
    node.deaf(false);
    node.register(&plane.url, "local", 10);
    let ended = node.session("left", "ended", |s| s.ended.is_some()).await;
    assert_eq!(ended.ended.unwrap().reason, "NODE_LOST");
}

#[tokio::test]
async fn a_silent_node_gets_no_new_calls() {
    let (_graph, plane, node) = system().await;
    node.fall_silent();
    plane.nodes(0).await;
    let other = Node::start("node-2").await;
    other.register(&plane.url, "local", 10);
    plane.nodes(1).await;
    plane.deliver(&[connect("elsewhere")]).await;
    assert_eq!(plane.phase("elsewhere", CallPhase::Active).await.node_id, "node-2");
}
