//! The peer on `rtc`, the sans-IO core of webrtc-rs. The only module that names that crate.
//!
//! Flow: [`Engine::accept`] applies the offer and our settings and freezes; [`Engine::start`] lets it run. Every
//! input marks the engine dirty; `poll` then lets `rtc` work until it has nothing to say and hands out the results.
//!
//! `rtc` gives up a handshake for good after seven retransmissions and ICE after thirty seconds of silence, however long the
//! caller may take. Until the time to connect is over both are then begun again under the same credentials and certificate:
//! to a far side that heard nothing so far it makes no difference.
//!
//! Settings and why: ICE checks every 20 ms instead of 200 (an ICE-lite caller is connected in some 50 ms instead of
//! 400); DTLS client when the offer leaves the choice; the one codec agreed to, Opus with an empty fmtp, and
//! telephone-event; neither
//! NACK nor transport-wide congestion control; no mDNS; a certificate per call, ECDSA P-256, whose handshake needs no
//! fragments. Reports are ours: `rtc` sends SR and RR apart, without SDES, and the RR under a random SSRC, and it gives
//! on neither the far side's reports nor any source but the first, so received packets are taken out in its midst.

mod codecs;
mod compound;
mod tap;

use std::{
    collections::VecDeque,
    net::SocketAddr,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::{Bytes, BytesMut};
use rand::RngExt;
use rtc::{
    crypto::{self, SignatureScheme},
    ice::mdns::MulticastDnsMode,
    interceptor::{Registry, Slot},
    peer_connection::{
        RTCPeerConnection, RTCPeerConnectionBuilder,
        certificate::{CertificateParams, RTCCertificate},
        configuration::{RTCConfigurationBuilder, setting_engine::SettingEngineBuilder},
        event::RTCPeerConnectionEvent,
        sdp::RTCSessionDescription,
        state::RTCPeerConnectionState,
        transport::{CandidateConfig, CandidateHostConfig, RTCDtlsRole, RTCDtlsTransportState, RTCIceCandidate},
    },
    rtcp, rtp,
    rtp_transceiver::RTCRtpSenderId,
    sansio::Protocol,
    shared::{TaggedBytesMut, TransportContext, TransportProtocol},
};
use voicebridge_session::RtpOut;

use super::{
    Local, Output, Peer, PeerError, Place, Received, Remote,
    flight::Flight,
    reports::Reports,
    same_family,
    source::{Source, Verdict},
};

use codecs::{media_engine, track};
use compound::Then;
use tap::{Basin, Tap, Tapped};

/// Between the epochs of NTP and Unix (RFC 5905, section 6), seconds.
const NTP_EPOCH: u64 = 2_208_988_800;
/// Time between two ICE checks of one pair while connecting.
const ICE_CHECK_EVERY: Duration = Duration::from_millis(20);
/// Checks of one pair until it is given up: 30 s of them, by then ICE as a whole has failed.
const ICE_MAX_CHECKS: u16 = 1_500;
/// Without an answer to a consent check for this long ICE calls itself disconnected (and goes on).
const ICE_DISCONNECTED_AFTER: Duration = Duration::from_secs(5);
/// From there to failed: 30 s in all, the expiry of consent (RFC 7675, section 5.1).
const ICE_FAILED_AFTER: Duration = Duration::from_secs(25);
/// Time between two consent checks on the selected pair.
const ICE_CONSENT_EVERY: Duration = Duration::from_secs(2);
/// RFC 8839, section 5.4: at least 4 characters.
const UFRAG_CHARS: usize = 8;
/// RFC 8839, section 5.4: at least 22 characters.
const PWD_CHARS: usize = 24;
/// Rounds of "`rtc` said something, let it go on" in one poll. Three happen; more would be a loop.
const MAX_ROUNDS: u32 = 8;

/// One caller's transport on `rtc`.
pub struct Engine {
    connection: RTCPeerConnection,
    sender: RTCRtpSenderId,
    certificate: RTCCertificate,
    remote: Remote,
    local: Local,
    place: Place,
    phase: Phase,
    /// When connecting is given up.
    connect_by: Option<Instant>,
    /// Something was given to `rtc` since it was last drained.
    dirty: bool,
    flight: Flight,
    /// What came, as `rtc` decrypted it.
    basin: Basin,
    /// Datagrams that must come out there, or are counted as nothing that could be used.
    awaited: usize,
    source: Source,
    /// Payload types that were agreed to: the codec, and telephone-event if offered.
    agreed: (u8, Option<u8>),
    reports: Reports,
    /// Who our DTLS goes to: the selected pair's far end.
    dtls_peer: Option<SocketAddr>,
    outputs: VecDeque<Output>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Held,
    Connecting,
    Connected,
    Over,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("phase", &self.phase).field("place", &self.place).finish_non_exhaustive()
    }
}

