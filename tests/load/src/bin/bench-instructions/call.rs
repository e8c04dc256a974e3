//! A call in virtual time: a caller who speaks all the while, the node's peer and session, the AI.
//!
//! The node is driven as its media thread drives it by the packet ([`Node::measured`]): for every datagram, for every
//! message of the provider, when something is due, and every 5 ms.

use crate::{
    Agent, server,
    server::Server,
    tally::{self, Allocations, Part},
};
use anyhow::ensure;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};
use voicebridge_audio::{FRAME_RTP_UNITS, Time};
use voicebridge_load::{
    caller::{Caller, Heard},
    pair::{FRAME, OURS, Pair, STEP, THEIRS},
    speech,
    talk::{Listener, Talk},
};
use voicebridge_node::{
    clock::Clock,
    peer::{Engine, Peer as _, PeerOutput, Received},
};
use voicebridge_session::{
    Agent as Settings, Event, EventKind, RtpIn, RtpOut,
    agent::{BargeIn, Reversible},
};

/// Until the buffers have met what comes: the first reply.
const WARM_UP: Duration = Duration::from_secs(6);
/// What is measured after it.
const LENGTH: Duration = Duration::from_secs(30);
/// Packets come between two ticks.
const CALLERS_PHASE: Duration = Duration::from_millis(3);
const MOMENT: Duration = Duration::from_millis(1);

/// What came of what was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// Of the caller, taken.
    pub(crate) packets_in: u64,
    /// To the caller.
    pub(crate) packets_out: u64,
    /// Of the provider.
    pub(crate) messages_in: u64,
    /// Of them, bytes.
    pub(crate) message_bytes_in: u64,
    /// To the provider, audio and others.
    pub(crate) messages_out: u64,
    pub(crate) allocations: Allocations,
}

/// The session's two sides.
struct Sides {
    now: Instant,
    peer: Engine,
    outcome: Outcome,
    /// Packets to the caller.
    sent: Vec<Bytes>,
    /// Of the messages to the provider those that are not audio, until the server takes them.
    control: Vec<String>,
    interrupted: usize,
    incidents: Vec<String>,
}

impl Listener for Sides {
    fn rtp(&mut self, packet: RtpOut<'_>) {
        let Self { peer, now, outcome, sent, incidents, .. } = self;
        match tally::measured(Part::PeerOut, || peer.write_rtp(*now, packet)) {
            Ok((_, bytes)) => {
                outcome.packets_out += 1;
                sent.push(bytes);
            }
            Err(error) => incidents.push(error.to_string()),
        }
    }

    fn provider(&mut self, message: &str) {
        self.outcome.messages_out += 1;
        if !message.contains("input_audio_buffer.append") {
            self.control.push(message.to_owned());
        }
    }

    fn event(&mut self, event: Event) {
        match event.kind {
            EventKind::BargedIn { .. } => self.interrupted += 1,
            EventKind::Incident { message, .. } => self.incidents.push(message),
            _ => {}
        }
    }
}

struct Node {
    clock: Clock,
    talk: Talk<Sides>,
    /// Datagrams to the caller.
    sent: Vec<Bytes>,
}

impl Node {
    /// What instructions are counted of.
    #[inline(never)]
    fn measured(&mut self, now: Instant, messages: &[String], datagrams: &[Bytes]) {
        self.step(now, messages, datagrams);
    }

    #[inline(never)]
    fn step(&mut self, now: Instant, messages: &[String], datagrams: &[Bytes]) {
        let time = self.clock.time(now);
        self.talk.listener.now = now;
        for message in messages {
            self.talk.listener.outcome.messages_in += 1;
            self.talk.listener.outcome.message_bytes_in += message.len() as u64;
            tally::measured(Part::Message, || self.talk.message(time, message));
        }
        for datagram in datagrams {
            let peer = &mut self.talk.listener.peer;
            let packet = tally::measured(Part::PeerIn, || peer.datagram(now, datagram, SocketAddr::from(THEIRS)));
            if let Some(packet) = packet {
                self.hear(time, &packet);
            }
            self.drain(now, Part::PeerIn);
        }
        if self.talk.due().is_some_and(|due| due <= time) {
            tally::measured(Part::SessionOut, || self.talk.tick(time));
        }
        self.drain(now, Part::PeerOut);
    }

    fn hear(&mut self, time: Time, packet: &Received) {
        self.talk.listener.outcome.packets_in += 1;
        let packet = RtpIn {
            payload_type: packet.payload_type,
            sequence: packet.sequence,
            timestamp: packet.timestamp,
            ssrc: packet.ssrc,
            marker: packet.marker,
            payload: &packet.payload,
        };
        tally::measured(Part::SessionIn, || self.talk.rtp(time, packet));
    }

