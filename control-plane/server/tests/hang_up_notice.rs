//! Self-held calls that end by themselves: Meta is told through Graph, or whoever holds the signalling by a signed event,
//! or the call's events say that nobody was.

#![allow(clippy::unwrap_used)]

mod support;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use support::{ACCESS_TOKEN, Graph, Node, Plane, connect, plane, wait};
use tokio::sync::watch;
use voicebridge_proto::{
    control::v1::{AdvanceSessionRequest, CallPhase, EndCallRequest, EndReason, StartSessionRequest},
    types::v1::{self as types, SignallingStage, TerminationResult, event::Kind},
};
use voicebridge_server::{
    Config, RawConfig,
    config::{GraphAccess, Limits},
};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// One delivery of an event.
#[derive(Clone, Debug)]
struct Told {
    id: String,
    body: serde_json::Value,
}

/// A holder of signalling with a callback of its own.
#[derive(Clone)]
struct Holder {
    url: String,
    told: watch::Receiver<Vec<Told>>,
    answers: Arc<Mutex<VecDeque<u16>>>,
}

type Shared = (watch::Sender<Vec<Told>>, Arc<Mutex<VecDeque<u16>>>);

async fn callback(State((told, answers)): State<Shared>, headers: HeaderMap, body: String) -> StatusCode {
    let header = |name: &str| headers[name].to_str().unwrap().to_owned();
    let (id, timestamp) = (header("webhook-id"), header("webhook-timestamp"));
    // As the convention's libraries check it.
    let key = base64_simd::STANDARD.decode_to_vec(&SECRET["whsec_".len()..]).unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
    mac.update(format!("{id}.{timestamp}.{body}").as_bytes());
    let signature = header("webhook-signature");
    let signature = base64_simd::STANDARD.decode_to_vec(signature.strip_prefix("v1,").unwrap()).unwrap();
    mac.verify_slice(&signature).unwrap();
    assert!(support::now_s().abs_diff(timestamp.parse().unwrap()) <= 60);
    assert_eq!(headers["content-type"], "application/json");
    told.send_modify(|all| all.push(Told { id, body: serde_json::from_str(&body).unwrap() }));
    let answer = answers.lock().unwrap().pop_front().unwrap_or(204);
    StatusCode::from_u16(answer).unwrap()
}

impl Holder {
    async fn start() -> Self {
        let (sender, told) = watch::channel(Vec::new());
        let answers = Arc::<Mutex<VecDeque<u16>>>::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/functions/v1/wa?x=1", listener.local_addr().unwrap());
        let app = Router::new().route("/functions/v1/wa", post(callback)).with_state((sender, Arc::clone(&answers)));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { url, told, answers }
    }

    fn answer(&self, statuses: &[u16]) {
        self.answers.lock().unwrap().extend(statuses);
    }

    async fn told(&mut self, count: usize) -> Vec<Told> {
        wait(&mut self.told, "the holder is told", |all| all.len() >= count).await
    }
}

/// Without Meta's values.
fn config(callback_url: Option<&str>) -> Config {
    let config = Config::resolve(RawConfig {
        callback_url: callback_url.map(str::to_owned),
        callback_secret: callback_url.map(|_| SECRET.to_owned()),
        ..RawConfig::default()
    })
    .unwrap();
    let node_token = Some(support::NODE_TOKEN.into());
    Config {
        node_token,
        limits: Limits { beat: support::node::BEAT, node_lost_beats: 20, ..Limits::default() },
        ..config
    }
}

async fn system(config: Config) -> (Plane, Node) {
    let plane = Plane::start_with(config).await;
    let node = Node::start("node-1").await;
    node.register(&plane.url, "local", 10);
    plane.nodes(1).await;
    (plane, node)
}

fn start(call_id: &str, number: &str) -> StartSessionRequest {
    StartSessionRequest {
        call_id: call_id.to_owned(),
        sdp_offer: format!("v=0\r\ns={call_id}\r\n"),
        phone_number_id: number.to_owned(),
        ..StartSessionRequest::default()
    }
}

