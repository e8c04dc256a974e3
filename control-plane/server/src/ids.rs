//! Makes ids of calls: UUIDs of version 7 (RFC 9562, section 5.7), short, ordered about as calls come, and about nobody.

use uuid::Builder;
use voicebridge_core::identity::CallId;

/// Of a call that is claimed now.
pub(crate) fn call_id(now_ms: i64, random: [u8; 10]) -> CallId {
    let uuid = Builder::from_unix_timestamp_millis(u64::try_from(now_ms).unwrap_or(0), &random).into_uuid();
    CallId::parse(&uuid.hyphenated().to_string()).expect("a UUID is a call's id")
}

/// The same for the same name, for tests.
#[cfg(test)]
pub(crate) fn example(name: &str) -> CallId {
    use sha2::{Digest as _, Sha256};
    let hash = Sha256::digest(name);
    call_id(0, std::array::from_fn(|at| hash[at]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_holds_its_time_and_what_was_drawn() {
        let id = call_id(1_790_000_000_000, [0xff; 10]);
        assert_eq!(id.as_str(), "01a0c450-6c00-7fff-bfff-ffffffffffff");
        assert_eq!(call_id(-1, [0; 10]).as_str(), "00000000-0000-7000-8000-000000000000");
        assert!(call_id(1_000, [0xff; 10]) < call_id(1_001, [0; 10]));
        assert_ne!(example("a"), example("b"));
    }
}