impl Engine {
    /// Builds the peer that answers `remote`, held until [`Peer::start`].
    ///
    /// # Errors
    /// [`PeerError::Refused`] when `rtc` takes neither the offer's facts nor ours; the source says why.
    pub fn accept(now: Instant, remote: &Remote, place: Place) -> Result<Self, PeerError> {
        let provider = crypto::default_provider().map_err(refused("crypto provider"))?;
        let certificate = RTCCertificate::generate(
            provider.crypto(),
            SignatureScheme::EcdsaP256Sha256,
            CertificateParams::new(vec!["voicebridge".to_owned()]).map_err(refused("certificate name"))?,
        )
        .map_err(refused("certificate"))?;
        let fingerprint = certificate
            .get_fingerprints(provider.crypto())
            .map_err(refused("certificate"))?
            .first()
            .map(|fingerprint| fingerprint.value.to_ascii_uppercase())
            .expect("rtc names the SHA-256 fingerprint of every certificate");
        let local =
            Local { ice_ufrag: ice_chars(UFRAG_CHARS), ice_pwd: ice_chars(PWD_CHARS), fingerprint, ssrc: place.ssrc };
        let basin = Basin::default();
        let (connection, sender) = connection(now, remote, &certificate, &local, place, &basin)?;
        Ok(Self {
            connection,
            sender,
            certificate,
            remote: remote.clone(),
            local,
            place,
            phase: Phase::Held,
            connect_by: None,
            dirty: false,
            flight: Flight::default(),
            basin,
            awaited: 0,
            source: Source::new(remote.codec.rtp_clock_hz()),
            agreed: (remote.payload_type, remote.telephone_event),
            reports: Reports::new(now, ntp(SystemTime::now()), place.ssrc, remote.codec.rtp_clock_hz()),
            dtls_peer: None,
            outputs: VecDeque::new(),
        })
    }

    /// Lets `rtc` work until it has nothing more to say. A selected pair queues the ClientHello without sending
    /// it, so that a round with events is followed by another.
    fn run(&mut self, now: Instant) {
        self.dirty = false;
        let mut awaited = std::mem::take(&mut self.awaited);
        for _ in 0..MAX_ROUNDS {
            let mut said_something = false;
            if let Err(error) = self.connection.handle_timeout(now) {
                self.broken(now, &format!("DTLS: {error}"));
                said_something = true;
            }
            while let Some(event) = self.connection.poll_event() {
                said_something = true;
                self.event(now, &event);
            }
            // Nothing comes out at that end, but it drives what comes in.
            while self.connection.poll_read().is_some() {}
            while let Some(tapped) = self.basin.take() {
                awaited = awaited.saturating_sub(1);
                match tapped {
                    Tapped::Rtp(at, packet) => self.received(at, packet),
                    Tapped::Rtcp(at, compound) => self.reported(at, &compound),
                }
            }
            self.report(now);
            while let Some(datagram) = self.connection.poll_write() {
                self.transmit(now, datagram);
            }
            if !said_something {
                break;
            }
        }
        self.outputs.extend(std::iter::repeat_n(Output::Discarded, awaited));
        for (to, bytes) in self.flight.due(now) {
            self.outputs.push_back(Output::Transmit { to: *to, bytes: bytes.clone() });
        }
        self.notice_goodbye();
        if self.phase == Phase::Connecting && self.connect_by.is_some_and(|by| by <= now) {
            self.fail(format!("not connected within {} s", self.place.connect_within.as_secs()));
        }
    }

