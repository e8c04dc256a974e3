//! How long to hold a reply back before its first frame, learned from how the provider delivers.
//!
//! A reply that is played from its first chunk on runs dry when a later chunk comes after its turn. By how much it would
//! have is measured for every reply, played or not, and the next one is held back by that: nothing for a provider that is
//! faster than real time, a burst's length for one that delivers in real time and in bursts. Longer holds are learned at
//! once and forgotten by a quarter with each reply that needed less.

use super::PlayoutSettings;
use crate::{FRAME_MS, SAMPLE_RATE_HZ};

/// A reply that came within less tells nothing.
const LEARNING_TICKS: u64 = 10;
/// A provider this far ahead of playing is not bound to real time.
const FAST_LEAD_MS: u64 = 1_000;
/// Held back on top for one that is: the send clock may tick just before a chunk comes.
const MARGIN_MS: u64 = FRAME_MS;

/// How one item is delivered.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Delivery {
    /// Ticks of the send clock since its first chunk.
    ticks: u64,
    last_chunk: u64,
    received: u64,
    deficit_ms: u64,
    lead_ms: u64,
}

impl Delivery {
    pub(super) fn tick(&mut self) {
        self.ticks += 1;
    }

    /// Takes a chunk.
    pub(super) fn chunk(&mut self, samples: usize) {
        let played_ms = self.ticks * FRAME_MS;
        let received_ms = self.received * 1_000 / u64::from(SAMPLE_RATE_HZ);
        // The last chunk is followed by nothing, so only one that follows shows what was short before it.
        if self.received > 0 {
            self.deficit_ms = self.deficit_ms.max(played_ms.saturating_sub(received_ms));
        }
        self.received += samples as u64;
        self.last_chunk = self.ticks;
        let received_ms = self.received * 1_000 / u64::from(SAMPLE_RATE_HZ);
        self.lead_ms = self.lead_ms.max(received_ms.saturating_sub(played_ms));
    }

    fn need_ms(&self) -> Option<u64> {
        let margin_ms = if self.lead_ms < FAST_LEAD_MS { MARGIN_MS } else { 0 };
        (self.last_chunk >= LEARNING_TICKS).then_some(self.deficit_ms + margin_ms)
    }
}

/// What is known of the provider.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    hold_ms: Option<u64>,
}

impl Pace {
    /// `None` until anything is known.
    pub(super) const fn hold_ms(&self) -> Option<u64> {
        self.hold_ms
    }

    /// An item is over.
    pub(super) fn learn(&mut self, delivery: &Delivery, settings: &PlayoutSettings) {
        // One that fell behind by more than may be held back would have run dry all the same.
        let most_ms = u64::from(settings.max_hold_ms);
        let Some(need_ms) = delivery.need_ms().filter(|&need_ms| need_ms <= most_ms) else { return };
        self.hold_ms = Some(match self.hold_ms {
            Some(hold_ms) if hold_ms > need_ms => hold_ms - (hold_ms - need_ms).div_ceil(4),
            _ => need_ms,
        });
    }
}
