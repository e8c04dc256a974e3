//! The node: what the gRPC methods mean, free of protobuf.
//!
//! Flow of a start: take a slot -> lint the offer -> overlay the agent -> lease a port -> let the peer answer -> open the
//! provider's socket -> build the session core -> hand all of it to a media thread. Everything on the way is given back if a
//! later step fails. None of it waits, so that a request that is dropped half way leaves nothing behind.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use hmac::{Hmac, KeyInit as _, Mac as _};
use rand::RngExt as _;
use secrecy::ExposeSecret as _;
use sha2::Sha256;
use tokio_util::sync::CancellationToken;
use voicebridge_session::{
    Command, CommandIdReused, Limits, Session, Setup, SetupError, SignallingMode, Stage, Termination,
    TerminationResult,
    agent::{AgentErrors, AgentOverlay},
    provider::{
        Endpoint, Provider,
        embedded::Embedded,
        openai::{self, EndpointRequest, OpenAi, OpenAiSettings},
    },
    sdp::{self, SdpError},
};

use crate::{
    clock::Clock,
    config::{Config, OpenAiConfig, ProviderConfig},
    entry::{Entry, Opening},
    peer::{Engine, LocalMedia, Peer as _, PeerError, Reach, Remote},
    provider::{ProviderSockets, Target},
    secret::NodeSecret,
    sessions::{Claim, Ended, Held, Reservation, Sessions, SlotRefused},
    shard::{Busy, Call, Datagrams, NoThread, SessionPorts, Shards, ThreadHealth},
    start_arguments::StartArguments,
    udp::{PortError, PortPool},
};

/// RTCP canonical name and stream name in our answers.
const CNAME: &str = "voicebridge";
/// Characters of the hashed caller id that a provider gets.
const SAFETY_IDENTIFIER_CHARS: usize = 32;

/// A media-plane node.
#[derive(Debug)]
pub struct Node {
    config: Config,
    node_id: String,
    secret: NodeSecret,
    advertise_url: String,
    clock: Clock,
    sessions: Arc<Sessions>,
    shards: Shards,
    ports: PortPool,
    /// Cancelled when the node begins to drain.
    draining: CancellationToken,
}

