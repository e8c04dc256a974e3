//! Where a stream goes on: a position, for one call or for all, sealed with a key of the database.
//!
//! The seal makes a cursor worthless elsewhere: with another database, for another call, after somebody changed it. It
//! hides nothing: a position is a number.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::store::KEY_BYTES;

/// Longest cursor that is looked at; by contract.
pub(crate) const MAX_CURSOR_BYTES: usize = 256;
/// Name of the database's key for cursors.
pub(crate) const CURSOR_KEY: &str = "cursor";
/// First byte; another layout gets another one.
const VERSION: u8 = 1;
const POSITION_BYTES: usize = 8;
/// Of the seal, HMAC-SHA256 cut: RFC 2104, section 5, wants at least half.
const SEAL_BYTES: usize = 16;
const CURSOR_BYTES: usize = 1 + POSITION_BYTES + SEAL_BYTES;

/// Writes and reads cursors of one database.
#[derive(Clone)]
pub(crate) struct Cursors {
    keyed: Hmac<Sha256>,
}

impl std::fmt::Debug for Cursors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cursors").finish_non_exhaustive()
    }
}

impl Cursors {
    pub(crate) fn new(key: &[u8; KEY_BYTES]) -> Self {
        Self { keyed: Hmac::new_from_slice(key).expect("HMAC takes keys of any length") }
    }

    fn seal(&self, of: Option<&str>, body: &[u8]) -> Hmac<Sha256> {
        let mut seal = self.keyed.clone();
        seal.update(body);
        // No call id is empty.
        seal.update(of.unwrap_or_default().as_bytes());
        seal
    }

    /// Everything up to this position is covered, of one call by its id, or of all.
    pub(crate) fn write(&self, of: Option<&str>, position: u64) -> String {
        let mut bytes = Vec::with_capacity(CURSOR_BYTES);
        bytes.push(VERSION);
        bytes.extend(position.to_be_bytes());
        let seal = self.seal(of, &bytes).finalize().into_bytes();
        bytes.extend(&seal[..SEAL_BYTES]);
        base64_simd::URL_SAFE_NO_PAD.encode_to_string(bytes)
    }

    /// `None`: not written here, or for something else.
    pub(crate) fn read(&self, of: Option<&str>, text: &str) -> Option<u64> {
        if text.len() > MAX_CURSOR_BYTES {
            return None;
        }
        let bytes = base64_simd::URL_SAFE_NO_PAD.decode_to_vec(text.as_bytes()).ok()?;
        let bytes: &[u8; CURSOR_BYTES] = bytes.as_slice().try_into().ok()?;
        let (body, seal) = bytes.split_at(1 + POSITION_BYTES);
        self.seal(of, body).verify_truncated_left(seal).ok()?;
        let (version, position) = body.split_first()?;
        (*version == VERSION).then_some(())?;
        Some(u64::from_be_bytes(position.try_into().ok()?))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_cursor_is_read_where_and_for_what_it_was_written() {
        let (ours, other) = (Cursors::new(&[1; KEY_BYTES]), Cursors::new(&[2; KEY_BYTES]));
        for call_id in [None, Some("a")] {
            for position in [0, 1, 4_711, u64::MAX] {
                let cursor = ours.write(call_id, position);
                assert!(cursor.len() <= 64 && cursor.is_ascii(), "{cursor}");
                assert_eq!(ours.read(call_id, &cursor), Some(position));
                assert_eq!(ours.read(Some("b"), &cursor), None, "another call's");
                assert_eq!(other.read(call_id, &cursor), None, "another database's");
            }
        }
        assert_eq!(ours.read(Some("a"), &ours.write(None, 7)), None);
        assert_eq!(ours.read(None, &ours.write(Some("a"), 7)), None);
    }

    #[test]
    fn whoever_changes_a_cursor_has_none() {
        let ours = Cursors::new(&[1; KEY_BYTES]);
        let cursor = ours.write(None, 300);
        let bytes = base64_simd::URL_SAFE_NO_PAD.decode_to_vec(cursor.as_bytes()).unwrap();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                let text = base64_simd::URL_SAFE_NO_PAD.encode_to_string(changed);
                assert_eq!(ours.read(None, &text), None, "byte {at} bit {bit}");
            }
        }
        let long = "A".repeat(10_000);
        for text in ["", "=", "300", "%%%", &cursor[1..], &cursor[..cursor.len() - 1], &format!("{cursor}A"), &long] {
            assert_eq!(ours.read(None, text), None, "{text}");
        }
    }
}
