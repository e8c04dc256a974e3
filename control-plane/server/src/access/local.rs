//! What stands in for a key while none is configured: the secret of this machine and user that
//! `voicebridge_telemetry::local` keeps in a file.
//!
//! The local key is a key like any other, wherever the request comes from, until there is another: then it is none.

use std::sync::Arc;

use secrecy::ExposeSecret as _;
use voicebridge_telemetry::local::{LocalSecret, StateDir, Unusable};

use super::{
    Scopes,
    authentication::{Expiry, Grant, Principal},
    hash::{Hash, hash},
};
use crate::fault::Fault;

/// The key of this machine and user.
pub(crate) struct LocalKey {
    hash: Hash,
    /// Where it is, for people.
    file: String,
}

impl LocalKey {
    /// Read, or made if this is the first start.
    pub(crate) fn open(state_dir: Option<&StateDir>) -> Result<Self, Unusable> {
        let state_dir = state_dir.ok_or(Unusable::NoFolder("VOICEBRIDGE_API_KEYS"))?;
        let secret = state_dir.read_or_make(LocalSecret::ApiKey)?;
        Ok(Self { hash: hash(secret.expose_secret().as_bytes()), file: state_dir.shown(LocalSecret::ApiKey) })
    }

    pub(crate) fn file(&self) -> &str {
        &self.file
    }

    pub(super) fn is(&self, presented: &Hash) -> bool {
        self.hash == *presented
    }

    /// Whoever presents it may do everything, until there is another key.
    pub(super) fn principal() -> Principal {
        let ends = Expiry { with_first_key: true, ..Expiry::default() };
        Principal { name: Arc::from("local"), scopes: Scopes::ALL, grant: Grant::Key, ends }
    }

    pub(super) fn missing(&self) -> Fault {
        Fault::unauthenticated(format!(
            "there is no key in the request. None is configured, so the local one is wanted, which is in {} on the control \
             plane's machine: send it as `authorization: Bearer <key>` or `x-api-key`; the CLI and the clients of the same \
             user do so by themselves. Or set VOICEBRIDGE_API_KEYS",
            self.file
        ))
    }

    pub(super) fn wrong(&self) -> Fault {
        Fault::unauthenticated(format!(
            "the key is not the local one, nor a read token, and no other key is configured; the local one is in {} on the \
             control plane's machine",
            self.file
        ))
    }

    pub(super) fn over(&self) -> Fault {
        Fault::unauthenticated("the local key counts only while no key is configured, and now there is one; send that")
    }
}
