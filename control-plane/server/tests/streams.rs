//! `StreamEvents` over a real connection: where it begins, what it chooses, how it is refused, and how it goes on after
//! whatever cut it off.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use support::{Graph, Node, PATIENCE, Plane, connect, plane, system, terminate, until};
use tonic::{Code, Request, Streaming};
use voicebridge_proto::{
    control::v1::{CallPhase, StreamEventsRequest, StreamEventsResponse, StreamStart},
    types::v1::{self as types, EventKind, SignallingStage, event::Kind},
};
use voicebridge_telemetry::status::reason;

fn of(call_id: &str) -> StreamEventsRequest {
    StreamEventsRequest { call_id: call_id.to_owned(), ..StreamEventsRequest::default() }
}

fn after(call_id: &str, cursor: &str) -> StreamEventsRequest {
    StreamEventsRequest { cursor: cursor.to_owned(), ..of(call_id) }
}

fn only(kinds: &[EventKind]) -> StreamEventsRequest {
    StreamEventsRequest { kinds: kinds.iter().map(|kind| i32::from(*kind)).collect(), ..StreamEventsRequest::default() }
}

async fn open(plane: &Plane, request: StreamEventsRequest) -> Streaming<StreamEventsResponse> {
    plane.client().await.stream_events(request).await.unwrap().into_inner()
}

/// The next response; `None` at the end.
async fn next(stream: &mut Streaming<StreamEventsResponse>) -> Option<StreamEventsResponse> {
    tokio::time::timeout(PATIENCE, stream.message()).await.expect("a response").unwrap()
}

/// The next event.
async fn event(stream: &mut Streaming<StreamEventsResponse>) -> Option<types::Event> {
    loop {
        let response = next(stream).await?;
        if response.event.is_some() {
            return response.event;
        }
    }
}

/// All to the end.
async fn rest(stream: &mut Streaming<StreamEventsResponse>) -> Vec<types::Event> {
    let mut events = Vec::new();
    while let Some(event) = event(stream).await {
        events.push(event);
    }
    events
}

async fn refused(plane: &Plane, request: StreamEventsRequest) -> (Code, String) {
    let status = plane.client().await.stream_events(request).await.expect_err("a refusal");
    (status.code(), reason(&status).unwrap_or_default())
}

fn said(text: &str) -> Kind {
    Kind::Transcript(types::Transcript { text: text.to_owned(), ..types::Transcript::default() })
}

/// An active call; its session.
async fn active(plane: &Plane, node: &Node, call_id: &str) -> String {
    assert_eq!(plane.deliver(&[connect(call_id)]).await, 200);
    plane.phase(call_id, CallPhase::Active).await;
    node.session(call_id, "session", |session| session.stage == SignallingStage::Accepted).await.session_id
}

#[tokio::test]
async fn the_first_response_tells_where_it_begins() {
    let (_, plane, node) = system().await;
    active(&plane, &node, "a").await;
    for request in [of("a"), of(""), StreamEventsRequest { start: StreamStart::Oldest.into(), ..of("") }] {
        let first = next(&mut open(&plane, request).await).await.unwrap();
        assert!(first.event.is_none() && first.lagged.is_none());
        assert_eq!(first.keepalive_interval_ms, 15_000);
        assert!((1..=256).contains(&first.cursor.len()) && first.cursor.is_ascii());
    }
    let mut oldest = open(&plane, StreamEventsRequest { start: StreamStart::Oldest.into(), ..of("") }).await;
    let mut one = open(&plane, of("a")).await;
    let mut now = open(&plane, of("")).await;
    assert!(next(&mut now).await.unwrap().event.is_none());
    for stream in [&mut oldest, &mut one] {
        let first = event(stream).await.unwrap();
        assert_eq!((first.call_id, first.sequence), (plane.id("a").await, 1));
    }
    plane.deliver(&[terminate("a"), connect("b")]).await;
    let first = event(&mut now).await.unwrap();
    assert!(first.call_id != plane.id("a").await || first.sequence > 1, "{first:?}");
}

