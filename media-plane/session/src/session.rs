//! The session: one call from its answer to its end. It owns the four parts of a call and orders their steps, nothing else.
//!
//! ```text
//!   Input ─▶ leg ── the caller's voice ── routing ──▶ conversation, connections ─▶ Ports
//!            connections ── what the AI reports ──▶ conversation ── routing ──▶ leg ─▶ Ports
//! ```
//!
//! Flow of [`Session::handle`]: take the input, let the AI act, then give every part what is due by now (the caller's voice,
//! what the AI reported, times, the send clock), until nothing new happened. Whatever is due is done in the same call, so
//! the first RTP packet leaves in the very call that brought ACCEPTED. Of several inputs at hand all but the last may be
//! handed to [`Session::take`], which does nothing that is due.
//!
//! Invariants: no packet before ACCEPTED and transport (immediate mode: transport); then one for every 20 ms. Everything
//! ends, once, with [`EventKind::Ended`] as the last event; after it nothing has an effect.

mod connections;
mod context;
mod conversation;
mod leg;
mod log;
mod routing;
mod setup;

pub use connections::SuccessorError;
pub use leg::{SignallingMode, State};
pub use routing::{CALLER, Gain, LegId, LegPacket, MAX_ROWS, PacketSink, Party, Routing, Row, RowError, RowId};
pub use setup::{Setup, SetupError};

use voicebridge_audio::{Time, uplink::UplinkFrame};

use crate::{
    event::{EventKind, Milestone, Statistics, Termination, Usage},
    ports::{Command, CommandIdReused, ConnectionId, ConnectionInput, Input, Ports, RtpIn, Stage},
    provider::Provider,
};
use connections::{ConnectionEvent, Connections};
use context::Context;
use conversation::{Conversation, Parts};
use leg::{Leg, LegSetup};
use log::Log;

/// Rounds of one call of [`Session::handle`]; two or three are usual. A session never keeps its thread from the others.
const MAX_ROUNDS: usize = 32;

/// Whether packets that are due leave in this call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SendClock {
    Runs,
    Later,
}

/// One call.
pub struct Session {
    leg: Leg,
    conversation: Conversation,
    connections: Connections,
    routing: Routing,
    log: Log,
    /// See [`Session::deadline`]: asked for more often than it changes.
    due: Option<Time>,
    /// What is due after an input was not done yet, see [`Session::take`].
    has_taken: bool,
}

impl Session {
    /// Begins a session of which SDP is agreed on: reports that, and opens the provider: has its
    /// socket opened, if it needs one.
    ///
    /// # Errors
    /// [`SetupError`], without any event.
    pub fn new(now: Time, setup: Setup<'_>, ports: &mut dyn Ports) -> Result<Self, SetupError> {
        let Setup { agent, provider, mode, negotiated, limits, seed, elapsed_ms, answer_ms } = setup;
        let format = setup::format(&agent, negotiated.audio.codec(), &*provider);
        let mut session = Self {
            leg: Leg::new(now, &LegSetup { negotiated, format, mode, limits, seed, elapsed_ms })?,
            connections: Connections::new(now, provider, format, limits.provider_ready_ms),
            conversation: Conversation::new(now, agent, limits, format),
            routing: Routing::conversation(),
            log: Log::new(limits.incidents),
            due: None,
            has_taken: false,
        };
        let mut context = Context::new(now, ports, &mut session.log);
        context.emit(EventKind::OfferAnswered {
            warnings: negotiated.warnings.clone(),
            codec: negotiated.audio.encoding().to_owned(),
            duration_ms: answer_ms,
        });
        context.emit(EventKind::Milestone(Milestone::SessionCreated));
        session.connections.dial(now, session.conversation.agent(), ports);
        session.run(now, SendClock::Runs, ports);
        Ok(session)
    }

    /// Takes what happened and does everything that is due by `now`. After the end it does nothing.
    ///
    /// A provider's message leaves the send clock alone: of several that came together all are heard before a frame is
    /// taken from what they bring. What is due stays due, see [`Session::deadline`].
    pub fn handle(&mut self, now: Time, input: Input<'_>, ports: &mut dyn Ports) {
        if self.conversation.is_over() {
            return;
        }
        let clock = match input {
            Input::Connection(
                _,
                ConnectionInput::Message(_) | ConnectionInput::Audio(_) | ConnectionInput::Oversized(_),
            ) => SendClock::Later,
            _ => SendClock::Runs,
        };
        self.apply(now, input, ports);
        self.run(now, clock, ports);
    }

    /// Takes what happened and leaves what is due for the next [`Session::handle`], which is due at once: so a driver that
    /// is late hands in all packets at hand before one of them counts as missing.
    pub fn take(&mut self, now: Time, input: Input<'_>, ports: &mut dyn Ports) {
        if self.conversation.is_over() {
            return;
        }
        self.apply(now, input, ports);
        self.taken(now);
    }

