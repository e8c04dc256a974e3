//! Two peers over memory in virtual time: ours and a caller made of `rtc`.

#![allow(clippy::unwrap_used)]

mod media;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::Bytes;
use rtc::rtcp::{
    goodbye::Goodbye,
    sender_report::SenderReport,
    source_description::{SdesType, SourceDescription},
};
use voicebridge_audio::codec::Codec;
use voicebridge_session::sdp::{self, DtlsRole};

use super::*;
use crate::caller::{CALLER_SSRC, Caller, Heard, Kind, OTHER_SSRC, attribute};

const OURS: ([u8; 4], u16) = ([203, 0, 113, 7], 40_000);
const THEIRS: ([u8; 4], u16) = ([192, 0, 2, 10], 3_480);
const ONE_WAY: Duration = Duration::from_millis(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Out,
    In,
}

type Lose = Box<dyn FnMut(Way, &[u8]) -> bool>;

/// Both ends, the wire between them, and the time.
struct World {
    start: Instant,
    now: Instant,
    peer: Engine,
    caller: Caller,
    /// In flight, by arrival and order.
    wire: BTreeMap<(Instant, u64), (Way, Bytes)>,
    sent: u64,
    /// Whether to lose this datagram.
    lose: Lose,
    /// Everything that left us: when and what.
    left: Vec<(Duration, Bytes)>,
    outputs: Vec<PeerOutput>,
    received: Vec<Received>,
    /// The offer names others' addresses.
    elsewhere: bool,
    /// What went to them: when, and to whom.
    strangers: Vec<(Duration, SocketAddr)>,
    /// SRTP and SRTCP of the caller's, as they were sent.
    came: Vec<Bytes>,
}

impl World {
    fn new(kind: Kind, tweak: impl FnOnce(&mut Remote)) -> Self {
        Self::connecting_within(Duration::from_secs(10), kind, tweak)
    }

    fn connecting_within(connect_within: Duration, kind: Kind, tweak: impl FnOnce(&mut Remote)) -> Self {
        Self::in_codec((Codec::Opus, 111, "opus/48000/2"), connect_within, kind, tweak)
    }

