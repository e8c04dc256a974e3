//! A media node in this process and callers on real sockets.

#![allow(clippy::unwrap_used, dead_code, unreachable_pub)]

pub mod caller;

use std::{
    net::{SocketAddr, UdpSocket},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use caller::{Caller, Heard, Kind};
use rtc::rtp;
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};
use tonic::{service::interceptor::InterceptedService, transport::Channel};
use voicebridge_node::{Config, RawConfig};
use voicebridge_proto::media::v1::{
    StartSessionRequest, StreamEventsRequest, media_plane_service_client::MediaPlaneServiceClient,
};
use voicebridge_proto::types::v1 as types;
use voicebridge_telemetry::{
    auth::Bearer,
    local::{LocalSecret, StateDir},
};

pub type Client = MediaPlaneServiceClient<InterceptedService<Channel, Bearer>>;

/// A running node. Dropping it leaves the rest to the end of the test's runtime.
pub struct TestNode {
    pub url: String,
    /// Shows the local token, where the node has no other.
    pub client: Client,
    /// What it shows.
    pub bearer: Bearer,
    pub drain: Option<oneshot::Sender<()>>,
    pub force: Option<oneshot::Sender<()>>,
    pub ended: JoinHandle<anyhow::Result<()>>,
    _ports: Ports,
    _state: TempDir,
}

impl TestNode {
    pub async fn start(tweak: impl FnOnce(&mut RawConfig)) -> Self {
        Self::start_with(tweak, |_| {}).await
    }

    /// Also with what is no setting.
    pub async fn start_with(tweak: impl FnOnce(&mut RawConfig), more: impl FnOnce(&mut Config)) -> Self {
        // Nobody is at the control URL; the node goes on trying.
        let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let ports = Ports::new();
        let state = tempfile::tempdir().unwrap();
        let mut raw = RawConfig {
            control_url: Some(format!("http://{nobody}")),
            public_ip: Some("127.0.0.1".into()),
            udp_ports: Some(ports.range()),
            threads: Some("1".into()),
            state_dir: Some(state.path().display().to_string()),
            ..RawConfig::default()
        };
        tweak(&mut raw);
        let mut config = Config::resolve(raw).unwrap();
        more(&mut config);
        let local = StateDir::at(state.path().to_owned()).read_or_make(LocalSecret::NodeToken).unwrap();
        let bearer = Bearer::new(Some(&local).filter(|_| config.node_token.is_none())).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (drain, draining) = oneshot::channel::<()>();
        let (force, forced) = oneshot::channel::<()>();
        let wait = |receiver: oneshot::Receiver<()>| async {
            if receiver.await.is_err() {
                std::future::pending().await
            }
        };
        let ended = tokio::spawn(voicebridge_node::run_until(config, listener, wait(draining), wait(forced)));
        let channel = Channel::from_shared(url.clone()).unwrap().connect().await.unwrap();
        let client = Client::new(InterceptedService::new(channel, bearer.clone()));
        Self { url, client, bearer, drain: Some(drain), force: Some(force), ended, _ports: ports, _state: state }
    }

    pub async fn events(&mut self, session_id: &str, after: u64) -> tonic::Streaming<EventResponse> {
        let request = StreamEventsRequest { session_id: session_id.into(), after_sequence: after };
        self.client.stream_events(request).await.unwrap().into_inner()
    }
}

pub type EventResponse = voicebridge_proto::media::v1::StreamEventsResponse;

/// UDP ports for a node: above one that the system gives to nobody else while this lives. A port of them that somebody
/// else has is passed over by the node.
pub struct Ports {
    first: u16,
    _held: UdpSocket,
}

impl Ports {
    const COUNT: u16 = 16;

    fn new() -> Self {
        let held = UdpSocket::bind("127.0.0.1:0").unwrap();
        let first = held.local_addr().unwrap().port().min(u16::MAX - Self::COUNT) + 1;
        Self { first, _held: held }
    }

    fn range(&self) -> String {
        format!("{}-{}", self.first, self.first + Self::COUNT - 1)
    }
}

pub fn start_request(session_id: &str, offer: &str) -> StartSessionRequest {
    StartSessionRequest {
        session_id: session_id.into(),
        call_id: format!("wacid.{session_id}"),
        sdp_offer: offer.into(),
        elapsed_ms: 7,
        ..StartSessionRequest::default()
    }
}

/// The number in its session that the next event has.
pub async fn next_sequence(stream: &mut tonic::Streaming<EventResponse>) -> Option<u64> {
    let next = tokio::time::timeout(PATIENCE, stream.message()).await.expect("an event in time");
    next.unwrap().map(|response| response.session_sequence)
}