    /// ICE or DTLS gave up: for good once connected, else for this attempt.
    fn broken(&mut self, now: Instant, why: &str) {
        if self.phase != Phase::Connecting {
            return self.fail(why.to_owned());
        }
        tracing::debug!(why, "connecting from the beginning");
        match connection(now, &self.remote, &self.certificate, &self.local, self.place, &self.basin) {
            Ok((connection, sender)) => {
                (self.connection, self.sender) = (connection, sender);
                self.flight = Flight::default();
                self.dtls_peer = None;
            }
            Err(error) => self.fail(format!("{why}, and no second attempt: {error}")),
        }
    }

    fn event(&mut self, now: Instant, event: &RTCPeerConnectionEvent) {
        if let RTCPeerConnectionEvent::OnConnectionStateChangeEvent(state) = event {
            match state {
                RTCPeerConnectionState::Connected if self.phase == Phase::Connecting => {
                    self.phase = Phase::Connected;
                    self.flight.settle();
                    self.outputs.push_back(Output::Connected);
                }
                RTCPeerConnectionState::Failed => self.broken(now, "ICE: the far side does not answer"),
                _ => {}
            }
        }
    }

    fn received(&mut self, at: Instant, packet: rtp::Packet) {
        if self.phase != Phase::Connected {
            return;
        }
        let header = &packet.header;
        let agreed = header.payload_type == self.agreed.0 || Some(header.payload_type) == self.agreed.1;
        let verdict = self.source.hear(at, header.ssrc, header.sequence_number, header.timestamp, agreed);
        let (sequence, timestamp) = match verdict {
            Verdict::Take { sequence, timestamp } => (sequence, timestamp),
            Verdict::TakeOver { sequence, timestamp } => {
                self.outputs.push_back(Output::SourceChanged);
                (sequence, timestamp)
            }
            Verdict::Discard => return self.outputs.push_back(Output::Discarded),
        };
        self.reports.received(at, header.ssrc, header.sequence_number, header.timestamp);
        if packet.payload.is_empty() {
            return;
        }
        self.outputs.push_back(Output::Rtp(Received {
            payload_type: header.payload_type,
            sequence,
            timestamp,
            ssrc: header.ssrc,
            marker: header.marker,
            payload: packet.payload,
        }));
    }

    fn reported(&mut self, at: Instant, compound: &[Box<dyn rtcp::Packet>]) {
        if self.phase == Phase::Connected {
            let outputs = &mut self.outputs;
            compound::read(at, compound, &mut self.reports, |report| outputs.push_back(Output::Report(report)));
        }
    }

    /// Sends a report if it is time.
    fn report(&mut self, now: Instant) {
        if self.phase == Phase::Connected
            && let Some(report) = self.reports.due(now)
        {
            self.write_rtcp(now, compound::packets(&report, self.place.ssrc, self.place.cname, Then::GoOn));
        }
    }

    fn write_rtcp(&mut self, now: Instant, compound: Vec<Box<dyn rtcp::Packet>>) {
        let Some(mut sender) = self.connection.rtp_sender(self.sender) else { return };
        if let Err(error) = sender.write_rtcp(now, compound) {
            tracing::debug!(%error, "report not sent");
        }
    }

    fn transmit(&mut self, now: Instant, datagram: TaggedBytesMut) {
        let to = datagram.transport.peer_addr;
        let bytes = datagram.message.freeze();
        if is_dtls(&bytes) {
            self.dtls_peer = Some(to);
            self.flight.sent(now, to, &bytes);
        }
        self.outputs.push_back(Output::Transmit { to, bytes });
    }

