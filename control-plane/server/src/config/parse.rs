//! One function per kind of setting: takes the text, returns a usable value, and notes what is wrong with it.

use std::{
    net::{Ipv4Addr, SocketAddr},
    ops::RangeInclusive,
    path::PathBuf,
    time::Duration,
};

use http::Uri;
use secrecy::SecretString;
use voicebridge_core::placement::Rules;
use voicebridge_telemetry::{
    local::{STATE_DIR, StateDir},
    secret,
};

use super::values::{
    ApiKey, CallbackTarget, ConfigError, ConfigErrors, DEFAULT_PORT, DatabaseUrl, GraphAccess, Origins, WhatsApp,
};
use crate::{
    nodes::NodeAddresses,
    scope::{Scope, Scopes},
    store::{POSTGRES, SQLITE},
};

pub(super) const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Prefix of a secret that signs callbacks, by the Standard Webhooks convention.
const SECRET_PREFIX: &str = "whsec_";
/// Lengths of its key, by the same.
const CALLBACK_KEY_BYTES: RangeInclusive<usize> = 24..=64;

/// What is wrong so far. A wrong value is replaced by something harmless, so that the others are checked too.
#[derive(Debug, Default)]
pub(super) struct Errors(Vec<ConfigError>);

/// Trimmed; empty counts as unset.
fn text(value: Option<String>) -> Option<String> {
    value.map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
}

/// What there is of it; [`Errors::whatsapp`] says what is wrong with it.
pub(super) fn graph_access(access_token: &Option<String>, phone_number_id: &Option<String>) -> Option<GraphAccess> {
    let access_token = text(access_token.clone())?;
    Some(GraphAccess { access_token: access_token.into(), phone_number_id: text(phone_number_id.clone()) })
}

impl Errors {
    fn add(&mut self, variable: &'static str, rule: impl Into<String>) {
        self.0.push(ConfigError { variable, rule: rule.into() });
    }

    pub(super) fn finish<Config>(self, config: Config) -> Result<Config, ConfigErrors> {
        if self.0.is_empty() { Ok(config) } else { Err(ConfigErrors(self.0)) }
    }

    /// The port alone comes from hosting platforms; the address then stays.
    pub(super) fn listen(&mut self, listen: Option<String>, port: Option<String>) -> SocketAddr {
        let mut address = match text(listen) {
            Some(listen) => listen.parse().unwrap_or_else(|_| {
                self.add(
                    "VOICEBRIDGE_LISTEN",
                    format!("is {listen:?}; it must be an address and a port, e.g. 0.0.0.0:3100"),
                );
                SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
            }),
            None => SocketAddr::from((Ipv4Addr::UNSPECIFIED, DEFAULT_PORT)),
        };
        if let Some(port) = text(port) {
            match port.parse::<u16>() {
                Ok(port) => address.set_port(port),
                Err(_) => self.add("PORT", format!("is {port:?}; it must be a whole number from 0 to 65535")),
            }
        }
        address
    }

