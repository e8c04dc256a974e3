//! The session: one call from its answer to its end.
//!
//! Flow of [`Session::handle`]: take the input, let the provider act, then give every part what is due by now (uplink,
//! send clock, timers), until nothing new happened. Whatever is due is done in the same call, so the first RTP packet
//! leaves in the very call that brought ACCEPTED.
//!
//! Invariants: no packet before ACCEPTED and transport (immediate mode: transport); then one for every 20 ms. Everything
//! ends, once, with [`EventKind::Ended`] as the last event; after it nothing has an effect.

mod connections;
mod conversation;
mod leg;
mod log;
mod timers;

pub use leg::stages::{SignallingMode, State};

use std::time::Duration;

use voicebridge_audio::{
    Time,
    codec::Codec,
    opus::OpusError,
    uplink::{Uplink, UplinkFrame},
};

use crate::{
    agent::Agent,
    event::{EventKind, Milestone, Statistics, Termination, Usage},
    limits::Limits,
    ports::{ConnectionInput, Input, Ports, RtpIn, Stage},
    provider::{AudioFormat, Provider},
    sdp::Offer,
};
use connections::link::Link;
use conversation::{
    answer_watch::{AnswerWatch, What},
    closing::Life,
    hold::Hold,
    keypad::Keypad,
    transcripts::Transcripts,
};
use leg::{downlink::Downlink, quality::Meter, stages::Stages};
use log::Log;

/// Rounds of one call of [`Session::handle`]; two or three are usual. A session never keeps its thread from the others.
const MAX_ROUNDS: usize = 32;

/// Whether packets that are due leave in this call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SendClock {
    Runs,
    Later,
}

/// What a session begins with.
pub struct Setup<'a> {
    /// How the AI behaves.
    pub agent: Agent,
    /// The AI.
    pub provider: Box<dyn Provider>,
    /// What to do before being told of a stage.
    pub mode: SignallingMode,
    /// The caller's offer.
    pub offer: &'a Offer,
    /// Bounds.
    pub limits: Limits,
    /// Random; RTP numbers begin with it.
    pub seed: u64,
    /// Since the connect webhook, milliseconds: the time to accept counts from there.
    pub elapsed_ms: u64,
    /// What linting and answering took, milliseconds; for the event only.
    pub answer_ms: u32,
}

/// A session that could not begin.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The codec could not be set up.
    #[error("the audio codec could not be set up")]
    Opus(#[from] OpusError),
}

/// One call.
pub struct Session {
    started: Time,
    limits: Limits,
    agent: Agent,
    elapsed_ms: u64,
    stages: Stages,
    life: Life,
    link: Link,
    uplink: Uplink,
    downlink: Downlink,
    transcripts: Transcripts,
    /// Only when interruption is ours.
    hold: Option<Hold>,
    keypad: Keypad,
    meter: Meter,
    telephone_event: Option<u8>,
    /// Of the codec.
    payload_type: u8,
    /// Stream of the caller's voice.
    ssrc: Option<u32>,
    log: Log,
    usage: Usage,
    /// Packets of payload types nobody agreed to, or of a second source.
    packets_unknown: u64,
    last_media: Option<Time>,
    /// A sign of life of the caller's side other than audio.
    last_life: Option<Time>,
    next_statistics: Option<Time>,
    /// The response at hand has been heard from.
    spoke: bool,
    /// The AI is generating.
    responding: bool,
    /// What it is generating is not to be heard.
    stopped: bool,
    /// An answer to what the caller said over the last words was stopped.
    answer_stopped: bool,
    /// Times the caller kept the call.
    kept: u32,
    answer: AnswerWatch,
    /// A cue is queued or being played.
    cueing: bool,
    /// The greeting was said by a clip.
    greeted: bool,
    /// The item whose audio no longer fits, so that it is reported once.
    overflowing: Option<String>,
}

impl Session {
    /// Begins a session whose offer was answered: reports that, and opens the provider: has its
    /// socket opened, if it needs one.
    ///
    /// # Errors
    /// [`SetupError`], without any event.
    pub fn new(now: Time, setup: Setup<'_>, ports: &mut dyn Ports) -> Result<Self, SetupError> {
        let Setup { agent, provider, mode, offer, limits, seed, elapsed_ms, answer_ms } = setup;
        let codec = offer.audio.codec();
        let format = format(&agent, codec, &*provider);
        let mut session = Self {
            started: now,
            stages: Stages::new(now, mode),
            life: Life::Open,
            link: Link::new(provider, format),
            uplink: match format {
                AudioFormat::Pcm => Uplink::with_codec(codec)?,
                AudioFormat::G711(_) => Uplink::native(codec)?,
            },
            downlink: Downlink::new(offer, format, &limits, seed)?,
            transcripts: Transcripts::new(&limits),
            hold: Hold::new(agent.barge_in, !agent.greeting.is_empty(), format),
            keypad: Keypad::new(codec.rtp_clock_hz(), limits.keypad_ms),
            meter: Meter::default(),
            telephone_event: offer.telephone_event.map(|event| event.payload_type),
            payload_type: offer.audio.payload_type(),
            ssrc: None,
            log: Log::new(limits.incidents),
            usage: Usage::default(),
            packets_unknown: 0,
            last_media: None,
            last_life: None,
            next_statistics: None,
            spoke: false,
            responding: false,
            stopped: false,
            answer_stopped: false,
            kept: 0,
            answer: AnswerWatch::new(&limits),
            cueing: false,
            greeted: false,
            overflowing: None,
            limits,
            agent,
            elapsed_ms,
        };
        let answered = EventKind::OfferAnswered {
            warnings: offer.warnings.clone(),
            codec: offer.audio.encoding().to_owned(),
            duration_ms: answer_ms,
        };
        session.emit(now, answered, ports);
        session.emit(now, EventKind::Milestone(Milestone::SessionCreated), ports);
        if session.link.provider.capabilities().needs_socket {
            session.link.dial(ports);
        } else {
            session.link.open(now, &session.agent, ports);
        }
        session.run(now, SendClock::Runs, ports);
        Ok(session)
    }

