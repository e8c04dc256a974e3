//! The caller's audio on its way to the AI: RTP order and clock, decoding, concealment, silence.
//!
//! The listener is an AI, which takes audio as fast as it comes, so there is no playout buffer. A packet in order is decoded
//! and forwarded within the call that brought it. Only a gap in the sequence numbers waits, for as long as packets were
//! recently seen to overtake each other, or came unevenly enough to; then it is filled: by the FEC of the packet behind
//! it, by concealment that fades within 100 ms, by silence. When packets stop coming, the wall clock drives concealment
//! and then silence, because the listener's voice detection runs on audio received. What is not the sender's audio is
//! marked in every frame, and by its place in [`Uplink::next_span`].
//!
//! A sender whose clock drifts is followed by itself, because its own timestamps are the clock. Only over a long mute does
//! the wall clock stand in for it: after three minutes and more at 200 ppm a slow sender's first few ms are late.
//!
//! **The rule of time.** The clock is RTP time. What was forwarded since the clock was anchored is, to the sample, the RTP
//! time between the anchor and the end of what was forwarded last; never more, never less, whatever the network did.
//! * Audio whose time was given away already is dropped and counted late; of a packet that straddles that moment the rest
//!   is forwarded.
//! * A timestamp ahead is filled up to [`MAX_AHEAD_MS`]: as loss if sequence numbers are missing, as silence if not (the
//!   sender was quiet: DTX, mute).
//! * Timestamps or sequence numbers beyond that, or back by more than [`MAX_BEHIND_MS`], belong to another clock: after
//!   [`CONSISTENT_PACKETS`] consecutive ones that agree the clock is anchored anew, so that a stray packet cannot steal it.
//! * Filling driven by the wall clock begins [`QUIET_MS`] plus the jitter after the last packet and stays that far behind,
//!   so a sender that resumes on its own clock loses nothing. It is forgotten with the next packet: nothing is queued, so
//!   no delay can stay.
//!
//! Three look at arrivals, each at something else. `reorder` learns from packets that overtook each other and answers from
//! the first packet on; `spread` sees how unevenly they come, a maximum over ten seconds, and takes 40 packets to know: the
//! larger of the two is the wait at a gap. `jitter` is the average of RFC 3550, section 6.4.1, for reports and for the wait
//! before silence, which a maximum would hold back for what one packet did ten seconds ago.
//!
//! Timestamps are those of the codec's RTP clock; inside, time counts at 48 kHz and samples at 24 kHz for every codec.
//!
//! Not here: RTP parsing and payload types, SSRC selection, the provider.

mod candidate;
mod clock;
mod frame;
mod jitter;
mod order;
mod output;
mod renderer;
mod reorder;
mod reorder_buffer;
mod spans;
mod spread;

use crate::{
    FRAME_MS, FRAME_SAMPLES, RTP_CLOCK_HZ, Time,
    codec::{Codec, Packet},
    opus::OpusError,
};
use candidate::{Candidate, RequiredPace};
use clock::{Newest, SenderClock, UNITS_PER_SAMPLE, samples_long};
use jitter::Jitter;
use order::{MAX_GAP, SequenceOrder, SequencePlace};
use output::UplinkOutput;
use renderer::Renderer;
use reorder::ReorderWindow;
use reorder_buffer::{PacketBody, ReorderBuffer};
use spans::Spans;
use spread::Spread;
use std::time::Duration;

pub use frame::{FrameSource, Sink, UplinkFrame, UplinkStatistics};
pub use reorder::MAX_REORDER_MS;
pub use spans::{MAX_SPANS, Span, SpanKind};

/// Nothing for this long, beyond the jitter, and the wall clock takes over.
pub const QUIET_MS: u64 = 60;
/// A packet may be overdue by this much at least before the wall clock takes over, however long packets are.
const OVERDUE_MS: u64 = 40;
/// Most that jitter adds to the wait.
const MAX_JITTER_ALLOWANCE_MS: u64 = 100;
/// A timestamp this far ahead is filled; further ahead is another clock.
pub const MAX_AHEAD_MS: u64 = 10_000;
/// A timestamp this far behind is late; further behind is another clock.
pub const MAX_BEHIND_MS: u64 = 2_000;
/// Packets of another clock needed to follow it.
pub const CONSISTENT_PACKETS: u32 = candidate::CONSISTENT_PACKETS;
/// Most that one poll fills; the rest follows with the next.
const MAX_FRAMES_A_POLL: u64 = MAX_AHEAD_MS / FRAME_MS;