#[tokio::test]
async fn all_calls_one_number_one_caller_some_kinds() {
    let (_, plane, node) = system().await;
    let mut all = open(&plane, of("")).await;
    let mut ends = open(&plane, only(&[EventKind::CallEnded])).await;
    let mut partials = open(&plane, only(&[EventKind::PartialTranscript, EventKind::CallEnded])).await;
    let number =
        |id: &str| StreamEventsRequest { phone_number_ids: vec![id.to_owned()], ..only(&[EventKind::CallEnded]) };
    let caller = |digits: &str| StreamEventsRequest {
        caller_phone_numbers: vec![digits.to_owned()],
        ..only(&[EventKind::CallEnded])
    };
    let mut ours = open(&plane, number(support::NUMBER_ID)).await;
    let mut others = open(&plane, number("999")).await;
    let mut anas = open(&plane, caller("+5511900000001")).await;
    let mut strangers = open(&plane, caller("15550002222")).await;
    for stream in [&mut all, &mut ends, &mut partials, &mut ours, &mut others, &mut anas, &mut strangers] {
        assert!(next(stream).await.unwrap().event.is_none());
    }
    for call_id in ["a", "b"] {
        let session = active(&plane, &node, call_id).await;
        let partial = types::PartialTranscript { delta: "li".to_owned(), ..types::PartialTranscript::default() };
        node.emit(&session, Kind::PartialTranscript(partial));
        node.emit(&session, said("listen"));
        plane.said(call_id, 1).await;
        plane.deliver(&[terminate(call_id)]).await;
        plane.ended(call_id).await;
    }
    let ended =
        |events: &[types::Event]| events.iter().filter(|event| matches!(event.kind, Some(Kind::CallEnded(_)))).count();
    let until_both_ended = async |stream: &mut Streaming<StreamEventsResponse>| {
        let mut events = Vec::new();
        while ended(&events) < 2 {
            events.push(event(stream).await.unwrap());
        }
        events
    };
    let seen = until_both_ended(&mut all).await;
    for name in ["a", "b"] {
        let call_id = plane.id(name).await;
        let told: Vec<_> =
            seen.iter().filter(|event| event.call_id == call_id && event.sequence > 0).cloned().collect();
        assert_eq!(told, plane.events(name, "").await);
    }
    assert!(seen.iter().any(|event| event.sequence == 0), "transient ones too, when no kind is named");
    for stream in [&mut ends, &mut ours, &mut anas] {
        assert_eq!(until_both_ended(stream).await.len(), 2);
    }
    assert_eq!(until_both_ended(&mut partials).await.len(), 4);
    for stream in [&mut others, &mut strangers] {
        assert!(tokio::time::timeout(Duration::from_millis(100), stream.message()).await.is_err(), "nothing for them");
    }
}

#[tokio::test]
async fn what_cannot_be_streamed_has_a_reason() {
    let (graph, plane, node) = system().await;
    active(&plane, &node, "a").await;
    active(&plane, &node, "b").await;
    let of_all = next(&mut open(&plane, of("")).await).await.unwrap().cursor;
    let of_a = next(&mut open(&plane, of("a")).await).await.unwrap().cursor;
    let elsewhere = Plane::start(&graph).await;
    let foreign = next(&mut open(&elsewhere, of("")).await).await.unwrap().cursor;
    for (call_id, cursor) in [
        ("", of_a.as_str()),
        ("a", &of_all),
        ("b", &of_a),
        ("", &foreign),
        ("", &of_all[1..]),
        ("", "1"),
        ("", "\u{fc}"),
        ("a", &"A".repeat(257)),
        ("", &"A".repeat(1_000_000)),
    ] {
        let refused = refused(&plane, after(call_id, cursor)).await;
        assert_eq!(refused, (Code::InvalidArgument, "CURSOR_INVALID".to_owned()), "{call_id:?}");
    }
    let many = |count: usize| vec!["1".to_owned(); count];
    for request in [
        of(&"x".repeat(10_000)),
        of("a\n"),
        StreamEventsRequest { start: 7, ..of("") },
        StreamEventsRequest { kinds: vec![0], ..of("") },
        StreamEventsRequest { kinds: vec![19], ..of("") },
        StreamEventsRequest { kinds: vec![-1], ..of("") },
        StreamEventsRequest { kinds: vec![26; 65], ..of("") },
        StreamEventsRequest { phone_number_ids: many(65), ..of("") },
        StreamEventsRequest { phone_number_ids: vec!["1".repeat(65)], ..of("") },
        StreamEventsRequest { phone_number_ids: vec![String::new()], ..of("") },
        StreamEventsRequest { caller_phone_numbers: many(65), ..of("") },
        StreamEventsRequest { caller_phone_numbers: vec!["Ana".to_owned()], ..of("") },
    ] {
        assert_eq!(refused(&plane, request).await, (Code::InvalidArgument, "INVALID_ARGUMENT".to_owned()));
    }
    assert_eq!(refused(&plane, of("nobody")).await, (Code::NotFound, "CALL_NOT_FOUND".to_owned()));
}

#[tokio::test]
async fn a_cursor_of_a_database_that_was_put_back_is_ahead() {
    let (_, mut plane, node) = system().await;
    active(&plane, &node, "a").await;
    plane.terminate().await.unwrap();
    let backup = plane.back_up();
    plane.restart().await;
    plane.nodes(1).await;
    active(&plane, &node, "b").await;
    let cursor = next(&mut open(&plane, of("")).await).await.unwrap().cursor;
    plane.terminate().await.unwrap();
    plane.put_back(&backup);
    plane.restart().await;
    assert_eq!(refused(&plane, after("", &cursor)).await, (Code::InvalidArgument, "CURSOR_INVALID".to_owned()));
}

