//! What errors of the parts are to whoever asked.

use tonic::Code;
use voicebridge_core::termination::{Termination, reason as reasons};
use voicebridge_telemetry::status;

use crate::{calls::CallError, fault::Fault, store::StoreError, webhook::WebhookError};

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        tracing::error!(error = &error as &dyn std::error::Error, "the store failed");
        if error.is_of_what_is_stored() {
            return Self::new(Code::Internal, "INTERNAL", "What is stored cannot be read; the log says what.");
        }
        Self::new(
            Code::Unavailable,
            "STORE_UNAVAILABLE",
            "The database does not do as asked now; ask again. The log says more.",
        )
    }
}

impl From<CallError> for Fault {
    fn from(error: CallError) -> Self {
        let message = error.to_string();
        match error {
            CallError::NotFound => Self::new(Code::NotFound, "CALL_NOT_FOUND", message),
            CallError::Ended(termination) => ended(&termination),
            CallError::TooManyLabels => Self::new(Code::FailedPrecondition, "TOO_MANY_LABELS", message),
            CallError::NotPlaced => Self::new(Code::FailedPrecondition, "SESSION_NOT_FOUND", message),
            CallError::Managed => Self::new(Code::FailedPrecondition, "SIGNALLING_MANAGED", message),
            CallError::ArgumentsDiffer(field) => {
                Self::new(Code::AlreadyExists, "START_ARGUMENTS_DIFFER", message).with("field", field)
            }
            CallError::Draining => Self::new(Code::Unavailable, "CONTROL_DRAINING", message),
            CallError::Node(status) => match status::reason(&status) {
                Some(reason) => Self::new(status.code(), &reason, status.message()).detailed(status::details(&status)),
                None => {
                    tracing::warn!(code = ?status.code(), error = status.message(), "a node did not answer as it should");
                    Self::new(Code::Unavailable, reasons::NODE_LOST, "The media node of the call did not answer.")
                }
            },
            CallError::Store(error) => error.into(),
            CallError::Held => Self::new(Code::Unavailable, "STORE_UNAVAILABLE", message),
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
            .with("rule", &termination.upstream_code)
            .violating("sdp_offer", &termination.upstream_code),
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
                let field = if matches!(error, WebhookError::Query(_)) { "query" } else { "body" };
                Self::new(Code::InvalidArgument, "WEBHOOK_MALFORMED", &message).violating(field, &message)
            }
            WebhookError::Store(error) => error.into(),
            WebhookError::Internal => {
                Self::new(Code::Internal, "INTERNAL", "The delivery could not be taken; deliver it again.")
            }
        }
    }
}
