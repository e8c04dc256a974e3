//! `GET /events`: the stream as server-sent events, as a tool that speaks only HTTP reads it.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::Value;
use support::{Graph, Node, PATIENCE, Plane, connect, plane, system, terminate};
use voicebridge_proto::{
    control::v1::{CallPhase, CreateReadTokenRequest, key_service_client::KeyServiceClient},
    types::v1::{self as types, SignallingStage, event::Kind},
};
use voicebridge_server::{Config, RawConfig, json};

/// One server-sent event, as the HTML standard dispatches it; without data it carries an id only.
#[derive(Clone, Debug, Default, PartialEq)]
struct Message {
    event: String,
    data: String,
    id: String,
}

struct Source {
    response: reqwest::Response,
    unread: String,
    /// Of the last message that had one.
    last_id: String,
}

impl Source {
    async fn open(plane: &Plane, query: &str, last_event_id: &str) -> Self {
        let mut request = plane.http.get(format!("{}/events{query}", plane.url));
        if !last_event_id.is_empty() {
            request = request.header("last-event-id", last_event_id);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-cache");
        Self { response, unread: String::new(), last_id: String::new() }
    }

    /// The next message with data or an id; `None` at the end.
    async fn next(&mut self) -> Option<Message> {
        loop {
            if let Some(end) = self.unread.find("\n\n") {
                let block: String = self.unread.drain(..end + 2).collect();
                let mut message = Message::default();
                for line in block.lines() {
                    match line.split_once(": ").or_else(|| line.split_once(':')) {
                        Some(("event", value)) => value.clone_into(&mut message.event),
                        Some(("data", value)) => message.data.push_str(value),
                        Some(("id", value)) => value.clone_into(&mut message.id),
                        Some(("retry" | "", _)) | None => {}
                        Some((field, _)) => panic!("{field:?} in {block:?}"),
                    }
                }
                if !message.id.is_empty() {
                    message.id.clone_into(&mut self.last_id);
                }
                return Some(message);
            }
            let chunk = tokio::time::timeout(PATIENCE, self.response.chunk()).await.expect("more").unwrap()?;
            self.unread.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// All messages with data, to the end.
    async fn rest(&mut self) -> Vec<Message> {
        let mut messages = Vec::new();
        while let Some(message) = self.next().await {
            if !message.data.is_empty() {
                messages.push(message);
            }
        }
        messages
    }
}

fn said(text: &str) -> Kind {
    Kind::Transcript(types::Transcript { text: text.to_owned(), ..types::Transcript::default() })
}

async fn a_call(plane: &Plane, node: &Node, call_id: &str) -> String {
    plane.deliver(&[connect(call_id)]).await;
    plane.phase(call_id, CallPhase::Active).await;
    node.session(call_id, "session", |session| session.stage == SignallingStage::Accepted).await.session_id
}

#[tokio::test]
async fn a_call_is_told_to_its_end_and_taken_up_anywhere() {
    let (_, plane, node) = system().await;
    let session = a_call(&plane, &node, "wacid.A=").await;
    let mut live = Source::open(&plane, "?call_id=wacid.A%3D", "").await;
    let begun = live.next().await.unwrap();
    assert!(begun.data.is_empty() && !begun.id.is_empty(), "{begun:?}");
    node.emit(&session, said("one line\nand another"));
    plane.deliver(&[terminate("wacid.A=")]).await;
    plane.ended("wacid.A=").await;
    let stored = plane.events("wacid.A=", "").await;
    let mut told = live.rest().await;
    let end = told.pop().unwrap();
    assert_eq!((end.event.as_str(), end.data.as_str()), ("end", "{}"));
    let data: Vec<Value> = told.iter().map(|message| serde_json::from_str(&message.data).unwrap()).collect();
    assert_eq!(data, stored.iter().map(json::value).collect::<Vec<_>>());
    assert_eq!(told[0].event, "stage_reached");
    assert_eq!(told.last().unwrap().event, "call_ended");
    for (n, message) in told.iter().enumerate() {
        if n + 1 == told.len() {
            break;
        }
        // The header wins over the address.
        let query = format!("?call_id=wacid.A%3D&cursor={}", begun.id);
        let mut again = Source::open(&plane, &query, &message.id).await.rest().await;
        assert_eq!(again.pop().unwrap().event, "end");
        assert_eq!(again, told[n + 1..]);
    }
    let query = format!("?call_id=wacid.A%3D&cursor={}", told[0].id);
    assert_eq!(Source::open(&plane, &query, "").await.rest().await.len(), told.len());
    // A browser that comes back after the end is told to stay away.
    let back = plane.http.get(format!("{}/events?call_id=wacid.A%3D", plane.url));
    let back = back.header("last-event-id", &told.last().unwrap().id).send().await.unwrap();
    assert_eq!(back.status(), StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn all_calls_by_kind_and_number() {
    let (_, plane, node) = system().await;
    a_call(&plane, &node, "before").await;
    let kinds = "kinds=call_ended,%20incident";
    let number = support::NUMBER_ID;
    let mut oldest = Source::open(&plane, &format!("?{kinds}&start=oldest&phone_number_ids=1,{number}"), "").await;
    let mut now = Source::open(&plane, "", "").await;
    let mut other = Source::open(&plane, &format!("?{kinds}&phone_number_ids=1"), "").await;
    for source in [&mut oldest, &mut now, &mut other] {
        assert!(source.next().await.unwrap().data.is_empty());
    }
    plane.deliver(&[terminate("before")]).await;
    let first = oldest.next().await.unwrap();
    assert_eq!((first.event.as_str(), first.id.as_str()), ("call_ended", oldest.last_id.as_str()));
    let event: Value = serde_json::from_str(&first.data).unwrap();
    assert_eq!(
        (&event["callId"], &event["callEnded"]["termination"]["reason"]),
        (&plane.id("before").await.into(), &"USER_HANGUP".into())
    );
    assert_eq!(
        serde_json::from_str::<Value>(&now.next().await.unwrap().data).unwrap()["callId"],
        plane.id("before").await
    );
    assert!(tokio::time::timeout(Duration::from_millis(100), other.response.chunk()).await.is_err());
}

#[tokio::test]
async fn a_shutdown_is_told_and_what_goes_on_is_taken_up() {
    let (_, mut plane, node) = system().await;
    let session = a_call(&plane, &node, "a").await;
    let mut before = Source::open(&plane, "?kinds=transcript", "").await;
    before.next().await.unwrap();
    plane.terminate();
    let fault = before.rest().await.pop().unwrap();
    assert_eq!((fault.event.as_str(), fault.id.as_str()), ("fault", ""));
    assert_eq!(serde_json::from_str::<Value>(&fault.data).unwrap()["reason"], "CONTROL_DRAINING");
    node.emit(&session, said("meanwhile"));
    plane.restart().await;
    let mut after = Source::open(&plane, "?kinds=transcript", &before.last_id).await;
    after.next().await.unwrap();
    let event = after.next().await.unwrap();
    assert!(event.data.contains("meanwhile"), "{event:?}");
}

#[tokio::test]
async fn a_read_token_in_the_address_is_for_its_call() {
    let graph = Graph::start().await;
    let mut config = plane::config(&graph.url);
    let keys = RawConfig { api_keys: Some("key-1".to_owned()), ..RawConfig::default() };
    config.api_keys = Config::resolve(keys).unwrap().api_keys;
    let plane = Plane::start_with(config).await;
    let node = Node::start("node-1").await;
    node.register(&plane.url, "local", 100);
    plane.nodes(1).await;
    for call_id in ["mine", "theirs"] {
        plane.deliver(&[connect(call_id)]).await;
        node.session(call_id, "session", |session| session.stage == SignallingStage::Accepted).await;
    }
    let token = async |call_id: &str| {
        let mut keys = KeyServiceClient::new(plane::channel(&plane.url).await.unwrap());
        let request = CreateReadTokenRequest { call_id: call_id.to_owned(), lifetime_ms: None };
        let mut request = tonic::Request::new(request);
        request.metadata_mut().insert("authorization", "Bearer key-1".parse().unwrap());
        let made = keys.create_read_token(request).await.unwrap().into_inner();
        (made.token, made.call_id)
    };
    let ((mine, call_id), (all, _)) = (token("mine").await, token("").await);
    let mut source = Source::open(&plane, &format!("?call_id=mine&access_token={mine}"), "").await;
    source.next().await.unwrap();
    assert!(source.next().await.unwrap().data.contains(&call_id));
    Source::open(&plane, &format!("?access_token={all}"), "").await.next().await.unwrap();
    for (query, status, reason) in [
        (format!("?call_id=theirs&access_token={mine}"), 403, "READ_TOKEN_LIMITED"),
        (format!("?access_token={mine}"), 403, "READ_TOKEN_LIMITED"),
        ("?access_token=key-2".to_owned(), 401, "UNAUTHENTICATED"),
        ("?access_token=key-1".to_owned(), 401, "KEY_IN_URL"),
        (String::new(), 401, "UNAUTHENTICATED"),
    ] {
        let (code, fault) = plane.get(&format!("/events{query}")).await;
        assert_eq!((code, fault["reason"].as_str()), (status, Some(reason)));
    }
}

#[tokio::test]
async fn what_cannot_be_streamed_is_refused_in_json() {
    let (_, plane, node) = system().await;
    a_call(&plane, &node, "a").await;
    for (query, id, status, reason) in [
        ("?call_id=nobody", "", 404, "CALL_NOT_FOUND"),
        ("?cursor=x", "", 400, "CURSOR_INVALID"),
        ("", "x", 400, "CURSOR_INVALID"),
        ("?kinds=none", "", 400, "INVALID_ARGUMENT"),
        ("?kinds=unspecified", "", 400, "INVALID_ARGUMENT"),
        ("?kinds=TRANSCRIPT", "", 400, "INVALID_ARGUMENT"),
        ("?start=then", "", 400, "INVALID_ARGUMENT"),
        ("?call_id=a&call_id=b", "", 400, "INVALID_ARGUMENT"),
        (&format!("?call_id={}", "x".repeat(10_000)), "", 400, "INVALID_ARGUMENT"),
    ] {
        let mut request = plane.http.get(format!("{}/events{query}", plane.url));
        if !id.is_empty() {
            request = request.header("last-event-id", id);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), status, "{query:.40}");
        let fault: Value = answer.json().await.unwrap();
        assert_eq!(fault["reason"], reason, "{query:.40}");
    }
    assert_eq!(plane.post("/events", Value::Null).await.0, 405);
}