/// See the module.
#[derive(Debug)]
pub struct Uplink {
    codec: Codec,
    started: Option<Time>,
    clock: Option<SenderClock>,
    /// Samples forwarded before there was a clock.
    unclocked_samples: u64,
    order: SequenceOrder,
    reorder_buffer: ReorderBuffer,
    reorder: ReorderWindow,
    spread: Spread,
    jitter: Jitter,
    candidate: Candidate,
    renderer: Renderer,
    spans: Spans,
    counters: UplinkStatistics,
    /// See [`Uplink::deadline`]: asked for more often than it changes.
    due: Option<Time>,
}

impl Uplink {
    /// An uplink of Opus that has seen nothing.
    ///
    /// # Errors
    /// [`OpusError::Internal`] when libopus cannot allocate.
    pub fn new() -> Result<Self, OpusError> {
        Self::with_codec(Codec::Opus)
    }

    /// An uplink that has seen nothing. Whatever the codec, it gives 24 kHz; G.711 is brought up to that, 5 ms later.
    ///
    /// # Errors
    /// [`OpusError::Internal`] when libopus cannot allocate.
    pub fn with_codec(codec: Codec) -> Result<Self, OpusError> {
        let output = if codec.ratio() == 1 { UplinkOutput::direct(1) } else { UplinkOutput::upsampled() };
        Self::with_output(codec, output)
    }

    /// An uplink that gives audio at the codec's own rate, see [`Codec::sample_rate_hz`]: for a listener that takes
    /// G.711 as it is. Bytes made of it again are those received, where nothing was lost.
    ///
    /// # Errors
    /// [`OpusError::Internal`] when libopus cannot allocate.
    pub fn native(codec: Codec) -> Result<Self, OpusError> {
        Self::with_output(codec, UplinkOutput::direct(codec.ratio()))
    }

    fn with_output(codec: Codec, output: UplinkOutput) -> Result<Self, OpusError> {
        Ok(Self {
            codec,
            started: None,
            clock: None,
            unclocked_samples: 0,
            order: SequenceOrder::default(),
            reorder_buffer: ReorderBuffer::default(),
            reorder: ReorderWindow::default(),
            spread: Spread::default(),
            jitter: Jitter::default(),
            candidate: Candidate::default(),
            renderer: Renderer::new(codec, output)?,
            spans: Spans::default(),
            counters: UplinkStatistics::default(),
            due: None,
        })
    }

    /// Starts the listener's clock: from here on there is audio for every moment. What comes before is counted and
    /// dropped. Starting again changes nothing.
    pub fn start(&mut self, now: Time) {
        if self.started.is_none() {
            self.started = Some(now);
            self.due = self.next_due();
        }
    }

    /// Takes a packet as it arrives; forwards what it completes. Hand in all packets at hand before polling, so that a
    /// late driver does not make them late.
    ///
    /// An empty payload is a packet without audio (padding, probes): it takes up its sequence number only.
    pub fn receive(&mut self, now: Time, sequence: u16, timestamp: u32, payload: &[u8], sink: &mut Sink<'_>) {
        let timestamp = self.codec.common_time(timestamp);
        match Packet::parse(self.codec, payload) {
            Ok(packet) => self.audio(now, sequence, timestamp, packet, sink),
            Err(error) => {
                self.counters.packets_discarded += 1;
                let body = if error == OpusError::EmptyPayload { PacketBody::Nothing } else { PacketBody::Unusable };
                self.no_audio(now, sequence, body, sink);
            }
        }
        self.due = self.next_due();
    }

    /// Takes note of a packet of the same stream that is no audio, e.g. a telephone-event (RFC 4733): its sequence number
    /// is not lost.
    pub fn skip(&mut self, now: Time, sequence: u16, sink: &mut Sink<'_>) {
        self.no_audio(now, sequence, PacketBody::Nothing, sink);
        self.due = self.next_due();
    }

