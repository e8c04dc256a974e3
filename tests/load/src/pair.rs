//! The node's peer and a caller, connected over memory in virtual time.

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use std::{
    collections::VecDeque,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};
use voicebridge_audio::FRAME_RTP_UNITS;
use voicebridge_node::peer::{
    CandidatePolicy, Engine, LocalIdentity, LocalMedia, Peer as _, PeerError, PeerOutput, Reach, Remote,
};
use voicebridge_session::{RtpOut, sdp};

use crate::caller::{Caller, Kind, attribute};

pub const OURS: ([u8; 4], u16) = ([203, 0, 113, 7], 40_000);
pub const THEIRS: ([u8; 4], u16) = ([192, 0, 2, 10], 3_480);
pub const OPUS: u8 = 111;
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
pub const STEP: Duration = Duration::from_millis(5);
pub const FRAME: Duration = Duration::from_millis(20);

/// Counts what the peer allocates for a packet.
pub struct Pair {
    pub now: Instant,
    pub peer: Engine,
    pub caller: Caller,
    connected: bool,
    received: usize,
    sequence: u16,
    timestamp: u32,
    allocations: u64,
}

impl Pair {
    /// Both ends are connected at `now`.
    pub fn connect() -> anyhow::Result<Self> {
        let now = Instant::now();
        let (mut caller, offer) = Caller::new(now, THEIRS.into(), Kind::Relay);
        let mid = attribute(&offer, "mid").context("the caller's offer is whole")?.to_owned();
        let reach = Reach { ours: IpAddr::from(OURS.0), policy: CandidatePolicy::Auto };
        let remote = Remote::new(&sdp::lint(&offer)?.negotiated, reach);
        let local_media =
            LocalMedia { announced: OURS.into(), ssrc: 0xfeed_5eed, cname: "bridge", connect_within: CONNECT_WITHIN };
        let mut peer = Engine::accept(now, &remote, local_media)?;
        caller.answer(now, &answer(&mid, peer.local()));
        peer.start(now);
        let mut pair =
            Self { now, peer, caller, connected: false, received: 0, sequence: 0, timestamp: 0, allocations: 0 };
        while !(pair.connected && pair.caller.connected) {
            pair.step();
            ensure!(pair.now - now < CONNECT_WITHIN, "the two peers connect");
        }
        Ok(pair)
    }

    /// A packet each way every 20 ms; how often the peer allocated.
    pub fn exchange<'p>(&mut self, packets: impl Iterator<Item = &'p Vec<u8>>) -> anyhow::Result<u64> {
        let (allocations, received) = (self.allocations, self.received);
        let mut sent = 0;
        for payload in packets {
            self.caller.speak(self.now, self.sequence, self.timestamp, payload);
            let (sequence, timestamp) = (self.sequence, self.timestamp);
            let packet = RtpOut { payload_type: OPUS, sequence, timestamp, marker: false, payload };
            let (peer, now) = (&mut self.peer, self.now);
            let mut written = Err(PeerError::NotConnected);
            self.allocations += allocation_counter::measure(|| written = peer.write_rtp(now, packet)).count_total;
            let (_, bytes) = written?;
            self.caller.datagram(now, &bytes, OURS.into());
            self.sequence = sequence.wrapping_add(1);
            self.timestamp = timestamp.wrapping_add(FRAME_RTP_UNITS);
            let next = self.now + FRAME;
            while self.now < next {
                self.step();
            }
            sent += 1;
        }
        // The last may still be on its way.
        ensure!(self.received - received + 1 >= sent, "{} of {sent} packets came", self.received - received);
        Ok(self.allocations - allocations)
    }

    /// What waits is delivered, then 5 ms pass.
    fn step(&mut self) {
        let mut to_caller: VecDeque<Bytes> = VecDeque::new();
        let (mut from_caller, now) = (Vec::new(), self.now);
        self.caller.run(now);
        while let Some((_, bytes)) = self.caller.transmit() {
            from_caller.push(bytes);
        }
        for bytes in from_caller {
            let peer = &mut self.peer;
            let mut packet = None;
            self.allocations +=
                allocation_counter::measure(|| packet = peer.datagram(now, &bytes, SocketAddr::from(THEIRS)))
                    .count_total;
            self.received += usize::from(packet.is_some());
        }
        loop {
            let peer = &mut self.peer;
            let mut output = None;
            self.allocations += allocation_counter::measure(|| output = peer.poll(now)).count_total;
            match output {
                Some(PeerOutput::Transmit { bytes, .. }) => to_caller.push_back(bytes),
                Some(PeerOutput::Connected) => self.connected = true,
                Some(_) => {}
                None => break,
            }
        }
        for bytes in to_caller {
            self.caller.datagram(now, &bytes, OURS.into());
        }
        self.caller.heard.clear();
        self.now += STEP;
    }
}

/// What the node sends as answer, in short.
fn answer(mid: &str, local: &LocalIdentity) -> String {
    format!(
        "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {mid}\r\n\
         m=audio {port} UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 203.0.113.7\r\n\
         a=candidate:1 1 udp 2130706431 203.0.113.7 {port} typ host\r\n\
         a=ice-ufrag:{}\r\na=ice-pwd:{}\r\na=fingerprint:sha-256 {}\r\na=setup:active\r\na=mid:{mid}\r\n\
         a=sendrecv\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\na=ssrc:{} cname:bridge\r\n",
        local.ice_ufrag,
        local.ice_pwd,
        local.fingerprint,
        local.ssrc,
        port = OURS.1,
    )
}
