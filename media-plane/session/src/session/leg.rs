//! A leg: one person's transport and audio. How far signalling and transport are, the audio from and to the person, keys,
//! and how good it sounds.
//!
//! Flow: packets in, frames of the person's voice out to a sink; items of audio in, one packet for every 20 ms out from the
//! moment that both signalling and transport allow it. Of each item it is known how much the person was sent.
//!
//! Knows no AI: whose voice is played here, and who hears this person, is for the session.

mod downlink;
mod keys;
mod meter;
mod playing;
mod stages;
mod timeouts;

pub use stages::{SignallingMode, State};

use std::time::Duration;

use voicebridge_audio::{
    Time,
    dtmf::Pressed,
    opus::OpusError,
    playout::EndedItem,
    uplink::{Sink, Span, Uplink},
};

use crate::{
    event::{Quality, Statistics, Termination},
    limits::Limits,
    ports::{ReceiverReport, RtpIn, Stage},
    provider::AudioFormat,
    reason,
    sdp::Negotiated,
};
use downlink::Downlink;
use keys::Keys;
use meter::{Counters, Meter, Terms};
use stages::Stages;
use timeouts::Timeouts;

/// See the module.
#[derive(Debug)]
pub(crate) struct Leg {
    stages: Stages,
    timeouts: Timeouts,
    uplink: Uplink,
    downlink: Downlink,
    keys: Keys,
    meter: Meter,
    telephone_event: Option<u8>,
    /// Of the codec.
    payload_type: u8,
    /// Stream of the person's voice.
    ssrc: Option<u32>,
    /// Packets of payload types nobody agreed to, or of a second source.
    packets_unknown: u64,
    report_every: Duration,
    next_report: Option<Time>,
    prefill_ms: u32,
    /// Items that are over and were not taken.
    ended: Vec<EndedItem>,
}

/// What a leg begins with.
pub(crate) struct LegSetup<'a> {
    pub(crate) negotiated: &'a Negotiated,
    /// Of the audio that is given to it and taken from it.
    pub(crate) format: AudioFormat,
    pub(crate) mode: SignallingMode,
    pub(crate) limits: Limits,
    /// Random; RTP numbers begin with it.
    pub(crate) seed: u64,
    /// Since the connect webhook, milliseconds.
    pub(crate) elapsed_ms: u64,
}

impl Leg {
    pub(crate) fn new(now: Time, setup: &LegSetup<'_>) -> Result<Self, OpusError> {
        let LegSetup { negotiated, format, mode, limits, seed, elapsed_ms } = *setup;
        let codec = negotiated.audio.codec();
        Ok(Self {
            stages: Stages::new(now, mode),
            timeouts: Timeouts::new(now, elapsed_ms, limits),
            uplink: match format {
                AudioFormat::Pcm => Uplink::with_codec(codec)?,
                AudioFormat::G711(_) => Uplink::native(codec)?,
            },
            downlink: Downlink::new(negotiated, format, &limits, seed)?,
            keys: Keys::new(codec.rtp_clock_hz()),
            meter: Meter::default(),
            telephone_event: negotiated.telephone_event.map(|event| event.payload_type),
            payload_type: negotiated.audio.payload_type(),
            ssrc: None,
            packets_unknown: 0,
            report_every: Duration::from_millis(limits.statistics_ms.max(1)),
            next_report: None,
            prefill_ms: limits.prefill_ms,
            ended: Vec::new(),
        })
    }

    // Signalling and transport.

    pub(crate) fn advance(&mut self, now: Time, stage: Stage) {
        self.stages.advance(now, stage);
    }

    /// ICE and DTLS are up. How long they took, the first time.
    pub(crate) fn connect(&mut self, now: Time) -> Option<Duration> {
        if self.stages.connected() {
            return None;
        }
        self.stages.connect();
        Some(self.stages.connecting_since().map_or(Duration::ZERO, |since| now.since(since)))
    }

    /// Begins to send, the moment that signalling and transport both allow it. True that once.
    pub(crate) fn activate(&mut self, now: Time) -> bool {
        let activated = self.stages.activate(now);
        if activated {
            self.downlink.start(now);
            self.meter.start(now);
            self.next_report = Some(now + self.report_every);
        }
        activated
    }

    pub(crate) const fn active_since(&self) -> Option<Time> {
        self.stages.active_since()
    }

    /// The time of the call, once audio flows.
    pub(crate) fn call_time(&self, now: Time) -> Option<Duration> {
        self.stages.active_since().map(|active| now.since(active))
    }

    pub(crate) fn state(&self) -> State {
        self.stages.state()
    }

    pub(crate) const fn stage(&self) -> Option<Stage> {
        self.stages.stage()
    }

    pub(crate) const fn may_connect(&self) -> bool {
        self.stages.connecting_since().is_some()
    }