/// A self-held call, answered; its session.
async fn answered(plane: &Plane, call_id: &str, number: &str) -> String {
    let mut client = plane.client().await;
    let started = client.start_session(start(call_id, number)).await.unwrap().into_inner();
    for stage in [SignallingStage::AnswerDelivered, SignallingStage::Accepted] {
        let request = AdvanceSessionRequest { call_id: call_id.to_owned(), stage: stage.into() };
        client.advance_session(request).await.unwrap();
    }
    plane.phase(call_id, CallPhase::Active).await;
    started.session_id
}

async fn incidents(plane: &Plane, call_id: &str) -> Vec<types::Incident> {
    let events = plane.events(call_id, "").await;
    let incident = |event: types::Event| match event.kind {
        Some(Kind::Incident(incident)) => Some(incident),
        _ => None,
    };
    events.into_iter().filter_map(incident).collect()
}

#[tokio::test]
async fn with_a_token_graph_is_told_under_the_calls_own_number() {
    let graph = Graph::start().await;
    let mut config = config(None);
    config.graph_url = graph.url.clone();
    config.graph_access = Some(GraphAccess { access_token: ACCESS_TOKEN.into(), phone_number_id: None });
    let (plane, node) = system(config).await;
    let session = answered(&plane, "hung up", support::NUMBER_ID).await;
    node.end(&session, TerminationResult::Completed, "AGENT_HANGUP", "");
    assert_eq!(plane.ended("hung up").await.1, "AGENT_HANGUP");
    assert_eq!(graph.actions("hung up"), ["terminate"]);
    assert_eq!(plane.call("hung up").await.unwrap().phone_number_id, support::NUMBER_ID);
    // Before it was answered.
    let started = plane.client().await.start_session(start("early", support::NUMBER_ID)).await.unwrap().into_inner();
    node.end(&started.session_id, TerminationResult::Failed, "PROVIDER_LOST", "");
    plane.ended("early").await;
    assert_eq!(graph.actions("early"), ["reject"]);
    assert!(incidents(&plane, "hung up").await.is_empty() && incidents(&plane, "early").await.is_empty());
    // Under no number Graph cannot be asked.
    let session = answered(&plane, "no number", "").await;
    node.end(&session, TerminationResult::Completed, "AGENT_HANGUP", "");
    plane.ended("no number").await;
    assert!(graph.actions("no number").is_empty());
    assert_eq!(incidents(&plane, "no number").await[0].reason, "CALLBACK_NOT_CONFIGURED");
    for number in ["1/../2", "x".repeat(65).as_str(), "a b"] {
        let status = plane.client().await.start_session(start("bad", number)).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::InvalidArgument, "{number}");
    }
}

#[tokio::test]
async fn without_a_token_the_holder_is_told_until_it_answers() {
    let mut holder = Holder::start().await;
    let (plane, node) = system(config(Some(&holder.url))).await;
    holder.answer(&[503, 429, 200]);
    let session = answered(&plane, "wacid.A=", "106").await;
    node.end(&session, TerminationResult::Completed, "AGENT_HANGUP", "");
    assert_eq!(plane.ended("wacid.A=").await.1, "AGENT_HANGUP");
    let told = holder.told(3).await;
    assert_eq!(told.len(), 3, "and not again");
    assert!(told.iter().all(|delivery| delivery.id == told[0].id && delivery.body == told[0].body));
    let body = &told[0].body;
    assert_eq!(body["type"], "call.terminate_required");
    assert!(body["timestamp"].as_str().unwrap().ends_with('Z'));
    let expect = serde_json::json!({
        "callId": plane.id("wacid.A=").await, "wacid": "wacid.A=", "phoneNumberId": "106", "action": "terminate",
        "termination": {"result": "completed", "reason": "AGENT_HANGUP", "message": "of the test"},
    });
    assert_eq!(body["data"], expect);
    assert!(incidents(&plane, "wacid.A=").await.is_empty());

    // Before it was answered.
    let started = plane.client().await.start_session(start("early", "")).await.unwrap().into_inner();
    node.end(&started.session_id, TerminationResult::Failed, "PROVIDER_LOST", "");
    plane.ended("early").await;
    let early = holder.told(4).await.pop().unwrap();
    assert_eq!((&early.body["data"]["action"], &early.body["data"]["phoneNumberId"]), (&"reject".into(), &"".into()));
    assert_ne!(early.id, told[0].id);
}