#[tokio::test]
async fn the_replay_of_an_ended_call_ends() {
    let (_, plane, node) = system().await;
    let session = active(&plane, &node, "a").await;
    node.emit(&session, said("hello"));
    plane.deliver(&[terminate("a")]).await;
    plane.ended("a").await;
    let stored = plane.events("a", "").await;
    assert_eq!(
        stored.iter().map(|event| event.sequence).collect::<Vec<_>>(),
        (1..=stored.len() as u64).collect::<Vec<_>>()
    );
    let mut words =
        open(&plane, StreamEventsRequest { call_id: "a".to_owned(), ..only(&[EventKind::Transcript]) }).await;
    assert_eq!(rest(&mut words).await.len(), 1, "though the last event is not let through");
    let mut now = open(&plane, StreamEventsRequest { start: StreamStart::Now.into(), ..of("a") }).await;
    assert!(rest(&mut now).await.is_empty());
    // From every cursor on: the rest, and after the last one nothing but the first response.
    let mut stream = open(&plane, of("a")).await;
    let mut known = 0;
    while let Some(response) = next(&mut stream).await {
        known += usize::from(response.event.is_some());
        assert_eq!(rest(&mut open(&plane, after("a", &response.cursor)).await).await, stored[known..]);
    }
    assert_eq!(known, stored.len());
}

#[tokio::test]
async fn a_stream_goes_on_after_a_crash_and_after_a_shutdown() {
    let (_, mut plane, node) = system().await;
    let session = active(&plane, &node, "a").await;
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    for (round, text) in ["one", "two", "three"].into_iter().enumerate() {
        let start = StreamStart::Oldest.into();
        let mut stream = open(&plane, StreamEventsRequest { start, ..after("", &cursor) }).await;
        node.emit(&session, said(text));
        while !seen.iter().any(|event: &types::Event| event.kind.as_ref() == Some(&said(text))) {
            let response = next(&mut stream).await.unwrap();
            cursor = response.cursor;
            seen.extend(response.event);
        }
        if round == 0 {
            plane.kill();
            assert!(tokio::time::timeout(PATIENCE, stream.message()).await.unwrap().is_err(), "cut off");
        } else {
            let stopped = plane.terminate();
            let status = loop {
                match tokio::time::timeout(PATIENCE, stream.message()).await.unwrap() {
                    Ok(Some(response)) => {
                        cursor = response.cursor;
                        seen.extend(response.event);
                    }
                    Ok(None) => panic!("it did not end well"),
                    Err(status) => break status,
                }
            };
            assert_eq!((status.code(), reason(&status).as_deref()), (Code::Unavailable, Some("CONTROL_DRAINING")));
            stopped.await.unwrap();
        }
        node.emit(&session, said(&format!("after {text}")));
        plane.restart().await;
        plane.nodes(1).await;
    }
    plane.deliver(&[terminate("a")]).await;
    plane.ended("a").await;
    let mut stream = open(&plane, after("", &cursor)).await;
    while !matches!(seen.last().unwrap().kind, Some(Kind::CallEnded(_))) {
        seen.push(event(&mut stream).await.unwrap());
    }
    assert_eq!(seen, plane.events("a", "").await, "everything once, in order");
}

#[tokio::test]
async fn there_are_only_so_many_streams() {
    let graph = Graph::start().await;
    let mut config = plane::config(&graph.url);
    config.limits.subscribers = 2;
    let plane = Plane::start_with(config).await;
    let first = open(&plane, of("")).await;
    let _second = open(&plane, of("")).await;
    assert_eq!(refused(&plane, of("")).await, (Code::ResourceExhausted, "TOO_MANY_SUBSCRIBERS".to_owned()));
    drop(first);
    until("there is room again", || async { plane.client().await.stream_events(of("")).await.ok() }).await;
}

#[tokio::test]
async fn one_key_cannot_take_the_streams_of_all() {
    let graph = Graph::start().await;
    let mut config = plane::config(&graph.url);
    config.api_keys = vec!["one".into(), "two".into()];
    config.limits.subscribers_per_key = 2;
    let plane = Plane::start_with(config).await;
    let follow = async |key: &str| {
        let mut request = Request::new(of(""));
        request.metadata_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
        plane.client().await.stream_events(request).await.map(tonic::Response::into_inner)
    };
    let (first, _second) = (follow("one").await.unwrap(), follow("one").await.unwrap());
    let full = follow("one").await.unwrap_err();
    assert_eq!((full.code(), reason(&full).as_deref()), (Code::ResourceExhausted, Some("TOO_MANY_SUBSCRIBERS")));
    assert!(full.message().contains("This key has 2"), "{}", full.message());
    let sse = plane.http.get(format!("{}/events", plane.url)).header("x-api-key", "one").send().await.unwrap();
    assert_eq!(sse.status(), 503, "both kinds count");
    follow("two").await.expect("another key has its own");
    drop(first);
    until("there is room again", || async { follow("one").await.ok() }).await;
}

#[tokio::test]
async fn a_stream_with_nothing_to_tell_is_kept_alive() {
    let graph = Graph::start().await;
    let mut config = plane::config(&graph.url);
    config.limits.keepalive = Duration::from_millis(20);
    let plane = Plane::start_with(config).await;
    let mut stream = open(&plane, of("")).await;
    let first = next(&mut stream).await.unwrap();
    assert_eq!(first.keepalive_interval_ms, 20);
    for _ in 0..3 {
        let alive = next(&mut stream).await.unwrap();
        assert_eq!(alive, StreamEventsResponse { cursor: first.cursor.clone(), ..StreamEventsResponse::default() });
    }
}
