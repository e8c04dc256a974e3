#![allow(clippy::unwrap_used)]

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
    routing::post,
};

use super::*;

/// One scripted answer: status and body, or silence.
#[derive(Clone)]
enum Reply {
    Say(u16, &'static str),
    /// Too often, and for how many seconds to wait.
    Wait(&'static str),
    Nothing,
}

#[derive(Default)]
struct Script {
    replies: VecDeque<Reply>,
    seen: Vec<(Option<String>, serde_json::Value)>,
}

type Shared = Arc<Mutex<Script>>;

async fn answer(State(script): State<Shared>, headers: HeaderMap, body: String) -> Response {
    let reply = {
        let mut script = script.lock().unwrap();
        let token = headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
        script.seen.push((token, serde_json::from_str(&body).unwrap()));
        script.replies.pop_front().unwrap()
    };
    match reply {
        Reply::Say(status, body) => (StatusCode::from_u16(status).unwrap(), body).into_response(),
        Reply::Wait(seconds) => (StatusCode::TOO_MANY_REQUESTS, [("retry-after", seconds)], "").into_response(),
        Reply::Nothing => std::future::pending().await,
    }
}

async fn graph(replies: &[Reply]) -> (Graph, Shared) {
    let script = Arc::new(Mutex::new(Script { replies: replies.to_vec().into(), seen: Vec::new() }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v25.0", listener.local_addr().unwrap());
    let app = Router::new().route("/v25.0/{number}/calls", post(answer)).with_state(Arc::clone(&script));
    tokio::spawn(async move { axum::serve(listener, app).await });
    (Graph::new(&url, &access(), Duration::from_millis(300)).unwrap(), script)
}

fn access() -> GraphAccess {
    GraphAccess { access_token: "EAAG".to_owned().into(), phone_number_id: Some("106".to_owned()) }
}

/// Long enough for every repetition of these tests.
fn soon() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

fn call() -> Wacid {
    Wacid::parse("wacid.A=").unwrap()
}

#[tokio::test]
async fn the_four_requests_are_as_meta_wants_them() {
    let ok = Reply::Say(200, r#"{"messaging_product":"whatsapp","success":true}"#);
    let (graph, script) = graph(&[ok.clone(), ok.clone(), ok.clone(), ok]).await;
    for (action, sdp) in [
        (GraphAction::PreAccept, Some("v=0\r\n")),
        (GraphAction::Accept, Some("v=0\r\n")),
        (GraphAction::Reject, None),
        (GraphAction::Terminate, None),
    ] {
        let answer = graph.act("106", &call(), action, sdp, soon()).await;
        assert_eq!(answer.outcome(), GraphOutcome::Ok);
    }
    let seen = std::mem::take(&mut script.lock().unwrap().seen);
    assert!(seen.iter().all(|(token, _)| token.as_deref() == Some("Bearer EAAG")));
    let session = serde_json::json!({"sdp_type": "answer", "sdp": "v=0\r\n"});
    let bodies: Vec<_> = seen.into_iter().map(|(_, body)| body).collect();
    for (body, action) in bodies.iter().zip(["pre_accept", "accept"]) {
        let expect = serde_json::json!({
            "messaging_product": "whatsapp", "call_id": "wacid.A=", "action": action, "session": session,
        });
        assert_eq!(*body, expect);
    }
    for (body, action) in bodies[2..].iter().zip(["reject", "terminate"]) {
        let expect = serde_json::json!({"messaging_product": "whatsapp", "call_id": "wacid.A=", "action": action});
        assert_eq!(*body, expect);
    }
}

#[tokio::test]
async fn answers_and_what_they_mean() {
    async fn check(replies: &[Reply], attempts: usize, expect: GraphOutcome) -> Answer {
        let (graph, script) = graph(replies).await;
        let answer = graph.act("106", &call(), GraphAction::PreAccept, None, soon()).await;
        assert_eq!(answer.outcome(), expect);
        assert_eq!(script.lock().unwrap().seen.len(), attempts, "{expect:?}");
        answer
    }
    async fn refused(replies: &[Reply], attempts: usize, code: &str, details: &str) -> Answer {
        let answer = check(replies, attempts, GraphOutcome::Refused { code: code.to_owned() }).await;
        assert_eq!(answer.error.as_ref().map_or("", GraphError::text), details, "{code}");
        answer
    }
    let ok = Reply::Say(200, r#"{"success":true}"#);
    let unreachable = |code: &str| GraphOutcome::Unreachable { code: code.to_owned() };

    let live = r#"{"error":{"message":"Invalid parameter","type":"OAuthException","code":100,"error_subcode":2494010,
        "is_transient":false,"error_user_title":"Parameter Invalid","error_data":{"messaging_product":"whatsapp",
        "details":"Fingerprint algo is not SHA256"},"fbtrace_id":"Ab0"}}"#;
    let answer = refused(&[Reply::Say(400, live)], 1, "100", "Fingerprint algo is not SHA256").await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.error.map(|error| (error.error_subcode, error.fbtrace_id)), Some((2_494_010, "Ab0".to_owned())));

    let busy = r#"{"error":{"message":"busy","code":138003}}"#;
    refused(&[Reply::Say(400, busy)], 1, "138003", "busy").await;
    refused(&[Reply::Say(401, "nonsense")], 1, "401", "").await;
    refused(&[Reply::Say(200, r#"{"success":false}"#)], 1, "200", "success was false").await;
    refused(&[Reply::Say(400, r#"{"error":{"code":1,"error_data":"plain"}}"#)], 1, "1", "plain").await;
    refused(&[Reply::Say(302, "")], 1, "302", "").await;
    refused(&[Reply::Say(200, r#"{"error":"of a kind of its own"}"#)], 1, "200", "of a kind of its own").await;
    refused(&[Reply::Say(200, r#"{"success":false,"error":{"code":100,"message":"no"}}"#)], 1, "100", "no").await;
    // Taken for what the status says, and noted.
    for (body, doubt) in [
        (r#"{"success":true}"#, None),
        ("", Some(NO_JSON)),
        ("<html>", Some(NO_JSON)),
        ("[]", Some(NO_SUCCESS)),
        ("{}", Some(NO_SUCCESS)),
        (r#"{"success":"true"}"#, Some(NO_SUCCESS)),
        (r#"{"success":null,"error":null}"#, Some(NO_SUCCESS)),
    ] {
        let answer = check(&[Reply::Say(200, body)], 1, GraphOutcome::Ok).await;
        assert_eq!(answer.doubt, doubt, "{body}");
    }
    // Once more, then it stands.
    check(&[Reply::Say(503, ""), ok.clone()], 2, GraphOutcome::Ok).await;
    check(&[Reply::Say(503, ""), Reply::Say(502, "")], 2, unreachable("502")).await;
    let timeout = r#"{"error":{"message":"timed out","code":138007}}"#;
    refused(&[Reply::Say(500, timeout), Reply::Say(500, timeout)], 2, "138007", "timed out").await;
    let transient = r#"{"error":{"message":"later","code":2,"is_transient":true}}"#;
    check(&[Reply::Say(400, transient), ok.clone()], 2, GraphOutcome::Ok).await;
    check(&[Reply::Nothing, ok], 2, GraphOutcome::Ok).await;
    check(&[Reply::Nothing, Reply::Nothing], 2, unreachable("timeout")).await;
}

/// What nobody answered may have been done: then Graph refuses it the second time.
#[tokio::test]
async fn a_refused_repetition_says_what_became_of_the_first_request() {
    use GraphAction::{Accept, PreAccept, Reject, Terminate};
    let over = Reply::Say(400, r#"{"error":{"message":"the call is in progress","code":100}}"#);
    let refused = GraphOutcome::Refused { code: "100".to_owned() };
    for silence in [Reply::Nothing, Reply::Say(502, "")] {
        for action in [Accept, Reject, Terminate] {
            let (graph, script) = graph(&[silence.clone(), over.clone()]).await;
            let answer = graph.act("106", &call(), action, None, soon()).await;
            assert_eq!((answer.outcome(), answer.doubt), (GraphOutcome::Ok, Some(DONE_BEFORE)), "{action:?}");
            assert_eq!(script.lock().unwrap().seen.len(), 2);
        }
        let (graph, _) = graph(&[silence, over.clone()]).await;
        assert_eq!(graph.act("106", &call(), PreAccept, None, soon()).await.outcome(), refused);
    }
    let (graph, _) = graph(&[over]).await;
    assert_eq!(graph.act("106", &call(), Accept, None, soon()).await.outcome(), refused, "nothing was repeated");
}

#[tokio::test]
async fn too_often_is_asked_again_when_meta_says_and_never_too_late() {
    let ok = Reply::Say(200, r#"{"success":true}"#);
    let rate = Reply::Say(400, r#"{"error":{"message":"rate","code":138005}}"#);
    for replies in [[Reply::Wait("1"), rate, ok.clone()], [Reply::Say(429, ""), Reply::Say(429, ""), ok]] {
        for action in [GraphAction::PreAccept, GraphAction::Accept, GraphAction::Terminate] {
            let (graph, script) = graph(&replies).await;
            assert_eq!(graph.act("106", &call(), action, None, soon()).await.outcome(), GraphOutcome::Ok);
            assert_eq!(script.lock().unwrap().seen.len(), 3);
        }
    }
    let (graph, script) = graph(&[Reply::Wait("20")]).await;
    let until = Instant::now() + Duration::from_secs(10);
    let answer = graph.act("106", &call(), GraphAction::Accept, None, until).await;
    assert_eq!((answer.status, script.lock().unwrap().seen.len()), (429, 1), "the call would ring no more");
    assert!(matches!(answer.outcome(), GraphOutcome::Refused { .. }));
}

#[tokio::test]
async fn nobody_listens() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let graph = Graph::new(&url, &access(), Duration::from_millis(300)).unwrap();
    let answer = graph.act("106", &call(), GraphAction::Terminate, None, soon()).await;
    assert_eq!(answer.outcome(), GraphOutcome::Unreachable { code: "connection".to_owned() });
    assert!(!format!("{graph:?}{answer:?}").contains("EAAG"));
}

#[test]
fn long_texts_are_cut() {
    let error = shorten(GraphError { details: "ä".repeat(10_000), ..GraphError::default() });
    assert_eq!(error.details.chars().count(), MAX_DETAILS_CHARS);
}
