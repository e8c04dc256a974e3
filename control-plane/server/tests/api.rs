//! What API callers get: self-held calls, events, lists, the HTTP of before, and who may ask.

#![allow(clippy::unwrap_used)]

mod support;

use secrecy::SecretString;
use serde_json::{Value, json};
use support::{Behaviour, Graph, Node, PATIENCE, Plane, connect, plane, system, terminate};
use tonic::{Code, Request, Status};
use voicebridge_proto::{
    control::v1::{
        self as control, AdvanceSessionRequest, CallPhase, EndCallRequest, EndReason, GetCallRequest, ListCallsRequest,
        SendCommandRequest, StartSessionRequest, StreamEventsRequest,
    },
    media::v1 as media,
    types::v1::{self as types, SignallingMode, SignallingStage, TerminationResult, event::Kind},
};
use voicebridge_telemetry::status::{metadata, reason};

fn start(call_id: &str) -> StartSessionRequest {
    StartSessionRequest {
        call_id: call_id.to_owned(),
        sdp_offer: format!("v=0\r\ns={call_id}\r\n"),
        caller: Some(types::Caller { phone_number: "5511900000001".to_owned(), ..Default::default() }),
        elapsed_ms: 40,
        ..StartSessionRequest::default()
    }
}

#[track_caller]
fn check<T: std::fmt::Debug>(answer: Result<T, Status>, code: Code, expect: &str) -> Status {
    let status = answer.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_deref()), (code, Some(expect)), "{}", status.message());
    status
}

#[tokio::test]
async fn a_caller_that_holds_the_signalling() {
    let (graph, plane, node) = system().await;
    let mut client = plane.client().await;
    let started = client.start_session(start("self")).await.unwrap().into_inner();
    assert_eq!(started.sdp_answer, "v=0\r\ns=answer to self of node-1\r\n");
    assert_eq!(started.warnings, ["no-ptime"]);
    let again = client.start_session(start("self")).await.unwrap().into_inner();
    assert!(!started.already_started && again.already_started, "a second webhook can tell that it is one");
    let again = control::StartSessionResponse { already_started: false, ..again };
    assert_eq!(again, started, "the same id again: the same answer");
    let session = node.session("self", "session", |_| true).await;
    assert_eq!((session.mode, &session.call_id), (SignallingMode::Staged, &started.call_id));
    assert!(session.elapsed_ms >= 40, "one timeline: {}", session.elapsed_ms);

    for (stage, expect) in [
        (SignallingStage::AnswerDelivered, SignallingStage::AnswerDelivered),
        (SignallingStage::Accepted, SignallingStage::Accepted),
        (SignallingStage::AnswerDelivered, SignallingStage::Accepted),
    ] {
        let request = AdvanceSessionRequest { call_id: "self".to_owned(), stage: stage.into() };
        assert_eq!(client.advance_session(request).await.unwrap().into_inner().stage(), expect);
    }
    plane.phase("self", CallPhase::Active).await;
    let request = EndCallRequest { call_id: "self".to_owned(), reason: EndReason::UserHangup.into() };
    let later = EndCallRequest { reason: EndReason::MetaFailed.into(), ..request.clone() };
    for request in [request, later] {
        let ended = client.end_call(request).await.unwrap().into_inner().termination.unwrap();
        let first = (TerminationResult::Completed, "USER_HANGUP");
        assert_eq!((ended.result(), ended.reason.as_str()), first, "the first stands");
    }
    assert_eq!(node.session("self", "ended", |s| s.ended.is_some()).await.ended.unwrap().reason, "USER_HANGUP");
    assert!(graph.actions("self").is_empty(), "somebody else talks to Meta");
    let call = plane.call("self").await.unwrap();
    let stages: Vec<_> = call.timeline.iter().map(|entry| entry.stage().as_str_name()).collect();
    assert!(stages.contains(&"STAGE_WA_CALL_PRE_ACCEPTED") && stages.contains(&"STAGE_WA_CALL_ACCEPTED"), "{stages:?}");
    let status = check(client.start_session(start("self")).await, Code::FailedPrecondition, "SESSION_ENDED");
    assert_eq!(metadata(&status, "termination").as_deref(), Some("USER_HANGUP"));
}