/// A request for a session.
#[derive(Clone, Debug)]
pub struct Start {
    /// Chosen by the control plane.
    pub session_id: String,
    /// Meta's.
    pub call_id: String,
    /// The caller's offer.
    pub sdp_offer: String,
    /// Milliseconds since the connect webhook when the request was sent.
    pub elapsed_ms: u64,
    /// Whether stages will be told.
    pub mode: SignallingMode,
    /// Over the node's agent.
    pub agent: AgentOverlay,
    /// Number or user id of the caller; only its keyed hash leaves the node. May be empty.
    pub caller_id: String,
    /// All of it that a repeated request must have.
    pub arguments: StartArguments,
    /// Parent of everything the session logs.
    pub span: tracing::Span,
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Full or draining: another node may.
    #[error(transparent)]
    SlotRefused(#[from] SlotRefused),
    /// No node will do.
    #[error(transparent)]
    Offer(#[from] SdpError),
    /// A session of this id was started with another one of this.
    #[error("the session was started with another {0}")]
    ArgumentsDiffer(&'static str),
    /// The request's agent breaks a rule.
    #[error(transparent)]
    Agent(#[from] AgentErrors),
    /// No UDP port: another node may have one.
    #[error(transparent)]
    Port(#[from] PortError),
    /// The WebRTC engine does not take the offer.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// The session core cannot be built.
    #[error(transparent)]
    Session(#[from] SetupError),
    /// No media thread could carry it: another node's may.
    #[error(transparent)]
    NoThread(#[from] NoThread),
    /// A media thread is broken.
    #[error(transparent)]
    Busy(#[from] Busy),
}

/// Why a request about a session cannot be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Never here, or no longer held.
    #[error("this node has no such session")]
    NotFound,
    /// It has ended.
    #[error("the session has ended")]
    Ended,
    /// Another command had its id.
    #[error(transparent)]
    CommandIdReused(#[from] CommandIdReused),
    /// A media thread is broken.
    #[error(transparent)]
    Busy(#[from] Busy),
}

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeReport {
    /// Unique per process start.
    pub node_id: String,
    /// As configured.
    pub region: String,
    /// Where its gRPC is.
    pub advertise_url: String,
    /// Reserved and live.
    pub live_sessions: u32,
    /// The most there may be.
    pub max_sessions: u32,
    /// Takes no new sessions.
    pub draining: bool,
    /// Threads that carry media, and how many of them do not as they should.
    pub threads: ThreadHealth,
    /// Busiest media thread, 0 to 1.
    pub media_load: f32,
    /// Of this crate.
    pub version: &'static str,
    /// `openai` or `embedded`.
    pub provider: &'static str,
}

impl Node {
    /// A node with its media threads running.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn new(config: Config, advertise_url: String) -> std::io::Result<Self> {
        let clock = Clock::new(Instant::now());
        let sessions = Sessions::new(config.max_sessions);
        Ok(Self {
            node_id: uuid::Uuid::now_v7().to_string(),
            secret: NodeSecret::new(rand::rng().random()),
            advertise_url,
            clock,
            shards: Shards::start(config.threads, config.governor, clock, &sessions)?,
            sessions,
            ports: PortPool::new(config.udp_ports.clone(), config.public_ip, config.port_rest),
            draining: CancellationToken::new(),
            config,
        })
    }

    /// What it proves to be itself with.
    pub(crate) const fn secret(&self) -> &NodeSecret {
        &self.secret
    }

    /// Its settings.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Starts a session, or finds the one that was started under this id.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left behind.
    pub async fn start(&self, start: Start) -> Result<Arc<Entry>, StartError> {
        loop {
            match self.sessions.reserve(&start.session_id, self.clock.time(Instant::now()))? {
                Claim::Held(held) => {
                    return match held.entry.arguments.difference(&start.arguments) {
                        None => Ok(held.entry),
                        Some(field) => Err(StartError::ArgumentsDiffer(field)),
                    };
                }
                Claim::Wait(built) => built.cancelled().await,
                Claim::Reserved(reservation) => return self.build(reservation, start),
            }
        }
    }

    fn build(&self, reservation: Reservation, start: Start) -> Result<Arc<Entry>, StartError> {
        let span = start.span.clone();
        let _inside = span.enter();
        let answering = tracing::info_span!("answer").entered();
        let now = Instant::now();
        // Before anything is built or dialled for it.
        if self.shards.health(now).none_is_left() {
            return Err(NoThread.into());
        }
        let offer = sdp::lint(&start.sdp_offer)?;
        let agent = self.config.agent.clone().overlay(&start.agent)?;
        let lease = self.ports.open(now)?;
        let mut random = rand::rng();
        let local_media = LocalMedia {
            announced: SocketAddr::new(self.config.public_ip, lease.port),
            // 0 is legal and confuses enough receivers.
            ssrc: random.random_range(1..=u32::MAX),
            cname: CNAME,
            // The session core gives up first, and says better why.
            connect_within: self.config.transport_timeout + Duration::from_secs(1),
        };
        let reach = Reach { ours: local_media.announced.ip(), policy: self.config.candidates };
        let peer = Engine::accept(now, &Remote::new(&offer.negotiated, reach), local_media)?;
        let local = peer.local();
        let sdp_answer = sdp::answer(
            &offer,
            &sdp::Local {
                address: local_media.announced.ip(),
                port: local_media.announced.port(),
                ice_ufrag: &local.ice_ufrag,
                ice_pwd: &local.ice_pwd,
                fingerprint: &local.fingerprint,
                ssrc: local.ssrc,
                cname: CNAME,
                origin_id: random.random_range(1..=i64::MAX as u64),
            },
        );
        drop(answering);

        let (provider, endpoint) = self.provider(&start.caller_id);
        let connections = endpoint.map_or_else(ProviderSockets::none, |endpoint| {
            ProviderSockets::to(Target { endpoint, decode: provider.decode(), ping: provider.capabilities().ping })
        });
        let time = self.clock.time(now);
        let entry = Arc::new(Entry::new(Opening {
            session_id: start.session_id,
            call_id: start.call_id,
            started: time,
            elapsed_ms: start.elapsed_ms,
            sdp_answer,
            warnings: offer.negotiated.warnings.clone(),
            arguments: start.arguments,
        }));
        let mut ports = SessionPorts {
            peer,
            datagrams: Datagrams::default(),
            connections,
            entry: entry.clone(),
            now,
            span: span.clone(),
        };
        let setup = Setup {
            agent,
            provider,
            mode: start.mode,
            negotiated: &offer.negotiated,
            limits: self.limits(),
            seed: random.random(),
            elapsed_ms: start.elapsed_ms,
            answer_ms: now.elapsed().as_millis() as u32,
        };
        let session = Session::new(time, setup, &mut ports)?;
        let call = Call::new(session, ports, lease, self.clock, start.mode);

        // Findable before it runs: its thread may report the end at once.
        let shard = self.shards.choose(now)?;
        reservation.fill(entry.clone(), shard);
        if let Err(busy) = self.shards.add(shard, call) {
            self.sessions.withdraw(&entry.session_id);
            return Err(busy.into());
        }
        metrics::counter!("voicebridge_media_sessions_started_total").increment(1);
        metrics::histogram!("voicebridge_media_answer_ms").record(now.elapsed().as_secs_f64() * 1_000.0);
        Ok(entry)
    }

    /// Tells a session how far signalling has come; the stage it is at now.
    ///
    /// # Errors
    /// [`RequestError`]
    pub async fn advance(&self, session_id: &str, stage: Stage) -> Result<Stage, RequestError> {
        let held = self.live(session_id)?;
        self.shards.advance(held.shard, session_id.to_owned(), stage).await?.ok_or(RequestError::Ended)
    }

    /// Ends a session; the termination that stands.
    ///
    /// # Errors
    /// [`RequestError::NotFound`], [`RequestError::Busy`]
    pub async fn end(&self, session_id: &str, termination: Termination) -> Result<Termination, RequestError> {
        let held = self.find(session_id)?;
        if held.live
            && let Some(standing) = self.shards.end(held.shard, session_id.to_owned(), termination).await?
        {
            return Ok(standing);
        }
        // It ended before the order reached it.
        held.entry.termination().ok_or(RequestError::Busy(Busy))
    }

    /// Acts on a live session, once for each id of a command.
    ///
    /// # Errors
    /// [`RequestError`]
    pub async fn act(&self, session_id: &str, command_id: String, command: Command) -> Result<(), RequestError> {
        let held = self.live(session_id)?;
        let taken = self.shards.act(held.shard, session_id.to_owned(), command_id, command).await?;
        Ok(taken.ok_or(RequestError::Ended)??)
    }

    /// A session, live or held.
    ///
    /// # Errors
    /// [`RequestError::NotFound`]
    pub fn find(&self, session_id: &str) -> Result<Held, RequestError> {
        self.sessions.get(session_id).ok_or(RequestError::NotFound)
    }

    /// All sessions by id.
    #[must_use]
    pub fn list(&self, ended: Ended) -> Vec<Held> {
        self.sessions.list(ended, self.clock.time(Instant::now()))
    }

    /// Takes no new sessions from here on; how many are live. Idempotent.
    pub fn drain(&self) -> u32 {
        let live = self.sessions.drain();
        self.draining.cancel();
        live
    }

    /// Returns once no session is live.
    pub async fn idle(&self) {
        self.sessions.idle().await;
    }

    /// Ends all sessions because the node goes away, and waits at most `limit` for them to be gone.
    pub async fn end_all(&self, limit: Duration) {
        self.shards
            .end_all(&Termination {
                result: TerminationResult::Failed,
                reason: "NODE_DRAINING".to_owned(),
                message: "the media node was shut down before the call was over".to_owned(),
                upstream_code: String::new(),
            })
            .await;
        if tokio::time::timeout(limit, self.idle()).await.is_err() {
            tracing::error!(live = self.sessions.taken(), "sessions did not end in time");
        }
    }

    /// What the node says of itself.
    #[must_use]
    pub fn report(&self) -> NodeReport {
        NodeReport {
            node_id: self.node_id.clone(),
            region: self.config.region.clone(),
            advertise_url: self.advertise_url.clone(),
            live_sessions: self.sessions.taken(),
            max_sessions: self.sessions.max(),
            draining: self.is_draining(),
            threads: self.threads(),
            media_load: self.shards.media_load(),
            version: env!("CARGO_PKG_VERSION"),
            provider: self.config.provider.name(),
        }
    }

    /// Brings the gauges up to date.
    pub fn measure(&self) {
        metrics::gauge!("voicebridge_media_sessions").set(f64::from(self.sessions.taken()));
        metrics::gauge!("voicebridge_media_load").set(f64::from(self.shards.media_load()));
        metrics::gauge!("voicebridge_media_threads_lost").set(self.threads().lost() as f64);
    }

    /// How its media threads are.
    #[must_use]
    pub fn threads(&self) -> ThreadHealth {
        self.shards.health(Instant::now())
    }

    /// Whether new sessions are refused because it is about to stop.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.sessions.is_draining()
    }

    /// Returns once the node drains; at once when it already does.
    pub async fn draining(&self) {
        self.draining.cancelled().await;
    }

    #[cfg(test)]
    pub(crate) const fn shards(&self) -> &Shards {
        &self.shards
    }

    fn live(&self, session_id: &str) -> Result<Held, RequestError> {
        let held = self.find(session_id)?;
        if held.live { Ok(held) } else { Err(RequestError::Ended) }
    }

    fn limits(&self) -> Limits {
        Limits {
            transport_ms: self.config.transport_timeout.as_millis() as u64,
            silent_caller_ms: self.config.media_timeout.as_millis() as u64,
            ..Limits::default()
        }
    }

    fn provider(&self, caller_id: &str) -> (Box<dyn Provider>, Option<Endpoint>) {
        match &self.config.provider {
            ProviderConfig::Embedded => (Box::new(Embedded::new()), None),
            ProviderConfig::OpenAi(config) => {
                let mut settings = OpenAiSettings::default();
                if !config.model.is_empty() {
                    settings.model.clone_from(&config.model);
                }
                let safety_identifier = safety_identifier(config, caller_id);
                let endpoint = openai::endpoint(EndpointRequest {
                    url: &config.url,
                    model: &settings.model,
                    api_key: config.api_key.expose_secret(),
                    organization: Some(&config.organisation),
                    project: Some(&config.project),
                    safety_identifier: safety_identifier.as_deref(),
                });
                (Box::new(OpenAi::new(settings).made_at_unix_s(unix_s())), Some(endpoint))
            }
        }
    }
}

/// Seconds since 1970; 0 before.
fn unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// OpenAI wants a stable id per end user to tell abusers apart, and must not learn the number: a hash keyed by the
/// account's own secret, the same on every node.
fn safety_identifier(config: &OpenAiConfig, caller_id: &str) -> Option<String> {
    if caller_id.is_empty() {
        return None;
    }
    let mut mac = Hmac::<Sha256>::new_from_slice(config.api_key.expose_secret().as_bytes())
        .expect("HMAC takes keys of any length");
    mac.update(caller_id.as_bytes());
    let mut digest = hex::encode(mac.finalize().into_bytes());
    digest.truncate(SAFETY_IDENTIFIER_CHARS);
    Some(digest)
}