    /// Acts on the call as an operator wants, once for each id, and leaves what is due as [`Session::take`] does. A command
    /// that was taken before changes nothing.
    ///
    /// # Errors
    /// [`CommandIdReused`]; nothing was done then.
    pub fn command(
        &mut self,
        now: Time,
        id: &str,
        command: &Command,
        ports: &mut dyn Ports,
    ) -> Result<(), CommandIdReused> {
        if self.conversation.is_over() {
            return Ok(());
        }
        let taken = self.converse(now, ports, |conversation, on| conversation.on_command(id, command, on));
        self.taken(now);
        taken
    }

    fn taken(&mut self, now: Time) {
        self.has_taken = true;
        if self.conversation.is_over() {
            self.due = None;
            self.feed_recorders(now);
        } else {
            self.due = Some(now);
        }
    }

    fn apply(&mut self, now: Time, input: Input<'_>, ports: &mut dyn Ports) {
        match input {
            Input::Tick => {}
            Input::Advance(stage) => self.leg.advance(now, stage),
            Input::TransportConnected => self.on_connected(now, ports),
            Input::TransportFailed(why) => {
                let termination = self.leg.transport_failed(why);
                self.converse(now, ports, |conversation, on| conversation.end(termination, on));
            }
            Input::TransportClosed => self.converse(now, ports, Conversation::on_transport_closed),
            Input::Rtp(packet) => self.on_rtp(now, &packet, ports),
            Input::RtpDiscarded => self.leg.discarded(),
            Input::ReceiverReport(report) => self.leg.reported(now, &report),
            Input::TransportAlive => self.leg.alive(now),
            Input::Complexity(complexity) => self.leg.set_complexity(complexity),
            Input::Connection(id, input) => {
                self.connections.input(now, id, input, self.conversation.agent(), ports);
            }
            Input::End(termination) => self.converse(now, ports, |conversation, on| conversation.end(termination, on)),
        }
    }

    /// Opens a connection to a provider that takes over from the one that speaks as soon as it is ready.
    ///
    /// # Errors
    /// [`SuccessorError`]; nothing was opened then.
    pub fn open_successor(
        &mut self,
        now: Time,
        provider: Box<dyn Provider>,
        ports: &mut dyn Ports,
    ) -> Result<ConnectionId, SuccessorError> {
        if self.conversation.is_over() {
            return Err(SuccessorError::Ended);
        }
        let id = self.connections.open_successor(now, provider, self.conversation.agent(), ports)?;
        self.run(now, SendClock::Runs, ports);
        Ok(id)
    }

    /// Who hears whom, to be changed: a recorder is a row more.
    pub const fn routing_mut(&mut self) -> &mut Routing {
        &mut self.routing
    }

