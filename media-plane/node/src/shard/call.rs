//! One session on its media thread: socket, peer, session core and provider queues, and the step that connects them.
//!
//! Flow of a step: datagrams -> peer -> session; provider messages -> session; due deadlines; what there is to send ->
//! socket. The session core acts through [`SessionPorts`]. After it the call says what it wants next ([`Call::next`]).
//!
//! Bounds per step: [`MAX_DATAGRAMS`], [`MAX_ARRIVALS`] and [`MAX_ARRIVAL_BYTES`], so that one flooded session delays its
//! neighbours by no more than that; the rest waits in the kernel's buffer and in the provider's queue for the next one.

use std::{
    io::{self, ErrorKind},
    net::UdpSocket,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Instant,
};

use voicebridge_audio::Time;
use voicebridge_session::{
    AudioDelta, Command, CommandIdReused, ConnectionId, ConnectionInput, Event, EventKind, Frame, Input, Ports, RtpIn,
    RtpOut, Session, SignallingMode, Stage, State, Termination, TerminationResult, Watch,
};

use super::{calls::Next, datagrams::Datagrams, ticks::Ticks};
use crate::{
    clock::Clock,
    entry::{Entry, Snapshot},
    peer::{Engine, Peer, PeerOutput, Received},
    provider::{Arrival, ProviderSockets},
    udp::Lease,
    waker::ThreadWaker,
};

/// Datagrams taken from one socket in a step; a call brings one or two.
const MAX_DATAGRAMS: usize = 64;
/// Provider messages taken in a step.
const MAX_ARRIVALS: usize = 64;
/// Bytes of them, the last of which may be beyond: a message is at most 256 KiB.
const MAX_ARRIVAL_BYTES: usize = 128 * 1024;

/// What the session core acts on: the peer, the connections to the provider, and the journal.
pub struct SessionPorts {
    /// Towards the caller.
    pub peer: Engine,
    /// To be sent to the caller at the end of the step.
    pub datagrams: Datagrams,
    /// Towards the provider.
    pub connections: ProviderSockets,
    /// Where events go.
    pub entry: Arc<Entry>,
    /// The moment the session core is being told something.
    pub now: Instant,
    /// The session's span, parent of everything it logs; closed with the call.
    pub span: tracing::Span,
}

impl Ports for SessionPorts {
    fn send_rtp(&mut self, packet: RtpOut<'_>) {
        match self.peer.write_rtp(self.now, packet) {
            Ok((to, bytes)) => self.datagrams.push(to, bytes),
            // The session sends only while the transport is up; it learns of the end from the peer's own report.
            Err(error) => tracing::debug!(%error, "packet not sent"),
        }
    }

    fn open_connection(&mut self, connection: ConnectionId) {
        self.connections.open(connection);
    }

    fn send_control(&mut self, connection: ConnectionId, frame: Frame<'_>) {
        self.connections.send_control(connection, frame);
    }

    fn send_audio(&mut self, connection: ConnectionId, frame: Frame<'_>) {
        self.connections.send_audio(connection, frame);
    }

    fn watch_connection(&mut self, connection: ConnectionId, watch: Watch) {
        self.connections.watch(connection, watch);
    }

    fn close_connection(&mut self, connection: ConnectionId) {
        self.connections.close(connection);
    }

    fn emit(&mut self, event: Event) {
        self.span.in_scope(|| self.entry.record(event));
    }
}

/// What is known of datagrams that wait in a call's socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SocketState {
    /// None; the next is reported.
    Empty,
    /// Some may.
    Readable,
    /// It could not be read, or none is ever reported: it is read at the next tick.
    AtTick,
}

/// One session and all it owns.
pub struct Call {
    session: Session,
    ports: SessionPorts,
    lease: Lease,
    clock: Clock,
    socket: SocketState,
    /// Whether its thread is told of datagrams.
    reported: bool,
    /// Connect at once, without waiting for ANSWER_DELIVERED.
    immediate: bool,
    /// Its code panicked: it is dropped as it is.
    broken: bool,
    connecting: tracing::Span,
    /// Audio messages that the connections had dropped when they were last counted.
    dropped: u64,
    /// The log knows that the caller's stream changed its source.
    source_change_said: bool,
    /// The state others were last shown.
    published: Option<State>,
}

impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Call").field("session_id", &self.ports.entry.session_id).finish_non_exhaustive()
    }
}

impl Call {
    /// A session ready to run.
    #[must_use]
    pub fn new(session: Session, ports: SessionPorts, lease: Lease, clock: Clock, mode: SignallingMode) -> Self {
        let immediate = mode == SignallingMode::Immediate;
        Self {
            session,
            ports,
            lease,
            clock,
            socket: SocketState::Empty,
            reported: true,
            immediate,
            broken: false,
            connecting: tracing::Span::none(),
            dropped: 0,
            source_change_said: false,
            published: None,
        }
    }

