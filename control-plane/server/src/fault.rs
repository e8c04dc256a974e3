//! Every error that leaves this process: a gRPC code, a stable reason with a page under docs/errors, and a sentence; the
//! fields that break a rule, and how long to wait before asking again. Over HTTP the same as `{error, reason, message}`, with
//! `violations` where there are any, and `Retry-After`.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use tonic::{Code, Status};
use voicebridge_telemetry::status::{self, Details};

/// Of an argument that breaks a rule, unless it has a reason of its own.
const INVALID_ARGUMENT: &str = "INVALID_ARGUMENT";

/// An error on its way out.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    code: Code,
    /// Where HTTP is more precise than the gRPC code.
    http: Option<StatusCode>,
    reason: String,
    message: String,
    /// Apart, so that what goes well carries little.
    details: Box<Details>,
}

impl Fault {
    pub(crate) fn new(code: Code, reason: &str, message: impl Into<String>) -> Self {
        let details = Box::new(Details { retry_after: status::retry_after(reason), ..Details::default() });
        Self { code, http: None, reason: reason.to_owned(), message: message.into(), details }
    }

    pub(crate) fn with(mut self, key: &str, value: impl Into<String>) -> Self {
        self.details.metadata.insert(key.to_owned(), value.into());
        self
    }

    /// An argument that breaks a rule.
    pub(crate) fn invalid(field: &str, rule: &str) -> Self {
        Self::new(Code::InvalidArgument, INVALID_ARGUMENT, format!("{field} {rule}"))
            .with("field", field)
            .with("rule", rule)
            .violating(field, rule)
    }

    /// What is broken where, for arguments with a reason of their own.
    pub(crate) fn violating(mut self, field: &str, rule: &str) -> Self {
        self.details.violations.push((field.to_owned(), rule.to_owned()));
        self
    }

    /// With what whoever was asked first said besides.
    pub(crate) fn detailed(self, details: Details) -> Self {
        Self { details: Box::new(details), ..self }
    }

    /// The same under the name a field has in this API's JSON.
    pub(crate) fn renamed(mut self, from: &str, to: &str) -> Self {
        match self.details.violations.as_mut_slice() {
            [(field, rule)] if field == from && self.reason == INVALID_ARGUMENT => Self::invalid(to, rule),
            // The message of a reason of its own does not begin with the field.
            [(field, _)] if field == from => {
                to.clone_into(field);
                self
            }
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
        status::detailed(self.code, &self.reason, self.message, *self.details)
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
        let mut body = serde_json::json!({
            "error": code.canonical_reason().unwrap_or("Error"), "reason": self.reason, "message": self.message,
        });
        if !self.details.violations.is_empty() {
            let violations = self.details.violations.iter();
            let violations = violations.map(|(field, rule)| serde_json::json!({"field": field, "rule": rule}));
            body["violations"] = violations.collect();
        }
        let mut response = (code, axum::Json(body)).into_response();
        if let Some(delay) = self.details.retry_after {
            // RFC 9110, section 10.2.3: whole seconds.
            let seconds = delay.as_secs() + u64::from(delay.subsec_nanos() > 0);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if code == StatusCode::UNAUTHORIZED {
            // RFC 9110, section 11.6.1.
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