    /// Takes what happened and does everything that is due by `now`. After the end it does nothing.
    ///
    /// A provider's message leaves the send clock alone: of several that came together all are heard before a frame is
    /// taken from what they bring. What is due stays due, see [`Session::deadline`].
    pub fn handle(&mut self, now: Time, input: Input<'_>, ports: &mut dyn Ports) {
        if self.is_ended() {
            return;
        }
        let clock = match input {
            Input::Connection(_, ConnectionInput::Message(_) | ConnectionInput::Audio(_)) => SendClock::Later,
            _ => SendClock::Runs,
        };
        match input {
            Input::Tick => {}
            Input::Advance(stage) => self.stages.advance(now, stage),
            Input::TransportConnected => self.on_connected(now, ports),
            Input::TransportFailed(why) => self.on_transport_failed(now, why, ports),
            Input::TransportClosed => self.on_transport_closed(now, ports),
            Input::Rtp(packet) => self.on_rtp(now, &packet, ports),
            Input::RtpDiscarded => self.packets_unknown += 1,
            Input::TransportAlive => self.last_life = Some(now),
            Input::ReceiverReport(report) => self.on_receiver_report(now, &report),
            Input::Complexity(complexity) => self.downlink.set_complexity(complexity),
            Input::Connection(connection, input) => self.link.input(now, connection, input, &self.agent, ports),
            Input::Command(command) => self.on_command(now, command, ports),
            Input::End(termination) => self.end(now, termination, ports),
        }
        self.run(now, clock, ports);
    }

