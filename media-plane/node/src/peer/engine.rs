//! The peer, on the sans-IO parts of webrtc-rs: its ICE agent, its DTLS endpoint and its SRTP contexts. The only module that
//! names them.
//!
//! Flow: [`Engine::accept`] takes what the far end's offer says, or [`Engine::offer`] gives what ours has to say and
//! [`Offered::apply_answer`] takes the answer; then it waits. [`Peer::start`] lets ICE look for a way to the far end, on
//! which DTLS then proves who it is and gives the keys for media. From there on a datagram of media is its packet and a
//! packet its datagram, with nothing between but SRTP.
//!
//! DTLS gives up a handshake for good after seven retransmissions and ICE after thirty seconds of silence, however long the
//! caller may take. Until the time to connect is over both are then begun again under the same credentials and certificate:
//! to a far side that heard nothing so far it makes no difference.

mod checks;
mod compound;
mod dtls;
mod ice;
mod offered;
mod srtp;

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use rtc::{crypto::RTCCryptoProvider, rtcp, rtp};
use voicebridge_session::RtpOut;

use super::{
    LocalIdentity, LocalMedia, Peer, PeerError, PeerOutput, Received, Remote,
    flight::Flight,
    reports::{Reports, Timestamp},
    same_family,
    source::{Admission, Source},
};

use compound::AfterReport;
use dtls::{Dtls, DtlsEvent, Identity};
use ice::{Ice, IceEvent};
use srtp::Srtp;

pub use offered::Offered;

/// Between the epochs of NTP and Unix (RFC 5905, section 6), seconds.
const NTP_EPOCH: u64 = 2_208_988_800;
/// Datagrams of DTLS kept until the pair is settled: a ClientHello and its repetition. Further ones are lost, as on the way.
const MAX_EARLY: usize = 4;
/// The far end is said to be alive this often at most.
const ALIVE_EVERY: Duration = Duration::from_secs(1);
/// Rounds of "something was said, let it go on" in one poll. Three happen; more would be a loop.
const MAX_ROUNDS: u32 = 8;