    fn in_codec(
        (codec, payload_type, encoding): (Codec, u8, &'static str),
        connect_within: Duration,
        kind: Kind,
        tweak: impl FnOnce(&mut Remote),
    ) -> Self {
        let now = Instant::now();
        let (mut caller, offer) = Caller::with_codec(now, THEIRS.into(), kind, payload_type);
        let reach = Reach { ours: IpAddr::from(OURS.0), policy: CandidatePolicy::Auto };
        let mut remote = Remote::new(&sdp::lint(&offer).unwrap().negotiated, reach);
        remote.telephone_event = Some(126);
        assert_eq!((remote.codec, remote.payload_type), (codec, payload_type));
        tweak(&mut remote);
        let local_media = LocalMedia { announced: OURS.into(), ssrc: 0xfeed_5eed, cname: "bridge", connect_within };
        let peer = Engine::accept(now, &remote, local_media).unwrap();
        caller.answer(now, &answer(&offer, encoding, payload_type, peer.local()));
        Self::of(now, peer, caller)
    }

    /// A call that begins with an offer of ours.
    fn called(kind: Kind) -> (Self, sdp::Negotiated) {
        let now = Instant::now();
        let connect_within = Duration::from_secs(10);
        let local_media = LocalMedia { announced: OURS.into(), ssrc: 0xfeed_5eed, cname: "bridge", connect_within };
        let offered = Engine::offer(local_media).unwrap();
        let local = offered.local();
        let offer = sdp::offer(&sdp::Local {
            address: IpAddr::from(OURS.0),
            port: OURS.1,
            ice_ufrag: &local.ice_ufrag,
            ice_pwd: &local.ice_pwd,
            fingerprint: &local.fingerprint,
            ssrc: local.ssrc,
            cname: "bridge",
            origin_id: 1,
        });
        let (caller, answer) = Caller::called(now, THEIRS.into(), kind, offer.sdp());
        let negotiated = sdp::read_answer(&offer, &answer).unwrap();
        let reach = Reach { ours: IpAddr::from(OURS.0), policy: CandidatePolicy::Auto };
        let peer = offered.apply_answer(now, &Remote::new(&negotiated, reach)).unwrap();
        (Self::of(now, peer, caller), negotiated)
    }

    fn of(now: Instant, peer: Engine, caller: Caller) -> Self {
        Self {
            start: now,
            now,
            peer,
            caller,
            wire: BTreeMap::new(),
            sent: 0,
            lose: Box::new(|_, _| false),
            left: Vec::new(),
            outputs: Vec::new(),
            received: Vec::new(),
            elsewhere: false,
            strangers: Vec::new(),
            came: Vec::new(),
        }
    }

    fn put(&mut self, way: Way, bytes: Bytes) {
        self.sent += 1;
        if !(self.lose)(way, &bytes) {
            self.wire.insert((self.now + ONE_WAY, self.sent), (way, bytes));
        }
    }

    fn transmit(&mut self, to: SocketAddr, bytes: Bytes) {
        if self.elsewhere {
            return self.strangers.push((self.now - self.start, to));
        }
        assert_eq!(to, SocketAddr::from(THEIRS));
        self.left.push((self.now - self.start, bytes.clone()));
        self.put(Way::Out, bytes);
    }

    fn send(&mut self, packet: RtpOut<'_>) {
        let (to, bytes) = self.peer.write_rtp(self.now, packet).unwrap();
        self.transmit(to, bytes);
    }

    fn drain(&mut self) {
        while let Some(output) = self.peer.poll(self.now) {
            if let PeerOutput::Transmit { to, bytes } = output {
                self.transmit(to, bytes);
            } else {
                self.outputs.push(output);
            }
        }
        while let Some((_, bytes)) = self.caller.transmit() {
            if matches!(bytes.first(), Some(128..=191)) {
                self.came.push(bytes.clone());
            }
            self.put(Way::In, bytes);
        }
    }

    /// Moves on a millisecond at a time.
    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.drain();
            self.now += Duration::from_millis(1);
            while let Some(entry) = self.wire.first_entry() {
                if entry.key().0 > self.now {
                    break;
                }
                match entry.remove() {
                    (Way::Out, bytes) => self.caller.datagram(self.now, &bytes, OURS.into()),
                    (Way::In, bytes) => self.received.extend(self.peer.datagram(self.now, &bytes, THEIRS.into())),
                }
            }
            self.caller.run(self.now);
        }
        self.drain();
    }

    fn run_until_connected(&mut self, limit: Duration) -> Duration {
        let began = self.now;
        while !self.outputs.contains(&PeerOutput::Connected) {
            assert!(self.now - began < limit, "not connected after {limit:?}: {:?}", self.outputs);
            self.run(Duration::from_millis(1));
        }
        self.now - began
    }
}

/// What the node sends as answer, in short.
fn answer(offer: &str, encoding: &str, payload_type: u8, local: &LocalIdentity) -> String {
    let mid = attribute(offer, "mid").unwrap();
    format!(
        "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {mid}\r\n\
         m=audio {port} UDP/TLS/RTP/SAVPF {payload_type}\r\nc=IN IP4 203.0.113.7\r\n\
         a=candidate:1 1 udp 2130706431 203.0.113.7 {port} typ host\r\n\
         a=ice-ufrag:{}\r\na=ice-pwd:{}\r\na=fingerprint:sha-256 {}\r\na=setup:active\r\na=mid:{mid}\r\n\
         a=sendrecv\r\na=rtcp-mux\r\na=rtpmap:{payload_type} {}\r\na=ssrc:{} cname:bridge\r\n",
        local.ice_ufrag,
        local.ice_pwd,
        local.fingerprint,
        encoding,
        local.ssrc,
        port = OURS.1,
    )
}

fn is_client_hello(bytes: &[u8]) -> bool {
    bytes.first() == Some(&22) && bytes.get(13) == Some(&1)
}

#[test]
fn nothing_leaves_before_start() {
    let mut world = World::new(Kind::Browser, |_| {});
    world.run(Duration::from_secs(3));
    assert!(world.left.is_empty(), "{:?}", world.left);
    assert_eq!(world.peer.deadline(), None);
    assert!(world.outputs.is_empty());
}

#[test]
fn relay_connects_fast() {
    let mut world = World::new(Kind::Relay, |_| {});
    // A slow Graph API. (The caller's own ICE gives up after 30 s.)
    world.run(Duration::from_secs(20));
    world.peer.start(world.now);
    let took = world.run_until_connected(Duration::from_secs(2));
    // Check, nomination and four DTLS flights: six one-way pairs of 20 ms, and one check interval.
    assert!(took <= Duration::from_millis(160), "{took:?}");
}

