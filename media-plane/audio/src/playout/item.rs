//! One item: its audio, and how far it was handed out.

use super::{
    EndedItem, Heard, PlayoutSettings,
    blocks::{Blocks, Pool},
    pace::{Delivery, ProviderPace},
};
use crate::{FRAME_SAMPLES, SAMPLE_RATE_HZ, Time};
use std::time::Duration;

/// What an item can give at a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readiness {
    /// Not begun: collecting its prefill.
    Waiting,
    /// A frame is there.
    Ready,
    /// Begun, and out of audio since this tick.
    RanDry,
    /// Begun, and out of audio since an earlier tick.
    Starved,
}

#[derive(Debug)]
pub(super) struct PlayoutItem {
    pub(super) id: String,
    pub(super) finished: bool,
    pub(super) started: bool,
    pub(super) starved: bool,
    pub(super) delivery: Delivery,
    /// Samples at 24 kHz for each of its own.
    ratio: usize,
    /// At its own rate, as all counts inside.
    samples: Blocks,
    received: u64,
}

impl PlayoutItem {
    pub(super) fn new(id: &str, ratio: usize) -> Self {
        Self {
            id: id.to_owned(),
            finished: false,
            started: false,
            starved: false,
            delivery: Delivery::default(),
            ratio,
            samples: Blocks::default(),
            received: 0,
        }
    }

    pub(super) fn append(&mut self, now: Time, pcm: &[i16], pool: &mut Pool) {
        self.samples.append(pcm, pool);
        self.delivery.chunk(now, pcm.len() * self.ratio);
        self.received += pcm.len() as u64;
    }

    /// Called once a tick. `followed`: another item waits behind, so nothing more comes for this one.
    pub(super) fn readiness(
        &mut self,
        now: Time,
        settings: &PlayoutSettings,
        pace: &ProviderPace,
        followed: bool,
    ) -> Readiness {
        let over = self.finished || followed;
        if !self.started {
            if !over && !self.may_start(now, settings, pace) {
                return Readiness::Waiting;
            }
            self.started = true;
        }
        if self.samples.len() * self.ratio >= FRAME_SAMPLES || over && !self.is_drained() {
            self.starved = false;
            Readiness::Ready
        } else if self.starved {
            Readiness::Starved
        } else {
            Readiness::RanDry
        }
    }

    /// Long enough held back for the provider's pace, or by the prefill while that is not known.
    fn may_start(&self, now: Time, settings: &PlayoutSettings, pace: &ProviderPace) -> bool {
        let prefill = settings.prefill_ms as usize * SAMPLE_RATE_HZ as usize / 1_000;
        let patience = Duration::from_millis(u64::from(settings.prefill_patience_ms));
        let waited = self.delivery.waited(now);
        let enough = match pace.hold() {
            Some(hold) if waited < hold => return false,
            None if waited < patience => prefill.max(FRAME_SAMPLES),
            _ => FRAME_SAMPLES,
        };
        self.samples.len() * self.ratio >= enough
    }

    /// Takes up to a frame; the rest of `out` stays as it is. Returns the samples taken.
    pub(super) fn take(&mut self, out: &mut [i16], pool: &mut Pool) -> usize {
        self.samples.take(out, pool)
    }

    pub(super) fn upcoming(&self) -> impl Iterator<Item = i16> + '_ {
        self.samples.iter()
    }

    pub(super) fn is_drained(&self) -> bool {
        self.samples.len() == 0
    }

    pub(super) fn blocks(&self) -> usize {
        self.samples.blocks()
    }

    pub(super) fn heard(&self) -> Heard {
        let (heard_samples, received_samples) = self.counts();
        Heard { heard_samples, received_samples, finished: self.finished }
    }

    pub(super) fn into_ended(mut self, pool: &mut Pool) -> EndedItem {
        let (heard_samples, received_samples) = self.counts();
        self.samples.clear(pool);
        EndedItem { heard_samples, received_samples, item: self.id }
    }

    /// Handed out and received, at 24 kHz.
    fn counts(&self) -> (u64, u64) {
        let handed_out = self.received - self.samples.len() as u64;
        (handed_out * self.ratio as u64, self.received * self.ratio as u64)
    }
}