#[tokio::test]
async fn a_start_that_is_repeated_otherwise_is_refused_by_name() {
    let (_, plane, node) = system().await;
    let mut client = plane.client().await;
    let agent = |name: &str| types::Agent {
        variables: (0..9).map(|n| (format!("v{n}"), name.to_owned())).collect(),
        ..types::Agent::default()
    };
    let first = StartSessionRequest { agent: Some(agent("Ana")), phone_number_id: "106".to_owned(), ..start("twice") };
    let started = client.start_session(first.clone()).await.unwrap().into_inner();
    let later = StartSessionRequest { elapsed_ms: 9_000, ..first.clone() };
    assert_eq!(client.start_session(later).await.unwrap().into_inner().sdp_answer, started.sdp_answer);
    for (other, field) in [
        (StartSessionRequest { sdp_offer: "v=0\r\ns=other\r\n".to_owned(), ..first.clone() }, "sdp_offer"),
        (StartSessionRequest { phone_number_id: "107".to_owned(), ..first.clone() }, "phone_number_id"),
        (StartSessionRequest { agent: None, ..first.clone() }, "agent"),
        (StartSessionRequest { agent: Some(agent("Bia")), ..first.clone() }, "agent"),
        (StartSessionRequest { caller: None, ..first.clone() }, "caller"),
        (StartSessionRequest { signalling_mode: SignallingMode::Immediate.into(), ..first.clone() }, "signalling_mode"),
    ] {
        let status = check(client.start_session(other).await, Code::AlreadyExists, "START_ARGUMENTS_DIFFER");
        assert_eq!(metadata(&status, "field").as_deref(), Some(field));
    }
    let body = json!({"callId": "twice", "sdpOffer": "v=0\r\n"}).to_string();
    let answer = plane.http.post(format!("{}/sessions/start", plane.url)).body(body).send().await.unwrap();
    assert_eq!(answer.status(), 409);
    assert_eq!(node.sessions().len(), 1);
    client.start_session(first).await.expect("it goes on as it was started");
}

#[tokio::test]
async fn what_cannot_be_done_has_a_reason() {
    let (_, plane, node) = system().await;
    let mut client = plane.client().await;
    let id = |text: &str| text.to_owned();
    check(client.get_call(GetCallRequest { call_id: id("nobody") }).await, Code::NotFound, "CALL_NOT_FOUND");
    let end = EndCallRequest { call_id: id("nobody"), reason: EndReason::Unspecified.into() };
    check(client.end_call(end).await, Code::NotFound, "CALL_NOT_FOUND");
    let status = check(client.start_session(start("nobody")).await, Code::FailedPrecondition, "SESSION_ENDED");
    assert_eq!(metadata(&status, "termination").as_deref(), Some("CALLER_ABANDONED"), "its end overtook its beginning");
    let advance = |call: &str, stage: SignallingStage| AdvanceSessionRequest { call_id: id(call), stage: stage.into() };
    check(client.advance_session(advance("nobody", SignallingStage::Accepted)).await, Code::NotFound, "CALL_NOT_FOUND");
    let stream = StreamEventsRequest { call_id: id("nobody"), ..Default::default() };
    check(client.stream_events(stream).await.map(|_| ()), Code::NotFound, "CALL_NOT_FOUND");

    for (request, field) in [
        (StartSessionRequest { call_id: String::new(), ..start("x") }, "call_id"),
        (StartSessionRequest { call_id: "x".repeat(513), ..start("x") }, "call_id"),
        (StartSessionRequest { sdp_offer: String::new(), ..start("x") }, "sdp_offer"),
        (StartSessionRequest { sdp_offer: "x".repeat(65_537), ..start("x") }, "sdp_offer"),
    ] {
        let status = check(client.start_session(request).await, Code::InvalidArgument, "INVALID_ARGUMENT");
        assert_eq!(metadata(&status, "field").as_deref(), Some(field));
    }
    let odd = EndCallRequest { call_id: id("x"), reason: 99 };
    let status = check(client.end_call(odd).await, Code::InvalidArgument, "INVALID_ARGUMENT");
    assert_eq!(metadata(&status, "field").as_deref(), Some("reason"));

    node.behave(Behaviour::Refuse("no-audio"));
    for _ in 0..2 {
        let status = check(client.start_session(start("bad")).await, Code::InvalidArgument, "SDP_INVALID");
        assert_eq!(metadata(&status, "rule").as_deref(), Some("no-audio"));
    }
    node.behave(Behaviour::Full);
    check(client.start_session(start("full")).await, Code::ResourceExhausted, "NO_NODE_AVAILABLE");
    node.behave(Behaviour::Take);

    plane.deliver(&[connect("managed")]).await;
    plane.phase("managed", CallPhase::Active).await;
    check(client.start_session(start("managed")).await, Code::FailedPrecondition, "SIGNALLING_MANAGED");
    let stage = advance("managed", SignallingStage::Accepted);
    check(client.advance_session(stage).await, Code::FailedPrecondition, "SIGNALLING_MANAGED");
    let unset = advance("managed", SignallingStage::Unspecified);
    check(client.advance_session(unset).await, Code::InvalidArgument, "INVALID_ARGUMENT");
}