#[test]
fn browser_connects() {
    let mut world = World::new(Kind::Browser, |_| {});
    world.peer.start(world.now);
    let took = world.run_until_connected(Duration::from_secs(3));
    assert!(took <= Duration::from_millis(1_000), "{took:?}");
}

#[test]
fn passive_answer_to_an_active_offer_waits_for_the_client_hello() {
    let mut world = World::new(Kind::Browser, |remote| remote.dtls_role = DtlsRole::Server);
    world.peer.start(world.now);
    world.run(Duration::from_millis(1_500));
    assert!(!world.left.iter().any(|(_, bytes)| is_client_hello(bytes)));
}

#[test]
fn lost_client_hellos_are_repeated_at_once() {
    let mut world = World::new(Kind::Relay, |_| {});
    let mut hellos = 0;
    world.lose = Box::new(move |way, bytes| {
        let lost = way == Way::Out && is_client_hello(bytes) && hellos < 3;
        hellos += u32::from(lost);
        lost
    });
    world.peer.start(world.now);
    let took = world.run_until_connected(Duration::from_secs(2));
    assert!(took <= Duration::from_millis(380), "{took:?}");
    let sent: Vec<Duration> = world.left.iter().filter(|(_, b)| is_client_hello(b)).map(|(at, _)| *at).collect();
    let gaps: Vec<Duration> = sent.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps[..3].iter().all(|gap| (50..=100).contains(&gap.as_millis())), "{gaps:?}");
}

#[test]
fn lost_final_flight_is_repeated_at_once() {
    let mut world = World::new(Kind::Relay, |_| {});
    let mut lost = 0;
    // ClientKeyExchange and so on: DTLS of ours that is no ClientHello.
    world.lose = Box::new(move |way, bytes| {
        let lose = way == Way::Out && is_dtls_record(bytes) && !is_client_hello(bytes) && lost < 2;
        lost += u32::from(lose);
        lose
    });
    world.peer.start(world.now);
    let took = world.run_until_connected(Duration::from_secs(2));
    assert!(took <= Duration::from_millis(320), "{took:?}");
}

fn is_dtls_record(bytes: &[u8]) -> bool {
    matches!(bytes.first(), Some(20..=63))
}

#[test]
fn client_hellos_are_repeated_until_the_time_to_connect_is_over() {
    for seconds in [3, 10, 25] {
        let limit = Duration::from_secs(seconds);
        let mut world = World::connecting_within(limit, Kind::Relay, |_| {});
        world.lose = Box::new(|way, bytes| way == Way::Out && is_dtls_record(bytes));
        world.peer.start(world.now);
        world.run(limit - Duration::from_millis(10));
        assert!(world.outputs.is_empty(), "{:?}", world.outputs);
        world.run(Duration::from_secs(5));
        assert!(matches!(&world.outputs[..], [PeerOutput::Failed(_)]), "{:?}", world.outputs);
        let sent: Vec<Duration> = world.left.iter().filter(|(_, b)| is_client_hello(b)).map(|(at, _)| *at).collect();
        let longest = sent.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
        // A new attempt needs its ICE check first.
        assert!(longest <= Duration::from_millis(200), "{longest:?}");
        let last = *sent.last().unwrap();
        assert!((limit - Duration::from_millis(200)..=limit).contains(&last), "{last:?}");
    }
}

/// Until `open` only what `passes` gets through.
fn connects_late(open: Duration, passes: fn(&[u8]) -> bool) {
    let mut world = World::connecting_within(Duration::from_secs(60), Kind::Relay, |_| {});
    let opened = std::rc::Rc::new(std::cell::Cell::new(false));
    let gate = opened.clone();
    world.lose = Box::new(move |way, bytes| !gate.get() && way == Way::Out && !passes(bytes));
    world.peer.start(world.now);
    world.run(open);
    assert!(world.outputs.is_empty(), "{:?}", world.outputs);
    opened.set(true);
    let took = world.run_until_connected(Duration::from_secs(2));
    assert!(took <= Duration::from_millis(400), "{took:?}");
}