    pub(super) fn entry(&self) -> &Entry {
        &self.ports.entry
    }

    /// It has ended, one way or the other.
    pub(super) fn is_over(&self) -> bool {
        self.broken || self.session.state() == State::Ended
    }

    pub(super) fn termination(&self) -> Option<Termination> {
        self.session.termination().cloned()
    }

    /// Runs some of this session's code. A panic in it ends the session with `INTERNAL` and returns `None`.
    pub(super) fn guarded<R>(&mut self, act: impl FnOnce(&mut Self) -> R) -> Option<R> {
        if self.broken {
            return None;
        }
        match catch_unwind(AssertUnwindSafe(|| act(self))) {
            Ok(result) => Some(result),
            Err(_) => {
                self.broken = true;
                self.record_crash();
                None
            }
        }
    }

    /// The first thing on the media thread.
    pub(super) fn begin(&mut self, now: Instant) {
        if self.immediate {
            self.connect(now);
        }
        self.publish();
    }

    pub(super) fn advance(&mut self, now: Instant, stage: Stage) -> Option<Stage> {
        self.connect(now);
        self.input(now, Input::Advance(stage));
        self.flush(now);
        self.session.stage()
    }

    /// Tells the session core something; the next step does what is due.
    pub(super) fn input(&mut self, now: Instant, input: Input<'_>) {
        self.ports.now = now;
        self.session.take(self.clock.time(now), input, &mut self.ports);
    }

    /// Has the session core act as an operator wants; the next step does what is due.
    pub(super) fn command(&mut self, now: Instant, id: &str, command: &Command) -> Result<(), CommandIdReused> {
        self.ports.now = now;
        self.session.command(self.clock.time(now), id, command, &mut self.ports)
    }

    /// Tells the session core something and has it do what is due.
    fn handle(&mut self, now: Instant, input: Input<'_>) {
        self.ports.now = now;
        self.session.handle(self.clock.time(now), input, &mut self.ports);
    }

    /// Takes what came and does what is due. All packets first: what waits in the socket of a late thread is not missing.
    /// Then all that the provider sent: a frame that is due is to find what is there for it.
    pub(super) fn step(&mut self, now: Instant, buffer: &mut [u8]) {
        if self.socket != SocketState::Empty {
            self.receive(now, buffer);
        }
        self.take_arrivals(now);
        if self.session.deadline().is_some_and(|deadline| deadline <= self.now(now)) {
            self.handle(now, Input::Tick);
        }
        self.flush(now);
        if self.published != Some(self.session.state()) {
            self.publish();
        }
    }

    /// What it wants after a step. What its peer wants to do may wait for a tick, and then what others' want is done too.
    pub(super) fn next(&mut self, now: Instant, ticks: Ticks) -> Next {
        let due = self.guarded(|call| {
            let session = call.session.deadline().map(|deadline| call.clock.instant(deadline));
            let peer = call.ports.peer.deadline().map(|deadline| ticks.after(deadline.max(now)));
            let socket = (call.socket == SocketState::AtTick).then(|| ticks.after(now));
            [session, peer, socket].into_iter().flatten().min()
        });
        match due {
            _ if self.is_over() => Next::Over,
            _ if self.socket == SocketState::Readable || !self.ports.connections.is_empty() => Next::Again,
            due => Next::At(due.flatten()),
        }
    }

    /// Has the thread woken for it from now on, under this index.
    pub(super) fn wake_by(&mut self, thread: &Arc<ThreadWaker>, index: usize) {
        self.ports.connections.wake_by(thread, index);
    }

    /// Datagrams came for it, or are not reported to it.
    pub(super) fn readable(&mut self, reported: io::Result<()>) {
        self.socket = SocketState::Readable;
        if let Err(error) = reported {
            tracing::warn!(%error, "a call's packets are looked for at every tick only");
            self.reported = false;
        }
    }

    pub(super) const fn socket(&self) -> &UdpSocket {
        &self.lease.socket
    }

    /// Says good-bye to the caller's side.
    pub(super) fn hang_up(&mut self, now: Instant) {
        self.ports.peer.close(now);
        self.flush(now);
    }

    /// Renews what others see of this session.
    pub(super) fn publish(&mut self) {
        let snapshot = self.guarded(|call| Snapshot {
            state: call.session.state(),
            stage: call.session.stage(),
            statistics: call.session.statistics(),
        });
        let entry = &self.ports.entry;
        let snapshot = snapshot.unwrap_or_else(|| Snapshot { state: State::Ended, ..entry.snapshot() });
        self.published = Some(snapshot.state);
        entry.publish(snapshot);
    }

    /// Opens a connection that the session did not ask for.
    #[cfg(test)]
    pub(super) fn open_connection(&mut self) {
        self.ports.connections.open(ConnectionId(u32::MAX));
    }

    fn now(&self, now: Instant) -> Time {
        self.clock.time(now)
    }

