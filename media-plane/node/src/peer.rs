//! The WebRTC side of one call, without IO: ICE, DTLS and SRTP towards one caller.
//!
//! Flow: `accept` (a constructor of the engine) takes what the offer says and returns a peer that already knows its
//! [`LocalIdentity`] facts; nothing leaves before [`Peer::start`]. Then: datagrams in, RTP out, and after every input
//! [`Peer::poll`] until it returns `None`. [`Peer::deadline`] says when to poll again if nothing comes.
//!
//! What it does not do: it owns no socket and no clock, and it writes no SDP for the wire; the answer's text is made by
//! `voicebridge_session::sdp` from the local facts.

mod engine;
mod flight;
mod reach;
mod remote;
mod reports;
mod source;
#[cfg(test)]
mod tests;

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use bytes::Bytes;
use voicebridge_session::{ReceiverReport, RtpOut};

pub use engine::{Engine, Offered};
pub use reach::{CandidatePolicy, Reach};
pub use remote::Remote;

/// What the answer must say about us, besides address and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalIdentity {
    /// ICE user name fragment, 8 ice-chars (RFC 8839, section 5.4).
    pub ice_ufrag: String,
    /// ICE password, 24 ice-chars.
    pub ice_pwd: String,
    /// SHA-256 of our certificate, upper-case hex pairs with colons.
    pub fingerprint: String,
    /// The one SSRC of everything we send.
    pub ssrc: u32,
}

/// Where the peer is and which stream it sends.
#[derive(Clone, Copy, Debug)]
pub struct LocalMedia {
    /// The announced address and port: what the caller sends to. The socket may be bound to another address behind a
    /// 1:1 NAT; the peer never learns of it.
    pub announced: SocketAddr,
    /// The SSRC to send with.
    pub ssrc: u32,
    /// How our RTCP names us (RFC 3550, section 6.5.1).
    pub cname: &'static str,
    /// From [`Peer::start`]: for this long ICE and DTLS are tried, from the beginning if need be.
    pub connect_within: Duration,
}

/// A packet from the caller, decrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// As offered; of the source that is listened to any other as well.
    pub payload_type: u8,
    /// RTP sequence number.
    pub sequence: u16,
    /// RTP timestamp, on the clock of the codec.
    pub timestamp: u32,
    /// Synchronisation source. When it changes, sequence and timestamp go on as if it had not.
    pub ssrc: u32,
    /// Marker bit.
    pub marker: bool,
    /// Empty for packets of padding only, with which browsers probe: they take up a sequence number all the same.
    pub payload: Bytes,
}

/// What a peer wants its driver to do or to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerOutput {
    /// Send this datagram.
    Transmit {
        /// Where to.
        to: SocketAddr,
        /// What.
        bytes: Bytes,
    },
    /// The caller's stream goes on under another SSRC.
    SourceChanged,
    /// A packet was not taken: of a second source beside the one that speaks, replayed, or nothing that could be decrypted
    /// and read, from whomever.
    Discarded,
    /// What the caller's side reports of our stream.
    Report(ReceiverReport),
    /// The far end is there, whether it sends media or not: a check or a report of its came, authenticated. At most once a
    /// second.
    Alive,
    /// ICE and DTLS are up; comes once.
    Connected,
    /// The far side said good-bye (DTLS close_notify); comes once and is the last but for transmits.
    Closed,
    /// ICE or DTLS failed for good; comes once and is the last but for transmits.
    Failed(String),
}

/// Why a peer could not be made, or a packet not be sent.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// The engine would not take the offer's facts or our settings.
    #[error("the WebRTC engine refused the {0}")]
    Refused(&'static str, #[source] Box<dyn std::error::Error + Send + Sync>),
    /// `write_rtp` before the transport was up, or after it was gone.
    #[error("the transport is not up")]
    NotConnected,
}

/// One caller's transport. See the module's page for the order of calls.
pub trait Peer {
    /// What the answer says about us.
    fn local(&self) -> &LocalIdentity;
    /// From here on ICE checks and DTLS may leave. Before, datagrams that come are dropped unanswered. Idempotent.
    fn start(&mut self, now: Instant);
    /// Takes a datagram from the socket: a packet of the caller's comes back at once, whatever else it brings by
    /// [`Peer::poll`]. Garbage is dropped.
    fn datagram(&mut self, now: Instant, bytes: &[u8], from: SocketAddr) -> Option<Received>;
    /// Encrypts a packet as numbered, with our SSRC, into a datagram to be sent there.
    ///
    /// # Errors
    /// [`PeerError::NotConnected`] when the transport is not up; the packet is dropped.
    fn write_rtp(&mut self, now: Instant, packet: RtpOut<'_>) -> Result<(SocketAddr, Bytes), PeerError>;
    /// The next thing to do; call until `None` after every other call and at every deadline.
    fn poll(&mut self, now: Instant) -> Option<PeerOutput>;
    /// When to poll again if nothing happens. `None` before `start` and after `Closed` or `Failed`.
    fn deadline(&mut self) -> Option<Instant>;
    /// Says good-bye (DTLS close_notify, RFC 5246 section 7.2.1); poll once more to send it.
    fn close(&mut self, now: Instant);
}

/// Whether `a` and `b` are of one address family: a socket of one cannot reach the other.
fn same_family(a: IpAddr, b: IpAddr) -> bool {
    a.is_ipv4() == b.is_ipv4()
}
