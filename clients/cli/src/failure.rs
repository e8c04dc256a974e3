//! How a failure reads: what happened, and what to do next.

use std::io;

use tonic::Code;
use voicebridge_telemetry::status;

use crate::print::{ERROR, errln};

/// Nobody answers at the control plane's address.
#[derive(Debug, thiserror::Error)]
#[error(
    "no control plane answers at {url} ({cause}); `voicebridge serve` starts one here, VOICEBRIDGE_URL names another"
)]
pub(crate) struct Unreachable {
    pub(crate) url: String,
    pub(crate) cause: String,
}

/// What the control plane answered instead of doing what was asked.
pub(crate) fn refused(status: &tonic::Status) -> anyhow::Error {
    let Some(reason) = status::reason(status) else {
        return match status.code() {
            Code::Unavailable => anyhow::anyhow!("the connection to the control plane broke: {}", status.message()),
            code => anyhow::anyhow!("the control plane answered {code:?}: {}", status.message()),
        };
    };
    let message = status.message();
    let next = match reason.as_str() {
        "UNAUTHENTICATED" => "; VOICEBRIDGE_API_KEY is where a key goes",
        "KEY_EXPIRED" | "KEY_REVOKED" => "; VOICEBRIDGE_API_KEY is where the new one goes",
        "CALL_NOT_FOUND" => "; `voicebridge calls` lists those it knows",
        _ => "",
    };
    anyhow::anyhow!("{message}{next} ({reason}, see docs/errors/{reason}.md)")
}

/// Whether the reader of our output has gone.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Says it on standard error.
pub(crate) fn report(error: &anyhow::Error) {
    errln(&format!("{ERROR}error:{ERROR:#} {error:#}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_its_page_and_a_next_step() {
        let status = status::status(Code::Unauthenticated, "UNAUTHENTICATED", "no bearer token", &[]);
        let text = refused(&status).to_string();
        assert!(text.contains("VOICEBRIDGE_API_KEY") && text.contains("docs/errors/UNAUTHENTICATED.md"), "{text}");
    }

    #[test]
    fn a_closed_pipe_is_told_from_other_failures() {
        assert!(is_broken_pipe(&io::Error::from(io::ErrorKind::BrokenPipe).into()));
        assert!(!is_broken_pipe(&io::Error::from(io::ErrorKind::NotFound).into()));
        assert!(!is_broken_pipe(&anyhow::anyhow!("broken pipe")));
    }
}
