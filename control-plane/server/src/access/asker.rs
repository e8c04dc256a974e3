//! Who asks, as the guard found out. In the extensions of every request that reaches a handler.

use std::sync::Arc;

use http::Extensions;
use tonic::Code;

use super::{Scope, Scopes};
use crate::api::Fault;

/// Somebody known, or why nobody is.
#[derive(Clone, Debug)]
pub(crate) struct Asker(Result<Principal, Fault>);

/// Somebody known, and what they may do.
#[derive(Clone, Debug)]
pub(crate) struct Principal {
    /// For the log: an id, no secret.
    pub(crate) name: Arc<str>,
    pub(crate) scopes: Scopes,
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
}

impl Asker {
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

    /// Who it is, if they may do this. For handlers that want more than their method or path does.
    pub(crate) fn may(&self, scope: Scope) -> Result<&Principal, Fault> {
        let principal = self.0.as_ref().map_err(Clone::clone)?;
        principal.has(scope)?;
        Ok(principal)
    }
}