    /// When to call [`Session::handle`] even if nothing happens; `None` after the end.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        debug_assert!(
            self.has_taken || self.due == self.next_due(self.deadline_but_sending()),
            "whatever changes the state renews it"
        );
        self.due
    }

    fn next_due(&self, but_sending: Option<Time>) -> Option<Time> {
        if self.conversation.is_over() {
            None
        } else {
            [self.leg.send_deadline(), but_sending].into_iter().flatten().min()
        }
    }

    fn deadline_but_sending(&self) -> Option<Time> {
        let conversation = self.conversation.deadline(self.leg.active_since());
        [self.leg.deadline(), self.connections.deadline(), conversation].into_iter().flatten().min()
    }

    /// How the session is doing.
    #[must_use]
    pub fn state(&self) -> State {
        if self.conversation.is_over() { State::Ended } else { self.leg.state() }
    }

    /// How far signalling has come.
    #[must_use]
    pub fn stage(&self) -> Option<Stage> {
        self.leg.stage()
    }

    /// Whether ICE and DTLS may run: ANSWER_DELIVERED was reached, or is not waited for.
    #[must_use]
    pub fn may_connect(&self) -> bool {
        self.leg.may_connect() && !self.conversation.is_over()
    }

    /// Whether the provider has confirmed its configuration.
    #[must_use]
    pub fn provider_ready(&self) -> bool {
        self.connections.is_ready()
    }

    /// Counters of both directions.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        self.leg.statistics()
    }

    /// What it cost so far.
    #[must_use]
    pub const fn usage(&self) -> Usage {
        self.conversation.usage()
    }

    /// How it ended.
    #[must_use]
    pub const fn termination(&self) -> Option<&Termination> {
        self.conversation.termination()
    }

    /// Does what is due, until there is nothing left for this moment or the rounds are over; a deadline that is still
    /// due then brings the driver back at once.
    fn run(&mut self, now: Time, clock: SendClock, ports: &mut dyn Ports) {
        self.has_taken = false;
        for _ in 0..MAX_ROUNDS {
            if self.conversation.is_over() {
                self.due = None;
                break;
            }
            self.round(now, clock, ports);
            let but_sending = self.deadline_but_sending();
            self.due = self.next_due(but_sending);
            let due = match clock {
                SendClock::Runs => self.due,
                SendClock::Later => but_sending,
            };
            if due.is_none_or(|due| due > now) {
                break;
            }
        }
        self.feed_recorders(now);
    }

    fn round(&mut self, now: Time, clock: SendClock, ports: &mut dyn Ports) {
        if self.leg.activate(now) {
            // The first packet leaves before anything else is done.
            self.send(now, ports);
            self.converse(now, ports, |conversation, on| {
                on.emit(EventKind::Milestone(Milestone::BridgeActive));
                conversation.on_active(on);
            });
        }
        self.connections.tick(now, ports);
        self.poll_leg(now, ports);
        while let Some(event) = self.connections.next(ports) {
            self.on_connection_event(now, event, ports);
            if self.conversation.is_over() {
                return;
            }
        }
        if self.connections.is_ready() {
            self.leg.listen(now);
        }
        if let Some(termination) = self.leg.expired(now) {
            return self.converse(now, ports, |conversation, on| conversation.end(termination, on));
        }
        self.converse(now, ports, Conversation::step);
        if self.conversation.is_over() {
            return;
        }
        self.report(now, ports);
        if clock == SendClock::Runs {
            self.send(now, ports);
        }
        self.converse(now, ports, Conversation::after_sending);
    }

    fn on_connection_event(&mut self, now: Time, event: ConnectionEvent, ports: &mut dyn Ports) {
        self.converse(now, ports, |conversation, on| match event {
            ConnectionEvent::Reported(event) => conversation.on_reported(event, on),
            ConnectionEvent::TookOver { session_id, model } => conversation.on_took_over(session_id, model, on),
            ConnectionEvent::SuccessorLost(failure) => Conversation::on_successor_lost(failure, on),
        });
    }

    fn on_connected(&mut self, now: Time, ports: &mut dyn Ports) {
        if let Some(took) = self.leg.connect(now) {
            let duration_ms = took.as_millis() as u32;
            Context::new(now, ports, &mut self.log).emit(EventKind::TransportConnected { duration_ms });
        }
    }

    fn report(&mut self, now: Time, ports: &mut dyn Ports) {
        let Some((statistics, quality)) = self.leg.report(now) else { return };
        let mut context = Context::new(now, ports, &mut self.log);
        context.emit(EventKind::Statistics(statistics));
        quality.into_iter().for_each(|quality| context.emit(EventKind::Quality(quality)));
    }

    fn on_rtp(&mut self, now: Time, packet: &RtpIn<'_>, ports: &mut dyn Ports) {
        let Self { leg, conversation, connections, routing, .. } = self;
        if let Some(at) = leg.call_time(now) {
            routing.packet(CALLER, at, LegPacket::Received(*packet));
        }
        leg.receive(now, packet, &mut |frame| hand_over(now, &frame, routing, conversation, connections, ports));
    }

    fn poll_leg(&mut self, now: Time, ports: &mut dyn Ports) {
        let Self { leg, conversation, connections, routing, .. } = self;
        leg.poll(now, &mut |frame| hand_over(now, &frame, routing, conversation, connections, ports));
    }

    fn send(&mut self, now: Time, ports: &mut dyn Ports) {
        let Self { leg, routing, .. } = self;
        let at = leg.call_time(now).unwrap_or_default();
        leg.send(now, &mut |packet| {
            routing.packet(CALLER, at, LegPacket::Sent(packet));
            ports.send_rtp(packet);
        });
    }

    fn feed_recorders(&mut self, now: Time) {
        let at = self.leg.call_time(now).unwrap_or_default();
        self.leg.take_ended().for_each(|item| self.routing.item_heard(CALLER, at, &item));
        while let Some(span) = self.leg.next_filled() {
            self.routing.filled(CALLER, &span);
        }
    }

    /// Has the conversation act on the other parts.
    fn converse<R>(
        &mut self,
        now: Time,
        ports: &mut dyn Ports,
        act: impl FnOnce(&mut Conversation, &mut Parts<'_>) -> R,
    ) -> R {
        let Self { leg, conversation, connections, routing, log, due: _, has_taken: _ } = self;
        act(conversation, &mut Parts { leg, connections, routing, context: Context::new(now, ports, log) })
    }
}

/// Gives a piece of the caller's voice to the AI, as it is to hear it.
fn hand_over(
    now: Time,
    frame: &UplinkFrame<'_>,
    routing: &mut Routing,
    conversation: &mut Conversation,
    connections: &mut Connections,
    ports: &mut dyn Ports,
) {
    let heard = routing.heard(Party::Leg(CALLER), Party::Ai, frame.pcm);
    conversation.observe(now, heard);
    connections.audio(now, heard, ports);
}
