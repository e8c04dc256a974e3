//! Arguments that several methods have, checked once.

use voicebridge_core::{identity::CallName, termination::reason};

use super::Fault;

/// Longest id of a business number, bytes; by contract.
pub(super) const MAX_NUMBER_ID_BYTES: usize = 64;
/// Longest reason an API caller may record.
const MAX_REASON_BYTES: usize = 64;

/// A call by whichever id.
pub(super) fn call_name(text: &str) -> Result<CallName, Fault> {
    CallName::parse(text).map_err(|error| Fault::invalid("call_id", &error.to_string()))
}

/// Meta's id of a business number. Part of a URL of Graph's.
pub(super) fn number_id(field: &str, text: String) -> Result<String, Fault> {
    match text.len() <= MAX_NUMBER_ID_BYTES && text.bytes().all(|b| b.is_ascii_alphanumeric()) {
        true => Ok(text),
        false => Err(Fault::invalid(field, "must be at most 64 letters and digits")),
    }
}

/// Reasons are stable words, also those of API callers.
pub(super) fn end_reason(text: String) -> Result<String, Fault> {
    let word = |text: &str| {
        text.len() <= MAX_REASON_BYTES
            && text.starts_with(|c: char| c.is_ascii_uppercase())
            && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
    };
    match text.as_str() {
        "" => Ok(reason::API_HANGUP.to_owned()),
        given if word(given) => Ok(text),
        _ => Err(Fault::invalid("reason", "must be upper-case letters, digits and _, at most 64")),
    }
}
