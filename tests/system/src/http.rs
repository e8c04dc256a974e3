//! The HTTP interface that operators of the predecessor know.

use anyhow::Context as _;
use reqwest::{
    Client, Method,
    header::{AUTHORIZATION, HeaderValue},
};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use crate::wait::SOON;

/// Status and JSON body of an answer; a body that is no JSON is kept as text.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// What it said.
    pub body: Value,
}

/// One control plane over HTTP.
#[derive(Clone, Debug)]
pub struct Http {
    client: Client,
    url: String,
}

impl Http {
    /// Of the control plane at `url`, asked with this key.
    ///
    /// # Errors
    ///
    /// No HTTP client can be made.
    pub fn new(url: &str, key: &SecretString) -> anyhow::Result<Self> {
        let mut key = HeaderValue::from_str(&format!("Bearer {}", key.expose_secret()))?;
        key.set_sensitive(true);
        // No pool: a restarted control plane must not be met on a connection of the one before.
        let client = Client::builder().timeout(SOON).no_proxy().pool_max_idle_per_host(0);
        let client = client.default_headers([(AUTHORIZATION, key)].into_iter().collect()).build()?;
        Ok(Self { client, url: url.to_owned() })
    }

    /// `GET path`.
    ///
    /// # Errors
    ///
    /// No answer.
    pub async fn get(&self, path: &str) -> anyhow::Result<Answer> {
        self.send(Method::GET, path, None).await
    }

    /// `POST path` with a JSON body.
    ///
    /// # Errors
    ///
    /// No answer.
    pub async fn post(&self, path: &str, body: Value) -> anyhow::Result<Answer> {
        self.send(Method::POST, path, Some(body)).await
    }

    /// `POST /sessions/start`.
    ///
    /// # Errors
    ///
    /// No answer.
    pub async fn start(&self, call_id: &str, offer: &str) -> anyhow::Result<Answer> {
        self.post("/sessions/start", json!({"callId": call_id, "sdpOffer": offer, "fromNumber": "15550100"})).await
    }

    async fn send(&self, method: Method, path: &str, body: Option<Value>) -> anyhow::Result<Answer> {
        let mut request = self.client.request(method, format!("{}{path}", self.url));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.with_context(|| format!("ask for {path}"))?;
        let status = response.status().as_u16();
        let text = response.text().await?;
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Ok(Answer { status, body })
    }
}
