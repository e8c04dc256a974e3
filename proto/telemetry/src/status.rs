//! Errors on the wire: a gRPC code plus a stable reason (`google.rpc.ErrorInfo`), one page each under docs/errors.

use std::collections::HashMap;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// `google.rpc.ErrorInfo.domain` of everything we answer.
pub const DOMAIN: &str = "voicebridge";

/// A status with a reason. `message` is one sentence for a person with a next step, free of secrets and personal data;
/// `metadata` is what a program may want, e.g. `("rule", "no-fingerprint")`.
#[must_use]
pub fn status(code: Code, reason: &str, message: impl Into<String>, metadata: &[(&str, &str)]) -> Status {
    let metadata: HashMap<String, String> =
        metadata.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Status::with_error_details(code, message, ErrorDetails::with_error_info(reason, DOMAIN, metadata))
}

/// An argument that breaks a rule: `INVALID_ARGUMENT` with `field` and `rule` as metadata.
#[must_use]
pub fn invalid_argument(field: &str, rule: &str) -> Status {
    status(Code::InvalidArgument, "INVALID_ARGUMENT", format!("{field} {rule}"), &[("field", field), ("rule", rule)])
}

/// Our reason in a status received; `None` for statuses of other origin, e.g. a broken connection.
#[must_use]
pub fn reason(status: &Status) -> Option<String> {
    info(status).map(|info| info.reason)
}

/// One entry of the metadata that came with our reason.
#[must_use]
pub fn metadata(status: &Status, key: &str) -> Option<String> {
    info(status).and_then(|mut info| info.metadata.remove(key))
}

fn info(status: &Status) -> Option<tonic_types::ErrorInfo> {
    status.get_details_error_info().filter(|info| info.domain == DOMAIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reason_and_metadata_survive_the_wire() {
        let sent = status(Code::InvalidArgument, "SDP_INVALID", "no fingerprint", &[("rule", "no-fingerprint")]);
        let received = Status::with_details(sent.code(), sent.message(), sent.details().to_vec().into());
        assert_eq!(reason(&received).as_deref(), Some("SDP_INVALID"));
        assert_eq!(metadata(&received, "rule").as_deref(), Some("no-fingerprint"));
        assert_eq!(metadata(&received, "other"), None);
    }

    #[test]
    fn statuses_of_others_have_no_reason() {
        assert_eq!(reason(&Status::unavailable("tcp connect error")), None);
        let foreign = ErrorDetails::with_error_info("RATE_LIMITED", "googleapis.com", HashMap::new());
        assert_eq!(reason(&Status::with_error_details(Code::Unavailable, "", foreign)), None);
        assert_eq!(reason(&Status::with_details(Code::Internal, "", vec![0xff, 0x01].into())), None);
    }

    #[test]
    fn an_invalid_argument_names_field_and_rule() {
        let status = invalid_argument("session_id", "must be 1 to 128 bytes");
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(status.message(), "session_id must be 1 to 128 bytes");
        assert_eq!(metadata(&status, "field").as_deref(), Some("session_id"));
    }
}