    fn drain(&mut self, now: Instant, part: Part) {
        loop {
            let peer = &mut self.talk.listener.peer;
            match tally::measured(part, || peer.poll(now)) {
                Some(PeerOutput::Transmit { bytes, .. }) => self.sent.push(bytes),
                Some(_) => {}
                None => return,
            }
        }
    }
}

/// Makes the call, the same every time.
pub(crate) fn run(agent: Agent, counts_allocations: bool) -> anyhow::Result<Outcome> {
    let voice = speech::voice("en")?;
    let Pair { now: began, peer, mut caller, .. } = Pair::connect()?;
    let sides = Sides {
        now: began,
        peer,
        outcome: Outcome::default(),
        sent: Vec::new(),
        control: Vec::new(),
        interrupted: 0,
        incidents: Vec::new(),
    };
    let barge_in = match agent {
        Agent::Immediate => BargeIn::Immediate,
        Agent::Reversible => BargeIn::Reversible(Reversible::default()),
    };
    let talk = Talk::begin(Settings { barge_in, ..Settings::default() }, sides)?;
    let mut node = Node { clock: Clock::new(began), talk, sent: Vec::new() };
    let mut server = Server::new(agent == Agent::Immediate);
    let mut payloads = voice.packets.iter().cycle();
    let (mut spoken, mut heard) = (0_u32, 0);
    let (mut since, mut measuring) = (Duration::ZERO, false);
    while since < WARM_UP + LENGTH {
        if !measuring && since >= WARM_UP {
            measuring = true;
            node.talk.listener.outcome = Outcome::default();
            if counts_allocations {
                tally::begin();
            }
        }
        let now = began + since;
        if since.as_millis() % FRAME.as_millis() == CALLERS_PHASE.as_millis() {
            let payload = payloads.next().expect("the recording has packets");
            caller.speak(now, spoken as u16, spoken * FRAME_RTP_UNITS, payload);
            spoken += 1;
        }
        let at_tick = since.as_millis() % STEP.as_millis() == 0;
        if at_tick {
            caller.run(now);
        }
        let datagrams: Vec<Bytes> = std::iter::from_fn(|| caller.transmit()).map(|(_, bytes)| bytes).collect();
        let messages: Vec<String> = std::iter::from_fn(|| server.due(since)).collect();
        let due = node.talk.due().is_some_and(|due| due <= node.clock.time(now));
        if at_tick || due || !datagrams.is_empty() || !messages.is_empty() {
            if measuring {
                node.measured(now, &messages, &datagrams);
            } else {
                node.step(now, &messages, &datagrams);
            }
        }
        for bytes in node.talk.listener.sent.drain(..).chain(node.sent.drain(..)) {
            caller.datagram(now, &bytes, OURS.into());
        }
        heard += rtp_heard(&mut caller);
        for message in node.talk.listener.control.drain(..) {
            server.hear(since, &message)?;
        }
        since += MOMENT;
    }
    let allocations = if counts_allocations { tally::end() } else { Allocations::default() };
    check(&node.talk.listener, spoken, heard)?;
    Ok(Outcome { allocations, ..node.talk.listener.outcome })
}

fn rtp_heard(caller: &mut Caller) -> u32 {
    caller.heard.drain(..).filter(|heard| matches!(heard, Heard::Rtp(_))).count() as u32
}

/// It was the call it was meant to be.
fn check(sides: &Sides, spoken: u32, heard: u32) -> anyhow::Result<()> {
    let frames = ((WARM_UP + LENGTH).as_millis() / FRAME.as_millis()) as u32;
    let measured = LENGTH.as_millis() as u64 / FRAME.as_millis() as u64;
    let Outcome { packets_in, packets_out, messages_out, .. } = sides.outcome;
    ensure!(sides.incidents.is_empty(), "something went wrong: {:?}", sides.incidents);
    ensure!(spoken == frames && heard.abs_diff(frames) <= 1, "{spoken} packets spoken and {heard} heard of {frames}");
    ensure!(packets_in == measured && packets_out == measured, "{packets_in} in and {packets_out} out of {measured}");
    ensure!(messages_out >= measured, "{messages_out} messages to the provider");
    let interrupted = sides.interrupted;
    ensure!(interrupted == server::INTERRUPTIONS, "{interrupted} interruptions");
    Ok(())
}
