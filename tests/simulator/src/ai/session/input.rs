//! The input audio buffer: what was appended since the last commit, and the turns found in it.

use super::{
    config::TurnDetection,
    detector::{Change, Detector},
};
use crate::speech::SAMPLES_PER_MS;

/// Most audio between two commits, samples (10 minutes); what is older is dropped.
const MAX_TURN_SAMPLES: usize = 10 * 60 * 24_000;

/// A turn, ready to become a user item. Offsets are milliseconds of audio appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) start_ms: u64,
    pub(super) end_ms: u64,
    pub(super) pcm: Vec<i16>,
}

/// What an append brought about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum InputChange {
    /// The caller speaks; the offset includes the padding.
    Started { start_ms: u64 },
    /// The turn is over and out of the buffer.
    Stopped(Turn),
}

/// Audio of the turn in progress.
pub(super) struct Input {
    detector: Detector,
    /// From `begin` on.
    pcm: Vec<i16>,
    /// Samples appended before `pcm`.
    begin: u64,
}

impl Input {
    pub(super) fn new() -> Self {
        Self { detector: Detector::new(), pcm: Vec::new(), begin: 0 }
    }

    /// Audio not committed yet, milliseconds.
    pub(super) fn pending_ms(&self) -> f64 {
        self.pcm.len() as f64 / SAMPLES_PER_MS as f64
    }

    /// Whether a turn has begun and not ended.
    pub(super) const fn is_speaking(&self) -> bool {
        self.detector.is_speaking()
    }

    pub(super) fn append(&mut self, pcm: &[i16], detection: Option<TurnDetection>) -> Vec<InputChange> {
        self.pcm.extend_from_slice(pcm);
        let mut changes = Vec::new();
        if let Some(detection) = detection {
            self.detect(pcm, &detection, &mut changes);
        }
        self.keep(MAX_TURN_SAMPLES);
        changes
    }

    fn detect(&mut self, pcm: &[i16], detection: &TurnDetection, changes: &mut Vec<InputChange>) {
        let mut found = Vec::new();
        self.detector.push(pcm, detection, &mut found);
        let padding = detection.prefix_padding_ms * SAMPLES_PER_MS as u64;
        for change in found {
            match change {
                Change::Started { at } => {
                    let start = at.saturating_sub(padding).max(self.begin);
                    self.drop_before(start);
                    changes.push(InputChange::Started { start_ms: start / SAMPLES_PER_MS as u64 });
                }
                Change::Stopped { at } => changes.push(InputChange::Stopped(self.take_until(at))),
            }
        }
        if !self.detector.is_speaking() {
            // A turn that begins with the next frame began up to an onset ago, and wants its padding.
            self.keep(padding as usize + 100 * SAMPLES_PER_MS);
        }
    }

    /// All there is, as the client's commit takes it.
    pub(super) fn commit(&mut self) -> Turn {
        self.detector.reset();
        self.take_until(self.begin + self.pcm.len() as u64)
    }

    pub(super) fn clear(&mut self) {
        self.detector.reset();
        self.keep(0);
    }

    fn take_until(&mut self, end: u64) -> Turn {
        let count = (end.saturating_sub(self.begin) as usize).min(self.pcm.len());
        let start_ms = self.begin / SAMPLES_PER_MS as u64;
        let pcm: Vec<i16> = self.pcm.drain(..count).collect();
        self.begin += count as u64;
        Turn { start_ms, end_ms: self.begin / SAMPLES_PER_MS as u64, pcm }
    }

    fn drop_before(&mut self, start: u64) {
        self.take_until(start);
    }

    fn keep(&mut self, samples: usize) {
        let excess = self.pcm.len().saturating_sub(samples) as u64;
        self.drop_before(self.begin + excess);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::speech::fixture;

    const DETECTION: TurnDetection = TurnDetection {
        threshold: 0.5,
        prefix_padding_ms: 300,
        silence_duration_ms: 500,
        idle_timeout_ms: None,
        create_response: true,
        interrupt_response: true,
    };

    #[test]
    fn a_turn_has_its_padding_and_nothing_before_it() {
        let fixture = fixture("opening-hours").expect("a fixture");
        let pcm = [vec![0; 48_000], fixture.pcm.clone(), vec![0; 24_000]].concat();
        let mut input = Input::new();
        let changes: Vec<_> = pcm.chunks(480).flat_map(|frame| input.append(frame, Some(DETECTION))).collect();
        let [InputChange::Started { start_ms }, InputChange::Stopped(turn)] = &changes[..] else {
            panic!("{changes:?}")
        };
        assert!(start_ms.abs_diff(1_700) <= 120, "{start_ms}");
        assert_eq!(turn.start_ms, *start_ms);
        assert_eq!(turn.pcm.len() as u64, (turn.end_ms - turn.start_ms) * SAMPLES_PER_MS as u64);
        assert!(turn.end_ms.abs_diff(2_500 + fixture.duration_ms()) <= 200, "{}", turn.end_ms);
        assert!(input.pending_ms() <= 400.0, "silence is not kept");
    }

    #[test]
    fn without_detection_everything_waits_for_the_commit() {
        let mut input = Input::new();
        assert_eq!(input.append(&[9_000; 48_000], None), []);
        assert_eq!(input.pending_ms(), 2_000.0);
        let turn = input.commit();
        assert_eq!((turn.start_ms, turn.end_ms, input.pending_ms()), (0, 2_000, 0.0));
        input.append(&[1; 240], None);
        input.clear();
        assert_eq!(input.pending_ms(), 0.0);
        input.append(&[9_000; 2_400], None);
        assert_eq!(input.commit().start_ms, 2_010, "offsets count everything ever appended");
    }
}
