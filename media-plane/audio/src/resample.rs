//! 8 kHz to 24 kHz and back, in blocks of 10 ms, with audio of any length in between.
//!
//! Flow: [`Upsampler`] and [`Downsampler`] collect a block, convert it and hand it on: as much audio comes out as went in,
//! 5 ms later ([`DELAY_MS`]). What does not fill a block waits; packets of telephony are whole blocks. All buffers are
//! made at the beginning.
//!
//! The filter passes the telephone band to 3.4 kHz. Voice detection converts to its 16 kHz by the same means, in blocks of
//! its own. Not here: clock drift (the uplink's clock is the sender's), levels.

use crate::{SAMPLE_RATE_HZ, g711};
use rubato::{Fft, FixedSync, Resampler as _, WindowFunction, audioadapter_buffers::direct::SequentialSlice};

/// By how much what comes out is later than what goes in, beyond the block.
pub const DELAY_MS: u64 = 5;
/// Samples of a block at 8 kHz.
pub const NARROW_BLOCK: usize = 80;
/// Samples of a block at 24 kHz.
pub const WIDE_BLOCK: usize = 240;

/// The gentlest window that leaves 3.4 kHz alone in blocks this short, and images 60 dB down. rubato's own choice would
/// need blocks of 20 ms.
const WINDOW: WindowFunction = WindowFunction::Blackman;

/// From 8 kHz to 24 kHz.
#[derive(Debug)]
pub struct Upsampler(Resampler<NARROW_BLOCK, WIDE_BLOCK>);

/// From 24 kHz to 8 kHz.
#[derive(Debug)]
pub struct Downsampler(Resampler<WIDE_BLOCK, NARROW_BLOCK>);

impl Default for Upsampler {
    fn default() -> Self {
        Self(Resampler::new(g711::SAMPLE_RATE_HZ, SAMPLE_RATE_HZ))
    }
}

impl Default for Downsampler {
    fn default() -> Self {
        Self(Resampler::new(SAMPLE_RATE_HZ, g711::SAMPLE_RATE_HZ))
    }
}

impl Upsampler {
    /// Takes audio of any length; every block it completes goes to `sink`.
    pub fn push(&mut self, pcm: &[i16], sink: &mut dyn FnMut(&[i16; WIDE_BLOCK])) {
        self.0.push(pcm, sink);
    }

    /// Forgets what it has heard, as if new. What waits for a block to be full is lost.
    pub fn reset(&mut self) {
        self.0.reset();
    }
}

impl Downsampler {
    /// Takes audio of any length; every block it completes goes to `sink`.
    pub fn push(&mut self, pcm: &[i16], sink: &mut dyn FnMut(&[i16; NARROW_BLOCK])) {
        self.0.push(pcm, sink);
    }

    /// Forgets what it has heard, as if new. What waits for a block to be full is lost.
    pub fn reset(&mut self) {
        self.0.reset();
    }
}

/// A whole recording from 24 kHz to 8 kHz: a third as long, and not later.
#[must_use]
pub fn narrowed(pcm: &[i16]) -> Vec<i16> {
    let ratio = WIDE_BLOCK / NARROW_BLOCK;
    let delay = DELAY_MS as usize * SAMPLE_RATE_HZ as usize / 1_000;
    let padding = (pcm.len() + delay).next_multiple_of(WIDE_BLOCK) - pcm.len();
    let (mut downsampler, mut narrow) = (Downsampler::default(), Vec::with_capacity((pcm.len() + padding) / ratio));
    for piece in [pcm, &vec![0; padding]] {
        downsampler.push(piece, &mut |block| narrow.extend_from_slice(block));
    }
    narrow.drain(..delay / ratio);
    narrow.truncate(pcm.len() / ratio);
    narrow
}

/// Any two rates, in blocks of `IN` samples that become `OUT`; what comes out is later by half a block.
#[derive(Debug)]
pub(crate) struct Resampler<const IN: usize, const OUT: usize> {
    inner: Fft<f32>,
    input: [f32; IN],
    filled: usize,
    output: [f32; OUT],
    block: [i16; OUT],
}

