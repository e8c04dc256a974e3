//! Gauges tell what is there now. A test of its own process: the recorder of metrics is the process's.

#![allow(clippy::unwrap_used)]

mod support;

use support::{Graph, Node, PATIENCE, Plane, connect, connect_at, now_s, terminate};
use voicebridge_proto::{
    control::v1::{CallPhase, StreamEventsRequest},
    types::v1::TerminationResult,
};

async fn gauge(plane: &Plane, name: &str) -> Option<u64> {
    let text = plane.http.get(format!("{}/metrics", plane.url)).send().await.unwrap().text().await.unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    Some(line.parse::<f64>().unwrap() as u64)
}

/// Waits until a gauge shows this.
async fn shows(plane: &Plane, name: &str, expect: u64) {
    let mut shown = None;
    let looking = async {
        while shown != Some(expect) {
            shown = gauge(plane, name).await;
        }
    };
    let in_time = tokio::time::timeout(PATIENCE, looking).await.is_ok();
    assert!(in_time, "{name} shows {shown:?}, not {expect}");
}

#[tokio::test]
async fn gauges_go_down_as_they_went_up() {
    let graph = Graph::start().await;
    let plane = Plane::start(&graph).await;
    shows(&plane, "voicebridge_control_live_calls", 0).await;
    shows(&plane, "voicebridge_control_subscribers", 0).await;
    shows(&plane, "voicebridge_control_nodes", 0).await;

    // Turned down: there is no node.
    assert_eq!(plane.deliver(&[connect("wacid.refused=")]).await, 200);
    assert_eq!(plane.ended("wacid.refused=").await.0, TerminationResult::Rejected);
    shows(&plane, "voicebridge_control_live_calls", 0).await;

    let node = Node::start("node-1").await;
    node.register(&plane.url, "local", 10);
    shows(&plane, "voicebridge_control_nodes", 1).await;
    assert_eq!(plane.deliver(&[connect("wacid.A="), connect("wacid.B=")]).await, 200);
    for call_id in ["wacid.A=", "wacid.B="] {
        plane.phase(call_id, CallPhase::Active).await;
    }
    assert_eq!(gauge(&plane, "voicebridge_control_live_calls").await, Some(2));
    let request = StreamEventsRequest { call_id: "wacid.A=".to_owned(), ..Default::default() };
    let mut events = plane.client().await.stream_events(request).await.unwrap().into_inner();
    events.message().await.unwrap().unwrap();
    assert_eq!(gauge(&plane, "voicebridge_control_subscribers").await, Some(1));

    assert_eq!(plane.deliver(&[terminate("wacid.A=")]).await, 200);
    shows(&plane, "voicebridge_control_live_calls", 1).await;
    while events.message().await.unwrap().is_some() {}
    shows(&plane, "voicebridge_control_subscribers", 0).await;
    // Dropped without a word: too old, told again, hung up before it was told.
    assert_eq!(plane.deliver(&[connect_at("wacid.old=", now_s() - 3_600), connect("wacid.A=")]).await, 200);
    assert_eq!(plane.deliver(&[terminate("wacid.C=")]).await, 200);
    assert_eq!(plane.deliver(&[connect("wacid.C=")]).await, 200);
    assert_eq!(gauge(&plane, "voicebridge_control_live_calls").await, Some(1));
    assert_eq!(plane.deliver(&[terminate("wacid.B=")]).await, 200);
    shows(&plane, "voicebridge_control_live_calls", 0).await;
}
