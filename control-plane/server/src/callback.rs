//! Tells whoever holds a call's signalling that Meta has to be told of its end: a signed event to their URL.
//!
//! By the Standard Webhooks convention (standardwebhooks.com, version 1): the id is the same for every attempt and after a
//! restart, the signature is over id, timestamp and body. Tried again with growing pauses when nobody answers or the answer
//! says that it may pass (5xx, 408, 429), until the attempts are used up or the end is known. Redirects are not followed:
//! the event is for the URL that was set.

use std::{sync::Arc, time::Duration};

use backon::{ExponentialBuilder, Retryable as _};
use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::{StatusCode, header::CONTENT_TYPE};
use secrecy::ExposeSecret as _;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use voicebridge_core::{
    call_life::GraphAction,
    identity::{CallId, Wacid},
    termination::Termination,
};

use crate::{clock::now_ms, config::CallbackTarget, convert, store::Lease};

/// One attempt: connection and answer.
const TIMEOUT: Duration = Duration::from_secs(3);
/// After the first attempt: 5 in all, within 25 s and so before the call's record is closed whatever happens.
const REPETITIONS: usize = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LAST_PAUSE: Duration = Duration::from_secs(2);
/// The contract's only event so far.
const KIND: &str = "call.terminate_required";

#[derive(Clone)]
pub(crate) struct Callback {
    http: reqwest::Client,
    url: String,
    keyed: Hmac<Sha256>,
    /// Nobody is told anything while it is not held.
    lease: Arc<Lease>,
}

/// What is to be told.
#[derive(Clone, Debug)]
pub(crate) struct Notice {
    pub(crate) call_id: CallId,
    pub(crate) wacid: Wacid,
    pub(crate) phone_number_id: String,
    pub(crate) action: GraphAction,
    pub(crate) termination: Termination,
    /// When the end came.
    pub(crate) at_ms: i64,
}

/// Nobody was told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CallbackError {
    #[error("VOICEBRIDGE_CALLBACK_URL answered {0}")]
    Refused(u16),
    #[error("VOICEBRIDGE_CALLBACK_URL gave no answer ({0})")]
    Silence(&'static str),
    #[error(
        "there is neither a WHATSAPP_ACCESS_TOKEN with a number (WHATSAPP_PHONE_NUMBER_ID, or phone_number_id of \
         StartSession) nor a VOICEBRIDGE_CALLBACK_URL"
    )]
    NotConfigured,
}

impl CallbackError {
    /// Stable; with a page in docs/errors.
    pub(crate) const fn reason(&self) -> &'static str {
        match self {
            Self::Refused(_) | Self::Silence(_) => "CALLBACK_FAILED",
            Self::NotConfigured => "CALLBACK_NOT_CONFIGURED",
        }
    }

    /// The other side's own word.
    pub(crate) fn code(&self) -> String {
        match self {
            Self::Refused(status) => status.to_string(),
            Self::Silence(how) => (*how).to_owned(),
            Self::NotConfigured => String::new(),
        }
    }

    fn may_pass(&self) -> bool {
        match self {
            Self::Refused(status) => *status >= 500 || matches!(*status, 408 | 429),
            Self::Silence(_) => true,
            Self::NotConfigured => false,
        }
    }
}

#[derive(Serialize)]
struct Body<'a> {
    r#type: &'static str,
    timestamp: String,
    data: Data<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Data<'a> {
    call_id: &'a str,
    wacid: &'a str,
    phone_number_id: &'a str,
    action: &'static str,
    termination: Ended<'a>,
}

#[derive(Serialize)]
struct Ended<'a> {
    result: &'static str,
    reason: &'a str,
    message: &'a str,
}

impl Notice {
    /// The same whenever this is told of this call.
    fn id(&self) -> String {
        let mut hash = Sha256::new();
        for part in [KIND, self.action.word(), self.call_id.as_str()] {
            hash.update(part);
            hash.update([0]);
        }
        format!("msg_{}", hex::encode(&hash.finalize()[..16]))
    }

    fn body(&self) -> String {
        let body = Body {
            r#type: KIND,
            timestamp: convert::timestamp(self.at_ms).to_string(),
            data: Data {
                call_id: self.call_id.as_str(),
                wacid: self.wacid.as_str(),
                phone_number_id: &self.phone_number_id,
                action: self.action.word(),
                termination: Ended {
                    result: self.termination.result.word(),
                    reason: &self.termination.reason,
                    message: &self.termination.message,
                },
            },
        };
        serde_json::to_string(&body).expect("a struct of strings")
    }
}

impl Callback {
    /// # Errors
    /// TLS cannot be set up.
    pub(crate) fn new(target: &CallbackTarget) -> Result<Self, reqwest::Error> {
        voicebridge_telemetry::install_tls();
        let http = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .connect_timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .tcp_nodelay(true)
            .build()?;
        let keyed = Hmac::new_from_slice(target.key.expose_secret()).expect("HMAC takes keys of any length");
        Ok(Self { http, url: target.url.clone(), keyed, lease: Arc::new(Lease::unlimited()) })
    }

    /// The same, which tells nothing while this lease is not held.
    #[must_use]
    pub(crate) fn under(self, lease: Arc<Lease>) -> Self {
        Self { lease, ..self }
    }

