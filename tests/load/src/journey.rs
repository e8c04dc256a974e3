//! One stream of packets through a seeded network and the uplink, in virtual time, driven as the media node does: every
//! 5 ms, first all packets that came, then what is due.

use std::time::Duration;
use voicebridge_audio::{
    FRAME_RTP_UNITS, FRAME_SAMPLES, Time,
    opus::OpusError,
    uplink::{FrameSource, Uplink, UplinkStatistics},
};
use voicebridge_netem::{Profile, Wire};

pub(crate) const TICK: Duration = Duration::from_millis(5);
const FRAME: Duration = Duration::from_millis(20);
/// Close to both wraps.
const FIRST_SEQUENCE: u16 = 65_400;
const FIRST_TIMESTAMP: u32 = u32::MAX - 100_000;
/// After the last arrival: longer than any gap is waited for, shorter than the wall clock needs to fill.
const LINGER: Duration = Duration::from_millis(50);

/// What came of it.
pub(crate) struct Heard {
    /// From the packet the clock began with on; see `first`.
    pub(crate) pcm: Vec<i16>,
    /// Index of that packet.
    pub(crate) first: usize,
    /// When each packet arrived first, by the receiver's clock.
    pub(crate) arrived: Vec<Option<Duration>>,
    /// When the audio of each packet, or what stands for it, was complete at the listener.
    pub(crate) complete: Vec<Option<Duration>>,
    /// Longest time in which the listener got nothing, once it had begun.
    pub(crate) longest_pause: Duration,
    /// Of `pcm`, made up or silent, samples.
    pub(crate) not_received: usize,
    pub(crate) statistics: UplinkStatistics,
}

impl Heard {
    /// From arrival to the listener, for each packet whose own audio was still wanted.
    pub(crate) fn added(&self) -> impl Iterator<Item = (usize, Duration)> {
        let each = self.arrived.iter().zip(&self.complete).enumerate();
        each.filter_map(|(index, (arrived, complete))| Some((index, (*complete)?.checked_sub((*arrived)?)?)))
    }

    /// Samples there should be: from the first packet's to the end of the last that arrived.
    pub(crate) fn expected_samples(&self) -> usize {
        let last = self.arrived.iter().rposition(Option::is_some).unwrap_or(self.first);
        (last + 1 - self.first) * FRAME_SAMPLES
    }

    /// The recording with silence for what came before the clock began.
    pub(crate) fn aligned(&self) -> Vec<i16> {
        let mut pcm = vec![0; self.first * FRAME_SAMPLES];
        pcm.extend_from_slice(&self.pcm);
        pcm
    }
}

/// Sends `packets`, one each 20 ms of the sender's clock, and listens until the last one was heard.
pub(crate) fn run<'p>(
    packets: impl IntoIterator<Item = &'p [u8]>,
    profile: Profile,
    seed: u64,
) -> anyhow::Result<Heard> {
    let mut wire = Wire::new(profile, seed)?;
    let mut packets = packets.into_iter().enumerate().peekable();
    let mut listener = Listener::new()?;
    let mut now = Duration::ZERO;
    let mut last_arrival = Duration::ZERO;
    loop {
        // A sender whose clock is fast sends earlier than it says, by a thousandth at most: whatever may have arrived by
        // now must be on its way.
        let horizon = now + now / 1_000 + TICK;
        while let Some((index, packet)) = packets.next_if(|(index, _)| FRAME * (*index as u32) <= horizon) {
            wire.send(FRAME * (index as u32 + 1), (index, packet));
            listener.arrived.push(None);
            listener.complete.push(None);
        }
        while let Some((at, (index, packet))) = wire.take(now) {
            listener.receive(now, at, index, packet);
            last_arrival = now;
        }
        listener.poll(now);
        if packets.peek().is_none() && wire.due().is_none() && now > last_arrival + LINGER {
            return Ok(listener.finish());
        }
        now += TICK;
    }
}

struct Listener {
    uplink: Uplink,
    pcm: Vec<i16>,
    not_received: usize,
    first: Option<usize>,
    arrived: Vec<Option<Duration>>,
    complete: Vec<Option<Duration>>,
    next_complete: usize,
    last_audio: Option<Duration>,
    longest_pause: Duration,
}

impl Listener {
    fn new() -> Result<Self, OpusError> {
        let mut uplink = Uplink::new()?;
        uplink.start(Time::ZERO);
        Ok(Self {
            uplink,
            pcm: Vec::new(),
            not_received: 0,
            first: None,
            arrived: Vec::new(),
            complete: Vec::new(),
            next_complete: 0,
            last_audio: None,
            longest_pause: Duration::ZERO,
        })
    }

    fn receive(&mut self, now: Duration, at: Duration, index: usize, packet: &[u8]) {
        if self.first.is_none() {
            // Silence before the first packet is not part of the stream.
            self.pcm.clear();
            self.not_received = 0;
            self.first = Some(index);
            self.next_complete = index;
        }
        self.arrived[index].get_or_insert(at);
        let sequence = FIRST_SEQUENCE.wrapping_add(index as u16);
        let timestamp = FIRST_TIMESTAMP.wrapping_add(index as u32 * FRAME_RTP_UNITS);
        let (pcm, not_received) = (&mut self.pcm, &mut self.not_received);
        self.uplink.receive(time(now), sequence, timestamp, packet, &mut |frame| {
            pcm.extend_from_slice(frame.pcm);
            *not_received += if frame.source == FrameSource::Received { 0 } else { frame.pcm.len() };
        });
        self.note(now);
    }

    fn poll(&mut self, now: Duration) {
        let (pcm, not_received) = (&mut self.pcm, &mut self.not_received);
        self.uplink.poll(time(now), &mut |frame| {
            pcm.extend_from_slice(frame.pcm);
            *not_received += if frame.source == FrameSource::Received { 0 } else { frame.pcm.len() };
        });
        self.note(now);
    }

    /// Which packets' time is complete by now.
    fn note(&mut self, now: Duration) {
        let Some(first) = self.first else { return };
        let complete = first + self.pcm.len() / FRAME_SAMPLES;
        if complete <= self.next_complete {
            return;
        }
        for slot in self.complete.iter_mut().take(complete).skip(self.next_complete) {
            *slot = Some(now);
        }
        self.next_complete = complete;
        let pause = self.last_audio.map_or(Duration::ZERO, |last| now - last);
        self.longest_pause = self.longest_pause.max(pause);
        self.last_audio = Some(now);
    }

    fn finish(self) -> Heard {
        Heard {
            statistics: self.uplink.statistics(),
            pcm: self.pcm,
            first: self.first.unwrap_or(0),
            arrived: self.arrived,
            complete: self.complete,
            longest_pause: self.longest_pause,
            not_received: self.not_received,
        }
    }
}

fn time(since: Duration) -> Time {
    Time::ZERO + since
}
