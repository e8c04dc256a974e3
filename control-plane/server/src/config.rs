//! Settings of the control plane: [`RawConfig`] as given (flags and environment), [`Config`] as used.
//!
//! [`Config::resolve`] reports every mistake at once, each naming its variable and the rule. An empty variable counts
//! as unset. Secrets are held so that no debug output, log or error shows them.

mod parse;
mod raw;
#[cfg(test)]
mod tests;
mod values;

use std::{net::SocketAddr, time::Duration};

use secrecy::SecretString;
use voicebridge_core::placement::Rules;
use voicebridge_telemetry::{listener::Bounds, local::StateDir};

pub use raw::RawConfig;
pub use values::{
    ApiKey, CallbackTarget, ConfigError, ConfigErrors, DEFAULT_PORT, DatabaseUrl, GraphAccess, Origins, WhatsApp,
};

use crate::nodes::NodeAddresses;
use parse::DAY;

/// Meta's largest webhook, 3 MB, and a little: a delivery refused for its size may hold a call.
const MAX_BODY_BYTES: usize = 3 * 1024 * 1024 + 64 * 1024;
/// Meta's own endpoint.
const GRAPH_URL: &str = "https://graph.facebook.com/v25.0";
/// Created in the working directory when missing.
const DATABASE_URL: &str = "sqlite://voicebridge.db";

/// Deadlines and sizes. Every one has a documented behaviour when it is reached.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// From the webhook's timestamp; then the call is turned down with RING_TIMEOUT.
    pub ring_budget: Duration,
    /// Age by timestamp; an older connect is dropped and answered 200.
    pub stale: Duration,
    /// One Graph request; it is sent once more, then counts as unreachable.
    pub graph_timeout: Duration,
    /// Time between two beats of a node, by contract.
    pub beat: Duration,
    /// Missed beats after which a node that gave no other sign of life, nor answered a probe, is lost with its calls.
    pub node_lost_beats: u32,
    /// One probe of a node that missed a beat; without an answer, the next follows a beat later.
    pub node_probe: Duration,
    /// From the webhook's arrival; then a call whose transport is up is answered without the AI.
    pub accept_patience: Duration,
    /// One StartSession; then the next node is tried and this one told to end what it may have begun.
    pub place_timeout: Duration,
    /// One of the short requests to a node (advance, end, command).
    pub node_timeout: Duration,
    /// From a call's end until its record is closed whatever Graph and the node say.
    pub ending: Duration,
    /// What a node gets, beyond the time after which it would be lost, to register again after our restart.
    pub restore_grace: Duration,
    /// What is granted to whoever connects.
    pub listener: Bounds,
    /// What open connections get to finish when the process ends.
    pub close: Duration,
    /// Larger bodies are answered 413.
    pub max_body_bytes: usize,
    /// Bytes of all bodies that came and whose requests have no answer yet; further ones are answered 503.
    pub bodies_bytes: usize,
    /// Age from which an ended call and its events are deleted; zero: never.
    pub retention: Duration,
    /// Time between two rounds of deletion.
    pub retention_round: Duration,
    /// How long another process that has the database's calls is waited for, e.g. the one this one replaces.
    pub database_wait: Duration,
    /// Event streams at a time, of all kinds; further ones are refused.
    pub subscribers: usize,
    /// Of them, of one key; further ones are refused.
    pub subscribers_per_key: usize,
    /// Silence after which a subscriber is told that there is nothing.
    pub keepalive: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            ring_budget: Duration::from_secs(30),
            stale: Duration::from_secs(60),
            graph_timeout: Duration::from_secs(5),
            beat: Duration::from_secs(1),
            node_lost_beats: 10,
            node_probe: Duration::from_secs(2),
            accept_patience: Duration::from_millis(1_500),
            place_timeout: Duration::from_secs(2),
            node_timeout: Duration::from_secs(2),
            ending: Duration::from_secs(30),
            restore_grace: Duration::from_secs(7),
            listener: Bounds::default(),
            close: Duration::from_secs(5),
            max_body_bytes: MAX_BODY_BYTES,
            bodies_bytes: 256 * 1024 * 1024,
            retention: 90 * DAY,
            retention_round: Duration::from_secs(3_600),
            database_wait: Duration::from_secs(10),
            subscribers: 1_024,
            subscribers_per_key: 768,
            keepalive: Duration::from_secs(15),
        }
    }
}

impl Limits {
    /// Silence after which a node may be lost.
    #[must_use]
    pub fn node_lost(&self) -> Duration {
        self.beat * self.node_lost_beats
    }
}