#[tokio::test]
async fn commands_reach_the_node() {
    let (_, plane, node) = system().await;
    let mut client = plane.client().await;
    plane.deliver(&[connect("cmd")]).await;
    plane.phase("cmd", CallPhase::Active).await;
    let say = |text: &str| control::Command {
        kind: Some(control::command::Kind::Say(control::Say { text: text.to_owned() })),
    };
    let send = |command| SendCommandRequest { call_id: "cmd".to_owned(), command, ..Default::default() };
    let chosen = client.send_command(send(Some(say("hello")))).await.unwrap().into_inner().command_id;
    assert_eq!(chosen.len(), 36, "where none is given it is one of ours");
    let session = node.session("cmd", "command", |s| !s.commands.is_empty()).await;
    assert_eq!(session.command_ids, [chosen.as_str()]);
    let said = media::command::Kind::Say(media::Say { text: "hello".to_owned() });
    assert_eq!(session.commands, [media::Command { kind: Some(said) }]);
    for bad in [None, Some(control::Command { kind: None }), Some(say("")), Some(say(&"x".repeat(17_000)))] {
        check(client.send_command(send(bad)).await, Code::InvalidArgument, "INVALID_ARGUMENT");
    }
    let with_id = |id: &str| SendCommandRequest { command_id: id.to_owned(), ..send(Some(say("hello"))) };
    for bad in ["two words", "caf\u{e9}", &"x".repeat(65)] {
        let status = check(client.send_command(with_id(bad)).await, Code::InvalidArgument, "INVALID_ARGUMENT");
        assert_eq!(metadata(&status, "field").as_deref(), Some("command_id"));
    }
    let id = "A-z_0".repeat(12);
    assert_eq!(client.send_command(with_id(&id)).await.unwrap().into_inner().command_id, id);
    let session = node.session("cmd", "second command", |s| s.commands.len() == 2).await;
    assert_eq!(session.command_ids, [chosen, id.clone()], "the node is told, for it is what remembers");
    client.send_command(with_id(&id)).await.unwrap();
    assert_eq!(node.session("cmd", "commands", |_| true).await.commands.len(), 2, "said once");
    let other = SendCommandRequest { command: Some(say("other")), ..with_id(&id) };
    check(client.send_command(other).await, Code::AlreadyExists, "COMMAND_ID_REUSED");
    plane.deliver(&[terminate("cmd")]).await;
    plane.ended("cmd").await;
    check(client.send_command(send(Some(say("late")))).await, Code::FailedPrecondition, "SESSION_ENDED");
}

