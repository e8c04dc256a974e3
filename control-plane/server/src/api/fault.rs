//! Every error that leaves this process: a gRPC code, a stable reason with a page under docs/errors, and a sentence.
//! Over HTTP the same as `{error, reason, message}`.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use tonic::{Code, Status};
use voicebridge_core::termination::{Termination, reason as reasons};
use voicebridge_telemetry::status;

use crate::{calls::CallError, store::StoreError, webhook::WebhookError};

/// An error on its way out.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    code: Code,
    /// Where HTTP is more precise than the gRPC code.
    http: Option<StatusCode>,
    reason: String,
    message: String,
    metadata: Vec<(&'static str, String)>,
}

impl Fault {
    pub(crate) fn new(code: Code, reason: &str, message: impl Into<String>) -> Self {
        Self { code, http: None, reason: reason.to_owned(), message: message.into(), metadata: Vec::new() }
    }

    pub(crate) fn with(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.metadata.push((key, value.into()));
        self
    }

    /// An argument that breaks a rule.
    pub(crate) fn invalid(field: &str, rule: &str) -> Self {
        Self::new(Code::InvalidArgument, "INVALID_ARGUMENT", format!("{field} {rule}"))
            .with("field", field)
            .with("rule", rule)
    }

    /// The same under the name a field has in this API's JSON.
    pub(crate) fn renamed(self, from: &str, to: &str) -> Self {
        let value = |key| self.metadata.iter().find(|(name, _)| *name == key).map(|(_, value)| value.as_str());
        match (value("field"), value("rule")) {
            (Some(field), Some(rule)) if field == from => Self::invalid(to, rule),
            _ => self,
        }
    }

    /// There is nothing here for this kind of request.
    pub(crate) fn path_not_found(message: &str) -> Self {
        Self::new(Code::NotFound, "PATH_NOT_FOUND", message)
    }

    /// The path is known, the method is not.
    pub(crate) fn method_not_allowed() -> Self {
        let message = "This path has other methods only; the header Allow names them.";
        Self {
            http: Some(StatusCode::METHOD_NOT_ALLOWED),
            ..Self::new(Code::Unimplemented, "METHOD_NOT_ALLOWED", message)
        }
    }

    /// The same under a more precise code of HTTP.
    pub(crate) fn over_http(self, code: StatusCode) -> Self {
        Self { http: Some(code), ..self }
    }

    /// A content that is not served here.
    pub(crate) fn unsupported_media_type(rule: &str) -> Self {
        Self::invalid("content-type", rule).over_http(StatusCode::UNSUPPORTED_MEDIA_TYPE)
    }

    pub(crate) fn unauthenticated(message: impl Into<String>) -> Self {
        Self::new(Code::Unauthenticated, "UNAUTHENTICATED", message)
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn reason(&self) -> &str {
        &self.reason
    }

    pub(crate) fn status(self) -> Status {
        let metadata: Vec<(&str, &str)> = self.metadata.iter().map(|(key, value)| (*key, value.as_str())).collect();
        status::status(self.code, &self.reason, self.message, &metadata)
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let code = self.http.unwrap_or(match self.code {
            Code::InvalidArgument | Code::OutOfRange => StatusCode::BAD_REQUEST,
            Code::Unauthenticated => StatusCode::UNAUTHORIZED,
            Code::PermissionDenied => StatusCode::FORBIDDEN,
            Code::NotFound => StatusCode::NOT_FOUND,
            Code::FailedPrecondition | Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
            Code::ResourceExhausted | Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        });
        let body = serde_json::json!({
            "error": code.canonical_reason().unwrap_or("Error"), "reason": self.reason, "message": self.message,
        });
        let mut response = (code, axum::Json(body)).into_response();
        if code == StatusCode::UNAUTHORIZED {
            // RFC 9110, section 11.6.1.
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        tracing::error!(error = &error as &dyn std::error::Error, "the store failed");
        Self::new(Code::Internal, "INTERNAL", "The store failed; the log says how.")
    }
}

impl From<CallError> for Fault {
    fn from(error: CallError) -> Self {
        let message = error.to_string();
        match error {
            CallError::NotFound => Self::new(Code::NotFound, "CALL_NOT_FOUND", message),
            CallError::Ended(termination) => ended(&termination),
            CallError::NotPlaced => Self::new(Code::FailedPrecondition, "SESSION_NOT_FOUND", message),
            CallError::Managed => Self::new(Code::FailedPrecondition, "SIGNALLING_MANAGED", message),
            CallError::Draining => Self::new(Code::Unavailable, "CONTROL_DRAINING", message),
            CallError::Node(status) => match status::reason(&status) {
                Some(reason) => Self::new(status.code(), &reason, status.message()),
                None => {
                    tracing::warn!(code = ?status.code(), error = status.message(), "a node did not answer as it should");
                    Self::new(Code::Unavailable, reasons::NODE_LOST, "The media node of the call did not answer.")
                }
            },
            CallError::Store(error) => error.into(),
            CallError::Internal => Self::new(Code::Internal, "INTERNAL", message),
        }
    }
}

/// A call that ended while somebody wanted something of it. Endings of a start are the start's own errors.
fn ended(termination: &Termination) -> Fault {
    match termination.reason.as_ref() {
        reasons::NO_NODE_AVAILABLE => {
            Fault::new(Code::ResourceExhausted, reasons::NO_NODE_AVAILABLE, &termination.message)
        }
        reasons::SDP_INVALID => Fault::new(Code::InvalidArgument, reasons::SDP_INVALID, &termination.message)
            .with("rule", &termination.upstream_code),
        reason => Fault::new(
            Code::FailedPrecondition,
            "SESSION_ENDED",
            format!("The call has ended with {reason}: {}", termination.message),
        )
        .with("termination", reason),
    }
}

impl From<WebhookError> for Fault {
    fn from(error: WebhookError) -> Self {
        let message = error.to_string();
        match error {
            WebhookError::NotConfigured(_) => Self::new(Code::Unavailable, "WHATSAPP_NOT_CONFIGURED", message),
            WebhookError::Draining => Self::new(Code::Unavailable, "CONTROL_DRAINING", message),
            WebhookError::Signature => Self::new(Code::Unauthenticated, "WEBHOOK_SIGNATURE_INVALID", message),
            WebhookError::Malformed(_) | WebhookError::Query(_) => {
                Self::new(Code::InvalidArgument, "WEBHOOK_MALFORMED", message)
            }
            WebhookError::Store(_) | WebhookError::Internal => {
                Self::new(Code::Internal, "INTERNAL", "The delivery could not be stored; deliver it again.")
            }
        }
    }
}
