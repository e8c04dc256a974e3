//! The mapping between the sender's time and ours.
//!
//! Does not decide when to move: the uplink passes time as it forwards.

use crate::{FRAME_MS, FRAME_RTP_UNITS, FRAME_SAMPLES, RTP_CLOCK_HZ, SAMPLE_RATE_HZ, Time, codec::Packet};
use std::time::Duration;

/// RTP units for each sample forwarded.
pub(super) const UNITS_PER_SAMPLE: u32 = RTP_CLOCK_HZ / SAMPLE_RATE_HZ;

/// The mapping between the sender's time and ours.
#[derive(Clone, Copy, Debug)]
pub(super) struct SenderClock {
    /// RTP time of the next sample to forward.
    pub(super) next: u32,
    /// Audio is known to be missing before the next packet.
    pub(super) loss: bool,
    /// The packet with the highest sequence number so far.
    pub(super) newest: Newest,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Newest {
    pub(super) arrived: Time,
    /// RTP time right after its audio.
    pub(super) end: u32,
    pub(super) duration_ms: u64,
}

impl Newest {
    pub(super) fn new(arrived: Time, timestamp: u32, packet: &Packet<'_>) -> Self {
        let units = packet.samples() as u32 * UNITS_PER_SAMPLE;
        let duration_ms = u64::from(units) * 1_000 / u64::from(RTP_CLOCK_HZ);
        Self { arrived, end: timestamp.wrapping_add(units), duration_ms }
    }
}

impl SenderClock {
    pub(super) fn pass(&mut self, samples: usize) {
        self.next = self.next.wrapping_add(samples as u32 * UNITS_PER_SAMPLE);
    }

    /// A frame without a packet. The newest packet is moved along, so that its distance never wraps, however long the
    /// sender is quiet.
    pub(super) fn pass_unheard(&mut self) {
        self.pass(FRAME_SAMPLES);
        self.newest.arrived += Duration::from_millis(FRAME_MS);
        self.newest.end = self.newest.end.wrapping_add(FRAME_RTP_UNITS);
    }
}

/// How long samples last.
pub(super) fn samples_long(samples: u64) -> Duration {
    Duration::from_micros(samples * 1_000_000 / u64::from(SAMPLE_RATE_HZ))
}