    /// What a failure of the transport means for the call.
    pub(crate) fn transport_failed(&self, why: &str) -> Termination {
        let (reason, message) = if self.stages.connected() {
            (reason::MEDIA_TRANSPORT_LOST, format!("the media connection was lost: {why}"))
        } else {
            (reason::MEDIA_CONNECTION_TIMEOUT, format!("the media connection will not come up: {why}"))
        };
        Termination::failed(reason, &message, "")
    }

    /// Why the call ends now, if a time of this leg's is over.
    pub(crate) fn expired(&self, now: Time) -> Option<Termination> {
        self.timeouts.expired(now, &self.stages)
    }

    // From the person.

    /// The person's clock is the call's from the moment there is somebody to listen; what came before is dropped.
    pub(crate) fn listen(&mut self, now: Time) {
        if self.stages.active_since().is_some() {
            self.uplink.start(now);
        }
    }

    pub(crate) fn receive(&mut self, now: Time, packet: &RtpIn<'_>, sink: &mut Sink<'_>) {
        if packet.payload_type == self.payload_type {
            self.timeouts.on_media(now);
            self.ssrc = Some(packet.ssrc);
            return self.uplink.receive(now, packet.sequence, packet.timestamp, packet.payload, sink);
        }
        if Some(packet.payload_type) == self.telephone_event {
            self.timeouts.on_media(now);
            self.ssrc = Some(packet.ssrc);
            self.keys.receive(now, packet.timestamp, packet.payload);
        } else {
            self.packets_unknown += 1;
        }
        // Of the same stream, so its sequence number is not missing.
        if self.ssrc == Some(packet.ssrc) {
            self.uplink.skip(now, packet.sequence, sink);
        }
    }

    /// A packet that nobody took.
    pub(crate) const fn discarded(&mut self) {
        self.packets_unknown += 1;
    }

    /// Gives what is due of the person's voice without a packet.
    pub(crate) fn poll(&mut self, now: Time, sink: &mut Sink<'_>) {
        if self.uplink.deadline().is_some_and(|due| due <= now) {
            self.uplink.poll(now, sink);
        }
    }

    /// The next stretch of the person's voice that its side did not send.
    pub(crate) fn next_filled(&mut self) -> Option<Span> {
        self.uplink.next_span()
    }

    pub(crate) fn take_keys(&mut self, now: Time) -> Vec<Pressed> {
        self.keys.take(now)
    }

    /// The person's side gave a sign of life that is no audio.
    pub(crate) const fn alive(&mut self, now: Time) {
        self.timeouts.on_life(now);
    }

    pub(crate) fn reported(&mut self, now: Time, report: &ReceiverReport) {
        self.timeouts.on_life(now);
        self.meter.on_report(report);
        self.downlink.protect(now, report.fraction_lost);
    }

    // How good it is.

    /// The person goes on speaking: there is nothing to answer yet.
    pub(crate) fn on_asking(&mut self) {
        self.meter.on_asking();
    }

    /// The person stopped speaking.
    pub(crate) fn on_asked(&mut self, now: Time) {
        self.meter.on_asked(now);
    }

    /// Something of the answer came.
    pub(crate) fn on_answered(&mut self, now: Time) {
        self.meter.on_answered(now);
    }

    /// What is to be reported by now of the period that is over.
    pub(crate) fn report(&mut self, now: Time) -> Option<(Statistics, Option<Quality>)> {
        if self.next_report.is_none_or(|due| due > now) {
            return None;
        }
        self.next_report = Some(now + self.report_every);
        let (counters, terms) = (self.counters(), self.terms());
        Some((self.statistics(), self.meter.period(now, counters, &terms)))
    }

    /// Of the whole call. `None` if audio never flowed.
    pub(crate) fn call_quality(&self, now: Time) -> Option<Quality> {
        self.meter.call(now, &self.counters(), &self.terms())
    }

    pub(crate) fn statistics(&self) -> Statistics {
        let (up, down) = (self.uplink.statistics(), self.downlink.statistics());
        Statistics {
            packets_received: up.packets_received,
            packets_lost: up.packets_lost,
            packets_late: up.packets_late,
            packets_duplicate: up.packets_duplicate,
            packets_discarded: up.packets_discarded + self.packets_unknown + self.keys.bad_packets(),
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

    fn counters(&self) -> Counters {
        Counters {
            up: self.uplink.statistics(),
            underruns: self.downlink.underruns(),
            dry_slots: self.downlink.statistics().dry_slots,
        }
    }

    fn terms(&self) -> Terms {
        Terms {
            codec: self.downlink.codec(),
            bitrate_bps: self.downlink.bitrate_bps(),
            is_protected: self.downlink.is_protected(),
            prefill_ms: self.prefill_ms,
        }
    }

    // When it has something to do.

    /// When the next packet is due.
    pub(crate) fn send_deadline(&self) -> Option<Time> {
        self.downlink.deadline()
    }

    /// When anything else is.
    pub(crate) fn deadline(&self) -> Option<Time> {
        let timeouts = self.timeouts.deadline(&self.stages);
        [self.uplink.deadline(), self.keys.deadline(), timeouts, self.next_report].into_iter().flatten().min()
    }
}
