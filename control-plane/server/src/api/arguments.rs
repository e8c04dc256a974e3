//! Arguments that several methods have, checked once.

use std::collections::BTreeMap;

use uuid::Uuid;
use voicebridge_core::{call_life::EndReason, identity::CallName, labels::Labels};

use super::Fault;
use crate::convert;

/// Longest id of a business number, bytes; by contract.
pub(super) const MAX_NUMBER_ID_BYTES: usize = 64;
/// Longest id of a command, bytes; by contract.
const MAX_COMMAND_ID_BYTES: usize = 64;

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

/// What is noted on a call.
pub(super) fn labels(field: &str, given: BTreeMap<String, String>) -> Result<Labels, Fault> {
    Labels::parse(given).map_err(|error| Fault::invalid(field, &error.to_string()))
}

/// The id of a command, one of our own where none is given.
pub(super) fn command_id(given: String) -> Result<String, Fault> {
    let is_word = given.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    match given.len() {
        0 => Ok(Uuid::now_v7().to_string()),
        1..=MAX_COMMAND_ID_BYTES if is_word => Ok(given),
        _ => Err(Fault::invalid("command_id", "must be at most 64 of A-Z, a-z, 0-9, - and _")),
    }
}

/// `reason`: of the contract's `EndReason`.
pub(super) fn end_reason(reason: i32) -> Result<EndReason, Fault> {
    convert::end_reason_from_wire(reason).ok_or_else(|| Fault::invalid("reason", "must be one of EndReason"))
}
