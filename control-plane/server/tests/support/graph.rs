//! A Graph API that answers as told, by action, and remembers every request.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use serde_json::Value;
use tokio::sync::watch;

use super::{ACCESS_TOKEN, NUMBER_ID, wait};

/// How a request is answered.
#[derive(Clone)]
pub enum Reply {
    Ok,
    /// HTTP status and Meta's code.
    Error(u16, i64),
    /// HTTP status and no JSON.
    Bare(u16),
    /// No answer at all.
    Silence,
}

#[derive(Clone, Debug)]
pub struct Seen {
    pub call_id: String,
    pub action: String,
    pub sdp: Option<String>,
}

#[derive(Clone)]
pub struct Graph {
    pub url: String,
    shared: Arc<Shared>,
}

struct Shared {
    replies: Mutex<HashMap<String, VecDeque<Reply>>>,
    seen: watch::Sender<Vec<Seen>>,
    /// While false, requests wait.
    open: watch::Sender<bool>,
}

impl Graph {
    pub async fn start() -> Self {
        let shared = Arc::new(Shared {
            replies: Mutex::default(),
            seen: watch::Sender::new(Vec::new()),
            open: watch::Sender::new(true),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v25.0", listener.local_addr().unwrap());
        let path = format!("/v25.0/{NUMBER_ID}/calls");
        let app = Router::new().route(&path, post(answer)).with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { url, shared }
    }

    /// The next requests with this action are answered so, then it is `Ok` again.
    pub fn script(&self, action: &str, replies: &[Reply]) {
        self.shared.replies.lock().unwrap().entry(action.to_owned()).or_default().extend(replies.iter().cloned());
    }

    /// Requests wait until it is opened again.
    pub fn hold(&self) {
        self.shared.open.send_replace(false);
    }

    pub fn release(&self) {
        self.shared.open.send_replace(true);
    }

    /// Waits for the request.
    pub async fn wait(&self, call_id: &str, action: &str) -> Seen {
        let mut seen = self.shared.seen.subscribe();
        let is = |seen: &Seen| seen.call_id == call_id && seen.action == action;
        let all = wait(&mut seen, &format!("{action} for {call_id}"), |all| all.iter().any(is)).await;
        all.into_iter().find(is).unwrap()
    }

    /// What was asked about a call, in order.
    pub fn actions(&self, call_id: &str) -> Vec<String> {
        let seen = self.shared.seen.borrow();
        seen.iter().filter(|seen| seen.call_id == call_id).map(|seen| seen.action.clone()).collect()
    }
}

async fn answer(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: String) -> (StatusCode, String) {
    assert_eq!(headers["authorization"], format!("Bearer {ACCESS_TOKEN}"));
    let body: Value = serde_json::from_str(&body).unwrap();
    let action = body["action"].as_str().unwrap().to_owned();
    let seen = Seen {
        call_id: body["call_id"].as_str().unwrap().to_owned(),
        action: action.clone(),
        sdp: body["session"]["sdp"].as_str().map(str::to_owned),
    };
    shared.seen.send_modify(|all| all.push(seen));
    let _ = shared.open.subscribe().wait_for(|open| *open).await;
    let reply = shared.replies.lock().unwrap().get_mut(&action).and_then(VecDeque::pop_front);
    let status = |code| StatusCode::from_u16(code).unwrap();
    match reply.unwrap_or(Reply::Ok) {
        Reply::Ok => (StatusCode::OK, r#"{"messaging_product":"whatsapp","success":true}"#.to_owned()),
        Reply::Error(http, code) => {
            let error = serde_json::json!({"error": {
                "message": "Invalid parameter", "type": "OAuthException", "code": code, "error_subcode": 2_494_010,
                "error_data": {"messaging_product": "whatsapp", "details": "because of the test"}, "fbtrace_id": "Ab0",
            }});
            (status(http), error.to_string())
        }
        Reply::Bare(http) => (status(http), "<html>".to_owned()),
        Reply::Silence => std::future::pending().await,
    }
}
