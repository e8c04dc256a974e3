//! The settings as given: flags and environment, for a program's `--help` too.

use std::fmt;

use clap::Parser as _;

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
pub(super) struct Environment {
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