#[tokio::test]
async fn events_are_replayed_then_live_without_loss_or_repetition() {
    let (_, plane, node) = system().await;
    plane.deliver(&[connect("watched")]).await;
    plane.phase("watched", CallPhase::Active).await;
    let session = node.session("watched", "session", |s| s.stage == SignallingStage::Accepted).await.session_id;
    let speech = |text: &str| {
        Kind::Transcript(types::Transcript {
            speaker: types::Speaker::Caller.into(),
            item_id: "item".to_owned(),
            text: text.to_owned(),
            ..types::Transcript::default()
        })
    };
    let partial = || Kind::PartialTranscript(types::PartialTranscript { delta: "li".to_owned(), ..Default::default() });
    node.emit(&session, speech("before"));
    plane.said("watched", 1).await;
    let watch = async |cursor: &str| {
        let request = StreamEventsRequest {
            call_id: "watched".to_owned(),
            cursor: cursor.to_owned(),
            ..StreamEventsRequest::default()
        };
        plane.client().await.stream_events(request).await.unwrap().into_inner()
    };
    let mut first = watch("").await;
    let mut seen = Vec::new();
    let mut cursor = String::new();
    while plane::kind_names(&seen).last().is_none_or(|name| name != "transcript before") {
        let next = tokio::time::timeout(PATIENCE, first.message()).await.unwrap().unwrap().unwrap();
        seen.extend(next.event);
        cursor = next.cursor;
    }
    let known = seen.len() as u64;
    let mut second = watch(&cursor).await;
    // Both listen by now: a partial transcript reaches them, and nobody who comes later.
    node.emit(&session, partial());
    for stream in [&mut first, &mut second] {
        loop {
            let next = tokio::time::timeout(PATIENCE, stream.message()).await.unwrap().unwrap().unwrap();
            let Some(event) = next.event else { continue };
            if matches!(event.kind, Some(Kind::PartialTranscript(_))) {
                assert_eq!(event.sequence, 0);
                break;
            }
            seen.push(event);
        }
    }
    node.emit(&session, speech("after"));
    plane.deliver(&[terminate("watched")]).await;
    let finish = async |stream: &mut tonic::Streaming<control::StreamEventsResponse>| {
        let mut events = Vec::new();
        while let Some(response) = tokio::time::timeout(PATIENCE, stream.message()).await.unwrap().unwrap() {
            events.extend(response.event);
        }
        events
    };
    seen.extend(finish(&mut first).await);
    let rest = finish(&mut second).await;
    let durable =
        |events: &[types::Event]| events.iter().map(|event| event.sequence).filter(|s| *s > 0).collect::<Vec<_>>();
    let all = durable(&seen);
    assert_eq!(all, (1..=all.len() as u64).collect::<Vec<_>>(), "gapless, in order, once each");
    assert_eq!(durable(&rest), (known + 1..=all.len() as u64).collect::<Vec<_>>());
    assert_eq!(plane::kind_names(&seen).last().unwrap(), "call ended USER_HANGUP");
    // After the call: durable events only, from any cursor.
    let stored = plane.events("watched", "").await;
    assert_eq!(durable(&stored), all);
    assert!(!plane::kind_names(&stored).iter().any(|name| name.starts_with("partial")));
    assert_eq!(plane.events("watched", &cursor).await.len() as u64, all.len() as u64 - known);
}

