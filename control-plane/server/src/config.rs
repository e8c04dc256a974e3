//! Settings of the control plane: [`RawConfig`] as given (flags and environment), [`Config`] as used.
//!
//! [`Config::resolve`] reports every mistake at once, each naming its variable and the rule. An empty variable counts
//! as unset. Secrets are held so that no debug output, log or error shows them.

mod parse;
#[cfg(test)]
mod tests;

use std::{fmt, net::SocketAddr, time::Duration};

use clap::Parser as _;
use secrecy::{SecretSlice, SecretString};
use voicebridge_core::placement::Rules;
use voicebridge_telemetry::{listener::Bounds, local::StateDir};

use crate::{nodes::NodeAddresses, scope::Scopes};

/// Port when neither `PORT` nor `VOICEBRIDGE_LISTEN` is set.
pub const DEFAULT_PORT: u16 = 3100;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Meta's largest webhook, 3 MB, and a little: a delivery refused for its size may hold a call.
const MAX_BODY_BYTES: usize = 3 * 1024 * 1024 + 64 * 1024;
/// Meta's own endpoint.
const GRAPH_URL: &str = "https://graph.facebook.com/v25.0";
/// Created in the working directory when missing.
const DATABASE_URL: &str = "sqlite://voicebridge.db";

/// The settings as given. All are strings here, so that one pass can report everything that is wrong with them.
#[derive(Clone, Default, clap::Args)]
pub struct RawConfig {
    /// Address of the one listener for HTTP, gRPC and gRPC-web [default: 0.0.0.0:3100]
    #[arg(id = "control_listen", long = "control-listen", env = "VOICEBRIDGE_LISTEN", hide_env_values = true)]
    pub listen: Option<String>,
    /// Port to listen on; wins over the port of the listen address, as hosting platforms expect
    #[arg(id = "control_port", long = "control-port", env = "PORT", hide_env_values = true)]
    pub port: Option<String>,
    /// Meta: token of the system user, permission whatsapp_business_messaging
    #[arg(
        id = "control_wa_token",
        long = "control-whatsapp-access-token",
        env = "WHATSAPP_ACCESS_TOKEN",
        hide_env_values = true
    )]
    pub whatsapp_access_token: Option<String>,
    /// Meta: id of the business number whose calls are answered
    #[arg(
        id = "control_wa_number",
        long = "control-whatsapp-phone-number-id",
        env = "WHATSAPP_PHONE_NUMBER_ID",
        hide_env_values = true
    )]
    pub whatsapp_phone_number_id: Option<String>,
    /// Meta: the app's secret, which signs webhooks
    #[arg(
        id = "control_wa_secret",
        long = "control-whatsapp-app-secret",
        env = "WHATSAPP_APP_SECRET",
        hide_env_values = true
    )]
    pub whatsapp_app_secret: Option<String>,
    /// The word agreed with Meta for verifying the webhook's address
    #[arg(
        id = "control_wa_verify",
        long = "control-whatsapp-verify-token",
        env = "WHATSAPP_VERIFY_TOKEN",
        hide_env_values = true
    )]
    pub whatsapp_verify_token: Option<String>,
    /// Graph API with version [default: https://graph.facebook.com/v25.0]
    #[arg(id = "control_graph_url", long = "control-graph-url", env = "WHATSAPP_GRAPH_URL", hide_env_values = true)]
    pub graph_url: Option<String>,
    /// Where holders of their own signalling are told that a call is to be ended at Meta, when there is no access token
    #[arg(
        id = "control_callback_url",
        long = "control-callback-url",
        env = "VOICEBRIDGE_CALLBACK_URL",
        hide_env_values = true
    )]
    pub callback_url: Option<String>,
    /// Key that signs what they are told, whsec_ and 24 to 64 bytes in base64
    #[arg(
        id = "control_callback_secret",
        long = "control-callback-secret",
        env = "VOICEBRIDGE_CALLBACK_SECRET",
        hide_env_values = true
    )]
    pub callback_secret: Option<String>,
    /// Database: sqlite://file, created if missing, or postgres://user:password@host/database [default:
    /// sqlite://voicebridge.db]
    #[arg(id = "control_database", long = "control-database-url", env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,
    /// Keys of API callers, separated by commas, each alone (may do everything) or as key=calls:read+calls:write; scopes are
    /// calls:read, calls:write, nodes and admin; without any key one for this machine and user is made, in the state folder
    #[arg(id = "control_api_keys", long = "control-api-keys", env = "VOICEBRIDGE_API_KEYS", hide_env_values = true)]
    pub api_keys: Option<String>,
    /// Where the local key and the local node token are, while none is configured [default: voicebridge in XDG_STATE_HOME or
    /// in ~/.local/state]
    #[arg(id = "control_state", long = "control-state-dir", env = "VOICEBRIDGE_STATE_DIR", hide_env_values = true)]
    pub state_dir: Option<String>,
    /// Secret shared by both planes; without it both insist on loopback, and on the local one of the state folder
    #[arg(
        id = "control_node_token",
        long = "control-node-token",
        env = "VOICEBRIDGE_NODE_TOKEN",
        hide_env_values = true
    )]
    pub node_token: Option<String>,
    /// What addresses media nodes may announce, separated by commas: addresses, networks (10.0.0.0/8), host names, *.domain
    /// [default: the address a node connects from, no host name]
    #[arg(
        id = "control_node_addresses",
        long = "control-node-addresses",
        env = "VOICEBRIDGE_NODE_ADDRESSES",
        hide_env_values = true
    )]
    pub node_addresses: Option<String>,
    /// Origins of browsers that may call the API, separated by commas, or * [default: pages served from this machine]
    #[arg(
        id = "control_cors",
        long = "control-cors-origins",
        env = "VOICEBRIDGE_CORS_ORIGINS",
        hide_env_values = true
    )]
    pub cors_origins: Option<String>,
    /// Preferred regions by caller, e.g. BR,AR=sa;DE,FR=eu;*=us [default: no preference]
    #[arg(id = "control_placement", long = "control-placement", env = "VOICEBRIDGE_PLACEMENT", hide_env_values = true)]
    pub placement: Option<String>,
    /// Seconds from the webhook's timestamp within which a call must be answered, 1 to 60 [default: 30]
    #[arg(
        id = "control_ring",
        long = "control-ring-budget",
        env = "VOICEBRIDGE_RING_BUDGET_S",
        hide_env_values = true
    )]
    pub ring_budget_s: Option<String>,
    /// Age in seconds from which a connect webhook is dropped, 1 to 3600 [default: 60]
    #[arg(id = "control_stale", long = "control-stale", env = "VOICEBRIDGE_STALE_S", hide_env_values = true)]
    pub stale_s: Option<String>,
    /// Milliseconds Graph may take for one request, 100 to 30000 [default: 5000]
    #[arg(
        id = "control_graph_timeout",
        long = "control-graph-timeout",
        env = "VOICEBRIDGE_GRAPH_TIMEOUT_MS",
        hide_env_values = true
    )]
    pub graph_timeout_ms: Option<String>,
    /// Seconds without any sign of life, each a missed beat, after which a node is lost, 2 to 60; one whose address refuses
    /// connections is lost at once [default: 10]
    #[arg(
        id = "control_beats",
        long = "control-node-lost-beats",
        env = "VOICEBRIDGE_NODE_LOST_BEATS",
        hide_env_values = true
    )]
    pub node_lost_beats: Option<String>,
    /// Milliseconds from the webhook after which a call is answered without waiting for the AI, 0 to 20000 [default: 1500]
    #[arg(
        id = "control_patience",
        long = "control-accept-patience",
        env = "VOICEBRIDGE_ACCEPT_PATIENCE_MS",
        hide_env_values = true
    )]
    pub accept_patience_ms: Option<String>,
    /// Milliseconds a node may take to answer an offer before the next is tried, 50 to 20000 [default: 2000]
    #[arg(
        id = "control_place",
        long = "control-place-timeout",
        env = "VOICEBRIDGE_PLACE_TIMEOUT_MS",
        hide_env_values = true
    )]
    pub place_timeout_ms: Option<String>,
    /// Largest body of a webhook or API request in bytes, 4096 to 16777216 [default: 3211264]
    #[arg(
        id = "control_max_body",
        long = "control-max-body",
        env = "VOICEBRIDGE_MAX_BODY_BYTES",
        hide_env_values = true
    )]
    pub max_body_bytes: Option<String>,
    /// Open connections in all, 16 to 1000000; more are closed at once [default: 8192]
    #[arg(
        id = "control_connections",
        long = "control-max-connections",
        env = "VOICEBRIDGE_MAX_CONNECTIONS",
        hide_env_values = true
    )]
    pub max_connections: Option<String>,
    /// Of them, of one address, 1 to 1000000; behind a proxy all callers have one [default: 4096]
    #[arg(
        id = "control_connections_per_address",
        long = "control-max-connections-per-address",
        env = "VOICEBRIDGE_MAX_CONNECTIONS_PER_ADDRESS",
        hide_env_values = true
    )]
    pub max_connections_per_address: Option<String>,
    /// Days an ended call and its events are kept, 0 to 3650, 0 for ever [default: 90]
    #[arg(
        id = "control_retention",
        long = "control-retention-days",
        env = "VOICEBRIDGE_RETENTION_DAYS",
        hide_env_values = true
    )]
    pub retention_days: Option<String>,
    /// Seconds to wait for another process that has the database's calls, 0 to 600; then this one does not start [default: 10]
    #[arg(
        id = "control_database_wait",
        long = "control-database-wait-s",
        env = "VOICEBRIDGE_DATABASE_WAIT_S",
        hide_env_values = true
    )]
    pub database_wait_s: Option<String>,
}

impl fmt::Debug for RawConfig {
    // As given, the secrets are plain strings.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawConfig").finish_non_exhaustive()
    }
}

#[derive(clap::Parser)]
struct Environment {
    #[command(flatten)]
    raw: RawConfig,
}

impl RawConfig {
    /// The environment alone, for programs with flags of their own.
    #[must_use]
    pub fn from_env() -> Self {
        Environment::parse_from(["voicebridge-control"]).raw
    }
}

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