#[test]
fn a_relay_that_drops_client_hellos_for_long_is_connected_to_in_the_end() {
    for seconds in [7, 9, 13, 24] {
        connects_late(Duration::from_secs(seconds), |bytes| !is_dtls_record(bytes));
    }
}

#[test]
fn a_relay_that_drops_everything_for_long_is_connected_to_in_the_end() {
    for seconds in [9, 24] {
        connects_late(Duration::from_secs(seconds), |_| false);
    }
}

/// Both sides speak for this many packets of 20 ms; the caller's begin with `first`.
fn talk(world: &mut World, ssrc: u32, first: u16, packets: u16) {
    for step in first..first + packets {
        let timestamp = u32::from(step) * 960;
        let packet =
            RtpOut { payload_type: 111, sequence: step, timestamp, marker: false, payload: &[0xf8, 0xff, 0xfe] };
        world.send(packet);
        // Every tenth one is lost on its way.
        if step % 10 != 9 {
            world.caller.speak_as(ssrc, world.now, step, timestamp, &[0x78, 1]);
        }
        world.run(Duration::from_millis(20));
    }
}

fn compounds(world: &mut World) -> Vec<Vec<Box<dyn rtc::rtcp::Packet>>> {
    let heard = world.caller.heard.drain(..);
    heard.filter_map(|heard| if let Heard::Rtcp(compound) = heard { Some(compound) } else { None }).collect()
}

fn names_us(compound: &[Box<dyn rtc::rtcp::Packet>]) -> bool {
    let Some(names) = compound[1].as_any().downcast_ref::<SourceDescription>() else { return false };
    let chunk = &names.chunks[0];
    (chunk.source, chunk.items[0].sdes_type, &chunk.items[0].text[..]) == (0xfeed_5eed, SdesType::SdesCname, b"bridge")
}

#[test]
fn reports_are_compound_and_sent_only_once_media_flows() {
    let mut world = World::new(Kind::Relay, |_| {});
    world.peer.start(world.now);
    world.run_until_connected(Duration::from_secs(2));
    world.run(Duration::from_secs(3));
    let srtp = |world: &World| world.left.iter().filter(|(_, bytes)| matches!(bytes[0], 128..=191)).count();
    assert_eq!(srtp(&world), 0, "no RTP and no RTCP before the first packet");
    world.caller.heard.clear();
    talk(&mut world, CALLER_SSRC, 0, 250);
    let compounds = compounds(&mut world);
    assert!((4..=6).contains(&compounds.len()), "{} reports in five seconds", compounds.len());
    for compound in &compounds {
        let report = compound[0].as_any().downcast_ref::<SenderReport>().expect("a sender report first");
        assert_eq!(report.ssrc, 0xfeed_5eed);
        assert_eq!(report.octet_count, 3 * report.packet_count);
        let block = &report.reports[0];
        assert_eq!(block.ssrc, CALLER_SSRC);
        assert!((10..=51).contains(&block.fraction_lost), "a tenth of 256, more or less: {block:?}");
        assert!(block.jitter < 480, "{block:?}");
        assert!(names_us(compound), "{compound:?}");
    }
    let last = compounds.last().unwrap()[0].as_any().downcast_ref::<SenderReport>().unwrap();
    let ahead = last.rtp_time.wrapping_sub(last.packet_count * 960) as i32;
    assert!(ahead.abs() <= 960, "{ahead}: NTP and RTP name one moment");
    assert!(last.reports[0].total_lost >= 15 && last.reports[0].last_sender_report != 0, "{last:?}");
    let seen: Vec<_> = world.outputs.iter().filter(|output| matches!(output, PeerOutput::Report(_))).collect();
    let Some(PeerOutput::Report(seen)) = seen.last() else { panic!("the caller's reports are told") };
    assert_eq!(seen.fraction_lost, 0);
    assert!(seen.round_trip_ms.is_some_and(|ms| (15..=30).contains(&ms)), "{seen:?}");
}

