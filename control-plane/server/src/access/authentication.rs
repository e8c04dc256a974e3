//! Who asks, as the guard found out. In the extensions of every request that reaches a handler.

use std::sync::Arc;

use http::Extensions;
use tonic::Code;
use voicebridge_core::identity::CallId;

use super::{Scope, Scopes, hash::Hash};
use crate::fault::Fault;

/// Somebody known, or why nobody is.
#[derive(Clone, Debug)]
pub(crate) struct Authentication(Result<Principal, Fault>);

/// Which calls somebody may read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Grant {
    /// Those their scopes let them; they came with a key.
    Key,
    /// All; they came with a read token.
    TokenForAll,
    /// This one; they came with a read token for it.
    TokenForOne(String),
}

/// What ends somebody's right before the request has ended.
#[derive(Clone, Debug, Default)]
pub(crate) struct Expiry {
    /// The row of the key, which may be revoked.
    pub(crate) key: Option<Hash>,
    /// The local key, until there is another.
    pub(crate) with_first_key: bool,
    pub(crate) at_ms: Option<i64>,
}

/// Somebody known, and what they may do.
#[derive(Clone, Debug)]
pub(crate) struct Principal {
    /// For the log: an id, no secret.
    pub(crate) name: Arc<str>,
    pub(crate) scopes: Scopes,
    pub(crate) grant: Grant,
    pub(crate) ends: Expiry,
}

fn limited(message: &str) -> Fault {
    Fault::new(Code::PermissionDenied, "READ_TOKEN_LIMITED", message)
}

impl Principal {
    /// `PERMISSION_DENIED` unless they have the scope.
    pub(crate) fn has(&self, scope: Scope) -> Result<(), Fault> {
        if self.scopes.allow(scope) {
            return Ok(());
        }
        let word = scope.word();
        let message = format!("This needs a key with scope {word}; the one sent has not got it.");
        Err(Fault::new(Code::PermissionDenied, "SCOPE_MISSING", message).with("scope", word))
    }

    /// `PERMISSION_DENIED` for a read token that is for another call. `None`: all calls, or one that is not known.
    pub(crate) fn may_read(&self, call_id: Option<&CallId>) -> Result<(), Fault> {
        match &self.grant {
            Grant::TokenForOne(only) if call_id.is_none_or(|asked| asked.as_str() != only) => {
                Err(limited("The read token is for another call; have one made for this call, or for all."))
            }
            _ => Ok(()),
        }
    }

    /// `PERMISSION_DENIED` for a read token that is for one call.
    pub(crate) fn is_for_all_calls(&self) -> Result<(), Fault> {
        match self.grant {
            Grant::TokenForOne(_) => Err(limited("The read token is for one call, and this is about others too.")),
            _ => Ok(()),
        }
    }

    /// `PERMISSION_DENIED` for any read token: they would live for ever if they could make others.
    pub(crate) fn has_a_key(&self) -> Result<(), Fault> {
        match self.grant {
            Grant::Key => Ok(()),
            _ => Err(limited("A read token cannot make another; that needs a key.")),
        }
    }
}

impl Authentication {
    pub(crate) const fn new(found: Result<Principal, Fault>) -> Self {
        Self(found)
    }

    /// Of a request that came through the guard. Anything else is nobody.
    pub(crate) fn of(extensions: &Extensions) -> Self {
        extensions.get::<Self>().cloned().unwrap_or_else(|| {
            tracing::error!("a request reached its handler without having passed the guard");
            Self(Err(Fault::new(Code::Internal, "INTERNAL", "The request was not checked; the log says more.")))
        })
    }

    /// Who it is, if anybody.
    pub(crate) fn principal(&self) -> Result<&Principal, Fault> {
        self.0.as_ref().map_err(Clone::clone)
    }

    /// Who it is, if they may do this. For handlers that want more than their method or path does.
    pub(crate) fn may(&self, scope: Scope) -> Result<&Principal, Fault> {
        let principal = self.principal()?;
        principal.has(scope)?;
        Ok(principal)
    }
}
