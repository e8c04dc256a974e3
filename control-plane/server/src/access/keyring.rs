//! Finds out whose a key is.
//!
//! Keys are held and looked up as SHA-256 hashes: how long a lookup takes says something about the hash of what was
//! presented, which is of no use to whoever presented it.

use std::{collections::HashMap, sync::Arc};

use secrecy::ExposeSecret as _;
use sha2::{Digest as _, Sha256};

use super::{Principal, Scopes};
use crate::{api::Fault, config::ApiKey};

type Hash = [u8; 32];

fn hash(key: &[u8]) -> Hash {
    Sha256::digest(key).into()
}

/// All keys.
#[derive(Debug)]
pub(crate) struct Keyring {
    settings: HashMap<Hash, Principal>,
}

impl Keyring {
    /// `settings`: those of VOICEBRIDGE_API_KEYS.
    pub(crate) fn new(settings: &[ApiKey]) -> Self {
        let named = (1..).zip(settings).map(|(at, key): (usize, &ApiKey)| {
            let principal = Principal { name: Arc::from(format!("settings-{at}")), scopes: key.scopes };
            (hash(key.secret.expose_secret().as_bytes()), principal)
        });
        Self { settings: named.collect() }
    }

    /// No key anywhere: nobody can show one.
    pub(crate) fn is_empty(&self) -> bool {
        self.settings.is_empty()
    }

    /// Whose key this is.
    pub(crate) fn find(&self, key: &[u8]) -> Result<Principal, Fault> {
        self.settings.get(&hash(key)).cloned().ok_or_else(|| {
            Fault::unauthenticated("the key is none of VOICEBRIDGE_API_KEYS, nor one made by `voicebridge keys create`")
        })
    }

    /// Who asks from this machine while there is no key: may do everything.
    pub(crate) fn local() -> Principal {
        Principal { name: Arc::from("local"), scopes: Scopes::ALL }
    }
}
