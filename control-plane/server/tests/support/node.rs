//! A media node without media: keeps sessions and their events, registers itself, does as told.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::Stream;
use sha2::{Digest as _, Sha256};
use tokio::{runtime::Runtime, sync::watch, task::JoinHandle};
use tokio_stream::{
    StreamExt as _,
    wrappers::{IntervalStream, TcpListenerStream, WatchStream},
};
use tonic::{Code, Request, Response, Status};
use voicebridge_proto::{
    media::v1::{
        self as media, ConnectRequest,
        media_plane_service_server::{MediaPlaneService, MediaPlaneServiceServer},
        node_service_client::NodeServiceClient,
    },
    types::v1::{self as types, event::Kind},
};
use voicebridge_telemetry::{auth::Bearer, status::status};

use super::{NODE_TOKEN, wait};

/// Time between two beats of a test's node.
pub const BEAT: Duration = Duration::from_millis(50);

/// What the node does with a new session.
#[derive(Clone, Debug, PartialEq)]
pub enum Behaviour {
    Take,
    Full,
    Draining,
    /// Refuses the offer by this rule.
    Refuse(&'static str),
    /// Never answers.
    Silent,
}

#[derive(Clone, Debug)]
pub struct FakeSession {
    pub session_id: String,
    pub call_id: String,
    /// As the offer has it (`s=`); without one the call's id.
    pub name: String,
    pub elapsed_ms: u64,
    pub mode: types::SignallingMode,
    pub caller: types::Caller,
    pub agent: Option<types::Agent>,
    /// Of link, button, and whoever answered.
    pub payloads: [String; 3],
    pub stage: types::SignallingStage,
    pub events: Vec<types::Event>,
    pub ended: Option<types::Termination>,
    pub commands: Vec<media::Command>,
    pub command_ids: Vec<String>,
}

/// The task that registers, and whether its streams go on.
type Beating = (JoinHandle<()>, Arc<AtomicBool>);

type Sessions = BTreeMap<String, FakeSession>;

#[derive(Clone)]
pub struct Node {
    pub id: String,
    pub url: String,
    shared: Arc<Shared>,
    /// Of its own, so that it can go away with all its connections.
    server: Arc<Mutex<Option<Runtime>>>,
    beats: Arc<Mutex<Option<Beating>>>,
}

struct Shared {
    id: String,
    /// What it proves to be itself with; another one, a "restarted" one, has another.
    secret: [u8; 32],
    sessions: watch::Sender<Sessions>,
    behaviour: Mutex<Behaviour>,
    /// The AI confirms its session at once.
    ai_ready: Mutex<bool>,
    /// Requests to end a session or to drain fail, those about the node itself are not answered.
    deaf: AtomicBool,
    /// It was told to take no more calls.
    drains: AtomicBool,
}

impl Node {
    pub async fn start(id: &str) -> Self {
        Self::start_at(id, "127.0.0.1:0".parse().unwrap()).await
    }

    /// On this address.
    pub async fn start_at(id: &str, address: SocketAddr) -> Self {
        let shared = Arc::new(Shared {
            id: id.to_owned(),
            secret: rand::random(),
            sessions: watch::Sender::default(),
            behaviour: Mutex::new(Behaviour::Take),
            ai_ready: Mutex::new(true),
            deaf: AtomicBool::new(false),
            drains: AtomicBool::new(false),
        });
        let listener = std::net::TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let service = MediaPlaneServiceServer::new(Service(Arc::clone(&shared)));
        let server = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        server.spawn(async move {
            let incoming = TcpListenerStream::new(tokio::net::TcpListener::from_std(listener).unwrap());
            let incoming = incoming.map(|stream| stream.and_then(|stream| stream.set_nodelay(true).map(|()| stream)));
            tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming).await.unwrap();
        });
        Self { id: id.to_owned(), url, shared, server: Arc::new(Mutex::new(Some(server))), beats: Arc::default() }
    }

    pub fn behave(&self, behaviour: Behaviour) {
        *self.shared.behaviour.lock().unwrap() = behaviour;
    }

    /// The AI does not confirm by itself from now on.
    pub fn without_ai(&self) {
        *self.shared.ai_ready.lock().unwrap() = false;
    }

    /// Whether requests to end a session or to drain fail, and those about the node itself are not answered.
    pub fn deaf(&self, deaf: bool) {
        self.shared.deaf.store(deaf, Ordering::SeqCst);
    }

