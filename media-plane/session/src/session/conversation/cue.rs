//! The sound that tells the caller that somebody is there while an answer takes its time: two soft notes, made here.

use std::f64::consts::{PI, TAU};

use voicebridge_audio::SAMPLE_RATE_HZ;

/// Item name of a cue. It has no words and is nobody's speech.
pub(crate) const ITEM: &str = "cue";

/// Hz: in the middle of what a telephone carries.
const NOTES_HZ: [f64; 2] = [523.25, 659.26];
const NOTE_MS: usize = 130;
/// Some 30 dB below full scale.
const PEAK: f64 = 1_000.0;

/// 24 kHz mono.
pub(crate) fn pcm() -> Vec<i16> {
    let samples = NOTE_MS * SAMPLE_RATE_HZ as usize / 1_000;
    let note = |hz: f64| {
        (0..samples).map(move |index| {
            let swell = (PI * index as f64 / samples as f64).sin().powi(2);
            (PEAK * swell * (TAU * hz * index as f64 / f64::from(SAMPLE_RATE_HZ)).sin()) as i16
        })
    };
    NOTES_HZ.into_iter().flat_map(note).collect()
}

#[cfg(test)]
mod tests {
    use voicebridge_audio::level;

    use super::*;

    #[test]
    fn it_is_short_and_soft_and_ends_as_it_begins() {
        let pcm = pcm();
        assert_eq!(pcm.len(), 6_240, "260 ms");
        let peak = pcm.iter().map(|sample| sample.unsigned_abs()).max().unwrap_or_default();
        assert!((500..=1_100).contains(&peak), "{peak}");
        assert!(level::rms_dbfs(&pcm) > -50.0, "to be heard");
        assert!(pcm[0] == 0 && pcm.last().is_some_and(|last| last.abs() < 10));
    }
}