    /// `rtc` answers a close_notify and stays "connected"; its DTLS transport says what happened.
    fn notice_goodbye(&mut self) {
        if self.phase != Phase::Connected {
            return;
        }
        let state = self
            .connection
            .rtp_sender(self.sender)
            .and_then(|sender| sender.transport().map(|transport| transport.state()));
        if state == Some(RTCDtlsTransportState::Closed) {
            self.finish(Output::Closed);
        }
    }

    fn fail(&mut self, why: String) {
        self.finish(Output::Failed(why));
    }

    fn finish(&mut self, last: Output) {
        if self.phase != Phase::Over {
            self.phase = Phase::Over;
            self.flight.settle();
            self.outputs.push_back(last);
        }
    }
}

impl Peer for Engine {
    fn local(&self) -> &Local {
        &self.local
    }

    fn start(&mut self, now: Instant) {
        if self.phase == Phase::Held {
            self.phase = Phase::Connecting;
            self.connect_by = Some(now + self.place.connect_within);
            self.dirty = true;
        }
    }

    fn datagram(&mut self, now: Instant, bytes: &[u8], from: SocketAddr) {
        if matches!(self.phase, Phase::Held | Phase::Over)
            || bytes.is_empty()
            || !same_family(from.ip(), self.place.announced.ip())
        {
            return;
        }
        // A handshake is not authenticated until it is over: nobody but the far end of the pair may speak in it.
        if is_dtls(bytes) && self.dtls_peer.is_some_and(|peer| peer != from) {
            return;
        }
        if self.phase == Phase::Connected && !is_dtls(bytes) && !is_stun(bytes) {
            self.awaited += 1;
        }
        let datagram = TaggedBytesMut {
            now,
            transport: TransportContext {
                local_addr: self.place.announced,
                peer_addr: from,
                transport_protocol: TransportProtocol::UDP,
                ecn: None,
            },
            message: BytesMut::from(bytes),
        };
        if let Err(error) = self.connection.handle_read(datagram) {
            tracing::debug!(%error, "datagram not usable");
        }
        self.dirty = true;
    }

    fn write_rtp(&mut self, now: Instant, packet: RtpOut<'_>) -> Result<(), PeerError> {
        if self.phase != Phase::Connected {
            return Err(PeerError::NotConnected);
        }
        let packet = rtp::Packet {
            header: rtp::Header {
                version: 2,
                marker: packet.marker,
                payload_type: packet.payload_type,
                sequence_number: packet.sequence,
                timestamp: packet.timestamp,
                ssrc: self.place.ssrc,
                ..Default::default()
            },
            payload: Bytes::copy_from_slice(packet.payload),
        };
        let mut sender = self.connection.rtp_sender(self.sender).ok_or(PeerError::NotConnected)?;
        let (timestamp, payload_bytes) = (packet.header.timestamp, packet.payload.len());
        sender.write_rtp(now, packet).map_err(refused("packet"))?;
        self.reports.sent(now, timestamp, payload_bytes);
        self.dirty = true;
        Ok(())
    }

    fn poll(&mut self, now: Instant) -> Option<Output> {
        if self.phase == Phase::Held {
            return None;
        }
        if let Some(output) = self.outputs.pop_front() {
            return Some(output);
        }
        let due = self.dirty || self.deadline().is_some_and(|deadline| deadline <= now);
        if due {
            self.run(now);
        }
        self.outputs.pop_front()
    }

    fn deadline(&mut self) -> Option<Instant> {
        match self.phase {
            Phase::Held | Phase::Over => None,
            Phase::Connecting => {
                let parts = [self.connection.poll_timeout(), self.flight.deadline(), self.connect_by];
                parts.into_iter().flatten().min()
            }
            Phase::Connected => [self.connection.poll_timeout(), self.reports.deadline()].into_iter().flatten().min(),
        }
    }

