//! Hands the audio on: at the codec's own rate, or brought up to 24 kHz.
//!
//! What comes out of the resampler is marked with the source of what went in 5 ms before, to the sample.

use super::{FrameSource, Sink, UplinkFrame};
use crate::{
    FRAME_SAMPLES,
    resample::{DELAY_MS, Upsampler, WIDE_BLOCK},
};
use std::collections::VecDeque;

const DELAY_SAMPLES: usize = DELAY_MS as usize * FRAME_SAMPLES / 20;
const ZEROS: [i16; FRAME_SAMPLES] = [0; FRAME_SAMPLES];

#[derive(Debug)]
pub(super) enum UplinkOutput {
    /// At most this many samples at a time.
    Direct {
        frame: usize,
    },
    Upsampled(Box<Upsampled>),
}

#[derive(Debug, Default)]
pub(super) struct Upsampled {
    upsampler: Upsampler,
    runs: Runs,
}

impl UplinkOutput {
    pub(super) const fn direct(ratio: usize) -> Self {
        Self::Direct { frame: FRAME_SAMPLES / ratio }
    }

    pub(super) fn upsampled() -> Self {
        let mut upsampled = Upsampled::default();
        upsampled.runs.add(FrameSource::Silence, DELAY_SAMPLES);
        Self::Upsampled(Box::new(upsampled))
    }

    /// Audio at the codec's rate.
    pub(super) fn emit(&mut self, pcm: &[i16], source: FrameSource, sink: &mut Sink<'_>) {
        match self {
            Self::Direct { frame } => {
                for pcm in pcm.chunks(*frame) {
                    sink(UplinkFrame { pcm, source });
                }
            }
            Self::Upsampled(upsampled) => {
                let Upsampled { upsampler, runs } = &mut **upsampled;
                runs.add(source, pcm.len() * 3);
                upsampler.push(pcm, &mut |block| runs.split(block, sink));
            }
        }
    }

    /// Zeros at the codec's rate.
    pub(super) fn silence(&mut self, samples: usize, sink: &mut Sink<'_>) {
        let mut rest = samples;
        while rest > 0 {
            let piece = rest.min(FRAME_SAMPLES);
            self.emit(&ZEROS[..piece], FrameSource::Silence, sink);
            rest -= piece;
        }
    }
}

/// The sources of what is still to come out, in order. Never longer than a block and the delay.
#[derive(Debug, Default)]
struct Runs(VecDeque<(FrameSource, usize)>);

impl Runs {
    fn add(&mut self, source: FrameSource, samples: usize) {
        match self.0.back_mut() {
            Some((last, length)) if *last == source => *length += samples,
            _ => self.0.push_back((source, samples)),
        }
    }

    fn split(&mut self, block: &[i16; WIDE_BLOCK], sink: &mut Sink<'_>) {
        let mut rest = &block[..];
        while let Some((source, length)) = self.0.front_mut()
            && !rest.is_empty()
        {
            let (pcm, behind) = rest.split_at(rest.len().min(*length));
            rest = behind;
            *length -= pcm.len();
            let source = *source;
            if *length == 0 {
                self.0.pop_front();
            }
            if !pcm.is_empty() {
                sink(UplinkFrame { pcm, source });
            }
        }
    }
}
