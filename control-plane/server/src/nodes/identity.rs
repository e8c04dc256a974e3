//! What a node proves to be itself with: a secret it makes at random when it starts and tells nobody else. Of it we keep a
//! hash, for as long as the node is known and a while longer.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// How long the id of a node that fell silent stays its own. It may come back, cut off as it was.
const KEPT: Duration = Duration::from_secs(10 * 60);
/// Ids kept; of more the one that would be free first is free now.
const MOST_KEPT: usize = 1_024;

/// SHA-256 of a node's secret.
#[derive(Clone, Copy, Debug)]
pub struct SecretHash([u8; 32]);

impl SecretHash {
    /// Of a secret.
    #[must_use]
    pub fn of(secret: &[u8]) -> Self {
        Self(Sha256::digest(secret).into())
    }

    /// One that a node says of itself; none when it is no SHA-256, as from a node too old to say.
    pub(super) fn read(hash: &[u8]) -> Option<Self> {
        hash.try_into().ok().map(Self)
    }
}

impl PartialEq for SecretHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for SecretHash {}

/// The id is another node's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the id belongs to another node")]
pub struct IdTaken;

/// Ids of nodes that are not known any more and may come back.
#[derive(Debug, Default)]
pub(super) struct Kept(BTreeMap<String, (SecretHash, Instant)>);

impl Kept {
    /// Whether a node with this secret may have the id.
    pub(super) fn check(&self, id: &str, secret: &SecretHash, now: Instant) -> Result<(), IdTaken> {
        match self.owner(id, now) {
            Some(owner) if owner != *secret => Err(IdTaken),
            _ => Ok(()),
        }
    }

    pub(super) fn keep(&mut self, id: String, secret: SecretHash, now: Instant) {
        self.0.retain(|_, (_, until)| now < *until);
        self.0.insert(id, (secret, now + KEPT));
        if self.0.len() > MOST_KEPT {
            let first = self.0.iter().min_by_key(|(_, (_, until))| *until).map(|(id, _)| id.clone());
            first.and_then(|id| self.0.remove(&id));
        }
    }

    /// Whose the id is.
    pub(super) fn owner(&self, id: &str, now: Instant) -> Option<SecretHash> {
        self.0.get(id).filter(|(_, until)| now < *until).map(|(owner, _)| *owner)
    }

    pub(super) fn free(&mut self, id: &str) {
        self.0.remove(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_kept_for_its_node_and_then_free() {
        let (start, owner, other) = (Instant::now(), SecretHash::of(b"one"), SecretHash::of(b"two"));
        let mut kept = Kept::default();
        kept.keep("a".to_owned(), owner, start);
        assert_eq!(kept.check("a", &owner, start), Ok(()));
        assert_eq!(kept.check("a", &other, start + KEPT - Duration::from_millis(1)), Err(IdTaken));
        assert_eq!(kept.check("a", &other, start + KEPT), Ok(()));
        assert_eq!(kept.check("b", &other, start), Ok(()));
        kept.free("a");
        assert_eq!(kept.check("a", &other, start), Ok(()));
    }

    #[test]
    fn no_more_ids_are_kept_than_the_bound() {
        let (start, owner, other) = (Instant::now(), SecretHash::of(b"one"), SecretHash::of(b"two"));
        let mut kept = Kept::default();
        for at in 0..=MOST_KEPT {
            kept.keep(format!("n{at}"), owner, start + Duration::from_millis(at as u64));
        }
        let now = start + Duration::from_secs(2);
        assert_eq!(kept.check("n0", &other, now), Ok(()), "the oldest went");
        assert_eq!(kept.check("n1", &other, now), Err(IdTaken));
        assert_eq!(kept.check(&format!("n{MOST_KEPT}"), &other, now), Err(IdTaken));
    }
}