impl<const IN: usize, const OUT: usize> Resampler<IN, OUT> {
    pub(crate) fn new(from_hz: u32, to_hz: u32) -> Self {
        let inner = Fft::new_custom(from_hz as usize, to_hz as usize, IN, 1, 1, WINDOW, FixedSync::Both)
            .expect("the rates of this crate, one channel and whole blocks are valid");
        debug_assert_eq!((inner.input_frames_next(), inner.output_frames_next()), (IN, OUT));
        Self { inner, input: [0.0; IN], filled: 0, output: [0.0; OUT], block: [0; OUT] }
    }

    pub(crate) fn push(&mut self, pcm: &[i16], sink: &mut dyn FnMut(&[i16; OUT])) {
        let mut rest = pcm;
        while !rest.is_empty() {
            let (taken, behind) = rest.split_at(rest.len().min(IN - self.filled));
            for (to, &from) in self.input[self.filled..].iter_mut().zip(taken) {
                *to = f32::from(from);
            }
            self.filled += taken.len();
            rest = behind;
            if self.filled == IN {
                self.filled = 0;
                self.convert();
                sink(&self.block);
            }
        }
    }

    fn convert(&mut self) {
        let input = SequentialSlice::new(&self.input[..], 1, IN).expect("the block is whole");
        let mut output = SequentialSlice::new_mut(&mut self.output[..], 1, OUT).expect("the block is whole");
        self.inner.process_into_buffer(&input, &mut output, None).expect("both blocks are whole");
        for (to, from) in self.block.iter_mut().zip(&self.output) {
            *to = rounded(*from);
        }
    }

    fn reset(&mut self) {
        self.inner.reset();
        self.filled = 0;
    }
}

