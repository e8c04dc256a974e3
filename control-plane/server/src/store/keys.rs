//! API keys. They are known here by their hashes only.

use async_trait::async_trait;

use super::StoreError;
use crate::scope::{Scope, Scopes};

/// A key at the moment it is made.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// Its name in lists and logs.
    pub key_id: String,
    /// SHA-256 of the key.
    pub hash: [u8; 32],
    /// What it is for.
    pub name: String,
    /// At least one.
    pub scopes: Scopes,
    /// Now.
    pub created_at_ms: i64,
    /// `None`: never.
    pub expires_at_ms: Option<i64>,
}

impl NewKey {
    /// As it will be stored.
    #[must_use]
    pub fn into_row(self) -> KeyRow {
        KeyRow {
            key_id: self.key_id,
            hash: self.hash,
            name: self.name,
            scopes: self.scopes,
            created_at_ms: self.created_at_ms,
            expires_at_ms: self.expires_at_ms,
            revoked_at_ms: None,
            last_used_at_ms: None,
        }
    }
}

/// A key as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRow {
    /// Its name in lists and logs.
    pub key_id: String,
    /// SHA-256 of the key.
    pub hash: [u8; 32],
    /// What it is for.
    pub name: String,
    /// At least one.
    pub scopes: Scopes,
    /// When it was made.
    pub created_at_ms: i64,
    /// `None`: never.
    pub expires_at_ms: Option<i64>,
    /// `None`: it works, unless it has expired.
    pub revoked_at_ms: Option<i64>,
    /// `None`: never.
    pub last_used_at_ms: Option<i64>,
}

impl KeyRow {
    /// Neither revoked nor expired.
    #[must_use]
    pub fn works(&self, now_ms: i64) -> bool {
        self.revoked_at_ms.is_none() && self.expires_at_ms.is_none_or(|expiry| now_ms < expiry)
    }

    pub(super) fn is_working_admin(&self, now_ms: i64) -> bool {
        self.works(now_ms) && self.scopes.allow(Scope::Admin)
    }
}

/// The keys of the settings, which the store does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settings {
    /// There are none.
    NoKey,
    /// None of them has scope `admin`.
    NoAdmin,
    /// One of them has.
    Admin,
}

/// What became of the wish to make a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Creation {
    /// It is there.
    Created,
    /// It would be the only key, and could not make others.
    FirstNeedsAdmin,
    /// There are as many as may be, all of them working.
    TooMany,
}

/// What became of the wish to revoke a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revocation {
    /// It is revoked, now or from before.
    Revoked(KeyRow),
    /// Nobody could make another key afterwards.
    LastAdmin,
    /// There is no such key.
    Unknown,
}

/// The keys. All methods are atomic; none retries.
#[async_trait]
pub trait KeyStore: Send + Sync + 'static {
    /// Stores a key. At `most` rows, the oldest key that works no more makes room.
    async fn create_key(&self, key: &NewKey, settings: Settings, most: u32) -> Result<Creation, StoreError>;

    /// All of them, oldest first.
    async fn keys(&self) -> Result<Vec<KeyRow>, StoreError>;

    /// Revokes a key; the first time stands.
    async fn revoke_key(&self, key_id: &str, now_ms: i64, settings: Settings) -> Result<Revocation, StoreError>;

    /// Notes when keys were last used. Unknown ones are passed over.
    async fn note_use(&self, uses: &[(String, i64)]) -> Result<(), StoreError>;
}