#[tokio::test]
async fn a_call_is_found_by_either_id() {
    // The second is one that could be ours; who knows it by nothing else finds it all the same.
    for wacid in ["wacid.HBgNNTUxMTkwMDAwMDAwMQ==", "01a0c450-6c00-7abc-8def-0123456789ab"] {
        let (_, plane, _node) = system().await;
        let mut client = plane.client().await;
        let call_id = client.start_session(start(wacid)).await.unwrap().into_inner().call_id;
        assert!(call_id != wacid && call_id.len() == 36 && &call_id[14..15] == "7", "{call_id}");
        // Who repeats it with the id that the answer gave means the same call.
        let named = StartSessionRequest { call_id: call_id.clone(), ..start(wacid) };
        let again = client.start_session(named).await.unwrap().into_inner();
        assert_eq!((again.call_id.as_str(), again.already_started), (call_id.as_str(), true));
        let lookup = |wacid: &str| control::LookupCallRequest { wacid: wacid.to_owned() };
        let call = client.lookup_call(lookup(wacid)).await.unwrap().into_inner().call.unwrap();
        assert_eq!((&call.call_id, call.wacid.as_str()), (&call_id, wacid));
        check(client.lookup_call(lookup(&call_id)).await, Code::NotFound, "CALL_NOT_FOUND");
        check(client.lookup_call(lookup("")).await, Code::InvalidArgument, "INVALID_ARGUMENT");
        for name in [wacid, &call_id.to_uppercase(), &call_id] {
            assert_eq!(plane.call(name).await.unwrap().call_id, call_id);
            let advance =
                AdvanceSessionRequest { call_id: name.to_owned(), stage: SignallingStage::AnswerDelivered.into() };
            client.advance_session(advance).await.unwrap();
            let (code, one) = plane.get(&format!("/sessions/{name}")).await;
            assert_eq!((code, &one["callId"], &one["id"]), (200, &json!(wacid), &json!(call_id)));
        }
        // A stream begun under one id goes on under the other.
        let stream = |name: &str, cursor: &str| StreamEventsRequest {
            call_id: name.to_owned(),
            cursor: cursor.to_owned(),
            ..Default::default()
        };
        let mut by_wacid = client.stream_events(stream(wacid, "")).await.unwrap().into_inner();
        let cursor = by_wacid.message().await.unwrap().unwrap().cursor;
        let end = EndCallRequest { call_id: call_id.clone(), reason: EndReason::Unspecified.into() };
        client.end_call(end.clone()).await.unwrap();
        let mut by_ours = client.stream_events(stream(&call_id, &cursor)).await.unwrap().into_inner();
        let mut told = Vec::new();
        while let Some(response) = by_ours.message().await.unwrap() {
            told.extend(response.event);
        }
        assert!(told.iter().all(|event| event.call_id == call_id), "{told:?}");
        assert_eq!(told, plane.events(wacid, "").await);
        client.end_call(EndCallRequest { call_id: wacid.to_owned(), ..end }).await.unwrap();
    }
}

