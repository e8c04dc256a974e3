//! A media thread with sessions whose AI is made for the test.

#![allow(clippy::unwrap_used)]

mod late_thread;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Instant,
};

use voicebridge_audio::Time;
use voicebridge_session::{
    Agent, EventKind, Limits, ProviderClosed, Session, Setup, SignallingMode, TerminationResult,
    provider::{AudioFormat, Capabilities, Failure, Outbox, Provider, ProviderCommand, ProviderEvent},
    sdp,
};

use super::*;
use crate::{
    caller::{Caller, Kind},
    entry::{Entry, Opening},
    peer::{CandidatePolicy, Engine, LocalMedia, Reach, Remote},
    provider::ProviderSockets,
    sessions::Claim,
    udp::PortPool,
};

/// An AI that is ready at once and panics when it is told to say something, and perhaps when it is dropped.
#[derive(Default)]
struct Fragile {
    breaks_when_dropped: bool,
}

impl Drop for Fragile {
    fn drop(&mut self) {
        assert!(!self.breaks_when_dropped, "dropped");
    }
}

impl Provider for Fragile {
    fn name(&self) -> &'static str {
        "embedded"
    }

    fn model(&self) -> &str {
        "fragile"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { needs_socket: false, says_any_text: true, speaks_g711: false, owes_answer: true, ping: None }
    }

    fn open(&mut self, _now: Time, _agent: &Agent, _format: AudioFormat, out: &mut Outbox<'_>) {
        out.event(ProviderEvent::Ready { session_id: String::new(), model: "fragile".into() });
    }

    fn audio(&mut self, _now: Time, _pcm: &[i16], _out: &mut Outbox<'_>) {}

    fn command(&mut self, _now: Time, command: ProviderCommand<'_>, _out: &mut Outbox<'_>) {
        assert!(!matches!(command, ProviderCommand::Say(_)), "told to say something");
    }

    fn tick(&mut self, _now: Time, _out: &mut Outbox<'_>) {}

    fn deadline(&self) -> Option<Time> {
        None
    }

    fn closed(&self, _closed: ProviderClosed<'_>) -> Failure {
        Failure { code: String::new(), message: String::new() }
    }
}

/// What is to happen happens within it, on any machine.
const PATIENCE: Duration = Duration::from_secs(20);

struct Bench {
    clock: Clock,
    sessions: Arc<Sessions>,
    shards: Shards,
    ports: PortPool,
}

impl Bench {
    fn new() -> Self {
        Self::with_threads(1)
    }

    fn with_threads(threads: usize) -> Self {
        let clock = Clock::new(Instant::now());
        let sessions = Sessions::new(10);
        let shards = Shards::start(threads, Governor::default(), clock, &sessions).unwrap();
        Self { clock, sessions, shards, ports: pool(20) }
    }

    fn add(&self, session_id: &str) -> (Arc<Entry>, ShardIndex) {
        self.add_with(session_id, Fragile::default())
    }

    fn add_with(&self, session_id: &str, provider: Fragile) -> (Arc<Entry>, ShardIndex) {
        let shard = self.shards.choose(Instant::now()).unwrap();
        (self.add_at(shard, session_id, provider), shard)
    }

    fn add_at(&self, shard: ShardIndex, session_id: &str, provider: Fragile) -> Arc<Entry> {
        let now = Instant::now();
        let (_, sdp_offer) = Caller::new(now, SocketAddr::from(([127, 0, 0, 1], 9)), Kind::Relay);
        let negotiated = sdp::lint(&sdp_offer).unwrap().negotiated;
        let lease = self.ports.open(now).unwrap();
        let home = IpAddr::from(Ipv4Addr::LOCALHOST);
        let reach = Reach { ours: home, policy: CandidatePolicy::Auto };
        let local_media = LocalMedia {
            announced: SocketAddr::new(home, lease.port),
            ssrc: 1,
            cname: "bridge",
            connect_within: Duration::from_secs(10),
        };
        let peer = Engine::accept(now, &Remote::new(&negotiated, reach), local_media).unwrap();
        let time = self.clock.time(now);
        let entry = Arc::new(Entry::new(Opening {
            session_id: session_id.into(),
            call_id: "wacid.1".into(),
            started: time,
            elapsed_ms: 0,
            sdp_answer: String::new(),
            warnings: Vec::new(),
            arguments: Default::default(),
        }));
        let mut ports = SessionPorts {
            peer,
            datagrams: Datagrams::default(),
            connections: ProviderSockets::none(),
            entry: entry.clone(),
            now,
            span: tracing::Span::none(),
        };
        let setup = Setup {
            agent: Agent::default(),
            provider: Box::new(provider),
            mode: SignallingMode::Staged,
            negotiated: &negotiated,
            limits: Limits::default(),
            seed: 1,
            elapsed_ms: 0,
            answer_ms: 0,
        };
        let session = Session::new(time, setup, &mut ports).unwrap();
        let call = Call::new(session, ports, lease, self.clock, SignallingMode::Staged);
        let Ok(Claim::Reserved(reservation)) = self.sessions.reserve(session_id, time) else { panic!("no slot") };
        reservation.fill(entry.clone(), shard);
        self.shards.add(shard, call).unwrap();
        entry
    }

    fn health(&self) -> ThreadHealth {
        self.shards.health(Instant::now())
    }
}

/// So many ports, most of which are free: those above one that is.
fn pool(ports: u16) -> PortPool {
    let free = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let first = free.min(u16::MAX - ports);
    PortPool::new(first..=first + ports, Ipv4Addr::LOCALHOST.into(), Duration::ZERO)
}

fn draining() -> Termination {
    Termination {
        result: TerminationResult::Failed,
        reason: "NODE_DRAINING".into(),
        message: String::new(),
        upstream_code: String::new(),
    }
}

/// The reason of a session's one ending, once its subscribers have seen it and then nothing more.
async fn ending(entry: &Entry) -> String {
    let mut reader = entry.journal.follow(0).unwrap();
    let mut last = 0;
    let mut endings = Vec::new();
    let reading = async {
        while let Some(record) = reader.next().await {
            let event = record.unwrap().event.clone();
            if event.sequence > 0 {
                assert_eq!(event.sequence, last + 1, "gapless");
                last = event.sequence;
            }
            if let EventKind::Ended { termination, .. } = event.kind {
                assert_eq!(termination.result, TerminationResult::Failed);
                endings.push(termination.reason);
            }
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("its stream ends");
    assert_eq!(endings.len(), 1, "{endings:?}");
    endings.remove(0)
}

#[tokio::test]
async fn a_panic_ends_its_own_session_only() {
    let bench = Bench::new();
    let (fragile, shard) = bench.add("fragile");
    let (_sturdy, _) = bench.add("sturdy");
    assert_eq!(bench.sessions.taken(), 2);
    let before = fragile.journal.last_sequence();

    let said = bench.shards.act(shard, "fragile".into(), "c".into(), Command::Say("boom".into())).await;
    assert_eq!(said, Ok(None));
    let end = fragile.journal.end().expect("it has ended");
    assert_eq!(end.event.sequence, before + 1, "gapless");
    let EventKind::Ended { termination, .. } = &end.event.kind else { panic!("{end:?}") };
    assert_eq!((termination.result, termination.reason.as_str()), (TerminationResult::Failed, "INTERNAL"));
    assert_eq!(bench.sessions.taken(), 1, "its slot is free");

    let stage = bench.shards.advance(shard, "sturdy".into(), Stage::Accepted).await;
    assert_eq!(stage, Ok(Some(Stage::Accepted)), "the neighbour goes on");
    let stage = bench.shards.advance(shard, "fragile".into(), Stage::Accepted).await;
    assert_eq!(stage, Ok(None));
}

/// A thread asks its sessions for more than steps: what they want to be woken for, and how they are doing.
#[tokio::test]
async fn a_panic_of_what_is_dropped_leaves_the_neighbour_alone() {
    let bench = Bench::new();
    let (fragile, shard) = bench.add_with("fragile", Fragile { breaks_when_dropped: true });
    let (_sturdy, _) = bench.add("sturdy");
    bench.shards.end(shard, "fragile".into(), draining()).await.expect("it ends");
    assert_eq!(ending(&fragile).await, "NODE_DRAINING");
    let stage = bench.shards.advance(shard, "sturdy".into(), Stage::Accepted).await;
    assert_eq!(stage, Ok(Some(Stage::Accepted)), "the neighbour goes on");
    assert_eq!(bench.sessions.taken(), 1, "its slot is free");
}

#[tokio::test]
async fn all_sessions_can_be_ended_at_once() {
    let bench = Bench::new();
    let entries = [bench.add("a").0, bench.add("b").0];
    let termination = draining();
    bench.shards.end_all(&termination).await;
    tokio::time::timeout(Duration::from_secs(5), bench.sessions.idle()).await.expect("no session is left");
    for entry in entries {
        assert_eq!(entry.termination().unwrap().reason, "NODE_DRAINING");
    }
    // An order for a session that is gone is answered at once.
    assert_eq!(bench.shards.end(ShardIndex(0), "a".into(), termination).await, Ok(None));
}

#[tokio::test]
async fn calls_are_spread_over_the_threads() {
    let clock = Clock::new(Instant::now());
    let shards = Shards::start(3, Governor::default(), clock, &Sessions::new(10)).unwrap();
    let mut chosen: Vec<usize> = (0..6).map(|_| shards.choose(Instant::now()).unwrap().0).collect();
    chosen.sort_unstable();
    assert_eq!(chosen, [0, 0, 1, 1, 2, 2]);
}

#[tokio::test]
async fn a_thread_that_dies_ends_its_calls_with_a_reason_and_gets_no_more() {
    let bench = Bench::with_threads(2);
    let (lost, dying) = bench.add("lost");
    let (kept, other) = bench.add("kept");
    assert_ne!(dying, other);
    // Handed over while the thread does something else, and never taken.
    let (hand_over, handed_over) = std::sync::mpsc::channel::<()>();
    bench.shards.inject(dying.0, move || {
        handed_over.recv().unwrap();
        panic!("a fault outside of every session");
    });
    let waiting = bench.add_at(dying, "waiting", Fragile::default());
    hand_over.send(()).unwrap();

    assert_eq!([ending(&lost).await, ending(&waiting).await], ["MEDIA_THREAD_LOST", "MEDIA_THREAD_LOST"]);
    assert_eq!(bench.health(), ThreadHealth { threads: 2, dead: 1, stalled: 0 });
    until("their slots are free", || bench.sessions.taken() == 1).await;
    assert!(kept.termination().is_none());
    let stage = bench.shards.advance(other, "kept".into(), Stage::Accepted).await;
    assert_eq!(stage, Ok(Some(Stage::Accepted)), "the other thread goes on");
    assert_eq!(bench.shards.advance(dying, "lost".into(), Stage::Accepted).await, Err(Busy));
    let chosen: Vec<ShardIndex> = (0..4).map(|_| bench.shards.choose(Instant::now()).unwrap()).collect();
    assert_eq!(chosen, [other; 4]);
}

#[tokio::test]
async fn a_dead_threads_ports_are_free_again() {
    let bench = Bench { ports: pool(0), ..Bench::new() };
    let (_, shard) = bench.add("the only port");
    assert!(bench.ports.open(Instant::now()).is_err());
    bench.shards.kill(shard.0);
    until("the port is given back", || bench.ports.open(Instant::now()).is_ok()).await;
}

#[tokio::test]
async fn without_any_thread_there_is_none_to_choose() {
    let bench = Bench::with_threads(2);
    (0..2).for_each(|thread| bench.shards.kill(thread));
    until("both are dead", || bench.health().none_is_left()).await;
    assert_eq!(bench.shards.choose(Instant::now()), Err(NoThread));
    assert!(bench.shards.media_load().abs() < f32::EPSILON, "what is dead is not busy");
}

#[tokio::test]
async fn a_thread_that_hangs_is_told_and_gets_no_calls_until_it_goes_on() {
    let bench = Bench::with_threads(2);
    let (entry, hanging) = bench.add("hanging");
    let (go_on, released) = std::sync::mpsc::channel::<()>();
    let (begun, hangs) = std::sync::mpsc::channel();
    bench.shards.inject(hanging.0, move || {
        begun.send(Instant::now()).unwrap();
        let _ = released.recv();
    });
    let since = hangs.recv().unwrap();
    let after = since + STALLED_AFTER;
    assert_eq!(bench.shards.health(after), ThreadHealth { threads: 2, dead: 0, stalled: 1 });
    // The other has had no call yet: it waits, and is none of those that hang.
    let chosen: Vec<ShardIndex> = (0..4).map(|_| bench.shards.choose(after).unwrap()).collect();
    assert!(!chosen.contains(&hanging), "{chosen:?}");
    go_on.send(()).unwrap();
    until("it goes on", || bench.shards.health(after).lost() == 0).await;
    assert!(entry.termination().is_none(), "so does its call");
}

/// Looks again and again; how a thread gets on is told to nobody.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let looking = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.unwrap_or_else(|_| panic!("not in time: {what}"));
}
