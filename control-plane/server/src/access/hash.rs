//! How keys are held and looked up.

use sha2::{Digest as _, Sha256};

/// SHA-256 of a key.
pub(crate) type Hash = [u8; 32];

pub(crate) fn hash(key: &[u8]) -> Hash {
    Sha256::digest(key).into()
}
