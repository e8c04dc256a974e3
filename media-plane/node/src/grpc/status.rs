//! Errors as gRPC statuses: a code, a stable reason (one page each in docs/errors) and what a program may want to know.

use tonic::{Code, Status};
use voicebridge_telemetry::status::{invalid_argument, status};

use crate::{
    journal::Gone,
    node::{RequestError, StartError},
    sessions::SlotRefused,
    udp::PortError,
};

pub(super) fn of_start(error: &StartError) -> Status {
    match error {
        StartError::SlotRefused(SlotRefused::Full(_)) | StartError::Port(PortError::Exhausted) => {
            status(Code::ResourceExhausted, "NODE_FULL", format!("{error}; try another node"), &[])
        }
        StartError::SlotRefused(SlotRefused::Draining) => {
            status(Code::Unavailable, "NODE_DRAINING", format!("{error}; try another node"), &[])
        }
        StartError::NoThread(_) => {
            status(Code::Unavailable, "MEDIA_THREAD_LOST", format!("{error}; try another node"), &[])
        }
        StartError::Offer(offer) => {
            status(Code::InvalidArgument, "SDP_INVALID", error.to_string(), &[("rule", offer.rule)])
        }
        StartError::ArgumentsDiffer(field) => {
            status(Code::AlreadyExists, "START_ARGUMENTS_DIFFER", error.to_string(), &[("field", field)])
        }
        // The offer passed the lint, and still the engine does not take what it says.
        StartError::Peer(peer) => {
            tracing::warn!(error = %chain(peer), "offer not usable");
            status(Code::InvalidArgument, "SDP_INVALID", error.to_string(), &[("rule", "engine-refused")])
        }
        StartError::Agent(agent) => {
            let field = agent.0.first().map_or("agent", |first| first.field.as_str());
            status(
                Code::InvalidArgument,
                "INVALID_ARGUMENT",
                format!("agent: {error}"),
                &[("field", &format!("agent.{field}")), ("rule", &error.to_string())],
            )
        }
        StartError::Port(PortError::Socket(..)) | StartError::Session(_) | StartError::Busy(_) => internal(error),
    }
}

pub(super) fn of_request(error: RequestError, session_id: &str) -> Status {
    let session = [("session_id", session_id)];
    match error {
        RequestError::NotFound => status(Code::NotFound, "SESSION_NOT_FOUND", error.to_string(), &session),
        RequestError::Ended => status(Code::FailedPrecondition, "SESSION_ENDED", error.to_string(), &session),
        RequestError::CommandIdReused(_) => {
            status(Code::AlreadyExists, "COMMAND_ID_REUSED", error.to_string(), &session)
        }
        RequestError::Busy(_) => internal(&error),
    }
}

pub(super) fn of_gone(gone: Gone) -> Status {
    status(
        Code::OutOfRange,
        "EVENTS_GONE",
        format!("{gone}; read on from there"),
        &[("oldest_sequence", &gone.oldest.to_string())],
    )
}

/// `field` breaks `rule`.
pub(super) fn of_argument(field: &str, rule: &str) -> Status {
    invalid_argument(field, rule)
}

/// A person must look at it; the caller learns no more than that.
fn internal(error: &dyn std::error::Error) -> Status {
    tracing::error!(error = %chain(error), "request failed");
    status(Code::Internal, "INTERNAL", "a fault in the media node; its log says which", &[])
}

/// An error with its sources.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
