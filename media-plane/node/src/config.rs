//! Settings of the node: [`RawConfig`] as given (flags and environment), [`Config`] as used.
//!
//! [`Config::resolve`] reports every mistake at once, each naming its variable and the rule. An empty variable counts
//! as unset, so that a compose file may pass on what its own environment lacks.

mod parse;
pub(crate) use parse::local_address_towards;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    ops::RangeInclusive,
    path::PathBuf,
    time::Duration,
};

use clap::Parser as _;
use secrecy::SecretString;
use voicebridge_audio::governor::Governor;
use voicebridge_session::agent::Agent;
use voicebridge_telemetry::{listener::Bounds, local::StateDir};

use crate::peer::CandidatePolicy;

/// gRPC port when `VOICEBRIDGE_MEDIA_LISTEN` is unset.
pub const DEFAULT_PORT: u16 = 3200;
/// Live sessions per media thread when `VOICEBRIDGE_MAX_SESSIONS` is unset. A call costs about 7 ms of CPU per second
/// with both sides talking at Opus complexity 3, which the governor goes down to before the core is full; 80 of them
/// leave two fifths of it for bursts.
pub const SESSIONS_PER_THREAD: u32 = 80;

/// Seconds a caller may be in silence when `VOICEBRIDGE_MEDIA_TIMEOUT_S` is unset. Some handsets send nothing while they are
/// muted or hold the call: long enough to look for a document, short enough that a forgotten call does not cost its longest
/// duration at the AI, which bounds it anyway.
pub const MEDIA_TIMEOUT_S: u64 = 300;

