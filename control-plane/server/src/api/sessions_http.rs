//! The HTTP that operators of the predecessor know: `/sessions` and its children. JSON in, JSON out. `callId` is Meta's, as
//! it was there; paths take either id.

use axum::{
    Extension, Json, Router,
    body::Body,
    extract::{FromRequestParts, Path, State},
    http::request::Parts,
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use serde::Serialize;
use serde_json::{Map, Value};
use voicebridge_proto::{
    control::v1::{EndReason, StartSessionRequest},
    types::v1::{Caller, SignallingStage},
};

use super::{Api, Fault, read_body, session_info};
use crate::{access::Authentication, clock::now_ms, convert, store::Holder};

pub(super) fn router(api: Api) -> Router {
    Router::new()
        .route("/sessions", get(list))
        .route("/sessions/start", post(start))
        .route("/sessions/{call_id}", get(one))
        .route("/sessions/{call_id}/advance", post(advance))
        .route("/sessions/{call_id}/stop", post(stop))
        .with_state(api)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SessionInfo {
    /// Meta's, as the predecessor had it.
    call_id: String,
    /// Ours.
    id: String,
    session_id: Option<String>,
    /// The phase, lower case.
    status: String,
    /// Seconds since the call came in, until it ended.
    duration: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Of one call: counters of its audio, once there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    statistics: Option<Value>,
    /// Of one call: what it cost at the AI so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Value>,
}

/// The call's id in the path: Meta's, as the predecessor had it, or ours.
struct CallPath(String);

impl<S: Send + Sync> FromRequestParts<S> for CallPath {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Fault> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        path.map(|Path(call_id)| Self(call_id)).map_err(|_| Fault::invalid("callId", "must be percent-encoded UTF-8"))
    }
}

async fn list(State(api): State<Api>) -> Response {
    let now = now_ms();
    let sessions: Vec<SessionInfo> = api
        .calls
        .views()
        .into_iter()
        .map(|(call_id, wacid, view)| SessionInfo {
            call_id: wacid.as_str().to_owned(),
            id: call_id.as_str().to_owned(),
            session_id: view.session.map(|session| session.session_id),
            status: view.phase.to_lowercase(),
            duration: convert::elapsed_ms(view.received_at_ms, now) / 1_000,
            reason: None,
            statistics: None,
            usage: None,
        })
        .collect();
    Json(serde_json::json!({ "count": sessions.len(), "sessions": sessions })).into_response()
}

async fn one(
    State(api): State<Api>,
    Extension(authentication): Extension<Authentication>,
    CallPath(call_id): CallPath,
) -> Result<Json<SessionInfo>, Fault> {
    let call_id = api.readable(authentication.principal()?, &call_id).await?;
    let (row, call) = api.whole(&call_id).await?;
    Ok(Json(SessionInfo {
        call_id: row.wacid.as_str().to_owned(),
        id: row.call_id.as_str().to_owned(),
        session_id: row.session.map(|session| session.session_id),
        status: row.phase.to_lowercase(),
        duration: convert::elapsed_ms(row.received_at_ms, row.ended_at_ms.unwrap_or_else(now_ms)) / 1_000,
        reason: row.ended_at_ms.and(row.termination).map(|termination| termination.reason.into_owned()),
        statistics: call.statistics.as_ref().map(session_info::statistics),
        usage: call.usage.as_ref().map(session_info::usage),
    }))
}

async fn start(State(api): State<Api>, body: Body) -> Result<Response, Fault> {
    let body = object(&api, body).await?;
    let from_number = optional_text(&body, "fromNumber")?;
    let wacid = text(&body, "callId")?;
    let request = StartSessionRequest {
        call_id: wacid.clone(),
        sdp_offer: text(&body, "sdpOffer")?,
        caller: Some(Caller { phone_number: from_number.unwrap_or_default(), ..Caller::default() }),
        ..StartSessionRequest::default()
    };
    let started = api.start(request, Holder::SelfImmediate).await;
    let started = started.map_err(|fault| fault.renamed("call_id", "callId").renamed("sdp_offer", "sdpOffer"))?;
    let body = serde_json::json!({
        "success": true,
        "callId": wacid,
        "id": started.call_id,
        "sessionId": started.session_id,
        "sdpAnswer": started.sdp_answer,
    });
    Ok(Json(body).into_response())
}

async fn advance(State(api): State<Api>, CallPath(call_id): CallPath, body: Body) -> Result<Response, Fault> {
    let given = text(&object(&api, body).await?, "stage")?;
    let name = given.strip_prefix("SIGNALLING_STAGE_").unwrap_or(&given);
    let stage = SignallingStage::from_str_name(&format!("SIGNALLING_STAGE_{name}")).unwrap_or_default();
    let stage = api.advance(&call_id, stage).await?;
    let name = stage.as_str_name().trim_start_matches("SIGNALLING_STAGE_");
    Ok(Json(serde_json::json!({ "success": true, "callId": call_id, "stage": name })).into_response())
}

async fn stop(State(api): State<Api>, CallPath(call_id): CallPath) -> Result<Response, Fault> {
    let termination = api.end(&call_id, EndReason::ApiHangup.into()).await?;
    Ok(Json(serde_json::json!({ "success": true, "callId": call_id, "reason": termination.reason })).into_response())
}

/// Whatever the content type says: the predecessor did not insist either, and pages of other origins are kept out
/// elsewhere. Unknown fields are passed over.
async fn object(api: &Api, body: Body) -> Result<Map<String, Value>, Fault> {
    let bytes = read_body(body, api.limits.max_body_bytes).await?;
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(Fault::invalid("body", "must be a JSON object")),
        Err(error) => Err(Fault::invalid("body", &format!("must be JSON: {error}"))),
    }
}

fn text(body: &Map<String, Value>, field: &str) -> Result<String, Fault> {
    optional_text(body, field)?.ok_or_else(|| Fault::invalid(field, "must be given"))
}

fn optional_text(body: &Map<String, Value>, field: &str) -> Result<Option<String>, Fault> {
    match body.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(Fault::invalid(field, "must be a string")),
    }
}
