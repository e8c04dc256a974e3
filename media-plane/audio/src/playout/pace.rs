//! How long to hold a reply back before its first frame, learned from how the provider delivers.
//!
//! A reply that is played from its first chunk on runs dry when a later chunk comes after its turn. By how much it would
//! have is measured for every reply, played or not, and the next one is held back by that: nothing for a provider that is
//! faster than real time, a burst's length for one that delivers in real time and in bursts. Longer holds are learned at
//! once and forgotten by a quarter with each reply that needed less.

use super::PlayoutSettings;
use crate::{FRAME_MS, FRAME_SAMPLES, SAMPLE_RATE_HZ, Time};
use std::time::Duration;

/// A reply that came within less tells nothing.
const LEARNING_TIME: Duration = Duration::from_millis(200);
/// A provider this far ahead of playing is not bound to real time.
const FAST_LEAD: Duration = Duration::from_secs(1);
/// Held back on top for one that is: what the driver's own clock may be late by.
const MARGIN: Duration = Duration::from_millis(5);

/// How one item is delivered.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Delivery {
    /// Of its first chunk.
    began: Option<Time>,
    last_chunk: Time,
    /// Samples.
    received: usize,
    deficit: Duration,
    lead: Duration,
}

impl Delivery {
    /// Takes a chunk.
    pub(super) fn chunk(&mut self, now: Time, samples: usize) {
        let began = *self.began.get_or_insert(now);
        let elapsed = now.since(began);
        // The last chunk is followed by nothing, so only one that follows shows what was short before it: the frame that
        // begins before its first sample.
        if self.received > 0 {
            let turn = Duration::from_millis((self.received / FRAME_SAMPLES) as u64 * FRAME_MS);
            self.deficit = self.deficit.max(elapsed.saturating_sub(turn));
        }
        self.received += samples;
        self.last_chunk = now;
        let received = Duration::from_micros(self.received as u64 * 1_000_000 / u64::from(SAMPLE_RATE_HZ));
        self.lead = self.lead.max(received.saturating_sub(elapsed));
    }

    /// Since its first chunk.
    pub(super) fn waited(&self, now: Time) -> Duration {
        self.began.map_or(Duration::ZERO, |began| now.since(began))
    }

    fn need(&self) -> Option<Duration> {
        let margin = if self.lead < FAST_LEAD { MARGIN } else { Duration::ZERO };
        (self.last_chunk.since(self.began?) >= LEARNING_TIME).then_some(self.deficit + margin)
    }
}

/// What is known of the provider.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ProviderPace {
    hold: Option<Duration>,
}

impl ProviderPace {
    /// `None` until anything is known.
    pub(super) const fn hold(&self) -> Option<Duration> {
        self.hold
    }

    /// An item is over.
    pub(super) fn learn(&mut self, delivery: &Delivery, settings: &PlayoutSettings) {
        // One that fell behind by more than may be held back would have run dry all the same.
        let most = Duration::from_millis(u64::from(settings.max_hold_ms));
        let Some(need) = delivery.need().filter(|&need| need <= most) else { return };
        self.hold = Some(match self.hold {
            Some(hold) if hold > need => hold - quarter(hold - need),
            _ => need,
        });
    }
}

/// Of a whole number of milliseconds at least, so that forgetting comes to an end.
fn quarter(difference: Duration) -> Duration {
    (difference / 4).max(Duration::from_millis(1)).min(difference)
}