/// The settings as given. All are strings here, so that one pass can report everything that is wrong with them.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct RawConfig {
    /// Address of the gRPC, health and metrics listener, `ip:port`
    #[arg(id = "media_listen", long = "media-listen", env = "VOICEBRIDGE_MEDIA_LISTEN", hide_env_values = true)]
    #[arg(
        help = "Address of the gRPC, health and metrics listener [default: 0.0.0.0:3200; without a node token 127.0.0.1:3200]"
    )]
    pub listen: Option<String>,
    /// How the control plane reaches this node's gRPC
    #[arg(
        id = "media_advertise",
        long = "media-advertise",
        env = "VOICEBRIDGE_MEDIA_ADVERTISE",
        hide_env_values = true
    )]
    #[arg(
        help = "How the control plane reaches this node, e.g. http://10.0.0.7:3200 [default: derived from the listen address, or from the address that faces the control plane]"
    )]
    pub advertise: Option<String>,
    /// Where the control plane is
    #[arg(
        id = "media_control_url",
        long = "media-control-url",
        env = "VOICEBRIDGE_CONTROL_URL",
        hide_env_values = true
    )]
    #[arg(help = "Where the control plane is [default: http://127.0.0.1:3100]")]
    pub control_url: Option<String>,
    /// Secret shared by both planes
    #[arg(id = "media_node_token", long = "media-node-token", env = "VOICEBRIDGE_NODE_TOKEN", hide_env_values = true)]
    #[arg(
        help = "Secret shared by both planes; without it both insist on loopback, and on the local one of the state folder"
    )]
    pub node_token: Option<String>,
    /// Folder of the local node token
    #[arg(id = "media_state", long = "media-state-dir", env = "VOICEBRIDGE_STATE_DIR", hide_env_values = true)]
    #[arg(
        help = "Where the local node token is while none is configured [default: voicebridge in XDG_STATE_HOME or in ~/.local/state]"
    )]
    pub state_dir: Option<String>,
    /// Region the node reports
    #[arg(id = "media_region", long = "media-region", env = "VOICEBRIDGE_REGION", hide_env_values = true)]
    #[arg(help = "Region of this node, 1 to 64 letters, digits, '-' or '_' [default: local]")]
    pub region: Option<String>,
    /// Announced media address
    #[arg(id = "media_public_ip", long = "media-public-ip", env = "VOICEBRIDGE_PUBLIC_IP", hide_env_values = true)]
    #[arg(
        help = "Address announced to callers; behind a 1:1 NAT the outer one [default: the default route's, 127.0.0.1 if there is none]"
    )]
    pub public_ip: Option<String>,
    /// UDP ports for callers
    #[arg(id = "media_udp_ports", long = "media-udp-ports", env = "VOICEBRIDGE_UDP_PORTS", hide_env_values = true)]
    #[arg(help = "UDP ports for callers, one per call, `first-last`, from 1024 on [default: 20000-29999]")]
    pub udp_ports: Option<String>,
    /// Most live sessions
    #[arg(
        id = "media_max_sessions",
        long = "media-max-sessions",
        env = "VOICEBRIDGE_MAX_SESSIONS",
        hide_env_values = true
    )]
    #[arg(help = "Most live sessions, 1 to 100000; more are refused with NODE_FULL [default: 80 per media thread]")]
    pub max_sessions: Option<String>,
    /// Media threads
    #[arg(id = "media_threads", long = "media-threads", env = "VOICEBRIDGE_MEDIA_THREADS", hide_env_values = true)]
    #[arg(help = "Media threads, 1 to 256 [default: cores - 1, at least 1]")]
    pub threads: Option<String>,
    /// Encoder complexity
    #[arg(
        id = "media_opus_complexity",
        long = "media-opus-complexity",
        env = "VOICEBRIDGE_OPUS_COMPLEXITY",
        hide_env_values = true
    )]
    #[arg(
        help = "Least and most complexity of the Opus encoders, both of 0 to 3 or 6 to 10, `least-most`; the load of each media thread chooses [default: 2-6]"
    )]
    pub opus_complexity: Option<String>,
    /// AI provider
    #[arg(id = "media_provider", long = "media-provider", env = "VOICEBRIDGE_PROVIDER", hide_env_values = true)]
    #[arg(help = "`openai` or `embedded` [default: openai when OPENAI_API_KEY is set, else embedded]")]
    pub provider: Option<String>,
    /// Agent file
    #[arg(id = "media_agent", long = "media-agent", env = "VOICEBRIDGE_AGENT", hide_env_values = true)]
    #[arg(help = "Path of the agent file, YAML [default: the built-in agent]")]
    pub agent: Option<String>,
    /// Provider key
    #[arg(id = "media_openai_api_key", long = "media-openai-api-key", env = "OPENAI_API_KEY", hide_env_values = true)]
    #[arg(help = "Key of the OpenAI account")]
    pub openai_api_key: Option<String>,
    /// Provider organisation
    #[arg(id = "media_openai_org", long = "media-openai-org", env = "OPENAI_ORG_ID", hide_env_values = true)]
    #[arg(help = "OpenAI organisation id")]
    pub openai_org_id: Option<String>,
    /// Provider project
    #[arg(
        id = "media_openai_project",
        long = "media-openai-project",
        env = "OPENAI_PROJECT_ID",
        hide_env_values = true
    )]
    #[arg(help = "OpenAI project id")]
    pub openai_project_id: Option<String>,
    /// Model
    #[arg(
        id = "media_openai_model",
        long = "media-openai-model",
        env = "OPENAI_REALTIME_MODEL",
        hide_env_values = true
    )]
    #[arg(help = "Realtime model [default: gpt-realtime-2.1]")]
    pub openai_model: Option<String>,
    /// Realtime endpoint
    #[arg(id = "media_openai_url", long = "media-openai-url", env = "OPENAI_REALTIME_URL", hide_env_values = true)]
    #[arg(help = "Realtime endpoint, wss:// (ws:// on loopback) [default: wss://api.openai.com/v1/realtime]")]
    pub openai_url: Option<String>,
    /// Transport time-out
    #[arg(
        id = "media_transport_timeout",
        long = "media-transport-timeout",
        env = "VOICEBRIDGE_TRANSPORT_TIMEOUT_S",
        hide_env_values = true
    )]
    #[arg(help = "Seconds from ANSWER_DELIVERED until ICE and DTLS must be up, 1 to 60 [default: 10]")]
    pub transport_timeout_s: Option<String>,
    /// Patience with a caller in silence
    #[arg(id = "media_timeout", long = "media-timeout", env = "VOICEBRIDGE_MEDIA_TIMEOUT_S", hide_env_values = true)]
    #[arg(
        help = "Seconds a caller may send no audio while the transport is alive, 0 to 86400, 0 for as long as the call may last [default: 300]"
    )]
    pub media_timeout_s: Option<String>,
    /// Candidates checked
    #[arg(id = "media_candidates", long = "media-candidates", env = "VOICEBRIDGE_CANDIDATES", hide_env_values = true)]
    #[arg(
        help = "Addresses of an offer that ICE checks: `auto` (public ones, and those of the kind of this node's own address: loopback, private or link-local), `public` or `any` [default: auto]"
    )]
    pub candidates: Option<String>,
    /// Drain time
    #[arg(id = "media_drain", long = "media-drain", env = "VOICEBRIDGE_DRAIN_S", hide_env_values = true)]
    #[arg(help = "Seconds a draining node waits for its calls before it ends them, 0 to 86400 [default: 3600]")]
    pub drain_s: Option<String>,
    /// Rest of a port
    #[arg(id = "media_port_rest", long = "media-port-rest", env = "VOICEBRIDGE_PORT_REST_S", hide_env_values = true)]
    #[arg(help = "Seconds a UDP port is left alone after a call, 0 to 3600 [default: 30]")]
    pub port_rest_s: Option<String>,
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
        Environment::parse_from(["voicebridge-media"]).raw
    }
}

