//! One item: its audio, and how far it was handed out.

use super::{
    Cut, Heard, PlayoutSettings,
    blocks::{Blocks, Pool},
    pace::{Delivery, Pace},
};
use crate::{FRAME_MS, FRAME_SAMPLES, SAMPLE_RATE_HZ};

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
pub(super) struct Item {
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
    waited_ms: u64,
}

impl Item {
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
            waited_ms: 0,
        }
    }

    pub(super) fn append(&mut self, pcm: &[i16], pool: &mut Pool) {
        self.samples.append(pcm, pool);
        self.delivery.chunk(pcm.len() * self.ratio);
        self.received += pcm.len() as u64;
    }

    /// Called once a tick. `followed`: another item waits behind, so nothing more comes for this one.
    pub(super) fn readiness(&mut self, settings: &PlayoutSettings, pace: &Pace, followed: bool) -> Readiness {
        let over = self.finished || followed;
        if !self.started {
            if !over && !self.may_start(settings, pace) {
                self.waited_ms += FRAME_MS;
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
    fn may_start(&self, settings: &PlayoutSettings, pace: &Pace) -> bool {
        let prefill = settings.prefill_ms as usize * SAMPLE_RATE_HZ as usize / 1_000;
        let enough = match pace.hold_ms() {
            Some(hold_ms) if self.waited_ms < hold_ms => return false,
            Some(_) => FRAME_SAMPLES,
            None if self.waited_ms < u64::from(settings.prefill_patience_ms) => prefill.max(FRAME_SAMPLES),
            None => FRAME_SAMPLES,
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

    pub(super) fn into_cut(mut self, pool: &mut Pool) -> Cut {
        let (heard_samples, received_samples) = self.counts();
        self.samples.clear(pool);
        Cut { heard_samples, received_samples, item: self.id }
    }

    /// Handed out and received, at 24 kHz.
    fn counts(&self) -> (u64, u64) {
        let handed_out = self.received - self.samples.len() as u64;
        (handed_out * self.ratio as u64, self.received * self.ratio as u64)
    }
}