#[tokio::test]
async fn the_http_of_the_predecessor() {
    let (graph, plane, node) = system().await;
    let (code, health) = plane.get("/health").await;
    assert_eq!((code, &health["status"], &health["activeCalls"]), (200, &json!("healthy"), &json!(0)));

    let body =
        json!({"callId": "wacid.http/1=", "sdpOffer": "v=0\r\ns=wacid.http/1=\r\n", "fromNumber": "+55 11 90000-0001"});
    let (code, started) = plane.post("/sessions/start", body.clone()).await;
    assert_eq!((code, &started["success"], &started["callId"]), (200, &json!(true), &json!("wacid.http/1=")));
    assert_eq!(started["sdpAnswer"], "v=0\r\ns=answer to wacid.http/1= of node-1\r\n");
    assert_eq!(plane.post("/sessions/start", body).await, (200, started.clone()), "the same answer");
    let session = node.session("wacid.http/1=", "session", |_| true).await;
    assert_eq!(session.mode, SignallingMode::Immediate);
    assert_eq!(session.caller.phone_number, "5511900000001");
    assert_eq!(started["sessionId"], session.session_id.as_str());

    let (_, list) = plane.get("/sessions").await;
    assert_eq!(list["count"], 1);
    let entry = &list["sessions"][0];
    for field in ["callId", "id", "sessionId"] {
        assert_eq!(entry[field], started[field], "{field}");
    }
    assert_eq!(started["id"], plane.id("wacid.http/1=").await);
    assert!(entry["duration"].is_u64() && entry["status"].is_string(), "{entry}");
    let path = "/sessions/wacid.http%2F1=";
    assert_eq!(plane.get(path).await.1["callId"], "wacid.http/1=");

    let advance = async |stage: &str| plane.post(&format!("{path}/advance"), json!({"stage": stage})).await;
    assert_eq!(advance("ANSWER_DELIVERED").await.1["stage"], "ANSWER_DELIVERED");
    assert_eq!(advance("SIGNALLING_STAGE_ACCEPTED").await.1["stage"], "ACCEPTED");
    let (code, refused) = advance("PICKED_UP").await;
    assert_eq!((code, &refused["reason"]), (400, &json!("INVALID_ARGUMENT")));
    assert_eq!(plane.phase("wacid.http/1=", CallPhase::Active).await.session_id, session.session_id);
    assert_eq!(plane.get("/health").await.1["activeCalls"], 1);

    let (code, stopped) = plane.post(&format!("{path}/stop"), Value::Null).await;
    assert_eq!((code, &stopped["success"]), (200, &json!(true)));
    assert_eq!(plane.get("/sessions").await.1["count"], 0);
    let (code, ended) = plane.get(path).await;
    assert_eq!((code, &ended["status"], &ended["reason"]), (200, &json!("ended"), &json!("API_HANGUP")));
    assert!(graph.actions("wacid.http/1=").is_empty());

    for (path, body, code, reason) in [
        ("/sessions/nobody/stop", json!({}), 404, "CALL_NOT_FOUND"),
        ("/sessions/nobody/advance", json!({"stage": "ACCEPTED"}), 404, "CALL_NOT_FOUND"),
        ("/sessions/start", json!({"callId": "x"}), 400, "INVALID_ARGUMENT"),
        ("/sessions/start", json!({"callId": "", "sdpOffer": "v=0"}), 400, "INVALID_ARGUMENT"),
        ("/nowhere", json!({}), 404, "PATH_NOT_FOUND"),
    ] {
        let (status, answer) = plane.post(path, body).await;
        assert_eq!((status, &answer["reason"]), (code, &json!(reason)), "{path}");
        assert!(answer["error"].is_string() && answer["message"].is_string(), "{answer}");
    }
    assert_eq!(plane.get("/sessions/nobody").await.0, 404);
    assert_eq!(plane.get("/").await.0, 404);
}

#[tokio::test]
async fn a_session_nobody_advances_becomes_active_by_itself() {
    let (_, plane, node) = system().await;
    plane.post("/sessions/start", json!({"callId": "imm", "sdpOffer": "v=0\r\ns=imm\r\n"})).await;
    let session = node.session("imm", "session", |_| true).await.session_id;
    let active = types::StageReached { stage: types::Stage::MediaBridgeActive.into() };
    node.emit(&session, Kind::StageReached(active));
    plane.phase("imm", CallPhase::Active).await;
    node.end(&session, TerminationResult::Failed, "MEDIA_TRANSPORT_LOST", "");
    assert_eq!(plane.ended("imm").await.1, "MEDIA_TRANSPORT_LOST");
}

