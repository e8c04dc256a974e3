//! A thousand durable events a second in, twenty subscribers to all calls, twenty thousand deliveries a second out, over
//! real connections. Asserts that nothing is lost and prints how long it took; run alone, in release, for figures:
//! `cargo test --release -p voicebridge-server --test throughput -- --nocapture`.

#![allow(clippy::unwrap_used)]

mod support;

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use futures_util::{Stream, StreamExt as _, future::join_all};
use support::{Graph, PATIENCE, Plane, plane, until};
use tokio::sync::mpsc;
use tokio_stream::wrappers::{IntervalStream, TcpListenerStream, UnboundedReceiverStream};
use tonic::{Request, Response, Status};
use voicebridge_proto::{
    control::v1::{StartSessionRequest, StreamEventsRequest},
    media::v1::{
        self as media, ConnectRequest,
        media_plane_service_server::{MediaPlaneService, MediaPlaneServiceServer},
        node_service_client::NodeServiceClient,
    },
    types::v1::{self as types, EventKind, event::Kind},
};
use voicebridge_telemetry::auth::Bearer;

const CALLS: usize = 100;
const SUBSCRIBERS: usize = 20;
const EVENTS_PER_S: usize = 1_000;
const SECONDS: usize = 3;

/// A node whose sessions say what they are given, each in a queue of its own.
#[derive(Clone, Default)]
struct Talkers(Arc<Mutex<HashMap<String, Talker>>>);

struct Talker {
    sequence: u64,
    events: mpsc::UnboundedSender<media::StreamEventsResponse>,
    /// Until the control plane asks for it.
    waiting: Option<mpsc::UnboundedReceiver<media::StreamEventsResponse>>,
}

impl Talkers {
    fn say(&self, session_id: &str, text: String) {
        let mut talkers = self.0.lock().unwrap();
        let talker = talkers.get_mut(session_id).unwrap();
        talker.sequence += 1;
        let event = types::Event {
            session_id: session_id.to_owned(),
            kind: Some(Kind::Transcript(types::Transcript { text, ..types::Transcript::default() })),
            ..types::Event::default()
        };
        let response = media::StreamEventsResponse { event: Some(event), session_sequence: talker.sequence };
        talker.events.send(response).unwrap();
    }

    fn sessions(&self) -> Vec<String> {
        self.0.lock().unwrap().keys().cloned().collect()
    }
}

fn not_here<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("not in this test"))
}

#[tonic::async_trait]
impl MediaPlaneService for Talkers {
    type StreamEventsStream = Pin<Box<dyn Stream<Item = Result<media::StreamEventsResponse, Status>> + Send>>;

    async fn start_session(
        &self,
        request: Request<media::StartSessionRequest>,
    ) -> Result<Response<media::StartSessionResponse>, Status> {
        let session_id = request.into_inner().session_id;
        let (events, waiting) = mpsc::unbounded_channel();
        let talker = Talker { sequence: 0, events, waiting: Some(waiting) };
        self.0.lock().unwrap().insert(session_id.clone(), talker);
        let sdp_answer = "v=0".to_owned();
        Ok(Response::new(media::StartSessionResponse { session_id, sdp_answer, warnings: Vec::new() }))
    }

    async fn stream_events(
        &self,
        request: Request<media::StreamEventsRequest>,
    ) -> Result<Response<Self::StreamEventsStream>, Status> {
        let waiting = self.0.lock().unwrap().get_mut(&request.into_inner().session_id).and_then(|t| t.waiting.take());
        let waiting = waiting.ok_or_else(|| Status::unavailable("asked for once only"))?;
        let events = UnboundedReceiverStream::new(waiting);
        Ok(Response::new(Box::pin(events.map(Ok))))
    }

    async fn advance_session(
        &self,
        _: Request<media::AdvanceSessionRequest>,
    ) -> Result<Response<media::AdvanceSessionResponse>, Status> {
        not_here()
    }
    async fn end_session(
        &self,
        _: Request<media::EndSessionRequest>,
    ) -> Result<Response<media::EndSessionResponse>, Status> {
        not_here()
    }
    async fn get_session(
        &self,
        _: Request<media::GetSessionRequest>,
    ) -> Result<Response<media::GetSessionResponse>, Status> {
        not_here()
    }
    async fn list_sessions(
        &self,
        _: Request<media::ListSessionsRequest>,
    ) -> Result<Response<media::ListSessionsResponse>, Status> {
        Ok(Response::new(media::ListSessionsResponse::default()))
    }
    async fn send_command(
        &self,
        _: Request<media::SendCommandRequest>,
    ) -> Result<Response<media::SendCommandResponse>, Status> {
        not_here()
    }
    async fn drain(&self, _: Request<media::DrainRequest>) -> Result<Response<media::DrainResponse>, Status> {
        not_here()
    }
    async fn get_node(&self, _: Request<media::GetNodeRequest>) -> Result<Response<media::GetNodeResponse>, Status> {
        not_here()
    }
}

