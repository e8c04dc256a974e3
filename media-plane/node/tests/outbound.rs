//! A leg that begins with an offer of ours: the simulated Meta's relay answers it, somebody picks up, audio flows both ways.

#![allow(clippy::unwrap_used)]

use std::{
    f64::consts::TAU,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    sync::Arc,
    time::{Duration, Instant},
};

use voicebridge_audio::governor::Governor;
use voicebridge_node::{
    clock::Clock,
    entry::{Entry, Opening},
    peer::{CandidatePolicy, Engine, LocalMedia, Reach, Remote},
    provider::ProviderSockets,
    sessions::{Claim, Sessions},
    shard::{Call, Datagrams, SessionPorts, ShardIndex, Shards},
    udp::PortPool,
};
use voicebridge_session::{
    Agent, Limits, Session, Setup, SignallingMode, Stage, Statistics, Termination, TerminationResult,
    provider::embedded::Embedded, sdp,
};
use voicebridge_simulator::meta::{
    AnsweredRole, CallHandle, Called, CallerSettings, EndedBy, Meta, MetaSettings, Moment, Step, Utterance,
};

const SESSION: &str = "outbound";
/// Longer than the callee lets it ring in any test.
const RINGS_FOR: Duration = Duration::from_millis(400);

struct Leg {
    sessions: Arc<Sessions>,
    shards: Shards,
    shard: ShardIndex,
    entry: Arc<Entry>,
}

/// Offers, has the callee's relay answer, and puts the leg on a media thread. Nothing has left yet.
async fn call(meta: &Meta, settings: CallerSettings, role: AnsweredRole) -> (Leg, CallHandle) {
    let now = Instant::now();
    let clock = Clock::new(now);
    let sessions = Sessions::new(1);
    let shards = Shards::start(1, Governor::default(), clock, &sessions).unwrap();
    let home = IpAddr::from(Ipv4Addr::LOCALHOST);
    let free = UdpSocket::bind((home, 0)).unwrap().local_addr().unwrap().port();
    let first = free.min(u16::MAX - 20);
    let lease = PortPool::new(first..=first + 20, home, Duration::ZERO).open(now).unwrap();
    let local_media = LocalMedia {
        announced: SocketAddr::new(home, lease.port),
        ssrc: 0xfeed_5eed,
        cname: "bridge",
        connect_within: Duration::from_secs(10),
    };

    let offered = Engine::offer(local_media).unwrap();
    let local = offered.local();
    let offer = sdp::offer(&sdp::Local {
        address: home,
        port: lease.port,
        ice_ufrag: &local.ice_ufrag,
        ice_pwd: &local.ice_pwd,
        fingerprint: &local.fingerprint,
        ssrc: local.ssrc,
        cname: "bridge",
        origin_id: 1,
    });
    let called = Called { offer: offer.sdp().to_owned(), picks_up_after: RINGS_FOR, role };
    let (callee, answer) = meta.ring(settings, called).await.unwrap();
    let negotiated = sdp::read_answer(&offer, &answer).unwrap();
    let reach = Reach { ours: home, policy: CandidatePolicy::Auto };
    let peer = offered.apply_answer(now, &Remote::new(&negotiated, reach)).unwrap();

    let entry = Arc::new(Entry::new(Opening {
        session_id: SESSION.into(),
        call_id: callee.id().to_owned(),
        started: clock.time(now),
        elapsed_ms: 0,
        sdp_answer: answer,
        warnings: negotiated.warnings.clone(),
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
        provider: Box::new(Embedded::new()),
        mode: SignallingMode::Staged,
        negotiated: &negotiated,
        limits: Limits::default(),
        seed: 1,
        elapsed_ms: 0,
        answer_ms: 0,
    };
    let session = Session::new(clock.time(now), setup, &mut ports).unwrap();
    let shard = shards.choose(now).unwrap();
    let Ok(Claim::Reserved(reservation)) = sessions.reserve(SESSION, clock.time(now)) else { panic!("no slot") };
    reservation.fill(entry.clone(), shard);
    shards.add(shard, Call::new(session, ports, lease, clock, SignallingMode::Staged)).unwrap();
    (Leg { sessions, shards, shard, entry }, callee)
}

impl Leg {
    async fn advance(&self, stage: Stage) {
        assert_eq!(self.shards.advance(self.shard, SESSION.into(), stage).await.unwrap(), Some(stage));
    }

    /// Counters at the end of the call.
    async fn ended(&self) -> Statistics {
        tokio::time::timeout(Duration::from_secs(20), self.sessions.idle()).await.unwrap();
        self.entry.snapshot().statistics
    }
}

/// Something voice-like of a second, at 24 kHz.
fn words() -> Utterance {
    let pcm: Vec<i16> = (0..24_000)
        .map(|index| {
            let seconds = f64::from(index) / 24_000.0;
            let swell = 0.6 + 0.4 * (seconds * 5.0 * TAU).sin();
            let wave: f64 = (1..=4).map(|k| (seconds * 180.0 * f64::from(k) * TAU).sin() / f64::from(k)).sum();
            (wave * swell * 6_000.0) as i16
        })
        .collect();
    Utterance::new("words", &pcm).unwrap()
}

async fn completes(role: AnsweredRole) {
    let meta = Meta::start(MetaSettings::default()).await.unwrap();
    let quiet = Duration::from_millis(600);
    let script = vec![Step::WaitHeard { quiet }, Step::Say(words()), Step::WaitForSpeech, Step::HangUp];
    let (leg, callee) = call(&meta, CallerSettings { script, ..CallerSettings::default() }, role).await;

    leg.advance(Stage::AnswerDelivered).await;
    let connected = callee.reached(Moment::TransportConnected).await.expect("connected while it rings");
    let picked_up = callee.reached(Moment::AcceptAnswered).await.expect("picked up");
    assert!(connected < picked_up, "{:?} late", connected - picked_up);
    leg.advance(Stage::Accepted).await;
    callee.reached(Moment::FirstSpeech).await.expect("the greeting is heard");
    let record = callee.finish().await;
    let hung_up = Termination {
        result: TerminationResult::Completed,
        reason: "USER_HANGUP".into(),
        message: String::new(),
        upstream_code: String::new(),
    };
    leg.shards.end_all(&hung_up).await;
    let statistics = leg.ended().await;

    assert_eq!(record.ended_by, EndedBy::Caller, "{:?}", record.timeline);
    assert_eq!(record.violations, Vec::<String>::new());
    assert!(record.speech_heard >= Duration::from_millis(500), "{:?} of the greeting", record.speech_heard);
    assert_eq!(record.ssrcs.iter().copied().collect::<Vec<_>>(), [0xfeed_5eed]);
    assert!(statistics.packets_received as usize >= record.sent.len() * 9 / 10, "{statistics:?}");
    assert!(statistics.received_ms >= 1_000, "{statistics:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leg_of_our_own_offer_completes_with_a_lite_relay_that_says_hello() {
    completes(AnsweredRole::Active).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leg_of_our_own_offer_completes_with_a_lite_relay_that_waits_for_our_hello() {
    completes(AnsweredRole::Passive).await;
}