/// One caller's transport.
pub struct Engine {
    crypto: Arc<dyn RTCCryptoProvider>,
    identity: Identity,
    remote: Remote,
    local: LocalIdentity,
    local_media: LocalMedia,
    phase: EnginePhase,
    ice: Ice,
    dtls: Dtls,
    /// Once DTLS has given the keys.
    srtp: Option<Srtp>,
    /// Where the far end is: the selected pair's other end.
    selected: Option<SocketAddr>,
    /// DTLS that came from where the pair may be about to be, before that was settled.
    early: Vec<(SocketAddr, Vec<u8>)>,
    /// When connecting is given up.
    connect_by: Option<Instant>,
    /// Something happened since ICE and DTLS last had their say.
    dirty: bool,
    /// When they have it next, as long as nothing happens: asked for more often than it changes.
    due: Option<Instant>,
    flight: Flight,
    source: Source,
    reports: Reports,
    /// When the far end was last said to be alive.
    alive_said: Option<Instant>,
    outputs: VecDeque<PeerOutput>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EnginePhase {
    Held,
    Connecting,
    Connected,
    Over,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("phase", &self.phase)
            .field("local_media", &self.local_media)
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// The peer that answers `remote`, held until [`Peer::start`].
    ///
    /// # Errors
    /// [`PeerError::Refused`] when ICE or DTLS take neither the offer's facts nor ours; the source says why.
    pub fn accept(now: Instant, remote: &Remote, local_media: LocalMedia) -> Result<Self, PeerError> {
        Offered::new(local_media)?.apply_answer(now, remote)
    }

    /// Our side of a call that begins with an offer of ours.
    ///
    /// # Errors
    /// [`PeerError::Refused`] when no certificate can be made; the source says why.
    pub fn offer(local_media: LocalMedia) -> Result<Offered, PeerError> {
        Offered::new(local_media)
    }

    /// Lets ICE look for a way from here on.
    fn connect(&mut self, now: Instant) -> Result<(), PeerError> {
        let credentials = (self.remote.ice_ufrag.as_str(), self.remote.ice_pwd.as_str());
        self.ice.start(now, self.remote.ice_role, credentials, &self.remote.candidates)
    }

    /// Lets ICE and DTLS do what is due, until they have nothing more to say: a way that was found lets DTLS speak.
    fn run(&mut self, now: Instant) {
        self.dirty = false;
        for _ in 0..MAX_ROUNDS {
            let mut said_something = false;
            self.ice.advance(now);
            while let Some(event) = self.ice.poll_event() {
                said_something = true;
                self.on_ice(now, event);
            }
            if let Err(error) = self.dtls.advance(now) {
                said_something = true;
                self.broken(now, &format!("DTLS: {error}"));
            }
            while let Some((to, bytes)) = self.ice.poll_transmit(now) {
                self.outputs.push_back(PeerOutput::Transmit { to, bytes });
            }
            self.send_dtls(now);
            if !said_something {
                break;
            }
        }
        self.report(now);
        for (to, bytes) in self.flight.due(now) {
            self.outputs.push_back(PeerOutput::Transmit { to: *to, bytes: bytes.clone() });
        }
        if self.phase == EnginePhase::Connecting && self.connect_by.is_some_and(|by| by <= now) {
            self.finish(PeerOutput::Failed(format!(
                "not connected within {} s",
                self.local_media.connect_within.as_secs()
            )));
        }
        self.due = self.transport_due();
    }

    /// When ICE, DTLS or the end of connecting are due.
    fn transport_due(&mut self) -> Option<Instant> {
        let connecting = match self.phase {
            EnginePhase::Connecting => [self.flight.deadline(), self.connect_by],
            EnginePhase::Held | EnginePhase::Connected | EnginePhase::Over => [None; 2],
        };
        [self.ice.deadline(), self.dtls.deadline()].into_iter().chain(connecting).flatten().min()
    }

    fn on_ice(&mut self, now: Instant, event: IceEvent) {
        match event {
            IceEvent::Selected(address) => {
                self.selected = Some(address);
                if let Err(error) = self.dtls.start(now) {
                    return self.broken(now, &format!("DTLS: {error}"));
                }
                for (from, bytes) in std::mem::take(&mut self.early) {
                    if from == address {
                        self.on_dtls(now, &bytes);
                    }
                }
            }
            IceEvent::Failed => self.broken(now, "ICE: the far side does not answer"),
        }
    }

    fn on_dtls(&mut self, now: Instant, bytes: &[u8]) {
        match self.dtls.read(now, bytes) {
            Ok(Some(DtlsEvent::Connected(keys))) if self.phase == EnginePhase::Connecting => {
                match Srtp::new(self.crypto.clone(), *keys) {
                    Ok(srtp) => {
                        self.srtp = Some(srtp);
                        self.phase = EnginePhase::Connected;
                        self.flight.settle();
                        self.outputs.push_back(PeerOutput::Connected);
                    }
                    Err(error) => self.broken(now, &format!("SRTP: {error}")),
                }
            }
            Ok(Some(DtlsEvent::Closed)) if self.phase == EnginePhase::Connected => self.finish(PeerOutput::Closed),
            // Nobody has proved yet who says so: the handshake begins again.
            Ok(Some(DtlsEvent::Closed)) if self.phase == EnginePhase::Connecting => {
                self.broken(now, "DTLS: closed within the handshake");
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "DTLS datagram not usable"),
        }
        self.send_dtls(now);
    }

    fn send_dtls(&mut self, now: Instant) {
        while let Some(bytes) = self.dtls.poll_transmit() {
            let Some(to) = self.selected else { continue };
            self.flight.sent(now, to, &bytes);
            self.outputs.push_back(PeerOutput::Transmit { to, bytes });
        }
    }

    /// ICE or DTLS gave up: for good once connected, else for this attempt.
    fn broken(&mut self, now: Instant, why: &str) {
        if self.phase != EnginePhase::Connecting {
            return self.finish(PeerOutput::Failed(why.to_owned()));
        }
        tracing::debug!(why, "connecting from the beginning");
        if let Err(error) = self.begin_again(now) {
            self.finish(PeerOutput::Failed(format!("{why}, and no second attempt: {error}")));
        }
    }

    fn begin_again(&mut self, now: Instant) -> Result<(), PeerError> {
        let Self { crypto, identity, remote, local, local_media, .. } = &*self;
        let ice = Ice::new(now, crypto, local_media.announced, &local.ice_ufrag, &local.ice_pwd)?;
        let dtls = Dtls::new(crypto, identity, remote.dtls_role, &remote.fingerprints)?;
        self.ice = self.ice.succeeded_by(ice);
        self.dtls = dtls;
        self.flight = Flight::default();
        self.selected = None;
        self.early.clear();
        self.connect(now)
    }

    fn media(&mut self, now: Instant, datagram: &[u8]) -> Option<Received> {
        let srtp = self.srtp.as_mut()?;
        if is_rtcp(datagram) {
            match srtp.read_rtcp(datagram) {
                Ok(compound) => {
                    self.reported(now, &compound);
                    self.alive(now);
                }
                Err(_) => self.outputs.push_back(PeerOutput::Discarded),
            }
            return None;
        }
        match srtp.read_rtp(datagram) {
            Ok(packet) => self.received(now, packet),
            Err(_) => {
                self.outputs.push_back(PeerOutput::Discarded);
                None
            }
        }
    }

    fn received(&mut self, now: Instant, packet: rtp::Packet) -> Option<Received> {
        let header = &packet.header;
        let agreed =
            header.payload_type == self.remote.payload_type || Some(header.payload_type) == self.remote.telephone_event;
        let media = agreed && !packet.payload.is_empty();
        let admission = self.source.admit(now, header.ssrc, header.sequence_number, header.timestamp, media);
        let (sequence, timestamp) = match admission {
            Admission::Take { sequence, timestamp } => (sequence, timestamp),
            Admission::TakeOver { sequence, timestamp } => {
                self.outputs.push_back(PeerOutput::SourceChanged);
                (sequence, timestamp)
            }
            Admission::Discard => {
                self.outputs.push_back(PeerOutput::Discarded);
                return None;
            }
        };
        self.reports.received(now, header.ssrc, header.sequence_number, header.timestamp);
        Some(Received {
            payload_type: header.payload_type,
            sequence,
            timestamp,
            ssrc: header.ssrc,
            marker: header.marker,
            payload: packet.payload,
        })
    }

    /// Something came that only the far end can have sent.
    fn alive(&mut self, now: Instant) {
        let due = self.alive_said.is_none_or(|said| said + ALIVE_EVERY <= now);
        if due && self.phase == EnginePhase::Connected {
            self.alive_said = Some(now);
            self.outputs.push_back(PeerOutput::Alive);
        }
    }

    fn reported(&mut self, now: Instant, compound: &[Box<dyn rtcp::Packet>]) {
        let outputs = &mut self.outputs;
        compound::read(now, compound, &mut self.reports, |report| outputs.push_back(PeerOutput::Report(report)));
    }

    /// Sends a report if it is time.
    fn report(&mut self, now: Instant) {
        if self.phase == EnginePhase::Connected
            && let Some(report) = self.reports.due(now)
        {
            self.write_rtcp(&compound::packets(
                &report,
                self.local_media.ssrc,
                self.local_media.cname,
                AfterReport::GoOn,
            ));
        }
    }

    fn write_rtcp(&mut self, compound: &[Box<dyn rtcp::Packet>]) {
        let (Some(srtp), Some(to)) = (&mut self.srtp, self.selected) else { return };
        match srtp.write_rtcp(compound) {
            Ok(bytes) => self.outputs.push_back(PeerOutput::Transmit { to, bytes }),
            Err(error) => tracing::debug!(%error, "report not sent"),
        }
    }

    fn finish(&mut self, last: PeerOutput) {
        if self.phase != EnginePhase::Over {
            self.phase = EnginePhase::Over;
            self.flight.settle();
            self.outputs.push_back(last);
        }
    }
}

impl Peer for Engine {
    fn local(&self) -> &LocalIdentity {
        &self.local
    }

