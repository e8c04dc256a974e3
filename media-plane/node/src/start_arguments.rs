//! What a session was started with, to tell a request that is repeated from one that asks for something else under its id.
//!
//! Hashes only: an offer has ICE credentials in it, an agent what is personal.

use sha2::{Digest as _, Sha256};

/// The arguments of a start, each by its name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StartArguments(Vec<(&'static str, [u8; 32])>);

impl StartArguments {
    /// Of fields and what is in them, always in the same order.
    pub(crate) fn new<const N: usize>(fields: [(&'static str, Vec<u8>); N]) -> Self {
        Self(fields.into_iter().map(|(name, content)| (name, Sha256::digest(content).into())).collect())
    }

    /// The first field that is another one there.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Option<&'static str> {
        let mut pairs = self.0.iter().zip(&other.0);
        pairs.find_map(|((name, ours), (_, theirs))| (ours != theirs).then_some(*name))
    }
}
