//! The least of a business: takes signed webhooks, and asks the Graph API for things.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    body::Bytes,
    extract::{Query, State},
    http::{HeaderMap, StatusCode},
    routing::get,
};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use voicebridge_simulator::meta::{Meta, MetaSettings, signature};

#[derive(Clone)]
struct Receiver {
    bodies: mpsc::UnboundedSender<Value>,
    secret: String,
    token: String,
    statuses: Arc<Mutex<Vec<StatusCode>>>,
}

pub(crate) struct Business {
    pub(crate) meta: Meta,
    pub(crate) bodies: mpsc::UnboundedReceiver<Value>,
    client: reqwest::Client,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl Answer {
    #[track_caller]
    pub(crate) fn succeeds(&self) {
        assert_eq!((self.status, &self.body), (200, &json!({"messaging_product": "whatsapp", "success": true})));
    }

    pub(crate) fn code(&self) -> u64 {
        self.body["error"]["code"].as_u64().unwrap_or_default()
    }

    pub(crate) fn details(&self) -> &str {
        self.body["error"]["error_data"]["details"].as_str().unwrap_or_default()
    }
}

impl Business {
    /// A business whose webhook answers with `statuses` one after the other, then 200.
    pub(crate) async fn start(settings: MetaSettings, statuses: Vec<StatusCode>) -> Self {
        let (bodies_in, bodies) = mpsc::unbounded_channel();
        let receiver = Receiver {
            bodies: bodies_in,
            secret: settings.app_secret.clone(),
            token: settings.verify_token.clone(),
            statuses: Arc::new(Mutex::new(statuses)),
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/webhooks/whatsapp", listener.local_addr().unwrap());
        let router = Router::new().route("/webhooks/whatsapp", get(verify).post(webhook)).with_state(receiver);
        tokio::spawn(async move { axum::serve(listener, router).await });
        let meta = Meta::start(MetaSettings { webhook_url: Some(url), ..settings }).await.unwrap();
        Self { meta, bodies, client: reqwest::Client::builder().no_proxy().build().unwrap() }
    }

    /// The `calls[0]` of the next webhook that was accepted.
    pub(crate) async fn next_event(&mut self) -> Value {
        self.bodies.recv().await.unwrap()["entry"][0]["changes"][0]["value"]["calls"][0].clone()
    }

    pub(crate) async fn post(&self, token: &str, path: &str, body: Vec<u8>) -> Answer {
        let url = self.meta.graph_url().replace("/v25.0", path);
        let response = self.client.post(url).bearer_auth(token).body(body).send().await.unwrap();
        Answer { status: response.status().as_u16(), body: response.json().await.unwrap() }
    }

    pub(crate) async fn graph(&self, body: Value) -> Answer {
        let settings = self.meta.settings();
        let path = format!("/v25.0/{}/calls", settings.phone_number_id);
        self.post(&settings.access_token, &path, body.to_string().into_bytes()).await
    }

    pub(crate) async fn act(&self, call_id: &str, action: &str) -> Answer {
        self.graph(json!({"messaging_product": "whatsapp", "call_id": call_id, "action": action})).await
    }

    pub(crate) async fn answer(&self, call_id: &str, action: &str, sdp: &str) -> Answer {
        self.graph(json!({
            "messaging_product": "whatsapp", "call_id": call_id, "action": action,
            "session": {"sdp_type": "answer", "sdp": sdp}, "biz_opaque_callback_data": "job-9",
        }))
        .await
    }
}

async fn verify(
    State(receiver): State<Receiver>,
    Query(query): Query<std::collections::BTreeMap<String, String>>,
) -> (StatusCode, String) {
    if query.get("hub.mode").map(String::as_str) == Some("subscribe")
        && query.get("hub.verify_token") == Some(&receiver.token)
    {
        (StatusCode::OK, query["hub.challenge"].clone())
    } else {
        (StatusCode::FORBIDDEN, String::new())
    }
}

async fn webhook(State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let expected = signature(&receiver.secret, &body);
    if headers.get("x-hub-signature-256").and_then(|h| h.to_str().ok()) != Some(expected.as_str()) {
        return StatusCode::UNAUTHORIZED;
    }
    let Ok(value) = serde_json::from_slice(&body) else {
        return StatusCode::BAD_REQUEST;
    };
    let scripted = {
        let mut statuses = receiver.statuses.lock().unwrap();
        if statuses.is_empty() { None } else { Some(statuses.remove(0)) }
    };
    if let Some(status) = scripted
        && status != StatusCode::OK
    {
        return status;
    }
    receiver.bodies.send(value).unwrap();
    StatusCode::OK
}