    /// Forwards what is due by now without a packet.
    pub fn poll(&mut self, now: Time, sink: &mut Sink<'_>) {
        self.release(now, sink);
        self.fill(now, sink);
        self.due = self.next_due();
    }

    /// Fills for the wall clock.
    fn fill(&mut self, now: Time, sink: &mut Sink<'_>) {
        for _ in 0..MAX_FRAMES_A_POLL {
            if !self.reorder_buffer.is_empty() || self.fill_due().is_none_or(|due| now < due) {
                return;
            }
            let before = *self.renderer.counters();
            self.renderer.conceal(FRAME_SAMPLES, sink);
            let after = self.renderer.counters();
            let concealed = after.concealed_samples() - before.concealed_samples();
            self.spans.add_undecided(before.samples(), concealed, FRAME_SAMPLES as u64 - concealed);
            match &mut self.clock {
                Some(clock) => clock.pass_unheard(),
                None => self.unclocked_samples += FRAME_SAMPLES as u64,
            }
        }
    }

    /// When to poll next even if nothing arrives; `None` before the start.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        debug_assert_eq!(self.due, self.next_due(), "whatever changes the state renews it");
        self.due
    }

    /// Counters so far.
    #[must_use]
    pub fn statistics(&self) -> UplinkStatistics {
        let rendered = self.renderer.counters();
        UplinkStatistics {
            received_ms: rendered.received_ms(),
            recovered_ms: rendered.recovered_ms(),
            concealed_ms: rendered.concealed_ms(),
            silence_ms: rendered.silence_ms(),
            missing_ms: renderer::millis(self.spans.missing),
            jitter_ms: self.jitter.millis() as u32,
            reorder_window_ms: self.gap_wait().as_millis() as u32,
            ..self.counters
        }
    }

    /// The next stretch of audio that is over and is not what the sender sent, oldest first. Positions count the samples
    /// forwarded, at 24 kHz. Behind a resampler the audio itself comes 5 ms later.
    pub fn next_span(&mut self) -> Option<Span> {
        self.spans.take()
    }

    fn audio(&mut self, now: Time, sequence: u16, timestamp: u32, packet: Packet<'_>, sink: &mut Sink<'_>) {
        if self.started.is_none() {
            self.observe(now, timestamp, &packet);
            self.counters.packets_received += 1;
            return;
        }
        let Some(clock) = &self.clock else {
            return self.anchor(now, sequence, timestamp, packet, sink);
        };
        let ahead_ms = i64::from(timestamp.wrapping_sub(clock.next) as i32) * 1_000 / i64::from(RTP_CLOCK_HZ);
        let on_clock = (-(MAX_BEHIND_MS as i64)..=MAX_AHEAD_MS as i64).contains(&ahead_ms);
        match self.order.place(sequence) {
            SequencePlace::New(extended) if on_clock => {
                self.candidate.clear();
                self.observe(now, timestamp, &packet);
                self.mark(now, extended);
                if self.order.is_highest(extended) {
                    self.renew(Newest::new(now, timestamp, &packet));
                }
                self.enqueue(now, extended, PacketBody::Audio { timestamp, packet }, sink);
            }
            SequencePlace::Old(extended) if on_clock => {
                self.observe(now, timestamp, &packet);
                self.counters.packets_late += 1;
                self.mark(now, extended);
            }
            SequencePlace::Duplicate if on_clock => self.counters.packets_duplicate += 1,
            place => {
                // A burst after an outage is behind as well, but not at the pace of speech.
                let pace = if ahead_ms < 0 && place != SequencePlace::Foreign {
                    RequiredPace::Speech
                } else {
                    RequiredPace::Any
                };
                if self.candidate.observe(now, sequence, timestamp, pace) {
                    self.give_up_all(sink);
                    self.counters.reanchored += 1;
                    self.renderer.reset();
                    return self.anchor(now, sequence, timestamp, packet, sink);
                }
                self.handle_foreign(now, place, ahead_ms < 0, sink);
            }
        }
    }

    /// Learns from when it came.
    fn observe(&mut self, now: Time, timestamp: u32, packet: &Packet<'_>) {
        self.jitter.observe(now, timestamp);
        self.spread.observe(now, timestamp, packet_ms(packet));
    }

    /// Follows the clock of this packet and forwards it.
    fn anchor(&mut self, now: Time, sequence: u16, timestamp: u32, packet: Packet<'_>, sink: &mut Sink<'_>) {
        self.candidate.clear();
        self.jitter.restart(now, timestamp);
        self.spread.restart();
        self.spread.observe(now, timestamp, packet_ms(&packet));
        self.spans.decide(SpanKind::Quiet);
        self.clock = Some(SenderClock { next: timestamp, loss: false, newest: Newest::new(now, timestamp, &packet) });
        let extended = self.order.restart(sequence);
        self.mark(now, extended);
        self.enqueue(now, extended, PacketBody::Audio { timestamp, packet }, sink);
    }

    /// A packet of a clock that is not followed (yet).
    fn handle_foreign(&mut self, now: Time, place: SequencePlace, behind: bool, sink: &mut Sink<'_>) {
        match place {
            SequencePlace::Duplicate => self.counters.packets_duplicate += 1,
            SequencePlace::Old(_) | SequencePlace::New(_) if behind => self.counters.packets_late += 1,
            _ => self.counters.packets_discarded += 1,
        }
        match place {
            SequencePlace::Old(extended) => self.mark(now, extended),
            SequencePlace::New(extended) => {
                self.mark(now, extended);
                self.enqueue(now, extended, PacketBody::Unusable, sink);
            }
            SequencePlace::Duplicate | SequencePlace::Foreign => {}
        }
    }

    fn no_audio(&mut self, now: Time, sequence: u16, body: PacketBody<'_>, sink: &mut Sink<'_>) {
        if self.clock.is_none() {
            return;
        }
        match self.order.place(sequence) {
            SequencePlace::New(extended) => {
                self.mark(now, extended);
                self.enqueue(now, extended, body, sink);
            }
            SequencePlace::Old(extended) => self.mark(now, extended),
            SequencePlace::Duplicate | SequencePlace::Foreign => {}
        }
    }

    /// Notes that a sequence number came, and how far others had overtaken it.
    fn mark(&mut self, now: Time, extended: u64) {
        if let Some(overtaken) = self.order.overtaken(extended) {
            self.reorder.observe(now, now.since(overtaken));
        }
        self.reorder.forget(now);
        if self.order.mark(extended, now) {
            self.counters.packets_lost -= 1;
        }
    }

    fn renew(&mut self, newest: Newest) {
        if let Some(clock) = &mut self.clock {
            clock.newest = newest;
        }
    }

    /// Forwards a packet if it is its turn, keeps it behind the gap otherwise.
    fn enqueue(&mut self, now: Time, extended: u64, body: PacketBody<'_>, sink: &mut Sink<'_>) {
        if extended - self.order.next() >= MAX_GAP {
            // No reordering spans this much: an outage.
            self.give_up_all(sink);
            self.pass_over(extended, sink);
        } else if extended != self.order.next() && self.reorder_buffer.is_full() {
            self.give_up(sink);
        }
        if extended == self.order.next() {
            self.order.advance();
            self.forward(body, sink);
        } else {
            self.reorder_buffer.insert(extended, now, body);
        }
        self.release(now, sink);
    }

    /// Forwards what no longer has to wait.
    fn release(&mut self, now: Time, sink: &mut Sink<'_>) {
        self.drain(sink);
        while self.gap_due().is_some_and(|due| due <= now) {
            self.give_up(sink);
        }
    }

    /// Takes the gap before the first waiting packet for lost.
    fn give_up(&mut self, sink: &mut Sink<'_>) {
        if let Some(first) = self.reorder_buffer.first() {
            self.pass_over(first, sink);
        }
        self.drain(sink);
    }

    /// Takes what is missing before `extended` for lost.
    fn pass_over(&mut self, extended: u64, sink: &mut Sink<'_>) {
        self.counters.packets_lost += self.order.skip_to(extended);
        self.forward(PacketBody::Unusable, sink);
    }

    fn give_up_all(&mut self, sink: &mut Sink<'_>) {
        while !self.reorder_buffer.is_empty() {
            self.give_up(sink);
        }
    }

    /// Forwards the waiting packets whose turn it is.
    fn drain(&mut self, sink: &mut Sink<'_>) {
        while let Some(slot) = self.reorder_buffer.take(self.order.next()) {
            self.order.advance();
            self.forward(slot.body(self.codec), sink);
            self.reorder_buffer.put_back(slot);
        }
    }

    fn forward(&mut self, body: PacketBody<'_>, sink: &mut Sink<'_>) {
        let Some(clock) = &mut self.clock else { return };
        let (timestamp, packet) = match body {
            PacketBody::Nothing => return,
            PacketBody::Unusable => return clock.loss = true,
            PacketBody::Audio { timestamp, packet } => (timestamp, packet),
        };
        let offset = timestamp.wrapping_sub(clock.next) as i32;
        let given_away = offset.min(0).unsigned_abs().div_ceil(UNITS_PER_SAMPLE) as usize;
        // What was given away without knowing why stood for audio if that was lost, or comes now.
        let decided = if clock.loss || given_away > 0 { SpanKind::Missing } else { SpanKind::Quiet };
        self.spans.decide(decided);
        if given_away >= packet.samples() {
            self.counters.packets_late += 1;
            clock.loss = false;
            return;
        }
        let gap = (offset.max(0) as u32 / UNITS_PER_SAMPLE) as usize;
        let before = *self.renderer.counters();
        if clock.loss {
            self.renderer.bridge(gap, &packet, sink);
            let after = self.renderer.counters();
            let concealed = after.concealed_samples() - before.concealed_samples();
            let silent = after.silence_samples() - before.silence_samples();
            self.spans.add(before.samples(), concealed, SpanKind::Concealed);
            self.spans.add(before.samples() + concealed, silent, SpanKind::Missing);
        } else {
            self.renderer.silence(gap, sink);
            self.spans.add(before.samples(), gap as u64, SpanKind::Quiet);
        }
        self.spans.close();
        clock.pass(gap);
        match self.renderer.received(&packet, given_away, sink) {
            Ok(samples) => {
                self.counters.packets_received += 1;
                clock.pass(samples);
                clock.loss = false;
            }
            Err(_) => {
                self.counters.packets_discarded += 1;
                clock.loss = true;
            }
        }
    }

    fn next_due(&self) -> Option<Time> {
        self.started?;
        self.gap_due().or_else(|| self.fill_due())
    }

    /// When the gap before the first waiting packet is given up.
    fn gap_due(&self) -> Option<Time> {
        self.reorder_buffer.oldest_arrival().map(|arrived| arrived + self.gap_wait())
    }

    /// How long a gap is waited for: as long as the network may still fill it.
    fn gap_wait(&self) -> Duration {
        let packet_ms = self.clock.map_or(FRAME_MS, |clock| clock.newest.duration_ms);
        self.reorder.window().max(self.spread.window(packet_ms))
    }

    /// When the wall clock asks for the next frame.
    fn fill_due(&self) -> Option<Time> {
        let started = self.started?;
        let Some(clock) = &self.clock else {
            return Some(started + Duration::from_millis(QUIET_MS) + samples_long(self.unclocked_samples));
        };
        let Newest { arrived, end, duration_ms } = clock.newest;
        let wait_ms = QUIET_MS.max(duration_ms + OVERDUE_MS) + self.jitter.millis().min(MAX_JITTER_ALLOWANCE_MS);
        let ahead = (clock.next.wrapping_sub(end) as i32).max(0) as u32 / UNITS_PER_SAMPLE;
        Some(arrived + Duration::from_millis(wait_ms) + samples_long(u64::from(ahead)))
    }
}

/// Length of its audio.
fn packet_ms(packet: &Packet<'_>) -> u64 {
    packet.samples() as u64 * 1_000 / u64::from(crate::SAMPLE_RATE_HZ)
}
