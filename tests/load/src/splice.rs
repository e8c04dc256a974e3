//! Whether a steady tone was cut and joined: a splice is a click, energy beside the tone.

use std::f64::consts::TAU;
use voicebridge_audio::SAMPLE_RATE_HZ;

/// A whole number of cycles in a window, high enough that one sample too few is a step of 30 degrees.
pub(crate) const TONE_HZ: f64 = 2_000.0;
const AMPLITUDE: f64 = 8_000.0;
/// 40 ms, every 20 ms.
const WINDOW: usize = 960;
const HOP: usize = 480;

/// So many samples of the tone.
pub(crate) fn tone(samples: usize) -> Vec<i16> {
    (0..samples).map(|index| (phase(index).sin() * AMPLITUDE) as i16).collect()
}

fn phase(index: usize) -> f64 {
    TAU * TONE_HZ * index as f64 / f64::from(SAMPLE_RATE_HZ)
}

/// By how many dB the energy beside the tone is above that in `reference`, in the worst window. Codec noise is in both.
pub(crate) fn excess_db(pcm: &[i16], reference: &[i16]) -> f64 {
    let windows = |pcm: &[i16]| -> Vec<f64> {
        let starts = (0..pcm.len().saturating_sub(WINDOW) + 1).step_by(HOP);
        starts.map(|start| beside_db(&pcm[start..start + WINDOW])).collect()
    };
    windows(pcm).iter().zip(windows(reference)).map(|(ours, theirs)| ours - theirs).fold(0.0, f64::max)
}

/// Energy that is not the tone's, relative to all, in dB: what is left when the best sine of its frequency is taken away.
fn beside_db(window: &[i16]) -> f64 {
    let (mut sine, mut cosine, mut all) = (0.0, 0.0, 0.0);
    for (index, &sample) in window.iter().enumerate() {
        let (sample, (sin, cos)) = (f64::from(sample), phase(index).sin_cos());
        sine += sample * sin;
        cosine += sample * cos;
        all += sample * sample;
    }
    let tone = (sine * sine + cosine * cosine) * 2.0 / window.len() as f64;
    // One quantisation step of noise at least, so that silence and a perfect tone have a level too.
    10.0 * (((all - tone).max(0.0) + window.len() as f64) / (all + window.len() as f64)).log10()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{
        perfect::{self, Fec},
        speech,
    };

    #[test]
    fn one_sample_too_few_or_too_many_is_seen() {
        let packets = speech::encode(&tone(48_000)).unwrap();
        let heard = perfect::decode(&packets, &vec![true; packets.len()], Fec::Ignored).unwrap();
        assert!(excess_db(&heard, &heard) < f64::EPSILON);
        let without: Vec<i16> = [&heard[..30_000], &heard[30_001..]].concat();
        let twice: Vec<i16> = [&heard[..30_000], &heard[29_999..]].concat();
        for spliced in [without, twice] {
            let excess = excess_db(&spliced, &heard);
            assert!(excess > 3.0, "{excess} dB");
        }
    }
}