#[tokio::test]
async fn keys_and_their_absence() {
    let graph = Graph::start().await;
    let mut config = plane::config(&graph.url);
    config.api_keys = vec!["key-1".into(), "key-2".into()];
    config.node_token = Some(SecretString::from("node-token"));
    let plane = Plane::start_with(config).await;
    let ask = async |path: &str, header: Option<(&str, &str)>| {
        let mut request = plane.http.get(format!("{}{path}", plane.url));
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        request.send().await.unwrap()
    };
    for path in ["/sessions", "/metrics"] {
        let refused = ask(path, None).await;
        assert_eq!(refused.status(), 401);
        let answer: Value = refused.json().await.unwrap();
        assert_eq!(answer["reason"], "UNAUTHENTICATED");
        assert!(answer["message"].as_str().unwrap().contains("VOICEBRIDGE_API_KEYS"), "{answer}");
        assert_eq!(ask(path, Some(("authorization", "Bearer key-3"))).await.status(), 401);
        assert_eq!(ask(path, Some(("authorization", "Bearer key-2"))).await.status(), 200);
        assert_eq!(ask(path, Some(("x-api-key", "key-1"))).await.status(), 200);
    }
    for open in ["/health", "/webhooks/whatsapp?hub.mode=subscribe&hub.challenge=7&hub.verify_token=verify-word"] {
        assert_eq!(ask(open, None).await.status(), 200, "{open}");
    }
    assert_eq!(ask("/nowhere", None).await.status(), 404);

    let mut client = plane.client().await;
    check(client.list_calls(ListCallsRequest::default()).await, Code::Unauthenticated, "UNAUTHENTICATED");
    let mut request = Request::new(ListCallsRequest::default());
    request.metadata_mut().insert("x-api-key", "key-1".parse().unwrap());
    client.list_calls(request).await.unwrap();
    plane.deliver(&[connect("open")]).await;

    // A node without the token is nobody.
    let node = Node::start("node-1").await;
    node.register(&plane.url, "local", 1);
    let channel = plane::channel(&plane.url).await.unwrap();
    let mut nodes = media::node_service_client::NodeServiceClient::new(channel);
    let beats = tokio_stream::iter([media::ConnectRequest::default()]);
    check(nodes.connect(beats).await.map(|_| ()), Code::Unauthenticated, "UNAUTHENTICATED");
    assert_eq!(plane.get("/health").await.1["nodes"], 0);
}

/// One gRPC-web message: a flag, a length, the bytes.
fn framed(message: &impl prost::Message) -> Vec<u8> {
    let bytes = message.encode_to_vec();
    [&[0][..], &(bytes.len() as u32).to_be_bytes(), &bytes].concat()
}

#[tokio::test]
async fn browsers_call_over_grpc_web() {
    let (_, plane, _node) = system().await;
    let url = format!("{}/voicebridge.control.v1.CallService/StartSession", plane.url);
    let preflight = plane
        .http
        .request(reqwest::Method::OPTIONS, &url)
        .header("origin", "http://localhost:5173")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "content-type,x-grpc-web,authorization")
        .send()
        .await
        .unwrap();
    assert_eq!(preflight.status(), 200);
    assert_eq!(preflight.headers()["access-control-allow-origin"], "http://localhost:5173");
    let answer = plane
        .http
        .post(&url)
        .header("origin", "http://localhost:5173")
        .header("content-type", "application/grpc-web+proto")
        .header("x-grpc-web", "1")
        .body(framed(&start("web")))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    let exposed = answer.headers()["access-control-expose-headers"].to_str().unwrap().to_owned();
    assert!(exposed.contains("grpc-status"), "{exposed}");
    let bytes = answer.bytes().await.unwrap();
    let length = u32::from_be_bytes(bytes[1..5].try_into().unwrap()) as usize;
    let started: control::StartSessionResponse = prost::Message::decode(&bytes[5..5 + length]).unwrap();
    assert_eq!(started.call_id, plane.id("web").await);
    let trailers = String::from_utf8_lossy(&bytes[5 + length + 5..]).into_owned();
    assert!(trailers.contains("grpc-status:0"), "{trailers}");

    // A page elsewhere does not know the key, and could not read an answer.
    let foreign = reqwest::Client::new()
        .post(&url)
        .header("origin", "https://evil.example")
        .header("content-type", "application/grpc-web+proto")
        .body(framed(&start("evil")))
        .send()
        .await
        .unwrap();
    assert!(foreign.headers().get("access-control-allow-origin").is_none());
    assert_eq!(foreign.headers()["grpc-status"], "16", "UNAUTHENTICATED");
    assert_eq!(plane.get("/sessions").await.1["count"], 1);
}

