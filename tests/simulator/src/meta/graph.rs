//! The Graph API over HTTP: `POST /v25.0/{phone_number_id}/calls`.
//!
//! Checks what does not depend on the call (token, number, form of the request), lets the configured fault happen, then
//! asks the call's `caller`, which owns the order of actions and the SDP. Holds no state of its own.

use std::{sync::Arc, time::Instant};

use axum::{
    Router,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::{
    Inner,
    caller::{Command, GraphRequest},
    faults::GraphFault,
    graph_error::{GraphError, INVALID_TOKEN, NO_CALL_PERMISSION},
    order::{self, Action, Phase},
};

/// The version this Graph API answers as; others from [`OLDEST_VERSION`] on are answered alike.
pub const VERSION: &str = "v25.0";
/// Calling does not exist before.
const OLDEST_VERSION: u32 = 17;
/// Longest `biz_opaque_callback_data`, characters.
const MAX_CALLBACK_DATA: usize = 512;

pub(crate) fn router(inner: Arc<Inner>) -> Router {
    Router::new().route("/{version}/{phone_number_id}/calls", post(calls)).fallback(unknown_path).with_state(inner)
}

async fn calls(
    State(inner): State<Arc<Inner>>,
    Path((version, phone_number_id)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let at = Instant::now();
    let checked = check_path(&version, &phone_number_id, &inner.settings.phone_number_id)
        .and_then(|()| check_token(&headers, &inner.settings.access_token))
        .and_then(|()| parse(&body, at));
    let (call_id, request) = match checked {
        Ok(checked) => checked,
        Err(error) => return refuse(&error),
    };
    let action = request.action;
    let fault = inner.fault(&call_id, action);
    match &fault {
        Some(GraphFault::Refuse(code)) => {
            return refuse(&GraphError::new(*code, format!("refused on demand: {call_id}")));
        }
        Some(GraphFault::Hang) => std::future::pending().await,
        Some(GraphFault::Delay(delay)) => tokio::time::sleep(*delay).await,
        Some(GraphFault::LoseAnswer) | None => {}
    }
    let result = ask(&inner, &call_id, request).await;
    tracing::debug!(action = action.name(), ?result, "graph request");
    if fault == Some(GraphFault::LoseAnswer) {
        std::future::pending::<()>().await;
    }
    match result {
        Ok(()) => axum::Json(json!({"messaging_product": "whatsapp", "success": true})).into_response(),
        Err(error) => refuse(&error),
    }
}

/// Puts the request to the call it is about.
async fn ask(inner: &Inner, call_id: &str, request: GraphRequest) -> Result<(), GraphError> {
    let action = request.action;
    if action == Action::Connect {
        return Err(GraphError::new(NO_CALL_PERMISSION, "No approved call permission from the recipient"));
    }
    let caller = inner.caller(call_id).ok_or_else(|| GraphError::invalid("Invalid call id"))?;
    let (reply, answer) = oneshot::channel();
    let ended = || order::check(Phase::Ended, action);
    if caller.send(Command::Graph { request, reply }).await.is_err() {
        return ended();
    }
    answer.await.unwrap_or_else(|_| ended())
}

fn check_path(version: &str, number: &str, own_number: &str) -> Result<(), GraphError> {
    let major = version.strip_prefix('v').and_then(|v| v.split('.').next()).and_then(|v| v.parse::<u32>().ok());
    if major.is_none_or(|major| major < OLDEST_VERSION) {
        return Err(GraphError::invalid(format!("Unsupported Graph API version {version}")));
    }
    if number != own_number {
        return Err(GraphError::invalid(format!(
            "Unsupported post request. Object with ID '{number}' does not exist, cannot be loaded due to missing permissions"
        )));
    }
    Ok(())
}

fn check_token(headers: &HeaderMap, expected: &str) -> Result<(), GraphError> {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if given.and_then(|value| value.strip_prefix("Bearer ")) == Some(expected) {
        Ok(())
    } else {
        Err(GraphError::new(INVALID_TOKEN, "Invalid OAuth access token"))
    }
}

/// The call and the request in `body`.
fn parse(body: &[u8], at: Instant) -> Result<(String, GraphRequest), GraphError> {
    let body: Value = serde_json::from_slice(body).map_err(|_| GraphError::invalid("The body is not JSON"))?;
    if body["messaging_product"] != "whatsapp" {
        return Err(GraphError::invalid("The parameter messaging_product is required and must be whatsapp."));
    }
    let action = body["action"].as_str().and_then(Action::parse).ok_or_else(|| {
        GraphError::invalid("Param action must be one of {connect, pre_accept, accept, reject, terminate}")
    })?;
    let call_id = match (action, body["call_id"].as_str()) {
        (Action::Connect, _) => String::new(),
        (_, Some(call_id)) if !call_id.is_empty() => call_id.to_owned(),
        _ => return Err(GraphError::invalid("The parameter call_id is required.")),
    };
    let sdp = match action {
        Action::PreAccept | Action::Accept => Some(session(&body["session"])?),
        _ => None,
    };
    let biz_opaque_callback_data = match &body["biz_opaque_callback_data"] {
        Value::Null => None,
        Value::String(data) if data.chars().count() <= MAX_CALLBACK_DATA => Some(data.clone()),
        _ => return Err(GraphError::invalid("biz_opaque_callback_data must be a string of at most 512 characters")),
    };
    Ok((call_id, GraphRequest { action, at, sdp, biz_opaque_callback_data }))
}

fn session(session: &Value) -> Result<String, GraphError> {
    if !session.is_object() {
        return Err(GraphError::invalid("The parameter session is required."));
    }
    if session["sdp_type"] != "answer" {
        return Err(GraphError::invalid("session.sdp_type must be answer"));
    }
    match session["sdp"].as_str() {
        Some(sdp) if !sdp.is_empty() => Ok(sdp.to_owned()),
        _ => Err(GraphError::invalid("The parameter session.sdp is required.")),
    }
}

fn refuse(error: &GraphError) -> Response {
    let trace = uuid::Uuid::new_v4().simple().to_string();
    (error.status(), axum::Json(error.body(&trace))).into_response()
}

async fn unknown_path() -> Response {
    let mut response = refuse(&GraphError::invalid("Unknown path components"));
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}
