//! What settings are made of, and what may be wrong with them.

use std::fmt;

use secrecy::{SecretSlice, SecretString};

use crate::scope::Scopes;

/// Port when neither `PORT` nor `VOICEBRIDGE_LISTEN` is set.
pub const DEFAULT_PORT: u16 = 3100;

/// Meta's values. All four or none: see [`Config::whatsapp`].
#[derive(Clone, Debug)]
pub struct WhatsApp {
    /// Bearer token for Graph.
    pub access_token: SecretString,
    /// Whose calls are answered.
    pub phone_number_id: String,
    /// Key of the webhook's signature.
    pub app_secret: SecretString,
    /// Word of the webhook's verification.
    pub verify_token: SecretString,
}

/// What Graph needs for calls whose signalling somebody else holds.
#[derive(Clone, Debug)]
pub struct GraphAccess {
    /// Bearer token for Graph.
    pub access_token: SecretString,
    /// For calls that name no number themselves.
    pub phone_number_id: Option<String>,
}

/// Whom to tell when there is no token.
#[derive(Clone, Debug)]
pub struct CallbackTarget {
    /// POSTed to.
    pub url: String,
    /// Key of the signature.
    pub key: SecretSlice<u8>,
}

/// Which browsers may call the API from a page of another origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// Pages served from this machine, any port.
    Local,
    /// Any page. Sensible only with API keys.
    Any,
    /// These, as `scheme://host[:port]`.
    Listed(Vec<String>),
}

/// Where the database is; may hold a password.
#[derive(Clone)]
pub struct DatabaseUrl(String);

impl From<String> for DatabaseUrl {
    fn from(url: String) -> Self {
        Self(url)
    }
}

impl std::ops::Deref for DatabaseUrl {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.0.split(':').next().unwrap_or_default();
        write!(f, "{scheme}:...")
    }
}

/// A key of the settings, with what it may do.
#[derive(Clone, Debug)]
pub struct ApiKey {
    /// As it is sent.
    pub secret: SecretString,
    /// At least one.
    pub scopes: Scopes,
}

/// One that may do everything.
impl From<&str> for ApiKey {
    fn from(secret: &str) -> Self {
        Self { secret: SecretString::from(secret), scopes: Scopes::ALL }
    }
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The variable to change.
    pub variable: &'static str,
    /// The rule it breaks. Never holds a secret.
    pub rule: String,
}

/// All mistakes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the control plane's configuration has {} mistake(s):", self.0.len())?;
        for error in &self.0 {
            write!(f, "\n  {}: {}", error.variable, error.rule)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}
