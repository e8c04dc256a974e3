//! Callers of the API that hold Meta's signalling themselves: over the predecessor's HTTP and over gRPC.

use serde_json::{Value, json};
use voicebridge_proto::{
    control::v1::{AdvanceSessionRequest, StartSessionRequest},
    types::v1::{SignallingMode, SignallingStage},
};
use voicebridge_simulator::{
    ai::UpdateFault,
    meta::{Action, CallHandle, CallerSettings, ConnectDelivery, EndedBy, Moment, Step},
};
use voicebridge_system_tests::{Answer, Setup, World};

use crate::talk::{asks_one_question, assert_ended, assert_heard, assert_no_violations, granted, sensible_ai, stays};

async fn world() -> World {
    Setup { ai: Some(sensible_ai()), ..Setup::default() }.start().await
}

/// A caller whose webhooks go elsewhere: to the test, which acts as an edge function.
async fn dial(world: &World, settings: CallerSettings) -> (CallHandle, String) {
    let settings = CallerSettings { connect: ConnectDelivery::Withheld, terminate_withheld: true, ..settings };
    let handle = world.meta.call(settings).await.unwrap();
    let offer = handle.connect_webhook()["calls"][0]["session"]["sdp"].as_str().unwrap().to_owned();
    (handle, offer)
}

/// The edge function talks to Graph.
async fn graph(world: &World, handle: &CallHandle, action: Action, answer: Option<&str>) {
    let settings = world.meta.settings();
    let mut body = json!({"messaging_product": "whatsapp", "call_id": handle.id(), "action": action.name()});
    if let Some(sdp) = answer {
        body["session"] = json!({"sdp_type": "answer", "sdp": sdp});
    }
    let url = format!("{}/{}/calls", world.meta.graph_url(), settings.phone_number_id);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let response = client.post(url).bearer_auth(&settings.access_token).json(&body).send().await.unwrap();
    assert_eq!(response.status(), 200, "{}", response.text().await.unwrap());
}

fn path(handle: &CallHandle, rest: &str) -> String {
    // Ids are base64-like: their characters have a meaning in a path.
    let encoded: String = handle
        .id()
        .bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect();
    format!("/sessions/{encoded}{rest}")
}