    pub(super) fn whatsapp(
        &mut self,
        access_token: Option<String>,
        phone_number_id: Option<String>,
        app_secret: Option<String>,
        verify_token: Option<String>,
    ) -> Result<WhatsApp, Vec<&'static str>> {
        let access_token = self.secret("WHATSAPP_ACCESS_TOKEN", access_token);
        let phone_number_id = text(phone_number_id);
        match phone_number_id.as_deref().map(|id| (secret::unquoted(id), id)) {
            Some((Err(rule), _)) => self.add("WHATSAPP_PHONE_NUMBER_ID", rule),
            Some((Ok(()), id)) if !id.bytes().all(|b| b.is_ascii_alphanumeric()) => self.add(
                "WHATSAPP_PHONE_NUMBER_ID",
                "must be letters and digits only: Meta's id of the number, not the number",
            ),
            _ => {}
        }
        let app_secret = self.secret("WHATSAPP_APP_SECRET", app_secret);
        let verify_token = self.secret("WHATSAPP_VERIFY_TOKEN", verify_token);
        let mut missing = Vec::new();
        let mut note = |name, present: bool| {
            if !present {
                missing.push(name);
            }
        };
        note("WHATSAPP_ACCESS_TOKEN", access_token.is_some());
        note("WHATSAPP_PHONE_NUMBER_ID", phone_number_id.is_some());
        note("WHATSAPP_APP_SECRET", app_secret.is_some());
        note("WHATSAPP_VERIFY_TOKEN", verify_token.is_some());
        match (access_token, phone_number_id, app_secret, verify_token) {
            (Some(access_token), Some(phone_number_id), Some(app_secret), Some(verify_token)) => {
                Ok(WhatsApp { access_token, phone_number_id, app_secret, verify_token })
            }
            _ => Err(missing),
        }
    }

    /// Both or none.
    pub(super) fn callback(&mut self, url: Option<String>, secret: Option<String>) -> Option<CallbackTarget> {
        const URL: &str = "VOICEBRIDGE_CALLBACK_URL";
        const SECRET: &str = "VOICEBRIDGE_CALLBACK_SECRET";
        let (url, secret) = match (text(url), text(secret)) {
            (Some(url), Some(secret)) => (url, secret),
            (None, None) => return None,
            (Some(_), None) => {
                self.add(
                    SECRET,
                    "must be set with VOICEBRIDGE_CALLBACK_URL: whoever is told must be able to check by whom",
                );
                return None;
            }
            (None, Some(_)) => {
                self.add(URL, "must be set with VOICEBRIDGE_CALLBACK_SECRET, or neither");
                return None;
            }
        };
        if let Err(rule) = secret::unquoted(&url) {
            self.add(URL, rule);
            return None;
        }
        if let Err(rule) = secret::check(&secret) {
            self.add(SECRET, rule);
            return None;
        }
        let usable = url.parse::<Uri>().is_ok_and(|uri| {
            let plain = uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
            matches!(uri.scheme_str(), Some("http" | "https")) && plain
        });
        if !usable {
            // It may hold a password.
            self.add(URL, "must be a URL with http:// or https:// and no user");
        }
        let key = secret
            .strip_prefix(SECRET_PREFIX)
            .and_then(|key| base64_simd::STANDARD.decode_to_vec(key.as_bytes()).ok())
            .filter(|key| CALLBACK_KEY_BYTES.contains(&key.len()));
        let Some(key) = key else {
            self.add(SECRET, "must be whsec_ and 24 to 64 bytes in base64, e.g. whsec_$(openssl rand -base64 32)");
            return None;
        };
        Some(CallbackTarget { url, key: key.into() })
    }

    /// Goes into an HTTP header or a comparison. The message never shows it.
    pub(super) fn secret(&mut self, variable: &'static str, value: Option<String>) -> Option<SecretString> {
        let value = text(value)?;
        if let Err(rule) = secret::check(&value) {
            self.add(variable, rule);
        }
        Some(SecretString::from(value))
    }

    /// A relative path would be another folder to each program that looks for it.
    pub(super) fn state_dir(&mut self, value: Option<String>) -> Option<StateDir> {
        let Some(path) = text(value).map(PathBuf::from) else { return StateDir::by_default() };
        if !path.is_absolute() {
            self.add(STATE_DIR, format!("is {:?}; it must be an absolute path", path.display().to_string()));
        }
        Some(StateDir::at(path))
    }

    /// `key` or `key=scope+scope`. What follows the last `=` is scopes, unless nothing does: keys in base64 may end in `=`.
    pub(super) fn keys(&mut self, variable: &'static str, value: Option<String>) -> Vec<ApiKey> {
        let Some(value) = text(value) else { return Vec::new() };
        let mut keys = Vec::new();
        for (at, entry) in (1..).zip(value.split(',').filter_map(|entry| text(Some(entry.to_owned())))) {
            let (key, scopes) = match entry.rsplit_once('=') {
                Some((key, words)) if !words.is_empty() => (key.to_owned(), Scopes::parse(words)),
                _ => (entry, Some(Scopes::ALL)),
            };
            // The words may be a piece of a key: not shown.
            let Some(scopes) = scopes else {
                self.add(
                    variable,
                    format!(
                        "entry {at} has something else than scopes after its last =; scopes are {}, joined by +",
                        Scope::ALL.map(Scope::word).join(", ")
                    ),
                );
                continue;
            };
            match self.secret(variable, Some(key)) {
                Some(secret) => keys.push(ApiKey { secret, scopes }),
                None => self.add(variable, format!("entry {at} has scopes but no key before its =")),
            }
        }
        keys
    }

    pub(super) fn http_url(&mut self, variable: &'static str, value: Option<String>, default: &str) -> String {
        let url = text(value).unwrap_or_else(|| default.to_owned());
        let url = url.trim_end_matches('/').to_owned();
        let usable = url.parse::<Uri>().is_ok_and(|uri| {
            matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some() && uri.query().is_none()
        });
        if !usable {
            self.add(variable, format!("is {url:?}; it must be a URL with http:// or https:// and no query"));
        }
        url
    }

    pub(super) fn database(&mut self, variable: &'static str, value: Option<String>, default: &str) -> DatabaseUrl {
        let url = text(value).unwrap_or_else(|| default.to_owned());
        // The URL may hold a password.
        if let Err(rule) = secret::unquoted(&url) {
            self.add(variable, rule);
        } else if ![SQLITE].iter().chain(&POSTGRES).any(|scheme| url.starts_with(scheme)) {
            self.add(
                variable,
                "must begin with sqlite:// (e.g. sqlite://voicebridge.db) or postgres:// (e.g. \
                 postgres://user:password@host/database?sslmode=verify-full&sslrootcert=/path/ca.pem)",
            );
        }
        url.into()
    }

    pub(super) fn origins(&mut self, variable: &'static str, value: Option<String>) -> Origins {
        let Some(value) = text(value) else { return Origins::Local };
        if value == "*" {
            return Origins::Any;
        }
        let origins: Vec<String> =
            value.split(',').map(|origin| origin.trim().trim_end_matches('/').to_owned()).collect();
        for origin in &origins {
            let usable = origin.parse::<Uri>().is_ok_and(|uri| {
                matches!(uri.scheme_str(), Some("http" | "https"))
                    && uri.host().is_some()
                    && matches!(uri.path(), "" | "/")
                    && uri.query().is_none()
            });
            if !usable {
                self.add(variable, format!("holds {origin:?}; an origin is scheme://host[:port], or * for any"));
            }
        }
        Origins::Listed(origins)
    }

    pub(super) fn node_addresses(&mut self, variable: &'static str, value: Option<String>) -> NodeAddresses {
        NodeAddresses::parse(value.as_deref().unwrap_or_default()).unwrap_or_else(|rule| {
            self.add(variable, rule);
            NodeAddresses::default()
        })
    }

    pub(super) fn rules(&mut self, variable: &'static str, value: Option<String>) -> Rules {
        Rules::parse(value.as_deref().unwrap_or_default()).unwrap_or_else(|error| {
            self.add(variable, error.to_string());
            Rules::default()
        })
    }

    pub(super) fn number(
        &mut self,
        variable: &'static str,
        value: Option<String>,
        allowed: RangeInclusive<u64>,
        default: u64,
    ) -> u64 {
        let Some(value) = text(value) else { return default };
        match value.parse::<u64>() {
            Ok(number) if allowed.contains(&number) => number,
            _ => {
                let (least, most) = allowed.into_inner();
                self.add(variable, format!("is {value:?}; it must be a whole number from {least} to {most}"));
                default
            }
        }
    }

    pub(super) fn seconds(
        &mut self,
        variable: &'static str,
        value: Option<String>,
        allowed: RangeInclusive<u64>,
        default: Duration,
    ) -> Duration {
        Duration::from_secs(self.number(variable, value, allowed, default.as_secs()))
    }

    pub(super) fn days(
        &mut self,
        variable: &'static str,
        value: Option<String>,
        allowed: RangeInclusive<u64>,
        default: Duration,
    ) -> Duration {
        DAY * self.number(variable, value, allowed, default.as_secs() / DAY.as_secs()) as u32
    }

    pub(super) fn millis(
        &mut self,
        variable: &'static str,
        value: Option<String>,
        allowed: RangeInclusive<u64>,
        default: Duration,
    ) -> Duration {
        Duration::from_millis(self.number(variable, value, allowed, default.as_millis() as u64))
    }
}
