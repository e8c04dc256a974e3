//! Voice activity: when somebody speaks, in the time of the audio pushed.
//!
//! Flow: every 16 ms get a level and, from the `earshot` crate's small neural network, a likelihood of voice ([`estimator`]).
//! Voice that is loud enough, goes on for the onset and *moves* ([`movement`]) is speech; it stops after a hangover.
//!
//! What speech is not: anything quiet, clicks and knocks, steady noise, and steady tones (keys, dial and ring tones,
//! chords), which the network alone takes for vowels. It does not tell the caller's speech from other people's or from
//! music with a melody, and a deep, loud rumble may pass for it.

mod estimator;
mod movement;

use estimator::{STEP_MS, VoiceEstimator};
use movement::Movement;

/// Voice begins at the network's even odds; measured, asking for more costs up to 80 ms and turns away no music ...
const VOICE_BEGINS: f32 = 0.5;
/// ... and goes on somewhat below them.
const VOICE_GOES_ON: f32 = 0.35;
/// The network judges 48 ms at a time: when it first says voice, this much of the sound before was part of it.
const NETWORK_LAG_MS: u64 = 2 * STEP_MS;
/// A quiet so long before anything counted as speech forgets what was heard.
const ONSET_GAP_MS: u64 = 160;

/// When something counts as speech.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VadSettings {
    /// Nothing quieter is speech, dBFS.
    pub threshold_dbfs: f32,
    /// Voice for at least this long, rounded up to whole steps of 16 ms.
    pub onset_ms: u64,
    /// Reported start is this much before the sound itself.
    pub prefix_ms: u64,
    /// Quiet for this long ends it.
    pub silence_ms: u64,
}

impl Default for VadSettings {
    /// What providers use on telephones (prefix 300, silence 500), from about -42 dBFS on.
    fn default() -> Self {
        Self { threshold_dbfs: -42.0, onset_ms: 40, prefix_ms: 300, silence_ms: 500 }
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

/// A stretch of voice with its pauses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    began_ms: u64,
    voiced_ms: u64,
    quiet_ms: u64,
    /// It was reported as speech.
    speech: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Vad {
    settings: VadSettings,
    estimator: VoiceEstimator,
    movement: Movement,
    run: Option<Run>,
    elapsed_ms: u64,
}

impl Vad {
    /// Of 24 kHz audio: quiet, at time 0.
    #[must_use]
    pub fn new(settings: VadSettings) -> Self {
        Self::with_estimator(settings, VoiceEstimator::wide())
    }

    /// Of 8 kHz audio, what G.711 carries.
    #[must_use]
    pub fn narrow(settings: VadSettings) -> Self {
        Self::with_estimator(settings, VoiceEstimator::narrow())
    }

    fn with_estimator(settings: VadSettings, estimator: VoiceEstimator) -> Self {
        Self { settings, estimator, movement: Movement::default(), run: None, elapsed_ms: 0 }
    }

    /// Takes audio of any length. Returns the last change in it: push frames of at most [`VadSettings::silence_ms`] to
    /// miss none.
    pub fn push(&mut self, pcm: &[i16]) -> Option<VadEvent> {
        let mut event = None;
        let mut rest = pcm;
        while let Some(step) = self.estimator.take(&mut rest, self.settings.threshold_dbfs) {
            self.elapsed_ms += STEP_MS;
            let loud = step.dbfs > self.settings.threshold_dbfs;
            self.movement.take(step.dbfs, loud);
            let least = if self.run.is_some() { VOICE_GOES_ON } else { VOICE_BEGINS };
            event = self.follow(loud && step.voice >= least).or(event);
        }
        event
    }

    /// How much of the speech going on was voice, milliseconds: neither pauses within it nor the hangover count. 0 while
    /// there is none.
    #[must_use]
    pub fn voiced_ms(&self) -> u64 {
        self.run.filter(|run| run.speech).map_or(0, |run| run.voiced_ms)
    }

    /// Milliseconds of audio judged so far.
    #[must_use]
    pub const fn elapsed_ms(&self) -> u64 {
        self.elapsed_ms
    }

    fn follow(&mut self, voice: bool) -> Option<VadEvent> {
        let moves = self.movement.is_speech_like();
        let Some(run) = &mut self.run else {
            if voice {
                let sound_ms = self.movement.loud_steps() * STEP_MS;
                let voiced_ms = sound_ms.min(NETWORK_LAG_MS + STEP_MS);
                let began_ms = self.elapsed_ms - voiced_ms;
                self.run = Some(Run { began_ms, voiced_ms, quiet_ms: 0, speech: false });
            }
            return None;
        };
        // Once it is speech, a steady sound no longer counts: somebody may hold a tone against it.
        if voice && (moves || !run.speech) {
            run.voiced_ms += STEP_MS;
            run.quiet_ms = 0;
        } else {
            run.quiet_ms += STEP_MS;
        }
        if !run.speech && moves && run.voiced_ms >= self.settings.onset_ms {
            // What was steady for long before it moved was not speech until then.
            run.speech = true;
            run.voiced_ms = run.voiced_ms.min(movement::WINDOW_MS);
            run.began_ms = run.began_ms.max(self.elapsed_ms.saturating_sub(movement::WINDOW_MS));
            return Some(VadEvent::Started { at_ms: run.began_ms.saturating_sub(self.settings.prefix_ms) });
        }
        let patience_ms = if run.speech { self.settings.silence_ms.max(STEP_MS) } else { ONSET_GAP_MS };
        if run.quiet_ms < patience_ms {
            return None;
        }
        let was_speech = run.speech;
        self.run = None;
        self.movement.forget();
        was_speech.then_some(VadEvent::Stopped { at_ms: self.elapsed_ms })
    }
}
