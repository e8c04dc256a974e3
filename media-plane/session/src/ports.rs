//! What goes into a session and what it acts on.

use crate::event::{Event, Termination};

/// How far the signalling towards the caller has come. Only ever advances.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// The far side has our answer: ICE and DTLS may start.
    AnswerDelivered,
    /// The call is answered: RTP starts at once.
    Accepted,
}

/// One RTP packet from the caller, header already parsed and payload decrypted.
#[derive(Clone, Copy, Debug)]
pub struct RtpIn<'a> {
    /// By what the answer agreed to: audio, or telephone-event.
    pub payload_type: u8,
    /// RTP sequence number.
    pub sequence: u16,
    /// RTP timestamp, on the clock of the codec.
    pub timestamp: u32,
    /// Synchronisation source.
    pub ssrc: u32,
    /// Marker bit.
    pub marker: bool,
    /// Payload; may be empty, may be garbage.
    pub payload: &'a [u8],
}

/// One RTP packet to the caller. The SSRC is the peer's, fixed by the answer.
#[derive(Clone, Copy, Debug)]
pub struct RtpOut<'a> {
    /// By what the answer agreed to: audio, or telephone-event.
    pub payload_type: u8,
    /// RTP sequence number.
    pub sequence: u16,
    /// RTP timestamp, on the clock of the codec.
    pub timestamp: u32,
    /// Set on the first packet after silence (RFC 3551, section 4.1) or after time for which nothing was sent, and on the
    /// first report of a key.
    pub marker: bool,
    /// A packet of the codec, or an event report.
    pub payload: &'a [u8],
}

/// One connection of a session to a provider. Counts from 0 in the order of opening; never used again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u32);

/// One message on a provider's socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// UTF-8.
    Text(&'a str),
    /// Bytes.
    Binary(&'a [u8]),
}

/// How closely a connection is watched for signs of life; what that means in seconds is the provider's
/// [`PingPolicy`](crate::provider::PingPolicy).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Watch {
    /// Nobody waits for anything.
    #[default]
    Idle,
    /// The caller waits for an answer.
    TurnWaiting,
}

/// What comes from a provider's connection.
#[derive(Debug)]
pub enum ConnectionInput<'a> {
    /// The socket is open. In-process providers need none.
    Opened,
    /// A message that is not audio.
    Message(Frame<'a>),
    /// A message of audio, decoded off the media thread: see [`crate::provider::Decode`].
    Audio(AudioDelta<'a>),
    /// A message, or the ids of a piece of audio, were larger than the driver takes: it is gone. Its bytes.
    Oversized(usize),
    /// The socket is gone or could not be opened. Comes last.
    Closed(ProviderClosed<'a>),
}

/// A piece of the AI's voice as it came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AudioDelta<'a> {
    /// The response it belongs to.
    pub response_id: &'a str,
    /// The item it belongs to.
    pub item_id: &'a str,
    /// Samples in the format agreed on, 16-bit ones little-endian. A piece may end within a sample.
    pub bytes: &'a [u8],
}

/// Something to do on a live call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Have the AI say this after what is being played.
    Say(String),
    /// Stop what is being played, as if the caller had interrupted.
    Interrupt,
    /// Give the AI a text as if the caller had said it, and have it reply.
    InjectText(String),
    /// Send these keys to the caller, `0` to `9`, `*`, `#`, `A` to `D`, in place of what is being played meanwhile.
    SendDtmf(String),
}

/// The id of a command is that of another one, which the session took before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("another command was sent with this id before")]
pub struct CommandIdReused;

/// What can happen to a session.
#[derive(Debug)]
pub enum Input<'a> {
    /// Time passed; also implied by every other input.
    Tick,
    /// Signalling has come this far.
    Advance(Stage),
    /// ICE and DTLS are up.
    TransportConnected,
    /// ICE or DTLS failed or broke off for good, in the engine's words.
    TransportFailed(&'a str),
    /// The caller's side closed the transport properly (DTLS close_notify): it has hung up.
    TransportClosed,
    /// A packet from the caller.
    Rtp(RtpIn<'a>),
    /// A packet from the caller that the driver did not take, to be counted.
    RtpDiscarded,
    /// What the far side received of our packets; a sign of life, too.
    ReceiverReport(ReceiverReport),
    /// The far side gave another sign of life: an RTCP packet, an answer to a consent check (RFC 7675). Authenticated.
    TransportAlive,
    /// The encoder's complexity from the next frame on, one of `audio::opus::COMPLEXITIES`: the driver's load decides.
    Complexity(u8),
    /// Something came from a connection to a provider; one the session knows nothing of is ignored.
    Connection(ConnectionId, ConnectionInput<'a>),
    /// End the call; the first termination stands.
    End(Termination),
}

/// A reception report of the far side on our stream (RFC 3550, section 6.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReceiverReport {
    /// Of the packets since its last report, 256ths.
    pub fraction_lost: u8,
    /// Interarrival jitter, milliseconds.
    pub jitter_ms: u32,
    /// Milliseconds; `None` until it has seen a report of ours.
    pub round_trip_ms: Option<u32>,
}

/// Why a provider's socket is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProviderClosed<'a> {
    /// The HTTP upgrade was answered with this status (and body, cut short) instead of 101.
    Refused {
        /// HTTP status.
        status: u16,
        /// Start of the body.
        body: &'a str,
    },
    /// No connection: DNS, TCP, TLS, or time-out.
    Unreachable(&'a str),
    /// A WebSocket close frame, or 1006 when the connection broke without one.
    Closed {
        /// RFC 6455, section 7.4.
        code: u16,
        /// Text of the close frame.
        reason: &'a str,
    },
}

/// What a session acts on. Implementations must not block.
pub trait Ports {
    /// Hands a packet to the transport. Called only after the transport is up and the call accepted.
    fn send_rtp(&mut self, packet: RtpOut<'_>);
    /// Opens a connection to the provider. What comes of it is told by [`Input::Connection`].
    fn open_connection(&mut self, connection: ConnectionId);
    /// Sends a message that must arrive, in order with all others.
    fn send_control(&mut self, connection: ConnectionId, frame: Frame<'_>);
    /// Sends a piece of the caller's voice: on a connection that is too slow the oldest of these may be left out.
    fn send_audio(&mut self, connection: ConnectionId, frame: Frame<'_>);
    /// Watches the connection for signs of life as closely as said, from now on.
    fn watch_connection(&mut self, connection: ConnectionId, watch: Watch);
    /// Closes a connection after what was sent; nothing is sent to it any more.
    fn close_connection(&mut self, connection: ConnectionId);
    /// Publishes an event. Durable events carry a gapless sequence from 1; transient ones carry 0.
    fn emit(&mut self, event: Event);
}
