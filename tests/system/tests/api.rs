//! What services can do with calls: follow them, steer them, and not without a key.

use std::collections::BTreeMap;

use reqwest::StatusCode;
use secrecy::ExposeSecret as _;
use voicebridge_proto::{
    control::v1::{Command, InjectText, Interrupt, Say, SendCommandRequest, StreamEventsRequest, command::Kind},
    types::v1::{Event, event},
};
use voicebridge_simulator::{
    ai::SessionRecord,
    meta::{EndedBy, Moment},
    speech::recognise_all,
};
use voicebridge_system_tests::{SOON, Setup, World};

use crate::talk::{asks_one_question, assert_no_violations, hangs_up_at_once, sensible_ai, stays};

async fn world() -> World {
    Setup { ai: Some(sensible_ai()), ..Setup::default() }.start().await
}

/// Reads durable events from a cursor on until `enough`, or to the end of the stream, and keeps the cursor.
async fn read(world: &World, call_id: &str, cursor: &mut String, enough: impl Fn(&[Event]) -> bool) -> Vec<Event> {
    let request =
        StreamEventsRequest { call_id: call_id.to_owned(), cursor: std::mem::take(cursor), ..Default::default() };
    let mut stream = world.calls.client().stream_events(request).await.unwrap().into_inner();
    let mut events = Vec::new();
    let reading = async {
        while let Some(message) = stream.message().await.unwrap() {
            *cursor = message.cursor;
            // Transient events carry no sequence and are not repeated.
            events.extend(message.event.filter(|event| event.sequence > 0));
            if enough(&events) {
                break;
            }
        }
    };
    tokio::time::timeout(SOON * 2, reading).await.expect("the stream goes on or ends");
    events
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_followed_live_and_resumed_without_a_gap() {
    let world = world().await;
    let handle = world.meta.call(asks_one_question()).await.unwrap();
    let call_id = handle.id().to_owned();
    world.calls.active(&call_id).await;

    let mut cursor = String::new();
    let mut followed = read(&world, &call_id, &mut cursor, |events| events.len() >= 3).await;
    let greeted = |events: &[Event]| events.iter().any(|event| matches!(event.kind, Some(event::Kind::Transcript(_))));
    followed.extend(read(&world, &call_id, &mut cursor, greeted).await);
    followed.extend(read(&world, &call_id, &mut cursor, |_| false).await);

    handle.finish().await;
    assert_eq!(followed, world.calls.events(&call_id).await, "what was followed live is what is kept");
    assert!(matches!(followed.last().unwrap().kind, Some(event::Kind::CallEnded(_))), "{:?}", followed.last());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_act_on_a_live_call() {
    let world = world().await;
    let handle = world.meta.call(stays()).await.unwrap();
    let command = async |kind: Kind| {
        let command = Some(Command { kind: Some(kind) });
        let request = SendCommandRequest { call_id: handle.id().to_owned(), command, ..Default::default() };
        world.calls.client().send_command(request).await.unwrap();
    };
    let transcripts = async |count: usize| world.calls.until_said(handle.id(), count).await;
    transcripts(1).await;
    command(Kind::Say(Say { text: "Please hold the line.".to_owned() })).await;
    transcripts(2).await;
    command(Kind::InjectText(InjectText { text: "Where is my parcel?".to_owned() })).await;
    // The AI sends its answer several times faster than it is played.
    let sent = |sessions: &[SessionRecord]| sessions[0].replies.get(2).is_some_and(|reply| reply.done_ms.is_some());
    assert!(world.ai().until(SOON, sent).await, "the AI answers the text");
    command(Kind::Interrupt(Interrupt {})).await;
    let said = transcripts(3).await;
    assert!(said[2].interrupted, "{said:?}");

    handle.hang_up().await;
    let record = handle.finish().await;
    let session = world.ai().sessions().remove(0);
    let heard: Vec<_> = recognise_all(&record.pcm_heard).into_iter().map(|found| found.name).collect();
    let replies: Vec<_> = session.replies.iter().map(|reply| reply.name.clone()).collect();
    assert_eq!(heard[..2], replies[..2], "the greeting and what was to be said were heard");
    assert_no_violations(&record, &session);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_keys_the_api_wants_one_and_the_webhook_does_not() {
    let control: BTreeMap<_, _> = [("VOICEBRIDGE_API_KEYS".to_owned(), "key-one,key-two".to_owned())].into();
    let world = Setup { ai: Some(sensible_ai()), control, ..Setup::default() }.start().await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("http://{}/sessions", world.address());
    let ask = async |key: Option<&str>| {
        let mut request = client.get(&url);
        if let Some(key) = key {
            request = request.bearer_auth(key);
        }
        request.send().await.unwrap().status()
    };
    assert_eq!(ask(None).await, StatusCode::UNAUTHORIZED);
    assert_eq!(ask(Some("key-three")).await, StatusCode::UNAUTHORIZED);
    assert_eq!(ask(Some("key-two")).await, StatusCode::OK);
    let refused = world.calls.get("anything").await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unauthenticated);
    let record = world.meta.call(hangs_up_at_once()).await.unwrap().finish().await;
    assert_eq!(record.ended_by, EndedBy::Caller, "calls are answered all the same");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_planes_serve_metrics_and_health() {
    let world = world().await;
    let handle = world.meta.call(stays()).await.unwrap();
    handle.reached(Moment::FirstSpeech).await.expect("the greeting begins");
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    for address in [world.address(), world.nodes[0].address()] {
        let health = client.get(format!("http://{address}/health")).send().await.unwrap();
        let health: serde_json::Value = serde_json::from_str(&health.text().await.unwrap()).unwrap();
        assert_eq!((&health["status"], &health["activeCalls"]), (&"healthy".into(), &1.into()), "{health}");
        let request = client.get(format!("http://{address}/metrics"));
        // The node answers everybody who reaches it.
        let metrics = request.bearer_auth(world.local_key().expose_secret()).send().await.unwrap();
        assert_eq!(metrics.status(), StatusCode::OK);
        let text = metrics.text().await.unwrap();
        assert!(text.lines().any(|line| line.starts_with("voicebridge_")), "{text}");
    }
    handle.hang_up().await;
    handle.finish().await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_with_another_token_gets_no_calls() {
    let mut world = Setup { nodes: 0, ai: Some(sensible_ai()), ..Setup::default() }.start().await;
    let other = [("VOICEBRIDGE_NODE_TOKEN".to_owned(), "another-token".to_owned())].into();
    world.add_node("elsewhere", &other).unwrap();
    voicebridge_system_tests::eventually("the node to be refused", SOON, || {
        let refused = world.nodes[0].process.log().contains("not registered");
        async move { refused.then_some(()) }
    })
    .await;
    let record = world.meta.call(hangs_up_at_once()).await.unwrap().finish().await;
    assert_eq!(record.ended_by, EndedBy::BusinessRejected);
    world.stop().await;
}