#[test]
fn a_caller_that_goes_on_under_another_ssrc_is_heard() {
    let mut world = World::new(Kind::Relay, |_| {});
    world.peer.start(world.now);
    world.run_until_connected(Duration::from_secs(2));
    talk(&mut world, CALLER_SSRC, 0, 100);
    let discarded = |world: &World| world.outputs.iter().filter(|output| **output == PeerOutput::Discarded).count();
    assert_eq!(discarded(&world), 0);
    talk(&mut world, OTHER_SSRC, 20_000, 100);
    assert!((1..=3).contains(&discarded(&world)), "{} packets until the first one is quiet", discarded(&world));
    assert!(world.outputs.contains(&PeerOutput::SourceChanged));
    let received = &world.received;
    assert!(received.len() >= 175, "{} packets", received.len());
    let last = received.last().unwrap();
    assert_eq!(last.ssrc, OTHER_SSRC);
    // The numbers go on: some 196 packets of 960 units after the first.
    assert!((190..=200).contains(&last.sequence), "{last:?}");
    assert!((190 * 960..=200 * 960).contains(&last.timestamp), "{last:?}");
}

#[test]
fn a_second_source_beside_the_first_is_discarded() {
    let mut world = World::new(Kind::Relay, |_| {});
    world.peer.start(world.now);
    world.run_until_connected(Duration::from_secs(2));
    for step in 0..50 {
        world.caller.speak(world.now, step, u32::from(step) * 960, &[0x78, 1]);
        world.run(Duration::from_millis(5));
        world.caller.speak_as(OTHER_SSRC, world.now, step, 0, &[0x78, 2]);
        world.run(Duration::from_millis(15));
    }
    world.run(Duration::from_millis(20));
    let count = |wanted: fn(&PeerOutput) -> bool| world.outputs.iter().filter(|output| wanted(output)).count();
    assert_eq!(count(|output| *output == PeerOutput::Discarded), 50);
    assert_eq!(world.received.iter().filter(|received| received.ssrc == CALLER_SSRC).count(), 50);
    assert_eq!(world.received.len(), 50);
    assert_eq!(count(|output| *output == PeerOutput::SourceChanged), 0);
}

#[test]
fn the_last_packet_says_bye() {
    let mut world = World::new(Kind::Relay, |_| {});
    world.peer.start(world.now);
    world.run_until_connected(Duration::from_secs(2));
    talk(&mut world, CALLER_SSRC, 0, 10);
    world.caller.heard.clear();
    world.peer.close(world.now);
    world.run(Duration::from_millis(20));
    let compounds = compounds(&mut world);
    let [compound] = &compounds[..] else { panic!("one last packet: {compounds:?}") };
    assert!(compound[0].as_any().is::<SenderReport>() && names_us(compound));
    assert_eq!(compound[2].as_any().downcast_ref::<Goodbye>().unwrap().sources, [0xfeed_5eed]);
}

#[test]
fn garbage_and_strangers_change_nothing() {
    let mut world = World::new(Kind::Relay, |_| {});
    world.peer.start(world.now);
    world.run(Duration::from_millis(45));
    let stranger: SocketAddr = ([198, 51, 100, 66], 666).into();
    // A fatal DTLS alert, an empty datagram, STUN of random bytes, RTP of nobody.
    let alert = [21, 254, 253, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 2, 40];
    for from in [stranger, "[2001:db8::1]:5".parse().unwrap()] {
        for bytes in [&alert[..], &[], &[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42], &[0x80, 111, 0, 1], &[255; 1_400]] {
            world.peer.datagram(world.now, bytes, from);
        }
    }
    world.run_until_connected(Duration::from_secs(2));
}

#[test]
fn goodbye_of_the_far_side_is_noticed() {
    let mut world = World::new(Kind::Relay, |_| {});
    world.peer.start(world.now);
    world.run_until_connected(Duration::from_secs(2));
    world.run(Duration::from_millis(50));
    world.caller.hang_up(world.now);
    world.run(Duration::from_millis(50));
    assert_eq!(world.outputs.last(), Some(&PeerOutput::Closed), "{:?}", world.outputs);
}

#[test]
fn our_goodbye_is_sent() {
    let mut world = World::new(Kind::Relay, |_| {});
    world.peer.start(world.now);
    world.run_until_connected(Duration::from_secs(2));
    let before = world.left.len();
    world.peer.close(world.now);
    world.run(Duration::from_millis(20));
    assert!(world.left[before..].iter().any(|(_, bytes)| bytes[0] == 21), "an alert record");
    assert_eq!(world.peer.deadline(), None);
}

#[test]
fn wrong_fingerprint_never_connects() {
    let mut world = World::new(Kind::Relay, |remote| {
        remote.fingerprints = vec![["00"; 32].join(":")];
    });
    world.peer.start(world.now);
    world.run(Duration::from_secs(12));
    assert!(!world.outputs.contains(&PeerOutput::Connected));
}

