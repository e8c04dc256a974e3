//! Errors on the wire: a gRPC code plus a stable reason (`google.rpc.ErrorInfo`), one page each under docs/errors. Where they
//! help, the fields that break a rule (`google.rpc.BadRequest`), and how long to wait before asking again
//! (`google.rpc.RetryInfo`).

use std::{collections::HashMap, time::Duration};

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// `google.rpc.ErrorInfo.domain` of everything we answer.
pub const DOMAIN: &str = "voicebridge.dev";

/// Until a restart is over, or somebody else has given back what all of something share.
const SOON: Duration = Duration::from_secs(1);
/// Until somebody has closed a stream.
const LATER: Duration = Duration::from_secs(5);

/// How long to wait before asking again is worth it; none where waiting alone mends nothing.
#[must_use]
pub fn retry_after(reason: &str) -> Option<Duration> {
    match reason {
        "CONTROL_DRAINING" | "STORE_UNAVAILABLE" | "NO_NODE_AVAILABLE" | "NODE_FULL" | "NODE_DRAINING"
        | "NODE_LOST" | "MEDIA_THREAD_LOST" | "TOO_MANY_BODIES" => Some(SOON),
        "TOO_MANY_SUBSCRIBERS" => Some(LATER),
        _ => None,
    }
}

/// What a status says besides its code and its sentence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// What a program may want of the reason, e.g. `("rule", "no-fingerprint")`.
    pub metadata: HashMap<String, String>,
    /// Fields that break a rule: path, rule.
    pub violations: Vec<(String, String)>,
    /// Asking earlier is not worth it.
    pub retry_after: Option<Duration>,
}

/// A status with a reason. `message` is one sentence for a person with a next step, free of secrets and personal data;
/// `metadata` is what a program may want, e.g. `("rule", "no-fingerprint")`.
#[must_use]
pub fn status(code: Code, reason: &str, message: impl Into<String>, metadata: &[(&str, &str)]) -> Status {
    let metadata = metadata.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    detailed(code, reason, message, Details { metadata, violations: Vec::new(), retry_after: retry_after(reason) })
}

/// The same with everything that can be said.
#[must_use]
pub fn detailed(code: Code, reason: &str, message: impl Into<String>, details: Details) -> Status {
    let Details { metadata, violations, retry_after } = details;
    let mut packed = ErrorDetails::with_error_info(reason, DOMAIN, metadata);
    for (field, rule) in violations {
        packed.add_bad_request_violation(field, rule);
    }
    if retry_after.is_some() {
        packed.set_retry_info(retry_after);
    }
    Status::with_error_details(code, message, packed)
}

/// An argument that breaks a rule: `INVALID_ARGUMENT` with `field` and `rule`, as a violation and as metadata.
#[must_use]
pub fn invalid_argument(field: &str, rule: &str) -> Status {
    let (field, rule) = (field.to_owned(), rule.to_owned());
    let message = format!("{field} {rule}");
    let metadata = [("field", &field), ("rule", &rule)].map(|(key, value)| (key.to_owned(), value.clone())).into();
    let details = Details { metadata, violations: vec![(field, rule)], retry_after: None };
    detailed(Code::InvalidArgument, "INVALID_ARGUMENT", message, details)
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

/// How long to wait at least, whoever says so.
#[must_use]
pub fn retry_delay(status: &Status) -> Option<Duration> {
    status.get_details_retry_info().and_then(|info| info.retry_delay)
}

/// What came with our reason; none of it with one of other origin.
#[must_use]
pub fn details(status: &Status) -> Details {
    let Some(info) = info(status) else { return Details::default() };
    let violations = status.get_details_bad_request().map_or_else(Vec::new, |request| request.field_violations);
    let violations = violations.into_iter().map(|violation| (violation.field, violation.description)).collect();
    Details { metadata: info.metadata, violations, retry_after: retry_delay(status) }
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
        let violation = ("session_id".to_owned(), "must be 1 to 128 bytes".to_owned());
        assert_eq!((details(&status).violations, retry_delay(&status)), (vec![violation], None));
    }

    #[test]
    fn what_passes_by_itself_says_when_to_ask_again_and_what_does_not_says_nothing() {
        let delay = |code, reason| retry_delay(&status(code, reason, "", &[]));
        assert_eq!(delay(Code::Unavailable, "CONTROL_DRAINING"), Some(Duration::from_secs(1)));
        assert_eq!(delay(Code::ResourceExhausted, "TOO_MANY_SUBSCRIBERS"), Some(Duration::from_secs(5)));
        assert_eq!(delay(Code::ResourceExhausted, "TOO_MANY_KEYS"), None, "somebody has to revoke one");
        assert_eq!(delay(Code::Unavailable, "WHATSAPP_NOT_CONFIGURED"), None, "somebody has to configure it");
        let foreign = ErrorDetails::with_retry_info(Some(Duration::from_secs(7)));
        let foreign = Status::with_error_details(Code::Unavailable, "", foreign);
        assert_eq!(retry_delay(&foreign), Some(Duration::from_secs(7)), "also of a proxy");
        assert_eq!(details(&foreign), Details::default());
    }
}