    /// When to call [`Session::handle`] even if nothing happens; `None` after the end.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        if self.is_ended() {
            return None;
        }
        self.downlink.deadline().into_iter().chain(self.deadline_but_sending()).min()
    }

    fn deadline_but_sending(&self) -> Option<Time> {
        let hold = self.hold.as_ref().and_then(Hold::deadline);
        let parts = [
            self.uplink.deadline(),
            self.keypad.deadline(),
            self.link.deadline(),
            hold,
            self.answer.deadline(),
            self.timer(),
        ];
        parts.into_iter().flatten().min()
    }

    /// How the session is doing.
    #[must_use]
    pub fn state(&self) -> State {
        if self.is_ended() { State::Ended } else { self.stages.state() }
    }

    /// How far signalling has come.
    #[must_use]
    pub fn stage(&self) -> Option<Stage> {
        self.stages.stage()
    }

    /// Whether ICE and DTLS may run: ANSWER_DELIVERED was reached, or is not waited for.
    #[must_use]
    pub fn may_connect(&self) -> bool {
        self.stages.connecting_since().is_some() && !self.is_ended()
    }

    /// Whether the provider has confirmed its configuration.
    #[must_use]
    pub fn provider_ready(&self) -> bool {
        self.link.is_ready()
    }

    /// Counters of both directions.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        let (up, down) = (self.uplink.statistics(), self.downlink.statistics());
        Statistics {
            packets_received: up.packets_received,
            packets_lost: up.packets_lost,
            packets_late: up.packets_late,
            packets_duplicate: up.packets_duplicate,
            packets_discarded: up.packets_discarded + self.packets_unknown + self.keypad.bad_packets(),
            received_ms: up.received_ms,
            concealed_ms: up.concealed_ms,
            silence_ms: up.silence_ms,
            jitter_ms: up.jitter_ms,
            packets_sent: down.packets_sent,
            played_ms: self.downlink.played_ms(),
            underruns: self.downlink.underruns(),
            longest_send_gap_ms: down.longest_gap_ms,
        }
    }

    /// What it cost so far.
    #[must_use]
    pub const fn usage(&self) -> Usage {
        self.usage
    }

    /// How it ended.
    #[must_use]
    pub const fn termination(&self) -> Option<&Termination> {
        match &self.life {
            Life::Ended(termination) => Some(termination),
            Life::Open | Life::Closing(_) => None,
        }
    }

    const fn is_ended(&self) -> bool {
        matches!(self.life, Life::Ended(_))
    }

    fn emit(&mut self, now: Time, kind: EventKind, ports: &mut dyn Ports) {
        self.log.emit(now, kind, ports);
    }

    /// Does what is due, until there is nothing left for this moment or the rounds are over; a deadline that is still
    /// due then brings the driver back at once.
    fn run(&mut self, now: Time, clock: SendClock, ports: &mut dyn Ports) {
        for _ in 0..MAX_ROUNDS {
            if self.is_ended() {
                return;
            }
            self.activate(now, ports);
            self.link.tick(now, ports);
            self.poll_uplink(now, ports);
            while let Some(event) = self.link.next_event() {
                self.on_provider_event(now, event, ports);
                if self.is_ended() {
                    return;
                }
            }
            self.start_uplink(now);
            self.judge(now, ports);
            self.run_keypad(now, ports);
            self.run_timers(now, ports);
            if self.is_ended() {
                return;
            }
            if clock == SendClock::Runs {
                self.run_downlink(now, ports);
            }
            self.answer_late(now, ports);
            self.watch_answer(now, ports);
            self.close_if_said(now, ports);
            let due = match clock {
                SendClock::Runs => self.deadline(),
                SendClock::Later => self.deadline_but_sending(),
            };
            if self.is_ended() || due.is_none_or(|due| due > now) {
                return;
            }
        }
    }

    /// Opens the gate when both sides of it are.
    fn activate(&mut self, now: Time, ports: &mut dyn Ports) {
        if self.stages.activate(now) {
            self.downlink.start(now);
            self.meter.start(now);
            self.downlink.run(now, ports);
            self.next_statistics = Some(now + Duration::from_millis(self.limits.statistics_ms.max(1)));
            self.emit(now, EventKind::Milestone(Milestone::BridgeActive), ports);
            if !self.agent.greeting.is_empty() && self.downlink.is_idle() {
                self.expect(now, What::Greeting);
            }
        }
    }

    /// The AI's clock is the call's from the moment both exist; what the caller sent before is dropped.
    fn start_uplink(&mut self, now: Time) {
        if self.stages.active_since().is_some() && self.link.is_ready() {
            self.uplink.start(now);
        }
    }

    fn on_connected(&mut self, now: Time, ports: &mut dyn Ports) {
        if self.stages.connected() {
            return;
        }
        self.stages.connect();
        let since = self.stages.connecting_since().unwrap_or(self.started);
        let duration_ms = now.since(since).as_millis() as u32;
        self.emit(now, EventKind::TransportConnected { duration_ms }, ports);
    }

    fn on_rtp(&mut self, now: Time, packet: &RtpIn<'_>, ports: &mut dyn Ports) {
        let Self { uplink, link, hold, life, keypad, .. } = self;
        let mut sink = |frame: UplinkFrame<'_>| hand_over(now, frame, link, hold.as_mut(), life, ports);
        let is_dtmf = Some(packet.payload_type) == self.telephone_event;
        if packet.payload_type == self.payload_type {
            self.last_media = Some(now);
            self.ssrc = Some(packet.ssrc);
            return uplink.receive(now, packet.sequence, packet.timestamp, packet.payload, &mut sink);
        }
        if is_dtmf {
            self.last_media = Some(now);
            keypad.receive(now, packet.timestamp, packet.payload);
        } else {
            self.packets_unknown += 1;
        }
        // Of the same stream, so its sequence number is not missing.
        if self.ssrc == Some(packet.ssrc) {
            uplink.skip(now, packet.sequence, &mut sink);
        }
    }

    fn poll_uplink(&mut self, now: Time, ports: &mut dyn Ports) {
        if self.uplink.deadline().is_none_or(|due| due > now) {
            return;
        }
        let Self { uplink, link, hold, life, .. } = self;
        uplink.poll(now, &mut |frame: UplinkFrame<'_>| hand_over(now, frame, link, hold.as_mut(), life, ports));
    }

    fn run_downlink(&mut self, now: Time, ports: &mut dyn Ports) {
        self.downlink.run(now, ports);
        for cut in self.downlink.take_completed() {
            let said = self.transcripts.heard(&cut.item);
            self.report_said(now, said, ports);
        }
    }
}

/// How audio goes to the AI and comes from it: the caller's G.711 as it is when the agent wants that and the AI can.
fn format(agent: &Agent, codec: Codec, provider: &dyn Provider) -> AudioFormat {
    match codec {
        Codec::G711(law) if agent.g711.passthrough && provider.capabilities().speaks_g711 => AudioFormat::G711(law),
        Codec::G711(_) | Codec::Opus => AudioFormat::Pcm,
    }
}

/// Gives a piece of the caller's audio to all who listen.
fn hand_over(
    now: Time,
    frame: UplinkFrame<'_>,
    link: &mut Link,
    hold: Option<&mut Hold>,
    life: &mut Life,
    ports: &mut dyn Ports,
) {
    if let Some(hold) = hold {
        hold.hear(frame.pcm);
    }
    if let Life::Closing(ending) = life {
        ending.hear(now, frame.pcm);
    }
    link.audio(now, frame.pcm, ports);
}
