//! Meta's webhook: verification, signature over the raw bytes, and what becomes of each notice.
//!
//! A delivery is answered 200 as soon as its claims are committed; everything else happens afterwards. It is taken the
//! same way over HTTP and over `CallService.HandleWebhook`.

mod agents;
mod http;
mod signature;

use std::sync::Arc;

use secrecy::ExposeSecret as _;
use voicebridge_core::{
    identity::{CallId, Wacid},
    labels::Labels,
    webhook::{self, Notice, Terminate},
};

pub(crate) use agents::{Agents, CallerAgent};
pub(crate) use http::router;

use crate::{
    calls::{Calls, Outcome, Taken},
    config::WhatsApp,
    lifetime::Lifetime,
    store::StoreError,
};

/// Why a delivery was not taken, or not all of it. What could be taken was, after `Draining` and `Store`; delivered again, it
/// changes nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WebhookError {
    #[error("Meta's values are not set: {}", .0.join(", "))]
    NotConfigured(Vec<&'static str>),
    #[error("the control plane is shutting down; deliver again later")]
    Draining,
    #[error("X-Hub-Signature-256 is missing or does not match the body and WHATSAPP_APP_SECRET")]
    Signature,
    #[error("the body is not a webhook delivery: {0}")]
    Malformed(#[from] webhook::Malformed),
    #[error("{0}")]
    Query(&'static str),
    #[error("the store failed")]
    Store(#[from] StoreError),
    #[error("internal error")]
    Internal,
}

/// What became of one notice.
#[derive(Clone, Debug)]
pub(crate) struct NoticeOutcome {
    /// Of the call it named, Meta's.
    pub(crate) wacid: Option<Wacid>,
    /// And ours, if it is one of ours.
    pub(crate) call_id: Option<CallId>,
    pub(crate) outcome: Outcome,
}

/// Takes deliveries. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Webhook {
    /// Or the names of the variables that are missing.
    whatsapp: Arc<Result<WhatsApp, Vec<&'static str>>>,
    max_body_bytes: usize,
    calls: Calls,
    lifetime: Lifetime,
}

impl Webhook {
    pub(crate) fn new(
        whatsapp: Result<WhatsApp, Vec<&'static str>>,
        max_body_bytes: usize,
        calls: Calls,
        lifetime: Lifetime,
    ) -> Self {
        Self { whatsapp: Arc::new(whatsapp), max_body_bytes, calls, lifetime }
    }

    fn whatsapp(&self) -> Result<&WhatsApp, WebhookError> {
        (*self.whatsapp).as_ref().map_err(|missing| WebhookError::NotConfigured(missing.clone()))
    }

    /// What the store says is logged where it becomes an answer.
    pub(crate) fn log_refusal(error: &WebhookError) {
        if !matches!(error, WebhookError::Store(_)) {
            tracing::warn!(%error, "webhook refused");
        }
    }

    /// The word agreed for verification is the right one.
    pub(crate) fn verifies(&self, token: &str) -> Result<bool, WebhookError> {
        Ok(signature::same_secret(self.whatsapp()?.verify_token.expose_secret(), token))
    }

    /// Takes a delivery; when this returns, what it said is committed. `agents` and `labels` are for the calls that it begins.
    pub(crate) async fn receive(
        &self,
        body: &[u8],
        given: Option<&str>,
        agents: Agents,
        labels: Labels,
    ) -> Result<Vec<NoticeOutcome>, WebhookError> {
        let whatsapp = self.whatsapp()?;
        if !signature::verify(whatsapp.app_secret.expose_secret(), body, given) {
            return Err(WebhookError::Signature);
        }
        let notices = webhook::parse(body)?;
        let (calls, number) = (self.calls.clone(), whatsapp.phone_number_id.clone());
        let draining = self.lifetime.is_draining();
        // Of its own, so that a broken connection does not leave a call claimed and unserved.
        let taking = tokio::spawn(async move { take(&calls, &number, notices, &agents, labels, draining).await });
        taking.await.map_err(|_| WebhookError::Internal)?
    }
}

/// Takes every notice that can be taken: one that cannot keeps no hang-up of the same delivery from being heard. Nothing new
/// begins while the process is `draining`.
async fn take(
    calls: &Calls,
    number: &str,
    notices: Vec<Notice>,
    agents: &Agents,
    labels: Labels,
    draining: bool,
) -> Result<Vec<NoticeOutcome>, WebhookError> {
    let mut outcomes = Vec::with_capacity(notices.len());
    let mut refused = None;
    let ignored = || Ok(Taken { outcome: Outcome::Ignored, call_id: None });
    for notice in notices {
        let (wacid, taken) = match notice {
            Notice::Connect(connect) if !is_ours(number, connect.phone_number_id.as_deref()) => {
                let number = connect.phone_number_id;
                tracing::warn!(number, "a call to a number other than WHATSAPP_PHONE_NUMBER_ID was passed over");
                (Some(connect.wacid), ignored())
            }
            Notice::Terminate(end) if !is_ours(number, end.phone_number_id.as_deref()) => (Some(end.wacid), ignored()),
            Notice::Connect(connect) if draining => (Some(connect.wacid), Err(WebhookError::Draining)),
            Notice::Connect(connect) => {
                let (wacid, agent) = (connect.wacid.clone(), agents.of(&connect));
                (Some(wacid), calls.connect(*connect, agent, labels.clone()).await.map_err(WebhookError::from))
            }
            Notice::Terminate(end) => (Some(end.wacid.clone()), terminated(calls, end).await),
            Notice::Ignored { wacid, what } => {
                tracing::info!(what, "webhook notice passed over");
                (wacid, ignored())
            }
        };
        let Taken { outcome, call_id } = match taken {
            Ok(taken) => taken,
            Err(error) => {
                refused.get_or_insert(error);
                continue;
            }
        };
        metrics::counter!("voicebridge_control_webhook_notices_total", "outcome" => outcome.word()).increment(1);
        tracing::debug!(
            call_id = call_id.as_ref().map(CallId::as_str),
            outcome = outcome.word(),
            "webhook notice taken"
        );
        if outcome == Outcome::Stale {
            tracing::warn!("a stale connect was dropped");
        }
        outcomes.push(NoticeOutcome { wacid, call_id, outcome });
    }
    refused.map_or(Ok(outcomes), Err)
}

/// First the end, which nothing may keep from being heard.
async fn terminated(calls: &Calls, mut end: Terminate) -> Result<Taken, WebhookError> {
    let payloads = std::mem::take(&mut end.payloads);
    let taken = calls.terminate(end).await?;
    if let Some(call_id) = &taken.call_id {
        calls.add_payloads(call_id, &payloads).await?;
    }
    Ok(taken)
}

/// Several numbers may share an app and thus a webhook; Meta delivers all to everyone. No number given is taken as ours.
fn is_ours(ours: &str, given: Option<&str>) -> bool {
    given.is_none_or(|given| given == ours)
}
