//! What an error says besides its reason: the fields that break a rule, and when to ask again. A database that fails is no fault of
//! anybody's request; one that holds what nobody can read is no passing trouble.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use sqlx::{ConnectOptions as _, SqliteConnection, sqlite::SqliteConnectOptions};
use support::{Graph, Plane, connect, delivery, plane, sign, system, terminate};
use tonic::{Code, Status};
use voicebridge_proto::control::v1::{
    EndCallRequest, GetCallRequest, HandleWebhookRequest, ListCallsRequest, ListKeysRequest, LookupCallRequest,
    StartSessionRequest, StreamEventsRequest, key_service_client::KeyServiceClient,
};
use voicebridge_telemetry::status;

async fn change(plane: &Plane, sql: &'static [&'static str]) {
    let options: SqliteConnectOptions = plane.config.database_url.parse().unwrap();
    let mut database: SqliteConnection = options.busy_timeout(Duration::from_secs(10)).connect().await.unwrap();
    for sql in sql {
        sqlx::query(*sql).execute(&mut database).await.unwrap();
    }
}

fn start(call_id: &str, sdp_offer: &str) -> StartSessionRequest {
    StartSessionRequest { call_id: call_id.to_owned(), sdp_offer: sdp_offer.to_owned(), ..Default::default() }
}

/// Code, reason, and the delay to ask again after.
fn told(status: &Status) -> (Code, String, Option<Duration>) {
    (status.code(), status::reason(status).unwrap_or_default(), status::retry_delay(status))
}

/// Code, `Retry-After`, and the answer.
async fn answer(request: reqwest::RequestBuilder) -> (StatusCode, Option<String>, Value) {
    let response = request.send().await.unwrap();
    let after = response.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
    (response.status(), after, response.json().await.unwrap_or_default())
}