    fn start(&mut self, now: Instant) {
        if self.phase != EnginePhase::Held {
            return;
        }
        self.phase = EnginePhase::Connecting;
        self.connect_by = Some(now + self.local_media.connect_within);
        self.dirty = true;
        if let Err(error) = self.connect(now) {
            self.finish(PeerOutput::Failed(error.to_string()));
        }
    }

    fn datagram(&mut self, now: Instant, bytes: &[u8], from: SocketAddr) -> Option<Received> {
        if matches!(self.phase, EnginePhase::Held | EnginePhase::Over)
            || !same_family(from.ip(), self.local_media.announced.ip())
        {
            return None;
        }
        match DatagramKind::of(bytes)? {
            DatagramKind::Stun => {
                if self.ice.read(now, bytes, from) {
                    self.alive(now);
                }
                self.dirty = true;
                None
            }
            // A handshake is not authenticated until it is over: nobody but the far end of the pair may speak in it.
            DatagramKind::Dtls if self.selected == Some(from) => {
                self.on_dtls(now, bytes);
                self.dirty = true;
                None
            }
            // A far end that speaks first does so as soon as it was nominated, which may be before we know that it was.
            DatagramKind::Dtls if self.selected.is_none() && self.ice.has_answered(from) => {
                if self.early.len() < MAX_EARLY {
                    self.early.push((from, bytes.to_vec()));
                }
                None
            }
            DatagramKind::Media if self.phase == EnginePhase::Connected => self.media(now, bytes),
            DatagramKind::Unknown if self.phase == EnginePhase::Connected => {
                self.outputs.push_back(PeerOutput::Discarded);
                None
            }
            DatagramKind::Dtls | DatagramKind::Media | DatagramKind::Unknown => None,
        }
    }

