//! The errors of the Graph API: code, HTTP status and the JSON body Meta sends.
//!
//! Codes and statuses are those of Meta's troubleshooting page for the Calling API; the body has the fields of a live
//! refusal. Nothing here decides whether a request is wrong: see `graph`, `order` and `answer`.

use axum::http::StatusCode;
use serde_json::{Value, json};

/// Invalid parameter; every fault of an SDP that Meta names lands here with the cause in `error_data.details`.
pub(super) const INVALID_PARAMETER: u32 = 100;
/// The access token is missing, malformed or not ours.
pub(super) const INVALID_TOKEN: u32 = 190;
/// Graph's own passing fault: try again.
pub(super) const SERVICE_UNAVAILABLE: u32 = 2;
/// No permission of the user to call them.
pub(super) const NO_CALL_PERMISSION: u32 = 138_006;
/// "SDP Validation error": an SDP that is not one, or not an answer to the offer.
pub const SDP_VALIDATION: u32 = 138_008;
/// Client failed to set up the call; only ever seen in a terminate webhook.
pub(super) const CLIENT_SETUP_FAILED: u32 = 138_019;
/// Client received no media for too long; only ever seen in a terminate webhook.
pub const NO_MEDIA_RECEIVED: u32 = 138_021;

/// Sub-code Meta attaches to an invalid calling parameter.
const CALLING_SUBCODE: u32 = 2_494_010;

/// A refusal by the Graph API.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("({code}) {details}")]
pub struct GraphError {
    /// Meta's code, e.g. [`INVALID_PARAMETER`].
    pub code: u32,
    /// The cause in words, `error_data.details`.
    pub details: String,
}

impl GraphError {
    /// A refusal with `code`, for the reason in `details`.
    #[must_use]
    pub fn new(code: u32, details: impl Into<String>) -> Self {
        Self { code, details: details.into() }
    }

    /// Code 100, for the reason in `details`.
    #[must_use]
    pub fn invalid(details: impl Into<String>) -> Self {
        Self::new(INVALID_PARAMETER, details)
    }

    /// The HTTP status Meta uses with this code.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self.code {
            INVALID_TOKEN | 138_000 | 138_006 => StatusCode::UNAUTHORIZED,
            613 | 138_002 | 138_005 => StatusCode::TOO_MANY_REQUESTS,
            1 | SERVICE_UNAVAILABLE | 131_000 | 138_004 | 138_007 => StatusCode::INTERNAL_SERVER_ERROR,
            500..=599 => StatusCode::from_u16(self.code as u16).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// Whether Meta marks the error as worth another try.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self.code, 1 | SERVICE_UNAVAILABLE)
    }

    /// The JSON body, with `trace` as `fbtrace_id`.
    #[must_use]
    pub fn body(&self, trace: &str) -> Value {
        let mut error = json!({
            "message": format!("(#{}) {}", self.code, self.title()),
            "type": "OAuthException",
            "code": self.code,
            "is_transient": self.is_transient(),
            "fbtrace_id": trace,
        });
        if self.code != INVALID_TOKEN {
            error["error_data"] = json!({"messaging_product": "whatsapp", "details": self.details});
        }
        if self.code == INVALID_PARAMETER {
            error["error_subcode"] = json!(CALLING_SUBCODE);
            error["error_user_title"] = json!("Parameter Invalid");
        }
        json!({ "error": error })
    }

    /// Meta's short text for the code.
    fn title(&self) -> &'static str {
        match self.code {
            INVALID_PARAMETER => "Invalid parameter",
            INVALID_TOKEN => "Invalid OAuth access token - Cannot parse access token",
            1 => "An unknown error occurred",
            SERVICE_UNAVAILABLE => "Service temporarily unavailable",
            138_000 => "Calling not enabled",
            138_001 => "Receiver uncallable",
            138_002 => "Concurrent calls limit reached",
            138_003 => "Duplicate call",
            138_004 => "Connection error",
            138_005 => "Call rate limit exceeded",
            NO_CALL_PERMISSION => "No approved call permission from the recipient",
            138_007 => "Connection timeout error",
            SDP_VALIDATION => "SDP Validation error",
            _ => "Something went wrong",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_sdp_fault_has_the_live_shape() {
        let body = GraphError::invalid("Fingerprint algo is not SHA256").body("Ab0");
        assert_eq!(
            body,
            json!({"error": {
                "message": "(#100) Invalid parameter", "type": "OAuthException", "code": 100,
                "error_subcode": 2_494_010, "is_transient": false, "error_user_title": "Parameter Invalid",
                "error_data": {"messaging_product": "whatsapp", "details": "Fingerprint algo is not SHA256"},
                "fbtrace_id": "Ab0"}})
        );
    }

    #[test]
    fn codes_have_the_documented_status() {
        let check = |code: u32, status: u16| assert_eq!(GraphError::new(code, "").status().as_u16(), status, "{code}");
        check(100, 400);
        check(190, 401);
        check(138_000, 401);
        check(138_002, 429);
        check(138_004, 500);
        check(138_007, 500);
        check(138_008, 400);
        check(2, 500);
        check(503, 503);
    }
}