fn assert_error(answer: &Answer, status: u16, reason: &str) {
    assert_eq!((answer.status, &answer.body["reason"]), (status, &Value::from(reason)), "{answer:?}");
    assert!(answer.body["error"].is_string() && answer.body["message"].is_string(), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_never_advanced_connects_and_talks_at_once() {
    let world = world().await;
    let (handle, offer) = dial(&world, asks_one_question()).await;
    let started = world.http.start(handle.id(), &offer).await.unwrap();
    assert_eq!(started.status, 200, "{started:?}");
    assert_eq!((&started.body["success"], &started.body["callId"]), (&true.into(), &handle.id().into()));
    let again = world.http.start(handle.id(), &offer).await.unwrap();
    assert_eq!(started.body, again.body, "the same call again gets the same answer");

    let answer = started.body["sdpAnswer"].as_str().unwrap();
    graph(&world, &handle, Action::Accept, Some(answer)).await;
    handle.reached(Moment::FirstRtp).await.expect("RTP comes without an advance");
    let list = world.http.get("/sessions").await.unwrap().body;
    assert_eq!((&list["count"], &list["sessions"][0]["callId"]), (&1.into(), &handle.id().into()), "{list}");
    assert_eq!(list["sessions"][0]["sessionId"], started.body["sessionId"], "{list}");
    let one = world.http.get(&path(&handle, "")).await.unwrap();
    assert_eq!((one.status, &one.body["callId"]), (200, &handle.id().into()), "{one:?}");
    let health = world.http.get("/health").await.unwrap().body;
    assert_eq!((&health["status"], &health["activeCalls"]), (&"healthy".into(), &1.into()), "{health}");

    let stopped = handle.reached(Moment::CallerHungUp);
    stopped.await.expect("the script ends with a hang-up");
    let stop = world.http.post(&path(&handle, "/stop"), json!({})).await.unwrap();
    assert_eq!(stop.status, 200, "{stop:?}");
    let record = handle.finish().await;
    assert_ended(&world.calls.ended(&record.call_id).await, "API_HANGUP", "");
    assert_heard(&record, &["welcome", "open-from-nine"]);
    assert_no_violations(&record, &world.ai().sessions()[0]);
    assert_eq!(granted(&record), [Action::Accept], "the control plane itself says nothing to Graph");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_advanced_over_http_keeps_metas_order() {
    let world = world().await;
    let (handle, offer) = dial(&world, asks_one_question()).await;
    let started = world.http.start(handle.id(), &offer).await.unwrap();
    let answer = started.body["sdpAnswer"].as_str().unwrap();
    for stage in ["ANSWER_DELIVERED", "ACCEPTED"] {
        if stage == "ACCEPTED" {
            // Told of a stage before: a session that is told of none sends as soon as the transport is up, and Meta lets it
            // up with the answer to this.
            graph(&world, &handle, Action::PreAccept, Some(answer)).await;
            handle.reached(Moment::TransportConnected).await.expect("the transport comes up while it rings");
            graph(&world, &handle, Action::Accept, Some(answer)).await;
        }
        for _ in 0..2 {
            let advanced = world.http.post(&path(&handle, "/advance"), json!({"stage": stage})).await.unwrap();
            assert_eq!(advanced.status, 200, "{stage}: {advanced:?}");
        }
    }
    handle.reached(Moment::CallerHungUp).await.expect("the script ends with a hang-up");
    world.http.post(&path(&handle, "/stop"), json!({})).await.unwrap();
    let record = handle.finish().await;
    assert_heard(&record, &["welcome", "open-from-nine"]);
    assert_no_violations(&record, &world.ai().sessions()[0]);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_staged_session_over_grpc_waits_for_each_stage() {
    // The AI is late, so that only signalling decides when packets come.
    let mut ai = sensible_ai();
    ai.faults.update = UpdateFault::Never;
    let world = Setup { ai: Some(ai), ..Setup::default() }.start().await;
    let settings = CallerSettings { script: vec![Step::Listen], ..stays() };
    let (handle, offer) = dial(&world, settings).await;
    let start = StartSessionRequest {
        call_id: handle.id().to_owned(),
        sdp_offer: offer,
        signalling_mode: SignallingMode::Staged.into(),
        ..StartSessionRequest::default()
    };
    let mut client = world.calls.client();
    let started = client.start_session(start.clone()).await.unwrap().into_inner();
    let again = client.start_session(start).await.unwrap().into_inner();
    assert_eq!((&again.session_id, &again.sdp_answer), (&started.session_id, &started.sdp_answer), "idempotent");
    assert!(again.already_started && !started.already_started, "and says that it is the second");

    graph(&world, &handle, Action::PreAccept, Some(&started.sdp_answer)).await;
    let advance =
        |stage: SignallingStage| AdvanceSessionRequest { call_id: handle.id().to_owned(), stage: stage.into() };
    let delivered = client.advance_session(advance(SignallingStage::AnswerDelivered)).await.unwrap().into_inner();
    assert_eq!(delivered.stage(), SignallingStage::AnswerDelivered);
    handle.reached(Moment::TransportConnected).await.expect("the transport comes up");
    assert!(handle.timeline().at(Moment::FirstRtp).is_none(), "no RTP before accept");

    graph(&world, &handle, Action::Accept, Some(&started.sdp_answer)).await;
    let accepted = client.advance_session(advance(SignallingStage::Accepted)).await.unwrap().into_inner();
    assert_eq!(accepted.stage(), SignallingStage::Accepted);
    handle.reached(Moment::FirstRtp).await.expect("RTP after accept, AI or not");
    let back = client.advance_session(advance(SignallingStage::AnswerDelivered)).await.unwrap().into_inner();
    assert_eq!(back.stage(), SignallingStage::Accepted, "stages only ever advance");

    graph(&world, &handle, Action::Terminate, None).await;
    let record = handle.finish().await;
    assert_eq!(record.ended_by, EndedBy::BusinessTerminated);
    assert!(record.violations.is_empty(), "{:?}", record.violations);
    assert_eq!(
        (record.dtls_before_answer, record.checks_before_answer),
        (0, 0),
        "no packet before the answer was there"
    );
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mistakes_are_answered_with_a_reason() {
    let world = world().await;
    let bad_offer = world.http.start("call-1", "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\n").await.unwrap();
    assert_error(&bad_offer, 400, "SDP_INVALID");
    assert!(bad_offer.body["message"].as_str().unwrap().contains("no-audio-line"), "{bad_offer:?}");
    assert_error(
        &world.http.post("/sessions/start", json!({"callId": "call-2"})).await.unwrap(),
        400,
        "INVALID_ARGUMENT",
    );
    assert_error(&world.http.get("/sessions/nobody").await.unwrap(), 404, "CALL_NOT_FOUND");
    assert_error(&world.http.post("/sessions/nobody/stop", json!({})).await.unwrap(), 404, "CALL_NOT_FOUND");
    let advance = world.http.post("/sessions/nobody/advance", json!({"stage": "ACCEPTED"})).await.unwrap();
    assert_error(&advance, 404, "CALL_NOT_FOUND");
    assert_eq!(world.http.get("/no/such/path").await.unwrap().status, 404);
    world.stop().await;
}
