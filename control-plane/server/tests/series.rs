//! Words of others make no series of metrics. A test of its own process: the recorder of metrics is the process's.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeSet;

use serde_json::json;
use support::{PATIENCE, Plane, connect, delivery, sign, system, terminate_failed};
use voicebridge_proto::{
    control::v1::{CallPhase, EndCallRequest, HandleWebhookRequest, StartSessionRequest, StreamEventsRequest},
    types::v1::{self as types, TerminationResult, event::Kind},
};

/// Every series there is, without its value; those of one histogram count as many as it has buckets.
async fn series(plane: &Plane) -> BTreeSet<String> {
    let text = plane.http.get(format!("{}/metrics", plane.url)).send().await.unwrap().text().await.unwrap();
    let samples = text.lines().filter(|line| line.starts_with("voicebridge_"));
    samples.map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect()
}

/// All that anybody can say, with `word` wherever a word may stand.
async fn say(plane: &Plane, node: &support::Node, word: &str) {
    let mut client = plane.client().await;
    // An API client's id of a call.
    let call_id = format!("api-{word}");
    let start = StartSessionRequest { call_id: call_id.clone(), sdp_offer: "v=0\r\n".to_owned(), ..Default::default() };
    client.start_session(start).await.unwrap();
    client.end_call(EndCallRequest { call_id: call_id.clone(), ..Default::default() }).await.unwrap();
    plane.ended(&call_id).await;
    // A node's.
    let call_id = format!("node-{word}");
    plane.deliver(&[connect(&call_id)]).await;
    plane.phase(&call_id, CallPhase::Active).await;
    let session = node.session(&call_id, "session", |_| true).await.session_id;
    node.emit(&session, Kind::Incident(types::Incident { reason: word.to_owned(), ..Default::default() }));
    node.end(&session, TerminationResult::Completed, word, word);
    assert_eq!(plane.ended(&call_id).await.1, word, "the record has it as it is");
    // Meta's fields, events and codes.
    let code = word.bytes().map(i64::from).sum::<i64>();
    let body = delivery(&[json!({"id": "x", "event": word}), terminate_failed(&call_id, code)]);
    let body = body.replacen("\"changes\":[", &format!("\"changes\":[{{\"field\":\"{word}\"}},"), 1);
    let request = HandleWebhookRequest { signature: sign(&body), body: body.into_bytes(), ..Default::default() };
    client.handle_webhook(request).await.unwrap();
    // Paths, keys, media types, cursors, ids.
    let url = |path: &str| format!("{}{path}", plane.url);
    for path in [format!("/{word}"), format!("/sessions/{word}"), format!("/voicebridge.control.v1.CallService/{word}")]
    {
        let kind = format!("application/{word}");
        for request in [plane.http.get(url(&path)), plane.http.post(url(&path)).header("content-type", kind)] {
            request.header("x-api-key", word).header("x-forwarded-for", "203.0.113.9").send().await.unwrap();
        }
    }
    let follow = StreamEventsRequest { call_id: word.to_owned(), cursor: word.to_owned(), ..Default::default() };
    client.stream_events(follow).await.unwrap_err();
}

#[tokio::test]
async fn words_of_callers_clients_nodes_and_meta_make_no_series() {
    let (_graph, plane, node) = system().await;
    // One word that is known, one that is not: what there can be.
    say(&plane, &node, "AGENT_HANGUP").await;
    say(&plane, &node, "SHOP_CLOSED").await;
    let before = series(&plane).await;
    assert!(before.iter().any(|sample| sample.contains(r#"reason="other""#)), "{before:?}");
    let feed = async {
        for n in 0..25 {
            say(&plane, &node, &format!("WORD_{n}")).await;
        }
    };
    tokio::time::timeout(10 * PATIENCE, feed).await.expect("they are said");
    let after = series(&plane).await;
    let more: Vec<_> = after.difference(&before).collect();
    assert!(more.is_empty(), "{} series more: {more:?}", more.len());
}