pub async fn next_event(stream: &mut tonic::Streaming<EventResponse>) -> Option<types::Event> {
    let next = tokio::time::timeout(PATIENCE, stream.message()).await.expect("an event in time");
    next.unwrap().map(|response| response.event.unwrap())
}

/// Reads until an event of this kind comes.
pub async fn wait_for(
    stream: &mut tonic::Streaming<EventResponse>,
    mut wanted: impl FnMut(&types::event::Kind) -> bool,
) -> types::Event {
    loop {
        let event = next_event(stream).await.expect("the stream goes on");
        if wanted(event.kind.as_ref().unwrap()) {
            return event;
        }
    }
}

/// What is to happen happens within it, on any machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A caller on a socket, driven by a thread. It speaks what [`Phone::speak`] queues, one packet every 20 ms.
pub struct Phone {
    pub offer: String,
    orders: mpsc::Sender<PhoneOrder>,
    heard: mpsc::Receiver<(Instant, Heard)>,
}

enum PhoneOrder {
    Answer(String),
    Speak(Vec<Vec<u8>>),
}

impl Phone {
    pub fn ring(kind: Kind) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        let address = socket.local_addr().unwrap();
        let (caller, offer) = Caller::new(Instant::now(), address, kind);
        let (orders, inbox) = mpsc::channel();
        let (outbox, heard) = mpsc::channel();
        thread::spawn(move || run_phone(&socket, caller, &inbox, &outbox));
        Self { offer, orders, heard }
    }

    pub fn answer(&self, sdp: &str) {
        self.orders.send(PhoneOrder::Answer(sdp.into())).unwrap();
    }

    pub fn speak(&self, packets: Vec<Vec<u8>>) {
        self.orders.send(PhoneOrder::Speak(packets)).unwrap();
    }

    /// Packets heard within `time`: for what must not come. For what must, [`Phone::hear`].
    pub async fn listen(&mut self, time: Duration) -> Vec<(Instant, rtp::Packet)> {
        tokio::time::sleep(time).await;
        std::iter::from_fn(|| self.next_packet()).collect()
    }

    /// The next packets, with the moments they came; however long it takes a busy machine, within [`PATIENCE`].
    pub async fn hear(&mut self, packets: usize) -> Vec<(Instant, rtp::Packet)> {
        let mut heard = Vec::new();
        let hearing = async {
            while heard.len() < packets {
                match self.next_packet() {
                    Some(packet) => heard.push(packet),
                    None => tokio::time::sleep(Duration::from_millis(1)).await,
                }
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, hearing).await.is_ok();
        assert!(in_time, "{} packets of {packets}", heard.len());
        heard
    }

    fn next_packet(&mut self) -> Option<(Instant, rtp::Packet)> {
        self.heard.try_iter().find_map(|(at, heard)| match heard {
            Heard::Rtp(packet) => Some((at, packet)),
            Heard::Connected | Heard::Closed | Heard::Rtcp(_) => None,
        })
    }
}

fn run_phone(
    socket: &UdpSocket,
    mut caller: Caller,
    orders: &mpsc::Receiver<PhoneOrder>,
    heard: &mpsc::Sender<(Instant, Heard)>,
) {
    let mut buffer = [0; 2_048];
    let (mut sequence, mut timestamp) = (100_u16, 0_u32);
    let mut words = std::collections::VecDeque::new();
    let mut next_word = Instant::now();
    loop {
        let now = Instant::now();
        match orders.try_recv() {
            Ok(PhoneOrder::Answer(sdp)) => caller.answer(now, &sdp),
            Ok(PhoneOrder::Speak(packets)) => words.extend(packets),
            Err(mpsc::TryRecvError::Empty) => {}
            Err(mpsc::TryRecvError::Disconnected) => return,
        }
        caller.run(now);
        if caller.connected && now >= next_word {
            next_word = now + Duration::from_millis(20);
            if let Some(word) = words.pop_front() {
                let word: Vec<u8> = word;
                caller.speak(now, sequence, timestamp, &word);
                sequence = sequence.wrapping_add(1);
            }
            timestamp = timestamp.wrapping_add(960);
        }
        while let Some((to, bytes)) = caller.transmit() {
            let to: SocketAddr = to;
            let _ = socket.send_to(&bytes, to);
        }
        while let Some(what) = caller.heard.pop_front() {
            if heard.send((Instant::now(), what)).is_err() {
                return;
            }
        }
        if let Ok((length, from)) = socket.recv_from(&mut buffer) {
            caller.datagram(Instant::now(), &buffer[..length], from);
        }
    }
}
