//! Where somebody speaks in a recording, by energy alone.

use super::SAMPLES_PER_MS;

/// A frame of the decision, milliseconds.
const FRAME_MS: usize = 10;
/// A frame louder than this is speech: 20 dB under the fixtures, far above what a codec leaves of silence.
const SPEECH_DBFS: f64 = -45.0;
/// Pauses within an utterance are shorter than this, milliseconds.
const PAUSE_MS: usize = 500;
/// Shorter noises are not utterances, milliseconds.
const SHORTEST_MS: usize = 150;

/// A stretch of speech.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// First sample.
    pub start: usize,
    /// One past the last sample.
    pub end: usize,
}

impl Segment {
    /// Where it begins, milliseconds.
    #[must_use]
    pub const fn start_ms(&self) -> u64 {
        (self.start / SAMPLES_PER_MS) as u64
    }

    /// Where it ends, milliseconds.
    #[must_use]
    pub const fn end_ms(&self) -> u64 {
        (self.end / SAMPLES_PER_MS) as u64
    }
}

/// The utterances of a recording, in order. Two with less than half a second between them are one.
#[must_use]
pub fn segments(pcm: &[i16]) -> Vec<Segment> {
    let frame = FRAME_MS * SAMPLES_PER_MS;
    let mut found: Vec<Segment> = Vec::new();
    for (index, samples) in pcm.chunks(frame).enumerate() {
        if !is_speech(samples) {
            continue;
        }
        let (start, end) = (index * frame, index * frame + samples.len());
        match found.last_mut() {
            Some(last) if start - last.end < PAUSE_MS * SAMPLES_PER_MS => last.end = end,
            _ => found.push(Segment { start, end }),
        }
    }
    found.retain(|segment| segment.end - segment.start >= SHORTEST_MS * SAMPLES_PER_MS);
    found
}

fn is_speech(samples: &[i16]) -> bool {
    let power = samples.iter().map(|&sample| f64::from(sample).powi(2)).sum::<f64>() / samples.len() as f64;
    10.0 * (power / 32_768_f64.powi(2)).log10() > SPEECH_DBFS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::speech::fixtures;

    #[test]
    fn each_fixture_is_one_utterance_from_its_first_to_its_last_moment() {
        for fixture in fixtures() {
            let mut pcm = vec![0; 24_000];
            pcm.extend(&fixture.pcm);
            pcm.extend([0; 24_000]);
            let found = segments(&pcm);
            assert_eq!(found.len(), 1, "{}: {found:?}", fixture.name);
            assert!(found[0].start_ms().abs_diff(1_000) <= 100, "{}: {found:?}", fixture.name);
            assert!(found[0].end_ms().abs_diff(1_000 + fixture.duration_ms()) <= 150, "{}: {found:?}", fixture.name);
        }
    }

    #[test]
    fn silence_and_clicks_are_no_utterances() {
        assert_eq!(segments(&[]), []);
        assert_eq!(segments(&[3; 48_000]), []);
        let mut click = vec![0_i16; 48_000];
        click[24_000..24_100].fill(20_000);
        assert_eq!(segments(&click), []);
    }
}