    /// Registers and beats, again and again, as long as told.
    pub fn register(&self, control_url: &str, region: &str, max_sessions: u32) {
        let (shared, url) = (Arc::clone(&self.shared), self.url.clone());
        let (control_url, region) = (control_url.to_owned(), region.to_owned());
        self.fall_silent();
        let speaks = Arc::new(AtomicBool::new(true));
        let speaking = Arc::clone(&speaks);
        let bearer = Bearer::new(Some(&NODE_TOKEN.into())).unwrap();
        let beating = tokio::spawn(async move {
            loop {
                let node = media::Node {
                    node_id: shared.id.clone(),
                    region: region.clone(),
                    advertise_url: url.clone(),
                    max_sessions,
                    provider: "embedded".to_owned(),
                    version: "1.2.3".to_owned(),
                    ..media::Node::default()
                };
                let state = Arc::clone(&shared);
                // The stream lives in the connection, not in this task.
                let speaking = Arc::clone(&speaks);
                let beats = IntervalStream::new(tokio::time::interval(BEAT));
                let beats = beats.take_while(move |_| speaking.load(Ordering::SeqCst)).map(move |_| {
                    let live = state.sessions.borrow().values().filter(|session| session.ended.is_none()).count();
                    let draining = state.drains.load(Ordering::SeqCst);
                    let node = media::Node { live_sessions: live as u32, draining, ..node.clone() };
                    ConnectRequest { node: Some(node), node_secret: state.secret.to_vec() }
                });
                if let Ok(channel) = super::plane::channel(&control_url).await
                    && let Ok(acks) = NodeServiceClient::with_interceptor(channel, bearer.clone()).connect(beats).await
                {
                    let mut acks = acks.into_inner();
                    while let Ok(Some(_)) = acks.message().await {}
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        *self.beats.lock().unwrap() = Some((beating, speaking));
    }

    /// Goes silent: no beats; what it serves stays up unless `vanish` is called too.
    pub fn fall_silent(&self) {
        if let Some((beats, speaks)) = self.beats.lock().unwrap().take() {
            speaks.store(false, Ordering::SeqCst);
            beats.abort();
        }
    }

    /// The process is gone.
    pub fn vanish(&self) {
        self.fall_silent();
        if let Some(server) = self.server.lock().unwrap().take() {
            server.shutdown_background();
        }
    }

    /// The process is gone, and its address can be listened on again.
    pub async fn vanish_and_free(&self) -> SocketAddr {
        self.vanish();
        let address = self.url.trim_start_matches("http://").parse().unwrap();
        super::until("the address is free", || async { std::net::TcpListener::bind(address).ok().map(drop) }).await;
        address
    }

    pub fn sessions(&self) -> Vec<FakeSession> {
        self.shared.sessions.borrow().values().cloned().collect()
    }

    /// Waits for a session of the call whose offer has this name that fits.
    pub async fn session(&self, name: &str, what: &str, fits: impl Fn(&FakeSession) -> bool) -> FakeSession {
        let mut sessions = self.shared.sessions.subscribe();
        let is = |session: &FakeSession| session.name == name && fits(session);
        let what = format!("{what} of {name} at {}", self.id);
        let all = wait(&mut sessions, &what, |all| all.values().any(is)).await;
        all.into_values().find(is).unwrap()
    }

    /// Something happens on a call.
    pub fn emit(&self, session_id: &str, kind: Kind) {
        self.shared.emit(session_id, kind);
    }

    /// The session ends by itself.
    pub fn end(&self, session_id: &str, result: types::TerminationResult, reason: &str, code: &str) {
        self.shared.end(
            session_id,
            types::Termination {
                result: result.into(),
                reason: reason.to_owned(),
                message: "of the test".to_owned(),
                upstream_code: code.to_owned(),
            },
        );
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if Arc::strong_count(&self.server) == 1 {
            self.vanish();
        }
    }
}

impl Shared {
    fn emit(&self, session_id: &str, kind: Kind) {
        let transient = matches!(kind, Kind::PartialTranscript(_) | Kind::StatisticsReported(_));
        self.sessions.send_modify(|sessions| {
            let session = sessions.get_mut(session_id).unwrap();
            let durable = session.events.iter().filter(|event| event.sequence > 0).count() as u64;
            session.events.push(types::Event {
                call_id: session.call_id.clone(),
                session_id: session_id.to_owned(),
                sequence: if transient { 0 } else { durable + 1 },
                occurred_at: Some(std::time::SystemTime::now().into()),
                node: self.id.clone(),
                region: String::new(),
                elapsed_ms: session.elapsed_ms + 1,
                kind: Some(kind),
            });
        });
    }

    fn end(&self, session_id: &str, termination: types::Termination) {
        let already = self.sessions.borrow()[session_id].ended.is_some();
        if already {
            return;
        }
        self.emit(
            session_id,
            Kind::SessionEnded(types::SessionEnded {
                termination: Some(termination.clone()),
                statistics: Some(types::MediaStatistics { packets_sent: 50, ..Default::default() }),
                usage: Some(types::Usage { output_audio_tokens: 7, ..Default::default() }),
                duration_ms: 1_000,
                ..Default::default()
            }),
        );
        self.sessions.send_modify(|sessions| {
            sessions.get_mut(session_id).unwrap().ended = Some(termination);
        });
    }

    fn find(&self, session_id: &str) -> Result<FakeSession, Status> {
        self.sessions
            .borrow()
            .get(session_id)
            .cloned()
            .ok_or_else(|| status(Code::NotFound, "SESSION_NOT_FOUND", "no such session", &[]))
    }
}

struct Service(Arc<Shared>);

fn stage_reached(stage: types::Stage) -> Kind {
    Kind::StageReached(types::StageReached { stage: stage.into() })
}

#[tonic::async_trait]
impl MediaPlaneService for Service {
    type StreamEventsStream = Pin<Box<dyn Stream<Item = Result<media::StreamEventsResponse, Status>> + Send>>;

    async fn start_session(
        &self,
        request: Request<media::StartSessionRequest>,
    ) -> Result<Response<media::StartSessionResponse>, Status> {
        let request = request.into_inner();
        let id = request.session_id.clone();
        let offered = request.sdp_offer.lines().find_map(|line| line.strip_prefix("s="));
        let name = offered.unwrap_or(&request.call_id).to_owned();
        let answer = media::StartSessionResponse {
            session_id: id.clone(),
            sdp_answer: format!("v=0\r\ns=answer to {name} of {}\r\n", self.0.id),
            warnings: vec!["no-ptime".to_owned()],
        };
        if let Ok(known) = self.0.find(&id) {
            // One of the arguments stands for all.
            if known.agent != request.agent {
                return Err(status(Code::AlreadyExists, "START_ARGUMENTS_DIFFER", "another", &[("field", "agent")]));
            }
            return Ok(Response::new(answer));
        }
        let behaviour = self.0.behaviour.lock().unwrap().clone();
        match behaviour {
            Behaviour::Take => {}
            Behaviour::Full => return Err(status(Code::ResourceExhausted, "NODE_FULL", "full", &[])),
            Behaviour::Draining => return Err(status(Code::Unavailable, "NODE_DRAINING", "draining", &[])),
            Behaviour::Refuse(rule) => {
                return Err(status(Code::InvalidArgument, "SDP_INVALID", "the offer is bad", &[("rule", rule)]));
            }
            Behaviour::Silent => std::future::pending().await,
        }
        let session = FakeSession {
            session_id: id.clone(),
            call_id: request.call_id.clone(),
            name,
            elapsed_ms: request.elapsed_ms,
            mode: request.signalling_mode(),
            caller: request.caller.unwrap_or_default(),
            agent: request.agent,
            payloads: [request.deeplink_payload, request.cta_payload, request.biz_opaque_callback_data],
            stage: types::SignallingStage::Unspecified,
            events: Vec::new(),
            ended: None,
            commands: Vec::new(),
            command_ids: Vec::new(),
        };
        self.0.sessions.send_modify(|sessions| {
            sessions.insert(id.clone(), session);
        });
        self.0.emit(&id, stage_reached(types::Stage::VoiceBridgeSessionCreated));
        if *self.0.ai_ready.lock().unwrap() {
            self.0.emit(&id, Kind::ProviderReady(types::ProviderReady::default()));
        }
        Ok(Response::new(answer))
    }

    async fn advance_session(
        &self,
        request: Request<media::AdvanceSessionRequest>,
    ) -> Result<Response<media::AdvanceSessionResponse>, Status> {
        let request = request.into_inner();
        let (id, wanted) = (request.session_id.clone(), request.stage());
        let session = self.0.find(&id)?;
        if session.ended.is_some() {
            return Err(status(Code::FailedPrecondition, "SESSION_ENDED", "ended", &[]));
        }
        if wanted > session.stage {
            self.0.sessions.send_modify(|sessions| sessions.get_mut(&id).unwrap().stage = wanted);
            if session.stage == types::SignallingStage::Unspecified {
                self.0.emit(&id, Kind::TransportConnected(types::TransportConnected { duration_ms: 5 }));
            }
            if wanted == types::SignallingStage::Accepted {
                self.0.emit(&id, stage_reached(types::Stage::MediaBridgeActive));
            }
        }
        let stage = session.stage.max(wanted).into();
        Ok(Response::new(media::AdvanceSessionResponse { stage }))
    }

    async fn end_session(
        &self,
        request: Request<media::EndSessionRequest>,
    ) -> Result<Response<media::EndSessionResponse>, Status> {
        let request = request.into_inner();
        self.0.find(&request.session_id)?;
        if self.0.deaf.load(Ordering::SeqCst) {
            return Err(Status::unavailable("deaf"));
        }
        self.0.end(&request.session_id, request.termination.unwrap());
        let termination = self.0.find(&request.session_id)?.ended;
        Ok(Response::new(media::EndSessionResponse { termination }))
    }

    async fn get_session(
        &self,
        request: Request<media::GetSessionRequest>,
    ) -> Result<Response<media::GetSessionResponse>, Status> {
        let session = self.0.find(&request.into_inner().session_id)?;
        Ok(Response::new(media::GetSessionResponse { session: Some(wire(session)) }))
    }

    async fn list_sessions(
        &self,
        _: Request<media::ListSessionsRequest>,
    ) -> Result<Response<media::ListSessionsResponse>, Status> {
        let live =
            self.0.sessions.borrow().values().filter(|session| session.ended.is_none()).cloned().map(wire).collect();
        Ok(Response::new(media::ListSessionsResponse { sessions: live }))
    }

    async fn send_command(
        &self,
        request: Request<media::SendCommandRequest>,
    ) -> Result<Response<media::SendCommandResponse>, Status> {
        let request = request.into_inner();
        let session = self.0.find(&request.session_id)?;
        let command = request.command.unwrap();
        match session.command_ids.iter().position(|id| *id == request.command_id) {
            Some(at) if session.commands[at] == command => {}
            Some(_) => return Err(status(Code::AlreadyExists, "COMMAND_ID_REUSED", "another had it", &[])),
            None => self.0.sessions.send_modify(|sessions| {
                let session = sessions.get_mut(&request.session_id).unwrap();
                session.commands.push(command);
                session.command_ids.push(request.command_id);
            }),
        }
        Ok(Response::new(media::SendCommandResponse {}))
    }

    async fn stream_events(
        &self,
        request: Request<media::StreamEventsRequest>,
    ) -> Result<Response<Self::StreamEventsStream>, Status> {
        let request = request.into_inner();
        let id = request.session_id.clone();
        let session = self.0.find(&id)?;
        // Transient events of before are not repeated.
        let mut sent = session.events.iter().rposition(|event| event.sequence == 0).map_or(0, |at| at + 1);
        let after = request.after_sequence;
        let first: Vec<_> = session.events[..sent].iter().filter(|event| event.sequence > after).cloned().collect();
        let mut first = Some(first);
        let live = WatchStream::new(self.0.sessions.subscribe()).map(move |sessions| {
            let events = &sessions[&id].events;
            let mut fresh = first.take().unwrap_or_default();
            fresh.extend(events[sent..].iter().filter(|event| event.sequence == 0 || event.sequence > after).cloned());
            sent = events.len();
            tokio_stream::iter(fresh)
        });
        let mut over = false;
        let flat = futures_util::StreamExt::flatten(live)
            .take_while(move |event| {
                let was = over;
                over = matches!(event.kind, Some(Kind::SessionEnded(_)));
                !was
            })
            .map(|event| Ok(numbered(event)));
        Ok(Response::new(Box::pin(flat)))
    }

    async fn drain(&self, _: Request<media::DrainRequest>) -> Result<Response<media::DrainResponse>, Status> {
        if self.0.deaf.load(Ordering::SeqCst) {
            return Err(Status::unavailable("deaf"));
        }
        self.0.drains.store(true, Ordering::SeqCst);
        let live = self.0.sessions.borrow().values().filter(|session| session.ended.is_none()).count();
        Ok(Response::new(media::DrainResponse { live_sessions: live as u32 }))
    }

    async fn get_node(&self, _: Request<media::GetNodeRequest>) -> Result<Response<media::GetNodeResponse>, Status> {
        if self.0.deaf.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        let node = media::Node { node_id: self.0.id.clone(), ..media::Node::default() };
        let node_secret_sha256 = Sha256::digest(self.0.secret).to_vec();
        Ok(Response::new(media::GetNodeResponse { node: Some(node), node_secret_sha256 }))
    }
}

/// The session's number stands beside the event on the wire.
fn numbered(event: types::Event) -> media::StreamEventsResponse {
    let session_sequence = event.sequence;
    media::StreamEventsResponse { event: Some(types::Event { sequence: 0, ..event }), session_sequence }
}

fn wire(session: FakeSession) -> media::Session {
    media::Session {
        session_id: session.session_id,
        call_id: session.call_id,
        stage: session.stage.into(),
        last_sequence: session.events.iter().map(|event| event.sequence).max().unwrap_or(0),
        termination: session.ended,
        ..media::Session::default()
    }
}
