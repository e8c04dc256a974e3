//! What the audio sounds like, in steps of 16 ms: how loud, and how likely it is a voice.
//!
//! Flow: a step is collected, brought to the 16 kHz of the `earshot` network and judged by it. In a long quiet the
//! network is left alone: callers are quiet most of the time, and it costs nearly as much as decoding.
//!
//! Does not decide what is speech.

use crate::{SAMPLE_RATE_HZ, g711, level, resample::Resampler};
use std::fmt;

/// Length of a step.
pub(super) const STEP_MS: u64 = 16;
/// What the network takes, and how much of it at a time.
const NETWORK_RATE_HZ: u32 = 16_000;
const NETWORK_STEP: usize = samples(NETWORK_RATE_HZ);
const WIDE_STEP: usize = samples(SAMPLE_RATE_HZ);
const NARROW_STEP: usize = samples(g711::SAMPLE_RATE_HZ);
/// After so many quiet steps, 320 ms, nothing of before them is in the network's window and little in its memory.
const QUIET_STEPS: u32 = 20;

const fn samples(rate_hz: u32) -> usize {
    rate_hz as usize * STEP_MS as usize / 1_000
}

/// A step that was heard.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct VoiceStep {
    /// Its level.
    pub(super) dbfs: f32,
    /// How likely it is a voice, 0 to 1; 0 while the network is left alone.
    pub(super) voice: f32,
}

/// See the module.
pub(super) struct VoiceEstimator {
    network: Box<earshot::Detector>,
    resampler: Rate,
    /// As long as the rate says.
    step: Box<[i16]>,
    filled: usize,
    quiet_steps: u32,
}

#[derive(Debug)]
enum Rate {
    Wide(Box<Resampler<WIDE_STEP, NETWORK_STEP>>),
    Narrow(Box<Resampler<NARROW_STEP, NETWORK_STEP>>),
}

impl VoiceEstimator {
    /// For 24 kHz.
    pub(super) fn wide() -> Self {
        Self::new(Rate::Wide(Box::new(Resampler::new(SAMPLE_RATE_HZ, NETWORK_RATE_HZ))), WIDE_STEP)
    }

    /// For 8 kHz.
    pub(super) fn narrow() -> Self {
        Self::new(Rate::Narrow(Box::new(Resampler::new(g711::SAMPLE_RATE_HZ, NETWORK_RATE_HZ))), NARROW_STEP)
    }

    fn new(resampler: Rate, step: usize) -> Self {
        Self {
            network: earshot::Detector::default_boxed(),
            resampler,
            step: vec![0; step].into_boxed_slice(),
            filled: 0,
            // Nothing was heard yet.
            quiet_steps: QUIET_STEPS,
        }
    }

    /// Takes from `pcm` until a step is full; `None` when it is not yet. Nothing up to `quiet_dbfs` wakes the network.
    pub(super) fn take(&mut self, pcm: &mut &[i16], quiet_dbfs: f32) -> Option<VoiceStep> {
        let (taken, behind) = pcm.split_at(pcm.len().min(self.step.len() - self.filled));
        self.step[self.filled..self.filled + taken.len()].copy_from_slice(taken);
        self.filled += taken.len();
        *pcm = behind;
        if self.filled < self.step.len() {
            return None;
        }
        self.filled = 0;
        let dbfs = level::rms_dbfs(&self.step);
        self.quiet_steps = if dbfs > quiet_dbfs { 0 } else { self.quiet_steps.saturating_add(1) };
        let voice = if self.quiet_steps > QUIET_STEPS { 0.0 } else { self.judge() };
        Some(VoiceStep { dbfs, voice })
    }

    fn judge(&mut self) -> f32 {
        let Self { network, resampler, step, .. } = self;
        let mut voice = 0.0;
        let mut judge = |block: &[i16; NETWORK_STEP]| voice = network.predict_i16(block);
        match resampler {
            Rate::Wide(resampler) => resampler.push(step, &mut judge),
            Rate::Narrow(resampler) => resampler.push(step, &mut judge),
        }
        voice
    }
}

impl fmt::Debug for VoiceEstimator {
    /// The network has none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VoiceEstimator")
            .field("filled", &self.filled)
            .field("quiet_steps", &self.quiet_steps)
            .finish_non_exhaustive()
    }
}
