//! What a node proves to be itself with, made anew by every process: the control plane binds the node's id to it.

use std::fmt;

use secrecy::{ExposeSecret as _, SecretBox};
use sha2::{Digest as _, Sha256};

/// Bytes of it.
const BYTES: usize = 32;

/// The secret. Only the registration says it.
pub(crate) struct NodeSecret(SecretBox<[u8; BYTES]>);

impl NodeSecret {
    /// `random` must be.
    pub(crate) fn new(random: [u8; BYTES]) -> Self {
        Self(SecretBox::new(Box::new(random)))
    }

    /// As registered.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        self.0.expose_secret().to_vec()
    }

    /// For whoever knows it already.
    pub(crate) fn sha256(&self) -> Vec<u8> {
        Sha256::digest(self.0.expose_secret()).to_vec()
    }
}

impl fmt::Debug for NodeSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodeSecret(..)")
    }
}
