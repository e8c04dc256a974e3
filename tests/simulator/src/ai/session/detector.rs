//! Voice activity by energy, in the time of the audio received.
//!
//! A frame of 10 ms counts as loud above a level that grows with the session's threshold. Four loud frames in a row
//! begin a turn; it ends after the session's silence, with a little hysteresis so that soft syllables do not end it.
//! The real server uses a model instead; on clean speech and silence the two agree, on loud noise they do not.

use super::config::TurnDetection;
use crate::speech::SAMPLES_PER_MS;

const FRAME_MS: usize = 10;
const FRAME_SAMPLES: usize = FRAME_MS * SAMPLES_PER_MS;
/// Loud frames in a row that make speech.
const ONSET_FRAMES: usize = 4;
/// How much quieter than the onset a frame of running speech may be, dB.
const HYSTERESIS_DB: f64 = 8.0;

/// What the audio just given meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Speech began at this sample.
    Started { at: u64 },
    /// Speech ended, and its silence too, at this sample.
    Stopped { at: u64 },
}

/// State of one session.
pub(super) struct Detector {
    /// Samples consumed in whole frames.
    position: u64,
    partial: Vec<i16>,
    speaking: bool,
    loud_frames: usize,
    quiet_frames: usize,
}

impl Detector {
    pub(super) fn new() -> Self {
        Self {
            position: 0,
            partial: Vec::with_capacity(FRAME_SAMPLES),
            speaking: false,
            loud_frames: 0,
            quiet_frames: 0,
        }
    }

    pub(super) const fn is_speaking(&self) -> bool {
        self.speaking
    }

    /// Forgets a turn in progress, as a commit or a clear by the client does.
    pub(super) const fn reset(&mut self) {
        self.speaking = false;
        self.loud_frames = 0;
        self.quiet_frames = 0;
    }

    /// Looks at more audio and appends what it found.
    pub(super) fn push(&mut self, pcm: &[i16], settings: &TurnDetection, found: &mut Vec<Change>) {
        let mut rest = pcm;
        while !rest.is_empty() {
            let missing = FRAME_SAMPLES - self.partial.len();
            let (now, later) = rest.split_at(missing.min(rest.len()));
            self.partial.extend_from_slice(now);
            rest = later;
            if self.partial.len() == FRAME_SAMPLES {
                let level = level_dbfs(&self.partial);
                self.partial.clear();
                self.position += FRAME_SAMPLES as u64;
                found.extend(self.frame(level, settings));
            }
        }
    }

    fn frame(&mut self, level: f64, settings: &TurnDetection) -> Option<Change> {
        let onset_dbfs = onset_dbfs(settings.threshold);
        if self.speaking {
            let quiet = level < onset_dbfs - HYSTERESIS_DB;
            self.quiet_frames = if quiet { self.quiet_frames + 1 } else { 0 };
            let silence_frames = (settings.silence_duration_ms as usize).div_ceil(FRAME_MS).max(1);
            if self.quiet_frames < silence_frames {
                return None;
            }
            self.reset();
            return Some(Change::Stopped { at: self.position });
        }
        self.loud_frames = if level >= onset_dbfs { self.loud_frames + 1 } else { 0 };
        if self.loud_frames < ONSET_FRAMES {
            return None;
        }
        self.reset();
        self.speaking = true;
        Some(Change::Started { at: self.position - (ONSET_FRAMES * FRAME_SAMPLES) as u64 })
    }
}

/// -38 dBFS at the usual 0.5, 18 dB under ordinary speech; 3.6 dB more for each tenth.
fn onset_dbfs(threshold: f64) -> f64 {
    36.0f64.mul_add(threshold, -56.0)
}

fn level_dbfs(frame: &[i16]) -> f64 {
    let power = frame.iter().map(|&sample| f64::from(sample).powi(2)).sum::<f64>() / frame.len() as f64;
    10.0 * (power / 32_768_f64.powi(2)).log10()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::speech::{Role, fixtures};

    const SETTINGS: TurnDetection = TurnDetection {
        threshold: 0.5,
        prefix_padding_ms: 300,
        silence_duration_ms: 500,
        idle_timeout_ms: None,
        create_response: true,
        interrupt_response: true,
    };

    /// Changes with their time in milliseconds, for audio given in odd pieces.
    fn changes(pcm: &[i16], settings: &TurnDetection) -> Vec<(&'static str, u64)> {
        let (mut detector, mut found) = (Detector::new(), Vec::new());
        for piece in pcm.chunks(479) {
            detector.push(piece, settings, &mut found);
        }
        let ms = |at: u64| at / SAMPLES_PER_MS as u64;
        let name = |change: Change| match change {
            Change::Started { at } => ("started", ms(at)),
            Change::Stopped { at } => ("stopped", ms(at)),
        };
        found.into_iter().map(name).collect()
    }

    #[test]
    fn each_caller_is_one_turn() {
        for fixture in fixtures().iter().filter(|fixture| fixture.role == Role::Caller) {
            let pcm = [vec![0; 24_000], fixture.pcm.clone(), vec![0; 24_000]].concat();
            let found = changes(&pcm, &SETTINGS);
            let [("started", start_ms), ("stopped", stop_ms)] = found[..] else {
                panic!("{}: {found:?}", fixture.name)
            };
            assert!(start_ms.abs_diff(1_000) <= 150, "{}: {start_ms}", fixture.name);
            assert!(stop_ms.abs_diff(1_500 + fixture.duration_ms()) <= 200, "{}: {stop_ms}", fixture.name);
        }
    }

    #[test]
    fn silence_hiss_and_clicks_are_no_turns() {
        let mut hiss: Vec<i16> = (0..48_000_i32).map(|sample| (sample * 7_919 % 97 - 48) as i16).collect();
        assert_eq!(changes(&hiss, &SETTINGS), []);
        hiss[10_000..10_200].fill(15_000);
        assert_eq!(changes(&hiss, &SETTINGS), []);
    }

    #[test]
    fn a_higher_threshold_needs_louder_speech() {
        let pcm: Vec<i16> = (0..24_000).map(|sample| if sample % 48 < 24 { 900 } else { -900 }).collect();
        assert_eq!(changes(&pcm, &SETTINGS), [("started", 0)]);
        assert_eq!(changes(&pcm, &TurnDetection { threshold: 0.9, ..SETTINGS }), []);
    }
}