/// The nearest sample, halves away from zero; loud audio may overshoot and saturates. As `f32::round` does it, but that is a
/// call into the compiler's library for each sample on processors that need not have SSE 4.1.
fn rounded(sample: f32) -> i16 {
    /// With a half itself, what is just below a half would be rounded to even: up.
    const JUST_BELOW_HALF: f32 = 0.499_999_97;
    (sample + JUST_BELOW_HALF.copysign(sample)) as i16
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::TAU;

    #[test]
    fn samples_are_rounded_as_the_standard_library_does() {
        let check = |sample: f32| assert_eq!(rounded(sample), sample.round() as i16, "{sample:?}");
        for halves in -70_000..=70_000 {
            let sample = halves as f32 / 2.0;
            for near in [sample, sample.next_up(), sample.next_down(), sample + 0.3, sample - 0.3] {
                check(near);
            }
        }
        for power in -149..=127 {
            let sample = 2_f32.powi(power);
            for near in [sample, sample.next_up(), sample.next_down()] {
                check(near);
                check(-near);
            }
        }
        [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0].into_iter().for_each(check);
    }

    fn tone(hz: f64, rate: u32, samples: usize) -> Vec<i16> {
        (0..samples)
            .map(|index| ((TAU * hz * index as f64 / f64::from(rate)).sin() * 10_000.0).round() as i16)
            .collect()
    }

    fn up(pcm: &[i16], piece: usize) -> Vec<i16> {
        let (mut resampler, mut out) = (Upsampler::default(), Vec::new());
        pcm.chunks(piece).for_each(|piece| resampler.push(piece, &mut |block| out.extend_from_slice(block)));
        out
    }

    fn down(pcm: &[i16], piece: usize) -> Vec<i16> {
        let (mut resampler, mut out) = (Downsampler::default(), Vec::new());
        pcm.chunks(piece).for_each(|piece| resampler.push(piece, &mut |block| out.extend_from_slice(block)));
        out
    }

    /// Level of one frequency, dB against a tone of 10 000.
    fn level_db(pcm: &[i16], hz: f64, rate: u32) -> f64 {
        let (re, im) = pcm.iter().enumerate().fold((0.0, 0.0), |(re, im), (index, &sample)| {
            let angle = TAU * hz * index as f64 / f64::from(rate);
            (re + f64::from(sample) * angle.cos(), im + f64::from(sample) * angle.sin())
        });
        20.0 * ((re * re + im * im).sqrt() * 2.0 / pcm.len() as f64 / 10_000.0).max(1e-9).log10()
    }

    #[test]
    fn the_telephone_band_passes_and_nothing_else() {
        for hz in [200.0, 300.0, 1_000.0, 2_000.0, 3_000.0, 3_400.0] {
            let wide = up(&tone(hz, 8_000, 8_000), 160);
            assert_eq!(wide.len(), 24_000);
            let level = level_db(&wide[2_400..21_600], hz, 24_000);
            assert!(level.abs() < 1.0, "{hz} Hz up: {level:.2} dB");
            for image in [8_000.0 - hz, 8_000.0 + hz] {
                let level = level_db(&wide[2_400..21_600], image, 24_000);
                assert!(level < -60.0, "image of {hz} at {image} Hz: {level:.1} dB");
            }
            let narrow = down(&tone(hz, 24_000, 24_000), 480);
            assert_eq!(narrow.len(), 8_000);
            let level = level_db(&narrow[800..7_200], hz, 8_000);
            assert!(level.abs() < 1.0, "{hz} Hz down: {level:.2} dB");
        }
        for hz in [4_600.0, 5_000.0, 7_000.0, 11_000.0] {
            let narrow = down(&tone(hz, 24_000, 24_000), 480);
            let loudest = narrow[800..7_200].iter().map(|sample| sample.unsigned_abs()).max();
            assert!(loudest < Some(20), "{hz} Hz is kept out: {loudest:?}");
        }
    }

    #[test]
    fn the_delay_is_constant_and_the_size_of_pieces_does_not_matter() {
        let narrow = tone(700.0, 8_000, 4_000);
        let wide = up(&narrow, 160);
        for piece in [1, 7, 80, 81, 400, 4_000] {
            assert_eq!(up(&narrow, piece), wide, "pieces of {piece}");
        }
        let delay = (DELAY_MS * 24) as usize;
        let expect = tone(700.0, 24_000, 12_000);
        let worst = (1_200..9_600).map(|index| wide[index + delay].abs_diff(expect[index])).max();
        assert!(worst < Some(150), "off by {worst:?} of 10 000");
        let back = down(&wide, 480);
        let worst = (800..3_000).map(|index| back[index + 2 * delay / 3].abs_diff(narrow[index])).max();
        assert!(worst < Some(250), "there and back, off by {worst:?}");
    }

    #[test]
    fn a_recording_is_narrowed_in_its_place() {
        for samples in [24_000, 24_002, 1_000, 5, 0] {
            let narrow = narrowed(&tone(700.0, 24_000, samples));
            assert_eq!(narrow.len(), samples / 3);
            let expect = tone(700.0, 8_000, samples / 3);
            let middle = samples / 3 / 10..samples / 3 * 9 / 10;
            let worst = middle.map(|index| narrow[index].abs_diff(expect[index])).max().unwrap_or_default();
            assert!(worst < 250 || samples < 2_000, "off by {worst} of 10 000");
        }
    }

    #[test]
    fn after_a_reset_nothing_of_before_is_heard() {
        let mut resampler = Downsampler::default();
        resampler.push(&tone(700.0, 24_000, 1_000), &mut |_| ());
        resampler.reset();
        resampler.push(&[0; 480], &mut |block| assert_eq!(block, &[0; NARROW_BLOCK]));
        let fresh = down(&tone(900.0, 24_000, 4_800), 480);
        let mut again = Vec::new();
        resampler.reset();
        resampler.push(&tone(900.0, 24_000, 4_800), &mut |block| again.extend_from_slice(block));
        assert_eq!(again, fresh);
    }

    #[test]
    fn loud_audio_saturates() {
        let square: Vec<i16> = (0..8_000).map(|index| if index / 20 % 2 == 0 { i16::MAX } else { i16::MIN }).collect();
        let wide = up(&square, 160);
        assert!(wide.contains(&i16::MAX) && wide.contains(&i16::MIN));
    }
}