    fn close(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Connecting | Phase::Connected) {
            if let Some(report) = self.reports.last(now) {
                self.write_rtcp(now, compound::packets(&report, self.place.ssrc, self.place.cname, Then::Bye));
            }
            if let Err(error) = self.connection.close() {
                tracing::debug!(%error, "closing the transport");
            }
            self.flight.settle();
            while let Some(datagram) = self.connection.poll_write() {
                self.transmit(now, datagram);
            }
        }
        self.phase = Phase::Over;
    }
}

/// A connection that has applied the offer and our side of it, and waits to be run.
fn connection(
    now: Instant,
    remote: &Remote,
    certificate: &RTCCertificate,
    local: &Local,
    place: Place,
    basin: &Basin,
) -> Result<(RTCPeerConnection, RTCRtpSenderId), PeerError> {
    let settings = SettingEngineBuilder::new()
        .with_answering_dtls_role(RTCDtlsRole::Client)
        .with_ice_connection_attempts(Some(ICE_CHECK_EVERY), Some(ICE_MAX_CHECKS))
        .with_ice_timeouts(Some(ICE_DISCONNECTED_AFTER), Some(ICE_FAILED_AFTER), Some(ICE_CONSENT_EVERY))
        .with_ice_credentials(local.ice_ufrag.clone(), local.ice_pwd.clone())
        .with_multicast_dns_mode(MulticastDnsMode::Disabled)
        .build();
    let mut connection = RTCPeerConnectionBuilder::new()
        .with_configuration(RTCConfigurationBuilder::new().with_certificates(vec![certificate.clone()]).build())
        .with_setting_engine(settings)
        .with_media_engine(media_engine(remote)?)
        .with_interceptor_registry(Registry::new().with(Slot::Custom(0), Tap::new(basin.clone())))
        .build(now)
        .map_err(refused("settings"))?;

    let sender = connection.add_track(track(place.ssrc, remote.codec)).map_err(refused("track"))?;
    let offer = RTCSessionDescription::offer(remote.engine_offer()).map_err(refused("offer"))?;
    connection.set_remote_description(now, offer).map_err(refused("offer"))?;
    let candidate = CandidateHostConfig {
        base_config: CandidateConfig {
            network: "udp".to_owned(),
            address: place.announced.ip().to_string(),
            port: place.announced.port(),
            component: 1,
            ..Default::default()
        },
        ..Default::default()
    }
    .new_candidate_host()
    .and_then(|candidate| RTCIceCandidate::from(&candidate).to_json())
    .map_err(refused("announced address"))?;
    connection.add_local_candidate(candidate).map_err(refused("announced address"))?;
    let answer = connection.create_answer(None).map_err(refused("offer"))?;
    connection.set_local_description(now, answer).map_err(refused("offer"))?;
    Ok((connection, sender))
}

/// 32.32 fixed point; wraps in 2036 as the format does.
fn ntp(time: SystemTime) -> u64 {
    // A clock before 1970 is none: reports are then right in all but the date.
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let fraction = (u64::from(since.subsec_nanos()) << 32) / 1_000_000_000;
    ((since.as_secs() + NTP_EPOCH) << 32) | fraction
}

/// RFC 7983, section 7: the first byte of a DTLS record.
fn is_dtls(datagram: &[u8]) -> bool {
    matches!(datagram.first(), Some(20..=63))
}

/// RFC 7983, section 7: the first byte of a STUN message.
fn is_stun(datagram: &[u8]) -> bool {
    matches!(datagram.first(), Some(0..=3))
}

/// Random letters and digits, some 5.9 bits each.
fn ice_chars(count: usize) -> String {
    let mut random = rand::rng();
    std::iter::repeat_with(|| char::from(random.sample(rand::distr::Alphanumeric))).take(count).collect()
}

fn refused<E: std::error::Error + Send + Sync + 'static>(what: &'static str) -> impl FnOnce(E) -> PeerError {
    move |error| PeerError::Refused(what, Box::new(error))
}