/// How the control plane reaches this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Advertise {
    /// As set.
    Fixed(String),
    /// From the listener's address once it is bound, see `registration`.
    Derived,
}

/// Which AI answers.
#[derive(Clone, Debug)]
pub enum ProviderConfig {
    /// In process, without account or network.
    Embedded,
    /// OpenAI Realtime, or a server that speaks its protocol.
    OpenAi(OpenAiConfig),
}

impl ProviderConfig {
    /// As reported: `openai` or `embedded`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::OpenAi(_) => "openai",
        }
    }
}

/// Account and endpoint of OpenAI Realtime.
#[derive(Clone, Debug)]
pub struct OpenAiConfig {
    /// Sent as bearer token, nowhere else.
    pub api_key: SecretString,
    /// Empty: not sent.
    pub organisation: String,
    /// Empty: not sent.
    pub project: String,
    /// Empty: the session core's default.
    pub model: String,
    /// Without query.
    pub url: String,
}

/// The settings in use: valid, nothing left open.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Whether `listen` is loopback only because no node token is set; said at INFO when the node starts.
    pub loopback_by_default: bool,
    /// How the control plane reaches this node.
    pub advertise: Advertise,
    /// Where the control plane is, `http://` or `https://`.
    pub control_url: String,
    /// Shared by both planes. None: the local one of the state folder, found when the node starts.
    pub node_token: Option<SecretString>,
    /// Of the local node token. None: the environment names none, so the token must be configured.
    pub state_dir: Option<StateDir>,
    /// Region reported.
    pub region: String,
    /// Announced to callers.
    pub public_ip: IpAddr,
    /// One per call.
    pub udp_ports: RangeInclusive<u16>,
    /// More are refused with NODE_FULL.
    pub max_sessions: u32,
    /// Media threads.
    pub threads: usize,
    /// Bounds of the encoders' complexity; each media thread governs with a copy of its own.
    pub governor: Governor,
    /// Which AI answers.
    pub provider: ProviderConfig,
    /// How it behaves unless a request says otherwise.
    pub agent: Agent,
    /// From ANSWER_DELIVERED to ICE and DTLS up.
    pub transport_timeout: Duration,
    /// How long a caller may send no audio while the transport is alive; zero: as long as the call may last.
    pub media_timeout: Duration,
    /// Which addresses of an offer are checked.
    pub candidates: CandidatePolicy,
    /// How long a draining node waits for its calls.
    pub drain: Duration,
    /// How long a port is left alone after a call.
    pub port_rest: Duration,
    /// What is granted to whoever connects.
    pub listener: Bounds,
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
        write!(f, "the media node's configuration has {} mistake(s):", self.0.len())?;
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
        let mut errors = parse::ConfigMistakes::default();
        let node_token = errors.secret("VOICEBRIDGE_NODE_TOKEN", raw.node_token).map(SecretString::from);
        let listen = parse::text(raw.listen).map(|text| errors.socket_address("VOICEBRIDGE_MEDIA_LISTEN", &text));
        let (listen, loopback_by_default) = match listen {
            Some(address) => {
                if node_token.is_none() && !address.ip().to_canonical().is_loopback() {
                    errors.add(
                        "VOICEBRIDGE_MEDIA_LISTEN",
                        format!(
                            "is {address}, which others can reach: set VOICEBRIDGE_NODE_TOKEN, or listen on 127.0.0.1"
                        ),
                    );
                }
                (address, false)
            }
            None if node_token.is_none() => (SocketAddr::from((Ipv4Addr::LOCALHOST, DEFAULT_PORT)), true),
            None => (SocketAddr::from((Ipv4Addr::UNSPECIFIED, DEFAULT_PORT)), false),
        };
        let control_url = parse::text(raw.control_url).unwrap_or_else(|| "http://127.0.0.1:3100".to_owned());
        let control_url = errors.http_url("VOICEBRIDGE_CONTROL_URL", control_url, node_token.is_some());
        let advertise = match parse::text(raw.advertise) {
            Some(url) => Advertise::Fixed(errors.http_url("VOICEBRIDGE_MEDIA_ADVERTISE", url, true)),
            None => Advertise::Derived,
        };
        let threads = errors.number("VOICEBRIDGE_MEDIA_THREADS", raw.threads, 1..=256, parse::default_threads());
        let default_sessions = u64::from(SESSIONS_PER_THREAD) * threads;
        let max_sessions =
            errors.number("VOICEBRIDGE_MAX_SESSIONS", raw.max_sessions, 1..=100_000, default_sessions) as u32;
        let udp_ports = errors.port_range("VOICEBRIDGE_UDP_PORTS", raw.udp_ports, 20_000..=29_999);
        let public_ip = match parse::text(raw.public_ip) {
            Some(text) => errors.public_ip("VOICEBRIDGE_PUBLIC_IP", &text),
            None => parse::default_route_address(),
        };
        let config = Self {
            listen,
            loopback_by_default,
            advertise,
            control_url,
            node_token,
            state_dir: errors.state_dir(raw.state_dir),
            region: errors.region("VOICEBRIDGE_REGION", raw.region),
            public_ip,
            udp_ports,
            max_sessions,
            threads: threads as usize,
            governor: errors.complexity("VOICEBRIDGE_OPUS_COMPLEXITY", raw.opus_complexity),
            provider: errors.provider(
                parse::text(raw.provider),
                parse::OpenAiRaw {
                    api_key: raw.openai_api_key,
                    organisation: raw.openai_org_id,
                    project: raw.openai_project_id,
                    model: raw.openai_model,
                    url: parse::text(raw.openai_url),
                },
            ),
            agent: errors.agent("VOICEBRIDGE_AGENT", parse::text(raw.agent).map(PathBuf::from)),
            transport_timeout: Duration::from_secs(errors.number(
                "VOICEBRIDGE_TRANSPORT_TIMEOUT_S",
                raw.transport_timeout_s,
                1..=60,
                10,
            )),
            media_timeout: Duration::from_secs(errors.number(
                "VOICEBRIDGE_MEDIA_TIMEOUT_S",
                raw.media_timeout_s,
                0..=86_400,
                MEDIA_TIMEOUT_S,
            )),
            candidates: errors.candidates("VOICEBRIDGE_CANDIDATES", raw.candidates),
            drain: Duration::from_secs(errors.number("VOICEBRIDGE_DRAIN_S", raw.drain_s, 0..=86_400, 3_600)),
            port_rest: Duration::from_secs(errors.number("VOICEBRIDGE_PORT_REST_S", raw.port_rest_s, 0..=3_600, 30)),
            listener: Bounds::default(),
        };
        errors.finish(config)
    }
}