    fn sign(&self, id: &str, timestamp: i64, body: &str) -> String {
        let mut mac = self.keyed.clone();
        mac.update(format!("{id}.{timestamp}.{body}").as_bytes());
        format!("v1,{}", base64_simd::STANDARD.encode_to_string(mac.finalize().into_bytes()))
    }

    /// Tells it, trying again until `is_known` or the attempts are used up.
    pub(crate) async fn tell(&self, notice: &Notice, is_known: impl Fn() -> bool) -> Result<(), CallbackError> {
        let (id, body) = (notice.id(), notice.body());
        let attempt = || self.attempt(&id, &body);
        let pauses = ExponentialBuilder::new()
            .with_min_delay(FIRST_PAUSE)
            .with_max_delay(LAST_PAUSE)
            .with_jitter()
            .with_max_times(REPETITIONS);
        attempt
            .retry(pauses)
            .when(|error| error.may_pass() && !is_known())
            .notify(|error, pause| tracing::warn!(%error, ?pause, "the callback is tried again"))
            .await
    }

    async fn attempt(&self, id: &str, body: &str) -> Result<(), CallbackError> {
        // Each time: another process may have taken the calls over during the pause.
        self.lease.held().await;
        let timestamp = now_ms().div_euclid(1_000);
        let request = self
            .http
            .post(&self.url)
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", self.sign(id, timestamp, body))
            .body(body.to_owned());
        let answer = request
            .send()
            .await
            .map_err(|error| CallbackError::Silence(if error.is_timeout() { "timeout" } else { "connection" }))?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            status => Err(CallbackError::Refused(StatusCode::as_u16(&status))),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use voicebridge_core::termination::TerminationResult;

    use super::*;

    fn notice(call_id: &str, action: GraphAction) -> Notice {
        Notice {
            call_id: crate::ids::example(call_id),
            wacid: Wacid::parse(call_id).unwrap(),
            phone_number_id: "106".to_owned(),
            action,
            termination: Termination::new(TerminationResult::Completed, "AGENT_HANGUP", "The AI hung up."),
            at_ms: 1_790_000_000_250,
        }
    }

    /// The example of the convention's own libraries.
    #[test]
    fn the_signature_is_the_conventions() {
        let key = base64_simd::STANDARD.decode_to_vec("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let callback = Callback::new(&CallbackTarget { url: "http://127.0.0.1".to_owned(), key: key.into() }).unwrap();
        let body = r#"{"test": 2432232314}"#;
        let signature = callback.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn what_is_told() {
        let body = notice("wacid.A=", GraphAction::Terminate).body();
        let expect = r#"{"type":"call.terminate_required","timestamp":"2026-09-21T14:13:20.250Z","data":{"callId":"{id}","wacid":"wacid.A=","phoneNumberId":"106","action":"terminate","termination":{"result":"completed","reason":"AGENT_HANGUP","message":"The AI hung up."}}}"#;
        assert_eq!(body, expect.replace("{id}", crate::ids::example("wacid.A=").as_str()));
    }

    #[test]
    fn an_id_is_that_of_the_call_and_the_action() {
        let id = |call_id, action| notice(call_id, action).id();
        assert_eq!(id("a", GraphAction::Terminate), id("a", GraphAction::Terminate));
        assert_ne!(id("a", GraphAction::Terminate), id("a", GraphAction::Reject));
        assert_ne!(id("a", GraphAction::Terminate), id("b", GraphAction::Terminate));
        assert!(id("a.b", GraphAction::Reject).bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'));
    }

    /// Answers 500 to each request; how many there were.
    async fn refusing() -> (String, Arc<std::sync::atomic::AtomicUsize>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let asked = Arc::<std::sync::atomic::AtomicUsize>::default();
        let (url, count) = (format!("http://{}", listener.local_addr().unwrap()), Arc::clone(&asked));
        let app = axum::Router::new().fallback(move || {
            count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            std::future::ready(http::StatusCode::INTERNAL_SERVER_ERROR)
        });
        tokio::spawn(async move { axum::serve(listener, app).await });
        (url, asked)
    }

    #[tokio::test]
    async fn a_lease_that_passes_between_two_attempts_stops_the_second() {
        let (url, asked) = refusing().await;
        let lease = Arc::new(Lease::unlimited());
        let target = CallbackTarget { url, key: vec![7; 32].into() };
        let callback = Callback::new(&target).unwrap().under(Arc::clone(&lease));
        let told = {
            let (asked, lease) = (Arc::clone(&asked), Arc::clone(&lease));
            // Asked after an attempt and before the pause that leads to the next.
            let is_known = move || {
                assert_eq!(asked.load(std::sync::atomic::Ordering::SeqCst), 1, "one attempt");
                lease.lose();
                false
            };
            let notice = notice("wacid.A=", GraphAction::Terminate);
            async move { callback.tell(&notice, is_known).await }
        };
        // Longer than the pause before the second attempt, and half of the next.
        assert!(tokio::time::timeout(FIRST_PAUSE * 4, told).await.is_err(), "it waits for the lease");
        assert_eq!(asked.load(std::sync::atomic::Ordering::SeqCst), 1);
    }
}