async fn serve(talkers: Talkers, control_url: &str) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let advertise_url = format!("http://{}", listener.local_addr().unwrap());
    let server = tonic::transport::Server::builder().add_service(MediaPlaneServiceServer::new(talkers));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    let node = media::Node {
        node_id: "talkers".to_owned(),
        region: "local".to_owned(),
        advertise_url,
        max_sessions: CALLS as u32,
        ..media::Node::default()
    };
    let beats = IntervalStream::new(tokio::time::interval(support::node::BEAT));
    let beats = beats.map(move |_| ConnectRequest { node: Some(node.clone()), node_secret: vec![7; 32] });
    let channel = plane::channel(control_url).await.unwrap();
    let bearer = Bearer::new(Some(&support::NODE_TOKEN.into())).unwrap();
    let mut acks = NodeServiceClient::with_interceptor(channel, bearer).connect(beats).await.unwrap().into_inner();
    tokio::spawn(async move { while let Ok(Some(_)) = acks.message().await {} });
}

/// Delays, and call and sequence of each event in the order they came.
type Read = (Vec<Duration>, Vec<(String, u64)>);

/// Reads until it has all; the delays, and what each call said in the order it came.
async fn subscribe(plane: &Plane, begun: Instant, expect: usize) -> impl Future<Output = Read> + use<> {
    let request = StreamEventsRequest { kinds: vec![EventKind::Transcript.into()], ..StreamEventsRequest::default() };
    let mut stream = plane.client().await.stream_events(request).await.unwrap().into_inner();
    // Subscribed from here on.
    stream.message().await.unwrap().unwrap();
    async move {
        let (mut delays, mut seen) = (Vec::with_capacity(expect), Vec::with_capacity(expect));
        while seen.len() < expect {
            let response = stream.message().await.unwrap().expect("the stream goes on");
            assert!(response.lagged.is_none(), "too slow");
            let Some(event) = response.event else { continue };
            let Some(Kind::Transcript(transcript)) = event.kind else { panic!("{event:?}") };
            let said = Duration::from_nanos(transcript.text.parse().unwrap());
            delays.push(begun.elapsed().saturating_sub(said));
            seen.push((event.call_id, event.sequence));
        }
        (delays, seen)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_events_a_second_reach_twenty_subscribers() {
    let graph = Graph::start().await;
    let mut config = plane::config(&graph.url);
    // Neighbours on this machine must not make it lose the node.
    config.limits.node_lost_beats = 400;
    let plane = Plane::start_with(config).await;
    let talkers = Talkers::default();
    serve(talkers.clone(), &plane.url).await;
    plane.nodes(1).await;
    for call in 0..CALLS {
        let request = StartSessionRequest {
            call_id: format!("call-{call}"),
            sdp_offer: "v=0".to_owned(),
            ..StartSessionRequest::default()
        };
        plane.client().await.start_session(request).await.unwrap();
    }
    let sessions = talkers.sessions();
    until("every session is followed", || async {
        talkers.0.lock().unwrap().values().all(|talker| talker.waiting.is_none()).then_some(())
    })
    .await;

    let begun = Instant::now();
    let expect = EVENTS_PER_S * SECONDS;
    let subscribers = join_all((0..SUBSCRIBERS).map(|_| subscribe(&plane, begun, expect))).await;
    let reading: Vec<_> = subscribers.into_iter().map(tokio::spawn).collect();
    let first = Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / EVENTS_PER_S as u32);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
    for n in 0..expect {
        ticks.tick().await;
        talkers.say(&sessions[n % CALLS], begun.elapsed().as_nanos().to_string());
    }
    let told = tokio::time::timeout(PATIENCE * 3, join_all(reading)).await.expect("all is delivered");
    let took = first.elapsed();

    let mut delays = Vec::new();
    let mut all_seen = Vec::new();
    for told in told {
        let (own, seen) = told.unwrap();
        delays.extend(own);
        all_seen.push(seen);
    }
    for seen in &all_seen {
        assert_eq!(seen, &all_seen[0], "all see the same order");
        let mut last: HashMap<&str, u64> = HashMap::new();
        for (call_id, sequence) in seen {
            let before = last.insert(call_id, *sequence);
            assert!(before.is_none_or(|before| before + 1 == *sequence), "{call_id} {sequence} after {before:?}");
        }
    }
    assert_eq!(delays.len(), expect * SUBSCRIBERS);
    delays.sort_unstable();
    let at = |share: f64| delays[((delays.len() - 1) as f64 * share) as usize];
    println!(
        "{expect} events in {took:.2?} ({:.0}/s) to {SUBSCRIBERS} subscribers ({:.0} deliveries/s): p50 {:.2?}, p95 \
         {:.2?}, p99 {:.2?}, most {:.2?}",
        expect as f64 / took.as_secs_f64(),
        delays.len() as f64 / took.as_secs_f64(),
        at(0.5),
        at(0.95),
        at(0.99),
        at(1.0),
    );
}
