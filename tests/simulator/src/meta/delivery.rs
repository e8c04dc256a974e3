//! Sends webhooks to the business and remembers what came of each.
//!
//! A webhook that is not answered 200 within the limit is sent again, a bounded number of times: the business must
//! expect the same `connect` twice. Deliveries run concurrently and promise no order. What a body says is `webhook`'s
//! matter; when it is sent is the caller's.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use serde_json::Value;

use super::webhook;

/// Reports that are kept; later ones are dropped and counted.
const MAX_REPORTS: usize = 10_000;

/// How Meta deals with a business that does not answer 200.
#[derive(Clone, Copy, Debug)]
pub struct WebhookPolicy {
    /// Wait for an answer this long; Meta's own limit is about 20 s.
    pub limit: Duration,
    /// Deliver a webhook at most this often in all.
    pub attempts: u32,
    /// Pause before the next attempt.
    pub pause: Duration,
}

impl Default for WebhookPolicy {
    fn default() -> Self {
        Self { limit: Duration::from_secs(20), attempts: 3, pause: Duration::from_secs(1) }
    }
}

/// How a body is signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Signing {
    /// With the app's secret.
    #[default]
    Valid,
    /// With another secret: a forgery.
    WrongSecret,
    /// Without the header.
    Missing,
}

/// One attempt to deliver a webhook.
#[derive(Clone, Debug)]
pub struct WebhookReport {
    /// What the body held, e.g. `connect`, or `connect+terminate` for a batch.
    pub events: String,
    /// The calls it was about.
    pub call_ids: Vec<String>,
    /// 1 for the first delivery of this body.
    pub attempt: u32,
    /// When it was sent.
    pub sent_at: Instant,
    /// From sending to the end of the answer, or to giving up.
    pub elapsed: Duration,
    /// The HTTP status, or why there is none.
    pub outcome: Result<u16, String>,
}

impl WebhookReport {
    /// Whether the business took it.
    #[must_use]
    pub fn accepted(&self) -> bool {
        self.outcome == Ok(200)
    }
}

/// What the business answered to Meta's verification request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verification {
    /// HTTP status; 200 if the token is the one Meta sent.
    pub status: u16,
    /// The body; must be the challenge and nothing else.
    pub body: String,
}

/// The sender of one Meta.
#[derive(Debug)]
pub(crate) struct Delivery {
    client: reqwest::Client,
    url: Mutex<Option<String>>,
    app_secret: String,
    policy: WebhookPolicy,
    reports: Mutex<Vec<WebhookReport>>,
}

impl Delivery {
    pub(crate) fn new(url: Option<String>, app_secret: String, policy: WebhookPolicy) -> Result<Self, reqwest::Error> {
        voicebridge_telemetry::install_tls();
        let client = reqwest::Client::builder().timeout(policy.limit).no_proxy().build()?;
        Ok(Self { client, url: Mutex::new(url), app_secret, policy, reports: Mutex::default() })
    }

    pub(crate) fn set_url(&self, url: String) {
        *self.url.lock().unwrap_or_else(PoisonError::into_inner) = Some(url);
    }

    fn url(&self) -> Option<String> {
        self.url.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn reports(&self) -> Vec<WebhookReport> {
        self.reports.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Delivers `body`, again if need be, and returns the report of the last attempt.
    pub(crate) async fn send(&self, body: &Value, signing: Signing) -> WebhookReport {
        let (events, call_ids) = summary(body);
        let bytes = webhook::encode(body);
        // A forger does not follow Meta's retry rule.
        let attempts = if signing == Signing::Valid { self.policy.attempts.max(1) } else { 1 };
        let mut attempt = 1;
        loop {
            let sent_at = Instant::now();
            let outcome = self.post(bytes.clone(), signing).await;
            let report = WebhookReport {
                events: events.clone(),
                call_ids: call_ids.clone(),
                attempt,
                sent_at,
                elapsed: sent_at.elapsed(),
                outcome,
            };
            tracing::debug!(events = report.events, attempt, outcome = ?report.outcome, "webhook sent");
            self.keep(report.clone());
            if report.accepted() || attempt >= attempts {
                return report;
            }
            attempt += 1;
            tokio::time::sleep(self.policy.pause).await;
        }
    }

    /// Delivers bytes that need not be JSON, once, as they are.
    pub(crate) async fn send_raw(&self, bytes: Vec<u8>, signing: Signing) -> WebhookReport {
        let sent_at = Instant::now();
        let outcome = self.post(bytes, signing).await;
        let report = WebhookReport {
            events: "raw".to_owned(),
            call_ids: Vec::new(),
            attempt: 1,
            sent_at,
            elapsed: sent_at.elapsed(),
            outcome,
        };
        self.keep(report.clone());
        report
    }

    async fn post(&self, bytes: Vec<u8>, signing: Signing) -> Result<u16, String> {
        let url = self.url().ok_or("no webhook URL is set")?;
        let header = match signing {
            Signing::Valid => Some(webhook::signature(&self.app_secret, &bytes)),
            Signing::WrongSecret => Some(webhook::signature("not the app secret", &bytes)),
            Signing::Missing => None,
        };
        let mut request = self.client.post(url).header("content-type", "application/json").body(bytes);
        if let Some(header) = header {
            request = request.header("x-hub-signature-256", header);
        }
        let response = request.send().await.map_err(|error| reason(&error))?;
        let status = response.status().as_u16();
        response.bytes().await.map_err(|error| reason(&error))?;
        Ok(status)
    }

    /// Meta's verification request: `GET` with mode, challenge and token.
    pub(crate) async fn verify(&self, token: &str, challenge: &str) -> Result<Verification, String> {
        let url = self.url().ok_or("no webhook URL is set")?;
        let query = [("hub.mode", "subscribe"), ("hub.challenge", challenge), ("hub.verify_token", token)];
        let response = self.client.get(url).query(&query).send().await.map_err(|error| reason(&error))?;
        let status = response.status().as_u16();
        Ok(Verification { status, body: response.text().await.map_err(|error| reason(&error))? })
    }

    fn keep(&self, report: WebhookReport) {
        let mut reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        if reports.len() < MAX_REPORTS {
            reports.push(report);
        } else {
            tracing::warn!(MAX_REPORTS, "webhook reports are full, dropping the newest");
        }
    }
}

/// The whole chain of causes: reqwest's own text names none of them.
fn reason(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

fn summary(body: &Value) -> (String, Vec<String>) {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let calls = list(&body["entry"])
        .iter()
        .flat_map(|entry| list(&entry["changes"]))
        .flat_map(|change| list(&change["value"]["calls"]))
        .collect::<Vec<_>>();
    let text = |call: &Value, name: &str| call[name].as_str().unwrap_or_default().to_owned();
    let events: Vec<String> = calls.iter().map(|call| text(call, "event")).collect();
    (events.join("+"), calls.iter().map(|call| text(call, "id")).collect())
}
