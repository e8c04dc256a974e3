//! What is kept of a call: while it runs, how it is kept, and for how long.

#![allow(clippy::unwrap_used)]

mod support;

use support::{Graph, Node, Plane, Reply, connect, terminate};
use voicebridge_proto::{control::v1::CallPhase, types::v1::event::Kind};

async fn system() -> (Graph, Plane, Node) {
    let graph = Graph::start().await;
    let plane = Plane::start(&graph).await;
    let node = Node::start("node-1").await;
    node.register(&plane.url, "local", 100);
    plane.nodes(1).await;
    (graph, plane, node)
}

#[tokio::test]
async fn an_answer_of_graph_that_says_nothing_is_taken_and_noted() {
    let (graph, plane, _node) = system().await;
    graph.script("pre_accept", &[Reply::Bare(200)]);
    plane.deliver(&[connect("odd")]).await;
    plane.phase("odd", CallPhase::Active).await;
    plane.deliver(&[terminate("odd")]).await;
    plane.ended("odd").await;
    let details: Vec<_> = plane
        .events("odd", 0)
        .await
        .into_iter()
        .filter_map(|event| match event.kind {
            Some(Kind::GraphAnswered(answered)) => Some((answered.action, answered.error_details)),
            _ => None,
        })
        .collect();
    let expect = [("pre_accept", "taken as success: the answer was no JSON"), ("accept", "")];
    assert_eq!(details, expect.map(|(action, details)| (action.to_owned(), details.to_owned())));
}

#[cfg(unix)]
#[tokio::test]
async fn what_is_stored_is_for_its_owner_only() {
    let (_, plane, _node) = system().await;
    plane.deliver(&[connect("private")]).await;
    plane.phase("private", CallPhase::Active).await;
    let modes = plane.stored_modes();
    assert!(modes.len() >= 3, "{modes:?}");
    assert!(modes.iter().all(|(_, mode)| *mode == 0o600), "{modes:?}");
}
