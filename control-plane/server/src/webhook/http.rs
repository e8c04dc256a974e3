//! `GET|POST /webhooks/whatsapp`.

use axum::{
    Router,
    body::Body,
    extract::{Query, State, rejection::QueryRejection},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
    routing::get,
};
use serde::Deserialize;
use tonic::Code;
use voicebridge_core::labels::Labels;

use super::{Agents, Webhook, WebhookError};
use crate::{body::read_body, fault::Fault};

pub(crate) fn router(webhook: Webhook) -> Router {
    Router::new().route("/webhooks/whatsapp", get(verification).post(delivery)).with_state(webhook)
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Verification {
    #[serde(rename = "hub.mode")]
    mode: String,
    #[serde(rename = "hub.challenge")]
    challenge: String,
    #[serde(rename = "hub.verify_token")]
    verify_token: String,
}

async fn verification(
    State(webhook): State<Webhook>,
    query: Result<Query<Verification>, QueryRejection>,
) -> Result<String, Fault> {
    let malformed = |message| Fault::from(WebhookError::Query(message));
    let Query(query) = query.map_err(|_| malformed("the query must hold each hub parameter once, percent-encoded"))?;
    if !webhook.verifies(&query.verify_token)? || query.mode != "subscribe" {
        tracing::warn!("webhook verification with a wrong mode or token was refused");
        return Err(Fault::new(
            Code::PermissionDenied,
            "UNAUTHENTICATED",
            "hub.mode must be subscribe and hub.verify_token the value of WHATSAPP_VERIFY_TOKEN",
        ));
    }
    if query.challenge.is_empty() {
        return Err(malformed("hub.challenge must be given; Meta wants it back"));
    }
    Ok(query.challenge)
}

async fn delivery(State(webhook): State<Webhook>, headers: HeaderMap, body: Body) -> Response {
    let body = match read_body(body, webhook.max_body_bytes).await {
        Ok(body) => body,
        Err(fault) => return fault.into_response(),
    };
    let signature = headers.get("x-hub-signature-256").and_then(|value| value.to_str().ok());
    match webhook.receive(&body, signature, Agents::default(), Labels::default()).await {
        Ok(_) => StatusCode::OK.into_response(),
        Err(error) => {
            Webhook::log_refusal(&error);
            Fault::from(error).into_response()
        }
    }
}