    fn write_rtp(&mut self, now: Instant, packet: RtpOut<'_>) -> Result<(SocketAddr, Bytes), PeerError> {
        let (Some(srtp), Some(to), EnginePhase::Connected) = (&mut self.srtp, self.selected, self.phase) else {
            return Err(PeerError::NotConnected);
        };
        let bytes = srtp.write_rtp(self.local_media.ssrc, packet).map_err(refused("packet"))?;
        let timestamp = match Some(packet.payload_type) == self.remote.telephone_event {
            true => Timestamp::OfAKey,
            false => Timestamp::OfItsSlot(packet.timestamp),
        };
        self.reports.sent(now, timestamp, packet.payload.len());
        Ok((to, bytes))
    }

    fn poll(&mut self, now: Instant) -> Option<PeerOutput> {
        if self.phase == EnginePhase::Held {
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
        let transport = match (self.phase, self.dirty) {
            (EnginePhase::Held | EnginePhase::Over, _) => return None,
            (_, true) => self.transport_due(),
            (_, false) => self.due,
        };
        let report = self.reports.deadline().filter(|_| self.phase == EnginePhase::Connected);
        [transport, report].into_iter().flatten().min()
    }

    fn close(&mut self, now: Instant) {
        if self.phase == EnginePhase::Connected
            && let Some(report) = self.reports.last(now)
        {
            self.write_rtcp(&compound::packets(
                &report,
                self.local_media.ssrc,
                self.local_media.cname,
                AfterReport::Bye,
            ));
        }
        if matches!(self.phase, EnginePhase::Connecting | EnginePhase::Connected) {
            if let Err(error) = self.dtls.close(now) {
                tracing::debug!(%error, "closing the transport");
            }
            self.flight.settle();
            self.send_dtls(now);
        }
        self.phase = EnginePhase::Over;
    }
}

/// What a datagram is, by its first byte (RFC 7983, section 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DatagramKind {
    Stun,
    Dtls,
    /// SRTP or SRTCP.
    Media,
    Unknown,
}

impl DatagramKind {
    /// `None` for an empty one.
    fn of(datagram: &[u8]) -> Option<Self> {
        Some(match datagram.first()? {
            0..=3 => Self::Stun,
            20..=63 => Self::Dtls,
            128..=191 => Self::Media,
            _ => Self::Unknown,
        })
    }
}

/// RFC 5761, section 4: the payload types that RTP leaves to RTCP.
fn is_rtcp(datagram: &[u8]) -> bool {
    matches!(datagram.get(1), Some(192..=223))
}

/// 32.32 fixed point; wraps in 2036 as the format does.
fn ntp(time: SystemTime) -> u64 {
    // A clock before 1970 is none: reports are then right in all but the date.
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let fraction = (u64::from(since.subsec_nanos()) << 32) / 1_000_000_000;
    ((since.as_secs() + NTP_EPOCH) << 32) | fraction
}

fn refused<E: std::error::Error + Send + Sync + 'static>(what: &'static str) -> impl FnOnce(E) -> PeerError {
    move |error| PeerError::Refused(what, Box::new(error))
}