    fn connect(&mut self, now: Instant) {
        if self.connecting.is_none() {
            self.connecting = tracing::info_span!(parent: &self.ports.span, "connect");
        }
        self.ports.peer.start(now);
    }

    fn receive(&mut self, now: Instant, buffer: &mut [u8]) {
        self.socket = SocketState::Readable;
        for _ in 0..MAX_DATAGRAMS {
            match self.lease.socket.recv_from(buffer) {
                Ok((length, from)) => {
                    if let Some(packet) = self.ports.peer.datagram(now, &buffer[..length], from) {
                        self.take_packet(now, &packet);
                    }
                    self.drain_peer(now);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.socket = if self.reported { SocketState::Empty } else { SocketState::AtTick };
                    return;
                }
                Err(error) => {
                    tracing::debug!(%error, "receiving");
                    self.socket = SocketState::AtTick;
                    return;
                }
            }
        }
    }

    fn take_packet(&mut self, now: Instant, packet: &Received) {
        let packet = RtpIn {
            payload_type: packet.payload_type,
            sequence: packet.sequence,
            timestamp: packet.timestamp,
            ssrc: packet.ssrc,
            marker: packet.marker,
            payload: &packet.payload,
        };
        self.input(now, Input::Rtp(packet));
    }

    fn take_arrivals(&mut self, now: Instant) {
        let mut bytes = 0;
        for _ in 0..MAX_ARRIVALS {
            if bytes >= MAX_ARRIVAL_BYTES {
                return;
            }
            let Some((connection, arrival)) = self.ports.connections.take() else { return };
            bytes += arrival.size();
            let input = match &arrival {
                Arrival::Opened => ConnectionInput::Opened,
                Arrival::Text(text) => ConnectionInput::Message(Frame::Text(text)),
                Arrival::Binary(bytes) => ConnectionInput::Message(Frame::Binary(bytes)),
                Arrival::Audio { response_id, item_id, bytes } => {
                    ConnectionInput::Audio(AudioDelta { response_id, item_id, bytes })
                }
                Arrival::Oversized(bytes) => ConnectionInput::Oversized(*bytes),
                Arrival::Closed(closed) => ConnectionInput::Closed(closed.as_session()),
            };
            self.handle(now, Input::Connection(connection, input));
        }
    }

    /// Does what the peer and the session core have to send; the core's packets come out of the peer.
    fn flush(&mut self, now: Instant) {
        self.drain_peer(now);
        self.ports.datagrams.send(&self.lease.socket);
        let dropped = self.ports.connections.dropped();
        if dropped > self.dropped {
            metrics::counter!("voicebridge_media_provider_audio_dropped_total").increment(dropped - self.dropped);
            self.dropped = dropped;
        }
    }

    fn drain_peer(&mut self, now: Instant) {
        while let Some(output) = self.ports.peer.poll(now) {
            match output {
                PeerOutput::Transmit { to, bytes } => self.ports.datagrams.push(to, bytes),
                PeerOutput::Connected => {
                    self.connecting = tracing::Span::none();
                    self.input(now, Input::TransportConnected);
                }
                PeerOutput::Report(report) => self.input(now, Input::ReceiverReport(report)),
                PeerOutput::Alive => self.input(now, Input::TransportAlive),
                PeerOutput::Discarded => self.input(now, Input::RtpDiscarded),
                PeerOutput::SourceChanged => self.source_changed(),
                PeerOutput::Closed => self.input(now, Input::TransportClosed),
                PeerOutput::Failed(why) => {
                    self.connecting = tracing::Span::none();
                    self.input(now, Input::TransportFailed(&why));
                }
            }
        }
    }

    /// Said once a call, counted always.
    fn source_changed(&mut self) {
        metrics::counter!("voicebridge_media_source_changes_total").increment(1);
        if !std::mem::replace(&mut self.source_change_said, true) {
            let _inside = self.ports.span.enter();
            let call_id = &self.ports.entry.call_id;
            tracing::warn!(call_id, "the caller's audio goes on under another SSRC; it is followed");
        }
    }

    /// Every session ends with one termination, whatever fails.
    fn record_crash(&self) {
        let _inside = self.ports.span.enter();
        let entry = &self.ports.entry;
        tracing::error!(call_id = entry.call_id, "a session panicked and was ended");
        let snapshot = entry.snapshot();
        entry.record(Event {
            sequence: entry.journal.last_sequence() + 1,
            at: self.now(Instant::now()),
            kind: EventKind::Ended {
                termination: Termination {
                    result: TerminationResult::Failed,
                    reason: "INTERNAL".to_owned(),
                    message: "a fault in the media node ended this call; the node's log says where".to_owned(),
                    upstream_code: String::new(),
                },
                statistics: snapshot.statistics,
                usage: Default::default(),
                models: Default::default(),
                quality: None,
                duration_ms: 0,
            },
        });
    }
}