#[test]
fn every_call_has_its_own_certificate_and_credentials() {
    let first = World::new(Kind::Relay, |_| {});
    let second = World::new(Kind::Relay, |_| {});
    let (first, second) = (first.peer.local().clone(), second.peer.local().clone());
    assert_ne!(first.fingerprint, second.fingerprint);
    assert_ne!(first.ice_pwd, second.ice_pwd);
    assert_eq!(first.fingerprint.len(), 95);
}

/// An offer that names the addresses of others: who has not answered gets few checks, and every address its turn.
#[test]
fn an_offer_cannot_aim_our_checks() {
    let mut world = World::new(Kind::Relay, |remote| {
        remote.candidates = (0..16).map(|last| ([198, 51, 100, last], 53).into()).collect();
    });
    world.elsewhere = true;
    world.peer.start(world.now);
    world.run(Duration::from_secs(9));
    let mut checks: BTreeMap<SocketAddr, usize> = BTreeMap::new();
    for (_, to) in &world.strangers {
        *checks.entry(*to).or_default() += 1;
    }
    assert_eq!(checks.len(), 16, "all in turn");
    let most = 9 * 20 + 4;
    assert!(world.strangers.len() <= most, "{} checks in 9 s", world.strangers.len());
    let in_flight = world.strangers.windows(5).map(|five| five[4].0 - five[0].0).min().unwrap();
    assert!(in_flight >= Duration::from_millis(180), "five checks within {in_flight:?}");
}

/// Whoever knows our password can send a check under the address of another. Only an answer of that other proves that he
/// wants to hear from us.
#[test]
fn a_check_under_the_address_of_another_does_not_aim_ours_either() {
    let stranger = SocketAddr::from(([198, 51, 100, 66], 53));
    let mut world = World::new(Kind::Browser, |remote| remote.candidates.clear());
    world.elsewhere = true;
    world.lose = Box::new(|_, _| true);
    world.peer.start(world.now);
    let check = loop {
        world.now += Duration::from_millis(1);
        world.caller.run(world.now);
        if let Some((_, check)) = world.caller.transmit() {
            break check;
        }
    };
    assert_eq!(world.peer.datagram(world.now, &check, stranger), None);
    world.run(Duration::from_secs(5));
    assert!(world.strangers.iter().all(|(_, to)| *to == stranger));
    let most = 1 + 5 * 20 + 4;
    assert!((2..=most).contains(&world.strangers.len()), "{} datagrams for one", world.strangers.len());
}

/// Muted: no media, but consent and reports.
#[test]
fn a_far_end_that_sends_no_media_is_said_to_be_alive_and_one_that_is_gone_is_not() {
    let mut world = World::new(Kind::Browser, |_| {});
    world.peer.start(world.now);
    world.run_until_connected(Duration::from_secs(3));
    let alive = |world: &World| world.outputs.iter().filter(|output| **output == PeerOutput::Alive).count();
    let before = alive(&world);
    world.run(Duration::from_secs(20));
    assert!((9..=21).contains(&(alive(&world) - before)), "{} in 20 s", alive(&world) - before);
    world.lose = Box::new(|way, _| way == Way::In);
    world.run(Duration::from_millis(100));
    let before = alive(&world);
    world.run(Duration::from_secs(20));
    assert_eq!(alive(&world), before);
}

/// The far end's certificate has one of the fingerprints, in whatever order and case they were offered.
#[test]
fn one_of_several_fingerprints_is_enough() {
    let foreign = ["AB"; 32].join(":");
    for order in [true, false] {
        let mut world = World::new(Kind::Relay, |remote| {
            remote.fingerprints[0] = remote.fingerprints[0].to_ascii_lowercase();
            remote.fingerprints.insert(usize::from(order), foreign.clone());
        });
        world.peer.start(world.now);
        world.run_until_connected(Duration::from_secs(2));
    }
}