#[tokio::test]
async fn while_the_store_fails_everybody_is_told_to_ask_again() {
    let (_graph, plane, _node) = system().await;
    plane.deliver(&[connect("before"), terminate("before")]).await;
    let (call_id, _) = (plane.id("before").await, plane.ended("before").await);
    change(&plane, &["ALTER TABLE calls RENAME TO lost_calls", "ALTER TABLE api_keys RENAME TO lost_keys"]).await;

    let (mut calls, mut keys) = (plane.client().await, KeyServiceClient::new(plane.wire().await));
    let body = delivery(&[connect("new")]);
    let forwarded = HandleWebhookRequest { signature: sign(&body), body: body.clone().into(), ..Default::default() };
    let name = || call_id.clone();
    for (what, refused) in [
        ("GetCall", calls.get_call(GetCallRequest { call_id: name() }).await.unwrap_err()),
        ("LookupCall", calls.lookup_call(LookupCallRequest { wacid: "before".to_owned() }).await.unwrap_err()),
        ("ListCalls", calls.list_calls(ListCallsRequest::default()).await.unwrap_err()),
        ("EndCall", calls.end_call(EndCallRequest { call_id: name(), ..Default::default() }).await.unwrap_err()),
        ("StartSession", calls.start_session(start("other", "v=0")).await.unwrap_err()),
        ("HandleWebhook", calls.handle_webhook(forwarded).await.unwrap_err()),
        (
            "StreamEvents",
            calls.stream_events(StreamEventsRequest { call_id: name(), ..Default::default() }).await.unwrap_err(),
        ),
        ("ListKeys", keys.list_keys(ListKeysRequest {}).await.unwrap_err()),
    ] {
        let expect = (Code::Unavailable, "STORE_UNAVAILABLE".to_owned(), Some(Duration::from_secs(1)));
        assert_eq!(told(&refused), expect, "{what}: {refused:?}");
    }
    let at = |path: &str| format!("{}{path}", plane.url);
    let webhook = plane.http.post(at("/webhooks/whatsapp")).header("x-hub-signature-256", sign(&body)).body(body);
    for (what, request) in [
        ("a call", plane.http.get(at(&format!("/sessions/{call_id}")))),
        ("events", plane.http.get(at(&format!("/events?call_id={call_id}")))),
        ("start", plane.http.post(at("/sessions/start")).json(&json!({"callId": "other", "sdpOffer": "v=0"}))),
        ("stop", plane.http.post(at(&format!("/sessions/{call_id}/stop")))),
        ("the webhook", webhook),
    ] {
        let (code, after, body) = answer(request).await;
        let expect = (StatusCode::SERVICE_UNAVAILABLE, Some("1".to_owned()));
        assert_eq!((code, after), expect, "{what}: {body}");
        assert_eq!(body["reason"], "STORE_UNAVAILABLE", "{what}");
    }

    change(&plane, &["ALTER TABLE lost_calls RENAME TO calls", "ALTER TABLE lost_keys RENAME TO api_keys"]).await;
    assert_eq!(plane.call("before").await.unwrap().call_id, call_id);
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_no_passing_trouble() {
    let (_graph, plane, _node) = system().await;
    plane.deliver(&[connect("odd"), terminate("odd")]).await;
    plane.ended("odd").await;
    for sql in [
        &["UPDATE calls SET signalling = 'nobody'"] as &'static [_],
        &["UPDATE calls SET signalling = 'managed', received_at_ms = 'yesterday'"],
        &["UPDATE calls SET received_at_ms = 1", "UPDATE events SET payload = x'ffff'"],
    ] {
        change(&plane, sql).await;
        let refused = plane.call("odd").await.unwrap_err();
        assert_eq!(told(&refused), (Code::Internal, "INTERNAL".to_owned(), None), "{sql:?}: {refused:?}");
        let (code, after, body) = answer(plane.http.get(format!("{}/sessions/odd", plane.url))).await;
        assert_eq!((code, after), (StatusCode::INTERNAL_SERVER_ERROR, None), "{sql:?}: {body}");
    }
}

#[tokio::test]
async fn a_field_that_breaks_a_rule_is_named_with_the_rule() {
    let graph = Graph::start().await;
    let plane = Plane::start(&graph).await;
    let mut calls = plane.client().await;
    let refused = calls.start_session(start("one", "")).await.unwrap_err();
    let violation = ("sdp_offer".to_owned(), "must be 1 to 65536 bytes".to_owned());
    assert_eq!(status::details(&refused).violations, [violation], "{refused:?}");
    let cursor = StreamEventsRequest { cursor: "none of ours".to_owned(), ..Default::default() };
    let refused = calls.stream_events(cursor).await.unwrap_err();
    assert_eq!(status::reason(&refused).as_deref(), Some("CURSOR_INVALID"));
    assert_eq!(status::details(&refused).violations[0].0, "cursor", "{refused:?}");

    let url = format!("{}/sessions/start", plane.url);
    let (code, after, body) = answer(plane.http.post(url).json(&json!({"callId": "one", "sdpOffer": ""}))).await;
    assert_eq!((code, after), (StatusCode::BAD_REQUEST, None));
    assert_eq!(body["violations"], json!([{"field": "sdpOffer", "rule": "must be 1 to 65536 bytes"}]));
}

#[tokio::test]
async fn what_waiting_may_mend_says_how_long_to_wait() {
    let graph = Graph::start().await;
    let mut config = plane::config(&graph.url);
    config.limits.subscribers = 0;
    let plane = Plane::start_with(config).await;
    let mut calls = plane.client().await;
    let no_node = calls.start_session(start("one", "v=0")).await.unwrap_err();
    let expect = (Code::ResourceExhausted, "NO_NODE_AVAILABLE".to_owned(), Some(Duration::from_secs(1)));
    assert_eq!(told(&no_node), expect, "{no_node:?}");
    let full = calls.stream_events(StreamEventsRequest::default()).await.unwrap_err();
    let expect = (Code::ResourceExhausted, "TOO_MANY_SUBSCRIBERS".to_owned(), Some(Duration::from_secs(5)));
    assert_eq!(told(&full), expect, "{full:?}");

    let (code, after, body) = answer(plane.http.get(format!("{}/events", plane.url))).await;
    assert_eq!((code, after), (StatusCode::SERVICE_UNAVAILABLE, Some("5".to_owned())), "{body}");
    let url = format!("{}/sessions/start", plane.url);
    let (code, after, body) = answer(plane.http.post(url).json(&json!({"callId": "two", "sdpOffer": "v=0"}))).await;
    assert_eq!((code, after), (StatusCode::SERVICE_UNAVAILABLE, Some("1".to_owned())), "{body}");
}
