//! What a caller does in a call: a list of steps that react to what is heard. Pure: time and hearing are arguments.
//!
//! One step is current at a time; `tick` is called once per 20 ms slot and says what to put into it. What counts as heard
//! is what the other side began to say after the caller's own last words: the rest of a sentence that was interrupted is no
//! answer to the interruption.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::Bytes;
use voicebridge_audio::codec::Codec;

use super::{ear::Hearing, utterance::Utterance};

/// Speech that must be heard before it counts: a single loud frame may be an artefact of the codec.
const ONSET: Duration = Duration::from_millis(60);
/// A wait for the other side gives up after this.
pub(super) const DEFAULT_PATIENCE: Duration = Duration::from_secs(30);

/// One thing a caller does.
#[derive(Clone, Debug)]
pub enum Step {
    /// Wait until the other side speaks.
    WaitForSpeech,
    /// Wait until the other side has spoken and then been quiet for this long.
    WaitHeard {
        /// How long a silence means that it has finished.
        quiet: Duration,
    },
    /// Wait until the other side has been speaking for this long, to interrupt it with the next step.
    BargeInAfter(Duration),
    /// Say this.
    Say(Utterance),
    /// Say nothing for this long.
    Silence(Duration),
    /// Say nothing until the other side ends the call.
    Listen,
    /// Hang up. So does the end of the script.
    HangUp,
}

impl Step {
    /// Its name in records.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::WaitForSpeech => "wait_for_speech",
            Self::WaitHeard { .. } => "wait_heard",
            Self::BargeInAfter(_) => "barge_in_after",
            Self::Say(_) => "say",
            Self::Silence(_) => "silence",
            Self::Listen => "listen",
            Self::HangUp => "hang_up",
        }
    }
}

/// What goes into a 20 ms slot.
#[derive(Clone, Debug)]
pub(crate) enum Slot {
    Silence,
    /// A packet of speech; with the first packet of an utterance comes the utterance.
    Speech {
        packet: Bytes,
        begins: Option<Utterance>,
    },
    HangUp,
    /// A step waited in vain.
    Stalled(&'static str),
}

#[derive(Debug)]
pub(crate) struct Script {
    steps: VecDeque<Step>,
    codec: Codec,
    patience: Duration,
    /// When the current step began.
    entered: Option<Instant>,
    /// When the caller's last words ended.
    said: Option<Instant>,
    next_packet: usize,
}

impl Script {
    pub(crate) fn new(steps: Vec<Step>, codec: Codec, patience: Duration) -> Self {
        Self { steps: steps.into(), codec, patience, entered: None, said: None, next_packet: 0 }
    }