#[test]
fn an_offer_of_ours_connects_to_who_answers_it_lite_or_full() {
    for kind in [Kind::Relay, Kind::Browser] {
        let (mut world, negotiated) = World::called(kind);
        assert_eq!(negotiated.ice_role, sdp::IceRole::Controlling);
        world.run(Duration::from_millis(500));
        assert!(world.left.is_empty(), "nothing leaves before start");
        world.peer.start(world.now);
        let took = world.run_until_connected(Duration::from_secs(3));
        assert!(took <= Duration::from_millis(1_000), "{kind:?}: {took:?}");
        let hello = world.left.iter().any(|(_, bytes)| is_client_hello(bytes));
        assert_eq!(hello, negotiated.dtls_role == DtlsRole::Client, "{kind:?}");
        world.run(Duration::from_millis(40));
        world.caller.heard.clear();
        talk(&mut world, CALLER_SSRC, 0, 50);
        world.run(Duration::from_millis(40));
        let heard = world.caller.heard.iter().filter(|heard| matches!(heard, Heard::Rtp(_))).count();
        assert_eq!((heard, world.received.len()), (50, 45), "{kind:?}");
    }
}

/// Packets that claim to be of ever new sources leave nothing behind, and do not keep the caller from being heard.
#[test]
fn sources_that_nobody_vouches_for_are_forgotten() {
    let mut world = World::new(Kind::Relay, |_| {});
    world.peer.start(world.now);
    world.run_until_connected(Duration::from_secs(2));
    for ssrc in 0..1_000_u32 {
        let mut datagram = vec![0x80, 111, 0, 1, 0, 0, 0, 0];
        datagram.extend(ssrc.to_be_bytes());
        datagram.extend([0x5a; 80]);
        assert_eq!(world.peer.datagram(world.now, &datagram, THEIRS.into()), None);
    }
    talk(&mut world, OTHER_SSRC, 0, 20);
    assert!(world.received.len() >= 17, "{} packets", world.received.len());
}

/// A STUN message of this type, with these attributes and no integrity.
fn forged(kind: [u8; 2], attributes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(attributes.len()).unwrap().to_be_bytes();
    [&kind[..], &length, &[0x21, 0x12, 0xa4, 0x42], &[7; 12], attributes].concat()
}

/// Anybody can claim to control, from anywhere (RFC 8445, section 7.3.1.1): it must not have us wait for a lite far end.
#[test]
fn a_claim_to_control_that_nobody_signed_changes_nothing() {
    let mut world = World::new(Kind::Relay, |_| {});
    world.peer.start(world.now);
    let claim = forged([0, 1], &[&[0x80, 0x2a, 0, 8][..], &[0xff; 8]].concat());
    for from in [THEIRS.into(), SocketAddr::from(([198, 51, 100, 66], 666))] {
        assert_eq!(world.peer.datagram(world.now, &claim, from), None);
    }
    world.run_until_connected(Duration::from_secs(2));
}

/// Indications and what comes from the port of multicast DNS prove nothing.
#[test]
fn what_nobody_signed_is_no_sign_of_life() {
    let mut world = World::new(Kind::Relay, |_| {});
    world.peer.start(world.now);
    world.run_until_connected(Duration::from_secs(2));
    world.lose = Box::new(|way, _| way == Way::In);
    world.run(Duration::from_millis(100));
    let alive = |world: &World| world.outputs.iter().filter(|output| **output == PeerOutput::Alive).count();
    let before = alive(&world);
    let mdns = SocketAddr::new(THEIRS.0.into(), 5_353);
    for _ in 0..400 {
        for kind in [[0, 17], [0, 1], [1, 1]] {
            world.peer.datagram(world.now, &forged(kind, &[]), THEIRS.into());
            world.peer.datagram(world.now, &forged(kind, &[]), mdns);
        }
        world.run(Duration::from_millis(100));
    }
    assert_eq!(alive(&world), before);
    assert!(world.outputs.iter().any(|output| matches!(output, PeerOutput::Failed(_))), "consent has expired");
}

/// A close_notify in the clear, which anybody on the way can write: the handshake goes on.
#[test]
fn a_goodbye_within_the_handshake_does_not_end_it() {
    let mut world = World::new(Kind::Relay, |_| {});
    world.lose = Box::new(|way, bytes| way == Way::Out && is_dtls_record(bytes));
    world.peer.start(world.now);
    world.run(Duration::from_millis(300));
    let goodbye = [21, 254, 253, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 1, 0];
    world.peer.datagram(world.now, &goodbye, THEIRS.into());
    world.run(Duration::from_millis(100));
    world.lose = Box::new(|_, _| false);
    world.run_until_connected(Duration::from_secs(2));
}