/// RFC 9110, section 8.3.1: types are compared without regard to case, and parameters do not change them.
#[tokio::test]
async fn grpc_web_is_known_by_its_media_type_whatever_is_said_beside_it() {
    let (_, plane, _node) = system().await;
    let url = format!("{}/voicebridge.control.v1.CallService/ListCalls", plane.url);
    let ask = async |kind: &str, accept: Option<&str>, text: bool, known: bool| {
        // An empty message; in the text form the same in base64.
        let body = if text { b"AAAAAAA=".to_vec() } else { framed(&control::ListCallsRequest::default()) };
        let mut request = plane.http.post(&url).header("content-type", kind).body(body);
        if let Some(accept) = accept {
            request = request.header("accept", accept);
        }
        if !known {
            request = request.header("x-forwarded-for", "203.0.113.9").header("authorization", "Bearer guess");
        }
        let response = request.send().await.unwrap();
        let of = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let (status, content, grpc) = (response.status().as_u16(), of("content-type"), of("grpc-status"));
        (status, content.unwrap_or_default(), grpc, response.bytes().await.unwrap())
    };
    for (kind, text) in [
        ("application/grpc-web", false),
        ("application/grpc-web+proto", false),
        ("application/grpc-web-text", true),
        ("application/grpc-web-text+proto", true),
        ("application/grpc-web+proto; charset=utf-8", false),
        ("application/grpc-web;charset=UTF-8", false),
        ("Application/gRPC-Web+proto ; a=b", false),
        ("application/grpc-web-text; charset=UTF-8", true),
        ("application/grpc-web-text+proto;charset=\"utf-8\"", true),
    ] {
        for accept in [None, Some(kind)] {
            let (status, content, grpc, body) = ask(kind, accept, text, true).await;
            assert_eq!(status, 200, "{kind} {accept:?}: {body:?}");
            let in_text = content.starts_with("application/grpc-web-text");
            assert!(content.starts_with("application/grpc-web"), "{kind} {accept:?}: {content}");
            assert_eq!(in_text, text && accept.is_some(), "{kind} {accept:?}: {content}");
            assert!(body.len() > 5 || grpc.is_some(), "{kind} {accept:?}: {body:?}");
        }
        // A refusal has the same shape.
        let (status, content, grpc, _) = ask(kind, None, text, false).await;
        assert_eq!((status, grpc.as_deref()), (200, Some("16")), "{kind}");
        assert!(content.starts_with("application/grpc-web"), "{kind}: {content}");
    }
    // What is not served is refused in words.
    for kind in ["application/grpc-web+json", "application/grpc-web+thrift; a=b", "application/grpc-webber"] {
        let (status, _, _, body) = ask(kind, None, false, true).await;
        let said: Value = serde_json::from_slice(&body).unwrap_or_default();
        assert_eq!((status, &said["reason"]), (415, &json!("INVALID_ARGUMENT")), "{kind}: {body:?}");
    }
}

#[tokio::test]
async fn health_and_metrics() {
    let (_, plane, _node) = system().await;
    let channel = plane::channel(&plane.url).await.unwrap();
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel);
    for service in ["", "voicebridge.control.v1.CallService", "voicebridge.media.v1.NodeService"] {
        let request = tonic_health::pb::HealthCheckRequest { service: service.to_owned() };
        let status = health.check(request).await.unwrap().into_inner().status();
        assert_eq!(status, tonic_health::pb::health_check_response::ServingStatus::Serving, "{service}");
    }
    plane.deliver(&[connect("measured")]).await;
    plane.phase("measured", CallPhase::Active).await;
    let metrics = plane.http.get(format!("{}/metrics", plane.url)).send().await.unwrap().text().await.unwrap();
    for name in
        ["voicebridge_control_stage_ms", "voicebridge_control_graph_requests_total", "voicebridge_control_nodes"]
    {
        assert!(metrics.contains(name), "{metrics}");
    }
}
