//! Who may do what: scopes of keys, what each method and path wants, and who asks.
//!
//! The guard (`api/guard.rs`) finds out who asks and lets a request through by [`Policy`]; it leaves an `Authentication` in the
//! request's extensions for handlers whose answer depends on the message itself, e.g. a token for one call only.

mod authentication;
mod hash;
mod keyring;
mod local;
mod policy;
mod tokens;

pub use crate::scope::{Scope, Scopes};
pub(crate) use authentication::{Authentication, Principal};
pub(crate) use hash::hash;
pub(crate) use keyring::{Keyring, TOKEN_KEY};
pub(crate) use local::LocalKey;
pub use policy::{Access, HTTP, Policy, Rule};
