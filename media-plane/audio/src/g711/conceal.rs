//! What to play for a packet of G.711 that is missing: the last pitch period of what was heard, repeated, after the idea
//! of ITU-T G.711, appendix I.
//!
//! Flow: the last 50 ms are kept. At the first missing sample the period is found by correlation, and its end is blended
//! into the samples before its beginning, so that it loops without a step. When audio comes again, the loop goes on under
//! its first 4 ms and fades into it. Unlike the appendix nothing is held back, so there is no delay of 3.75 ms: the step
//! where the loop begins is smoothed in what follows instead of what was before.
//!
//! Does not fade a long loss: whoever forwards it does, as for every codec.

use std::f32::consts::PI;

/// What is kept: two longest periods and a window to compare them by.
const HISTORY: usize = 400;
/// 66 to 400 Hz.
const PERIODS: std::ops::RangeInclusive<usize> = 20..=120;
/// Compared to find the period: 20 ms.
const WINDOW: usize = 160;
/// Length of the blend back into received audio: 4 ms.
const BLEND: usize = 32;

#[derive(Debug)]
pub(super) struct Concealer {
    history: [i16; HISTORY],
    /// The period that is repeated, while something is missing.
    period: [i16; *PERIODS.end()],
    state: ConcealState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ConcealState {
    Hearing,
    /// `length` samples are repeated; `at` is the next of them. `step` is still to be smoothed over `smoothing` samples.
    Filling {
        length: usize,
        at: usize,
        step: i16,
        smoothing: usize,
    },
}

impl Default for Concealer {
    fn default() -> Self {
        Self { history: [0; HISTORY], period: [0; *PERIODS.end()], state: ConcealState::Hearing }
    }
}

impl Concealer {
    /// Takes audio heard; blends its beginning into what was made up before it.
    pub(super) fn heard(&mut self, pcm: &mut [i16]) {
        if self.state != ConcealState::Hearing {
            let mut made_up = [0; BLEND];
            let blend = pcm.len().min(BLEND);
            self.fill(&mut made_up[..blend]);
            for (index, (to, from)) in pcm.iter_mut().zip(&made_up[..blend]).enumerate() {
                let weight = (index + 1) as f32 / (blend + 1) as f32;
                *to = mix(*from, *to, weight);
            }
            self.state = ConcealState::Hearing;
        }
        self.remember(pcm);
    }

    /// Fills in for audio that is missing.
    pub(super) fn fill(&mut self, out: &mut [i16]) {
        if self.state == ConcealState::Hearing {
            self.state = self.begin();
        }
        let ConcealState::Filling { length, at, step, smoothing } = &mut self.state else { return };
        let whole = *length / 4;
        for to in out {
            let smoothed = if *smoothing > 0 { i32::from(*step) * *smoothing as i32 / (whole as i32 + 1) } else { 0 };
            *to = (i32::from(self.period[*at]) + smoothed).clamp(i16::MIN.into(), i16::MAX.into()) as i16;
            *smoothing = smoothing.saturating_sub(1);
            *at = (*at + 1) % *length;
        }
    }

    fn begin(&mut self) -> ConcealState {
        let length = period(&self.history);
        self.period[..length].copy_from_slice(&self.history[HISTORY - length..]);
        // The last quarter goes over into what came one period before it, which leads to the beginning of the loop.
        let blend = length / 4;
        for index in 0..blend {
            let weight = 0.5 - 0.5 * (PI * (index + 1) as f32 / (blend + 1) as f32).cos();
            let earlier = self.history[HISTORY - length - blend + index];
            let to = &mut self.period[length - blend + index];
            *to = mix(*to, earlier, weight);
        }
        let step = self.history[HISTORY - 1].saturating_sub(self.history[HISTORY - length - 1]);
        ConcealState::Filling { length, at: 0, step, smoothing: blend }
    }

    fn remember(&mut self, pcm: &[i16]) {
        let kept = pcm.len().min(HISTORY);
        self.history.copy_within(kept.., 0);
        self.history[HISTORY - kept..].copy_from_slice(&pcm[pcm.len() - kept..]);
    }
}

/// The distance at which the end of the history resembles itself most; the shortest of equals. Never fails: noise just
/// gets one of many.
fn period(history: &[i16; HISTORY]) -> usize {
    let window = &history[HISTORY - WINDOW..];
    let mut best = (*PERIODS.end(), 0.0);
    for length in PERIODS.rev() {
        let earlier = &history[HISTORY - WINDOW - length..HISTORY - length];
        let (product, energy) = window.iter().zip(earlier).fold((0.0, 1.0), |(product, energy), (&now, &then)| {
            let (now, then) = (f32::from(now), f32::from(then));
            (product + now * then, energy + then * then)
        });
        // Normalised, so that a loud past does not win; a multiple of the period is hardly better than the period.
        let likeness = product.max(0.0).powi(2) / energy;
        if likeness >= best.1 * 0.98 && likeness > 0.0 {
            best = (length, likeness.max(best.1));
        }
    }
    best.0
}

fn mix(from: i16, to: i16, weight: f32) -> i16 {
    (f32::from(from) * (1.0 - weight) + f32::from(to) * weight) as i16
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::TAU;

    fn tone(hz: f64, samples: std::ops::Range<usize>) -> Vec<i16> {
        samples.map(|index| ((TAU * hz * index as f64 / 8_000.0).sin() * 8_000.0) as i16).collect()
    }

    /// Largest step between neighbouring samples.
    fn steepest(pcm: &[i16]) -> u16 {
        pcm.windows(2).map(|pair| pair[0].abs_diff(pair[1])).max().unwrap_or(0)
    }

    #[test]
    fn a_periodic_sound_goes_on() {
        for hz in [80.0, 123.0, 200.0, 317.0, 390.0] {
            let mut concealer = Concealer::default();
            let mut before = tone(hz, 0..800);
            concealer.heard(&mut before);
            let mut made_up = vec![0; 480];
            concealer.fill(&mut made_up[..100]);
            concealer.fill(&mut made_up[100..]);
            let mut after = tone(hz, 1_280..1_600);
            concealer.heard(&mut after);
            let natural = steepest(&before);
            let whole = [before, made_up.clone(), after].concat();
            assert!(steepest(&whole) <= natural * 5 / 4, "{hz} Hz: a step of {} in {natural}", steepest(&whole));
            let level = made_up.iter().map(|sample| sample.unsigned_abs()).max().unwrap_or(0);
            assert!((7_500..=8_500).contains(&level), "{hz} Hz stays as loud: {level}");
        }
    }

    #[test]
    fn nothing_heard_is_silence() {
        let mut concealer = Concealer::default();
        let mut out = [7; 500];
        concealer.fill(&mut out);
        assert_eq!(out, [0; 500]);
    }

    #[test]
    fn short_pieces_make_the_same_history() {
        let mut whole = Concealer::default();
        let mut pieces = Concealer::default();
        whole.heard(&mut tone(150.0, 0..900));
        for piece in tone(150.0, 0..900).chunks_mut(7) {
            pieces.heard(piece);
        }
        assert_eq!(whole.history, pieces.history);
    }
}
