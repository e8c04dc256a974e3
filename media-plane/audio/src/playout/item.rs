//! One item: its audio, and how far it was handed out.

use super::{Cut, Heard, PlayoutSettings};
use crate::{FRAME_MS, FRAME_SAMPLES, SAMPLE_RATE_HZ};
use std::collections::VecDeque;

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
    samples: VecDeque<i16>,
    received: u64,
    waited_ms: u64,
}

impl Item {
    pub(super) fn new(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            finished: false,
            started: false,
            starved: false,
            samples: VecDeque::new(),
            received: 0,
            waited_ms: 0,
        }
    }

    pub(super) fn append(&mut self, pcm: &[i16]) {
        self.samples.extend(pcm);
        self.received += pcm.len() as u64;
    }

    /// Called once a tick. `followed`: another item waits behind, so nothing more comes for this one.
    pub(super) fn readiness(&mut self, settings: &PlayoutSettings, followed: bool) -> Readiness {
        let over = self.finished || followed;
        if !self.started {
            let prefill = settings.prefill_ms as usize * SAMPLE_RATE_HZ as usize / 1_000;
            let patient = self.waited_ms < u64::from(settings.prefill_patience_ms);
            let enough = if patient { prefill.max(FRAME_SAMPLES) } else { FRAME_SAMPLES };
            if self.samples.len() < enough && !over {
                self.waited_ms += FRAME_MS;
                return Readiness::Waiting;
            }
            self.started = true;
        }
        if self.samples.len() >= FRAME_SAMPLES || over && !self.samples.is_empty() {
            self.starved = false;
            Readiness::Ready
        } else if self.starved {
            Readiness::Starved
        } else {
            Readiness::RanDry
        }
    }

    /// Takes up to a frame; the rest of `out` stays as it is. Returns the samples taken.
    pub(super) fn take(&mut self, out: &mut [i16; FRAME_SAMPLES]) -> usize {
        let taken = self.samples.len().min(FRAME_SAMPLES);
        for (to, from) in out.iter_mut().zip(self.samples.drain(..taken)) {
            *to = from;
        }
        taken
    }

    pub(super) fn upcoming(&self) -> impl Iterator<Item = i16> + '_ {
        self.samples.iter().copied()
    }

    pub(super) fn is_drained(&self) -> bool {
        self.samples.is_empty()
    }

    pub(super) fn heard(&self) -> Heard {
        Heard { heard_samples: self.handed_out(), received_samples: self.received, finished: self.finished }
    }

    pub(super) fn into_cut(self) -> Cut {
        Cut { heard_samples: self.handed_out(), received_samples: self.received, item: self.id }
    }

    fn handed_out(&self) -> u64 {
        self.received - self.samples.len() as u64
    }
}