    pub(crate) fn tick(&mut self, now: Instant, hearing: Hearing) -> Slot {
        // Every turn either returns or leaves a step behind.
        while let Some(step) = self.steps.front() {
            let waited = now.duration_since(*self.entered.get_or_insert(now));
            let fresh = hearing.stretch_began.is_some_and(|began| self.said.is_none_or(|said| began > said));
            let spoken = fresh && hearing.stretch >= ONSET;
            // None before anything was heard.
            let quiet_for = hearing.last_speech.map(|last| now.duration_since(last));
            let done = match step {
                Step::WaitForSpeech => spoken,
                Step::WaitHeard { quiet } => spoken && quiet_for.is_some_and(|silence| silence >= *quiet),
                Step::BargeInAfter(length) => {
                    spoken && hearing.stretch >= *length && quiet_for.is_some_and(|silence| silence < ONSET)
                }
                Step::Silence(length) => waited >= *length,
                Step::Say(utterance) => match utterance.packets(self.codec).get(self.next_packet) {
                    Some(packet) => {
                        let begins = (self.next_packet == 0).then(|| utterance.clone());
                        self.next_packet += 1;
                        return Slot::Speech { packet: packet.clone(), begins };
                    }
                    None => {
                        self.said = Some(now);
                        true
                    }
                },
                Step::Listen => return Slot::Silence,
                Step::HangUp => return Slot::HangUp,
            };
            if !done {
                // As long as the other side speaks, nobody loses patience.
                let idle = quiet_for.map_or(waited, |silence| silence.min(waited));
                let waits = !matches!(step, Step::Silence(_));
                return if waits && idle >= self.patience { Slot::Stalled(step.name()) } else { Slot::Silence };
            }
            self.steps.pop_front();
            self.entered = None;
            self.next_packet = 0;
        }
        Slot::HangUp
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::meta::ear::STRETCH_GAP;

    const FRAME: Duration = Duration::from_millis(20);

    /// Plays `script` for as many slots as `pattern` has letters ('s': the other side speaks) and writes down each slot:
    /// '.' silence, 'A'.. the first packet of that utterance, '~' a later one, 'H' hang-up, '!' stalled.
    fn play(steps: Vec<Step>, patience_ms: u64, pattern: &str) -> String {
        let mut script = Script::new(steps, Codec::Opus, Duration::from_millis(patience_ms));
        let start = Instant::now();
        let mut hearing = Hearing::default();
        let mut out = String::new();
        for (index, letter) in pattern.chars().enumerate() {
            let now = start + FRAME * index as u32;
            if letter == 's' {
                let continues = hearing.last_speech.is_some_and(|last| now - last <= STRETCH_GAP);
                if continues {
                    hearing.stretch += FRAME;
                } else {
                    (hearing.stretch, hearing.stretch_began) = (FRAME, Some(now));
                }
                hearing.speech += FRAME;
                hearing.last_speech = Some(now);
            }
            out.push_str(&match script.tick(now, hearing) {
                Slot::Silence => ".".to_owned(),
                Slot::Speech { begins: Some(utterance), .. } => utterance.name().to_owned(),
                Slot::Speech { begins: None, .. } => "~".to_owned(),
                Slot::HangUp => "H".to_owned(),
                Slot::Stalled(_) => "!".to_owned(),
            });
        }
        out
    }

    fn say(name: &str, frames: usize) -> Step {
        Step::Say(Utterance::new(name, &vec![0; frames * 480]).unwrap())
    }

    #[test]
    fn an_answer_waits_for_the_greeting_to_end() {
        let steps = vec![Step::WaitHeard { quiet: FRAME * 4 }, say("A", 3), Step::HangUp];
        assert_eq!(play(steps, 10_000, "---ssssss--ss--------"), "................A~~HH");
    }

    #[test]
    fn a_blip_is_not_speech() {
        let steps = vec![Step::WaitForSpeech, Step::HangUp];
        assert_eq!(play(steps, 10_000, "--s--ss--"), "......HHH");
        let steps = vec![Step::WaitForSpeech, Step::HangUp];
        assert_eq!(play(steps, 10_000, "--s------------------s----"), ".".repeat(26));
    }

    #[test]
    fn barging_in_happens_while_the_other_side_speaks() {
        let steps =
            || vec![Step::BargeInAfter(FRAME * 5), say("A", 2), Step::WaitHeard { quiet: FRAME * 2 }, say("B", 1)];
        // The rest of the interrupted sentence is not waited for; the next one is.
        assert_eq!(
            play(steps(), 10_000, "--ssssssss-------------------sss-----"),
            "......A~.........................BHHH"
        );
        // A sentence that ended by itself cannot be interrupted.
        assert_eq!(play(steps(), 10_000, "--ssss------------------"), ".".repeat(24));
    }

    #[test]
    fn a_wait_has_an_end() {
        let steps = vec![Step::Silence(FRAME * 2), Step::WaitForSpeech];
        assert_eq!(play(steps, 60, "--------"), ".....!!!");
        // Not while the other side speaks.
        let steps = vec![Step::WaitHeard { quiet: FRAME * 6 }];
        assert_eq!(play(steps, 80, "ssssssssss-----"), ".............!!");
        assert_eq!(play(vec![Step::Listen], 60, "--------"), "........");
    }

    #[test]
    fn the_end_of_the_script_is_a_hang_up() {
        assert_eq!(play(vec![], 60, "--"), "HH");
        assert_eq!(play(vec![say("A", 1), say("B", 2)], 60, "-----"), "AB~HH");
    }
}
