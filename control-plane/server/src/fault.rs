//! Every error that leaves this process: a gRPC code, a stable reason with a page under docs/errors, and a sentence.
//! Over HTTP the same as `{error, reason, message}`.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use tonic::{Code, Status};
use voicebridge_telemetry::status;

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