/// The settings in use: valid, nothing left open.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Meta's values, or the names of the variables that are missing: then the webhook answers 503 and names them,
    /// and everything else works.
    pub whatsapp: Result<WhatsApp, Vec<&'static str>>,
    /// Whenever there is an access token, whatever else is missing.
    pub graph_access: Option<GraphAccess>,
    /// None: nobody is told of the end of a self-held call that Graph cannot be told of.
    pub callback: Option<CallbackTarget>,
    /// With version, without slash at the end.
    pub graph_url: String,
    /// `sqlite://...` or `postgres://...`
    pub database_url: DatabaseUrl,
    /// Besides those in the database. No key in either: the local one.
    pub api_keys: Vec<ApiKey>,
    /// None: nodes of this machine and user only, by the local one.
    pub node_token: Option<SecretString>,
    /// Which addresses nodes may announce.
    pub node_addresses: NodeAddresses,
    /// Of the local key and the local node token. None: the environment names none, so both must be configured.
    pub state_dir: Option<StateDir>,
    /// For CORS.
    pub cors_origins: Origins,
    /// Preferred regions by caller.
    pub placement: Rules,
    /// Deadlines and sizes.
    pub limits: Limits,
}

impl Config {
    /// Checks and completes the settings.
    ///
    /// # Errors
    /// Every mistake at once.
    pub fn resolve(raw: RawConfig) -> Result<Self, ConfigErrors> {
        let mut errors = parse::Errors::default();
        let defaults = Limits::default();
        let limits = Limits {
            ring_budget: errors.seconds("VOICEBRIDGE_RING_BUDGET_S", raw.ring_budget_s, 1..=60, defaults.ring_budget),
            stale: errors.seconds("VOICEBRIDGE_STALE_S", raw.stale_s, 1..=3_600, defaults.stale),
            graph_timeout: errors.millis(
                "VOICEBRIDGE_GRAPH_TIMEOUT_MS",
                raw.graph_timeout_ms,
                100..=30_000,
                defaults.graph_timeout,
            ),
            node_lost_beats: errors.number(
                "VOICEBRIDGE_NODE_LOST_BEATS",
                raw.node_lost_beats,
                2..=60,
                u64::from(defaults.node_lost_beats),
            ) as u32,
            accept_patience: errors.millis(
                "VOICEBRIDGE_ACCEPT_PATIENCE_MS",
                raw.accept_patience_ms,
                0..=20_000,
                defaults.accept_patience,
            ),
            place_timeout: errors.millis(
                "VOICEBRIDGE_PLACE_TIMEOUT_MS",
                raw.place_timeout_ms,
                50..=20_000,
                defaults.place_timeout,
            ),
            max_body_bytes: errors.number(
                "VOICEBRIDGE_MAX_BODY_BYTES",
                raw.max_body_bytes,
                4_096..=16_777_216,
                defaults.max_body_bytes as u64,
            ) as usize,
            listener: Bounds {
                connections: errors.number(
                    "VOICEBRIDGE_MAX_CONNECTIONS",
                    raw.max_connections,
                    16..=1_000_000,
                    defaults.listener.connections as u64,
                ) as usize,
                connections_per_address: errors.number(
                    "VOICEBRIDGE_MAX_CONNECTIONS_PER_ADDRESS",
                    raw.max_connections_per_address,
                    1..=1_000_000,
                    defaults.listener.connections_per_address as u64,
                ) as usize,
                ..defaults.listener
            },
            retention: errors.days("VOICEBRIDGE_RETENTION_DAYS", raw.retention_days, 0..=3_650, defaults.retention),
            database_wait: errors.seconds(
                "VOICEBRIDGE_DATABASE_WAIT_S",
                raw.database_wait_s,
                0..=600,
                defaults.database_wait,
            ),
            ..defaults
        };
        let config = Self {
            listen: errors.listen(raw.listen, raw.port),
            graph_access: parse::graph_access(&raw.whatsapp_access_token, &raw.whatsapp_phone_number_id),
            callback: errors.callback(raw.callback_url, raw.callback_secret),
            whatsapp: errors.whatsapp(
                raw.whatsapp_access_token,
                raw.whatsapp_phone_number_id,
                raw.whatsapp_app_secret,
                raw.whatsapp_verify_token,
            ),
            graph_url: errors.http_url("WHATSAPP_GRAPH_URL", raw.graph_url, GRAPH_URL),
            database_url: errors.database("DATABASE_URL", raw.database_url, DATABASE_URL),
            api_keys: errors.keys("VOICEBRIDGE_API_KEYS", raw.api_keys),
            node_token: errors.secret("VOICEBRIDGE_NODE_TOKEN", raw.node_token),
            node_addresses: errors.node_addresses("VOICEBRIDGE_NODE_ADDRESSES", raw.node_addresses),
            state_dir: errors.state_dir(raw.state_dir),
            cors_origins: errors.origins("VOICEBRIDGE_CORS_ORIGINS", raw.cors_origins),
            placement: errors.rules("VOICEBRIDGE_PLACEMENT", raw.placement),
            limits,
        };
        errors.finish(config)
    }
}