#[tokio::test]
async fn who_knows_is_not_told() {
    let holder = Holder::start().await;
    let (plane, node) = system(config(Some(&holder.url))).await;
    answered(&plane, "ended by its holder", "106").await;
    let end = EndCallRequest { call_id: "ended by its holder".to_owned(), reason: EndReason::UserHangup.into() };
    plane.client().await.end_call(end).await.unwrap();
    node.behave(support::Behaviour::Full);
    plane.client().await.start_session(start("refused", "106")).await.unwrap_err();
    plane.ended("refused").await;
    assert!(holder.told.borrow().is_empty());
}

#[tokio::test]
async fn a_holder_may_end_the_call_before_it_answers() {
    let mut holder = Holder::start().await;
    // It does not take the first delivery, and then knows by other means.
    holder.answer(&[503; 5]);
    let (plane, node) = system(config(Some(&holder.url))).await;
    let session = answered(&plane, "a", "106").await;
    node.end(&session, TerminationResult::Completed, "AGENT_HANGUP", "");
    holder.told(1).await;
    let end = EndCallRequest { call_id: "a".to_owned(), ..Default::default() };
    let ended = plane.client().await.end_call(end).await.unwrap().into_inner().termination.unwrap();
    assert_eq!(ended.reason, "AGENT_HANGUP", "the first stands");
    assert!(incidents(&plane, "a").await.is_empty());
}

#[tokio::test]
async fn what_cannot_be_told_is_an_incident() {
    let mut holder = Holder::start().await;
    let (plane, node) = system(config(Some(&holder.url))).await;
    holder.answer(&[410]);
    let session = answered(&plane, "gone", "106").await;
    node.end(&session, TerminationResult::Completed, "AGENT_HANGUP", "");
    plane.ended("gone").await;
    let incident = incidents(&plane, "gone").await.pop().unwrap();
    assert_eq!((incident.reason.as_str(), incident.upstream_code.as_str()), ("CALLBACK_FAILED", "410"));
    assert_eq!(holder.told(1).await.len(), 1, "it will not pass");

    holder.answer(&[500; 5]);
    let session = answered(&plane, "broken", "106").await;
    node.end(&session, TerminationResult::Completed, "AGENT_HANGUP", "");
    plane.ended("broken").await;
    assert_eq!(incidents(&plane, "broken").await.pop().unwrap().upstream_code, "500");
    assert_eq!(holder.told(6).await.len(), 6, "five attempts");

    let (plane, node) = system(config(None)).await;
    let session = answered(&plane, "nobody", "106").await;
    node.end(&session, TerminationResult::Completed, "AGENT_HANGUP", "");
    plane.ended("nobody").await;
    let incident = incidents(&plane, "nobody").await.pop().unwrap();
    assert_eq!(incident.reason, "CALLBACK_NOT_CONFIGURED");
    assert!(incident.message.contains("VOICEBRIDGE_CALLBACK_URL"), "{}", incident.message);
}

#[tokio::test]
async fn after_a_restart_it_is_told_again_under_the_same_id() {
    let mut holder = Holder::start().await;
    holder.answer(&[500; 5]);
    let (mut plane, node) = system(config(Some(&holder.url))).await;
    let session = answered(&plane, "a", "106").await;
    node.end(&session, TerminationResult::Completed, "AGENT_HANGUP", "");
    let first = holder.told(1).await[0].id.clone();
    plane.kill();
    holder.answers.lock().unwrap().clear();
    plane.restart().await;
    plane.ended("a").await;
    assert!(holder.told(2).await.iter().all(|told| told.id == first));
    assert!(incidents(&plane, "a").await.is_empty());
}

#[tokio::test]
async fn managed_calls_are_not_the_holders() {
    let holder = Holder::start().await;
    let graph = Graph::start().await;
    let mut config = plane::config(&graph.url);
    config.callback = self::config(Some(&holder.url)).callback;
    let (plane, node) = system(config).await;
    plane.deliver(&[connect("managed")]).await;
    let session = plane.phase("managed", CallPhase::Active).await.session_id;
    node.end(&session, TerminationResult::Completed, "AGENT_HANGUP", "");
    plane.ended("managed").await;
    assert_eq!(graph.actions("managed"), ["pre_accept", "accept", "terminate"]);
    assert!(holder.told.borrow().is_empty());
}
