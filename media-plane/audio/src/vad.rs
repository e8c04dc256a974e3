//! Voice activity by energy over an adaptive noise floor, in the time of the audio pushed.
//!
//! Flow: every 10 ms get a level; the floor follows the quiet ones down at once and loud ones up slowly, so that steady
//! noise is learned and speech is not. Speech starts after a short run well above the floor and stops after a hangover.
//!
//! Good enough for the embedded AI and for simulators. Does not tell speech from music or a door; providers bring their
//! own detection.

use crate::{SAMPLE_RATE_HZ, level};

/// Length of a measurement.
const STEP_MS: u64 = 10;
const STEP_SAMPLES: usize = SAMPLE_RATE_HZ as usize / 100;
/// The floor falls towards a quieter step by this part of the difference ...
const FLOOR_FALL: f32 = 0.3;
/// ... and rises towards a louder one by this much a step: 5 dB a second.
const FLOOR_RISE_DB: f32 = 0.05;
/// The floor is never believed lower or higher than this.
const FLOOR_RANGE_DBFS: (f32, f32) = (-75.0, -35.0);
const FLOOR_START_DBFS: f32 = -60.0;

/// When something counts as speech.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VadSettings {
    /// Nothing quieter is speech, dBFS.
    pub threshold_dbfs: f32,
    /// Speech is at least this much above the noise floor, dB.
    pub margin_db: f32,
    /// Louder for at least this long, in whole 10 ms.
    pub onset_ms: u64,
    /// Reported start is this much before the sound itself.
    pub prefix_ms: u64,
    /// Quiet for this long ends it.
    pub silence_ms: u64,
}

impl Default for VadSettings {
    /// What providers use on telephones (prefix 300, silence 500), from about -42 dBFS on.
    fn default() -> Self {
        Self { threshold_dbfs: -42.0, margin_db: 9.0, onset_ms: 40, prefix_ms: 300, silence_ms: 500 }
    }
}

/// What changed. Times count the audio pushed, milliseconds from the first sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VadEvent {
    /// Speech began.
    Started {
        /// Of the sound, minus the prefix.
        at_ms: u64,
    },
    /// Speech ended.
    Stopped {
        /// End of the hangover.
        at_ms: u64,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Quiet { loud_ms: u64 },
    Speech { quiet_ms: u64, loud_ms: u64 },
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Vad {
    settings: VadSettings,
    state: State,
    floor_dbfs: f32,
    elapsed_ms: u64,
    step: [i16; STEP_SAMPLES],
    filled: usize,
}

impl Vad {
    /// Quiet, at time 0.
    #[must_use]
    pub const fn new(settings: VadSettings) -> Self {
        Self {
            settings,
            state: State::Quiet { loud_ms: 0 },
            floor_dbfs: FLOOR_START_DBFS,
            elapsed_ms: 0,
            step: [0; STEP_SAMPLES],
            filled: 0,
        }
    }

    /// Takes audio of any length. Returns the last change in it: push frames of at most [`VadSettings::silence_ms`] to
    /// miss none.
    pub fn push(&mut self, pcm: &[i16]) -> Option<VadEvent> {
        let mut event = None;
        let mut rest = pcm;
        while !rest.is_empty() {
            let taken = rest.len().min(STEP_SAMPLES - self.filled);
            self.step[self.filled..self.filled + taken].copy_from_slice(&rest[..taken]);
            self.filled += taken;
            rest = &rest[taken..];
            if self.filled == STEP_SAMPLES {
                self.filled = 0;
                event = self.measure().or(event);
            }
        }
        event
    }

    /// Whether speech is going on.
    #[must_use]
    pub const fn is_speech(&self) -> bool {
        matches!(self.state, State::Speech { .. })
    }

    /// How much of the speech going on was loud, milliseconds: neither pauses within it nor the hangover count. 0 while
    /// there is none.
    #[must_use]
    pub const fn voiced_ms(&self) -> u64 {
        match self.state {
            State::Quiet { .. } => 0,
            State::Speech { loud_ms, .. } => loud_ms,
        }
    }

    /// Milliseconds of audio measured so far.
    #[must_use]
    pub const fn elapsed_ms(&self) -> u64 {
        self.elapsed_ms
    }

    fn measure(&mut self) -> Option<VadEvent> {
        let dbfs = level::rms_dbfs(&self.step);
        let loud = dbfs > self.settings.threshold_dbfs.max(self.floor_dbfs + self.settings.margin_db);
        self.elapsed_ms += STEP_MS;
        self.follow(dbfs);
        match &mut self.state {
            State::Quiet { loud_ms } => {
                *loud_ms = if loud { *loud_ms + STEP_MS } else { 0 };
                if *loud_ms < self.settings.onset_ms.max(STEP_MS) {
                    return None;
                }
                let at_ms = self.elapsed_ms.saturating_sub(*loud_ms + self.settings.prefix_ms);
                self.state = State::Speech { quiet_ms: 0, loud_ms: *loud_ms };
                Some(VadEvent::Started { at_ms })
            }
            State::Speech { quiet_ms, loud_ms } => {
                *loud_ms += if loud { STEP_MS } else { 0 };
                *quiet_ms = if loud { 0 } else { *quiet_ms + STEP_MS };
                if *quiet_ms < self.settings.silence_ms.max(STEP_MS) {
                    return None;
                }
                self.state = State::Quiet { loud_ms: 0 };
                Some(VadEvent::Stopped { at_ms: self.elapsed_ms })
            }
        }
    }

    fn follow(&mut self, dbfs: f32) {
        let (lowest, highest) = FLOOR_RANGE_DBFS;
        let moved = if dbfs < self.floor_dbfs {
            self.floor_dbfs + (dbfs - self.floor_dbfs) * FLOOR_FALL
        } else {
            (self.floor_dbfs + FLOOR_RISE_DB).min(dbfs)
        };
        self.floor_dbfs = moved.clamp(lowest, highest);
    }
}
