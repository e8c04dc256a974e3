//! An end that is being waited for: how far the last words are, and until when they are waited for.
//!
//! ```text
//! Finishing ─▶ Asked ─▶ Generating ─▶ Playing ─▶ Played ─▶ the end
//!              InThisResponse ────────▶
//! ```
//!
//! Coming and playing are bounded apart. Last words may take [`Limits::farewell_generation_ms`] to come, counted anew from
//! every sign of them; once all is there, playing takes what is queued. [`Limits::farewell_ms`] bounds the whole.
//!
//! The caller can keep the call that the AI hangs up: see `last_turn`. Its end waits until that is decided.
//!
//! Does not say, play or end anything itself.
//!
//! [`Limits::farewell_generation_ms`]: crate::Limits::farewell_generation_ms
//! [`Limits::farewell_ms`]: crate::Limits::farewell_ms

use std::time::Duration;

use voicebridge_audio::Time;

use super::last_turn::LastTurns;
use crate::{
    event::Termination,
    limits::Limits,
    provider::{AudioFormat, Purpose},
};

/// Silence after the last words, so that the caller's own buffer plays them out before the transport is closed.
const TAIL: Duration = Duration::from_millis(200);
/// Between the caller's side closing the transport and the end: a terminate webhook on its way decides until then.
const HANG_UP_GRACE: Duration = Duration::from_secs(2);
/// Playing may take so much longer than what is queued: keys sent in its place take 13 s at most, pauses for sounds of
/// the caller some more.
const PLAYING_MARGIN: Duration = Duration::from_secs(15);

/// For the farewell that is asked for after the response that hung up was given up without a word.
const SECOND_CHANCE: Duration = Duration::from_secs(4);
/// A farewell that was stopped before a word of it came is asked for again, so often in all.
const MAX_ASKED: u32 = 2;

/// See the module.
#[derive(Debug)]
pub(crate) struct Ending {
    termination: Termination,
    /// The tool call of a hang-up, to be answered if the caller keeps the call. Answered already: `None`.
    tool_call: Option<String>,
    /// Of a hang-up: what the caller says to it, by which he may keep the call.
    turns: Option<Box<LastTurns>>,
    words: FarewellWords,
    /// Farewells asked for.
    asked: u32,
    /// When the present step is given up.
    due: Time,
    /// When all of it is.
    latest: Time,
    generation: Duration,
    whole: Duration,
}

/// How far the last words are.
#[derive(Debug, PartialEq, Eq)]
enum FarewellWords {
    /// What is being said is finished first.
    Finishing,
    /// The response that called the tool goes on; it may hold the farewell.
    InThisResponse,
    /// A farewell was asked for.
    Asked,
    /// The farewell is being generated.
    Generating { response_id: String },
    /// All of it is there and is being played.
    Playing,
    /// All of it was played.
    Played,
    /// Nobody is there to hear any.
    Unheard,
}

/// What is to be done about an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EndingStep {
    /// Nothing yet.
    Wait,
    /// Have the AI say goodbye.
    AskFarewell,
    /// Cut what is being said, then have the AI say goodbye.
    CutAndAskFarewell,
    /// The caller keeps the call.
    KeepTalking,
    /// It is time.
    End,
}

/// How a response ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResponseEnd {
    /// It was heard from.
    Spoken,
    /// Next to no sound of it came.
    Wordless,
    /// It was cancelled before a sound of it came.
    Stopped,
}

impl Ending {
    fn new(now: Time, termination: Termination, words: FarewellWords, wait: Duration, limits: &Limits) -> Self {
        let millis = Duration::from_millis;
        let (generation, whole) = (millis(limits.farewell_generation_ms), millis(limits.farewell_ms));
        let (due, latest) = (now + wait, now + whole);
        Self { termination, tool_call: None, turns: None, words, asked: 0, due, latest, generation, whole }
    }

    /// The AI hung up; what it says in this response is its farewell.
    pub(crate) fn hang_up(now: Time, termination: Termination, tool_call: String, limits: &Limits) -> Self {
        let wait = Duration::from_millis(limits.farewell_generation_ms);
        let ending = Self::new(now, termination, FarewellWords::InThisResponse, wait, limits);
        Self { tool_call: Some(tool_call), ..ending }
    }

    /// The caller may keep the call by what he says.
    pub(crate) fn revocable(self, format: AudioFormat, limits: &Limits) -> Self {
        Self { turns: Some(Box::new(LastTurns::new(format, limits))), ..self }
    }

    /// The AI is to finish what it is saying, and then to say goodbye.
    pub(crate) fn after_goodbye(now: Time, termination: Termination, limits: &Limits) -> Self {
        let wait = Duration::from_millis(limits.finish_reply_ms);
        Self::new(now, termination, FarewellWords::Finishing, wait, limits)
    }

    /// Words of our own are queued and are the last ones.
    pub(crate) fn after_notice(now: Time, termination: Termination, limits: &Limits) -> Self {
        Self::new(now, termination, FarewellWords::Playing, Duration::from_millis(limits.apology_ms), limits)
    }

    /// The caller is gone.
    pub(crate) fn unheard(now: Time, termination: Termination, limits: &Limits) -> Self {
        Self::new(now, termination, FarewellWords::Unheard, HANG_UP_GRACE, limits)
    }

    /// Nobody is there any more with whom the caller could go on talking.
    pub(crate) fn forget_turns(&mut self) {
        self.turns = None;
    }

    /// The caller is gone while last words are waited for. False when that was known.
    pub(crate) fn become_unheard(&mut self, now: Time) -> bool {
        let was_heard = self.words != FarewellWords::Unheard;
        if was_heard {
            self.turns = None;
            self.words = FarewellWords::Unheard;
            self.due = now + HANG_UP_GRACE;
        }
        was_heard
    }

    /// Whether a farewell was asked for and has not begun.
    pub(crate) fn awaits_farewell(&self) -> bool {
        self.words == FarewellWords::Asked
    }

    /// Whether last words go on over what the caller says.
    pub(crate) fn speaks_on(&self) -> bool {
        !matches!(self.words, FarewellWords::Finishing | FarewellWords::Unheard)
    }

    /// The caller's audio, as the provider gets it.
    pub(crate) fn observe(&mut self, now: Time, pcm: &[i16]) {
        self.turns.iter_mut().for_each(|turns| turns.observe(now, pcm));
    }

    /// The caller speaks. True if he has kept the call.
    pub(crate) fn on_speech_started(&mut self, now: Time, item: String) -> bool {
        self.turns.as_mut().is_some_and(|turns| turns.on_started(now, item))
    }

    pub(crate) fn on_speech_stopped(&mut self, now: Time) {
        self.on_progress(now);
        self.turns.iter_mut().for_each(|turns| turns.on_stopped(now));
    }

    /// The words of the caller's turn are known; `said` is what the AI said lately. True if he keeps the call by them.
    pub(crate) fn on_user_text(&mut self, item: &str, text: &str, language: &str, said: &str) -> bool {
        self.turns.as_mut().is_some_and(|turns| turns.on_text(item, text, language, said))
    }

    pub(crate) const fn take_tool_call(&mut self) -> Option<String> {
        self.tool_call.take()
    }

    pub(crate) fn into_termination(self) -> Termination {
        self.termination
    }

    /// The AI hangs up while an end is already waited for: what it says in this response is its goodbye.
    pub(crate) fn on_hang_up(&mut self, now: Time) {
        if self.words == FarewellWords::Finishing {
            self.words = FarewellWords::InThisResponse;
            self.due = now + self.generation;
        }
    }

    /// A sign that words are on their way.
    pub(crate) fn on_progress(&mut self, now: Time) {
        if matches!(self.words, FarewellWords::InThisResponse | FarewellWords::Asked | FarewellWords::Generating { .. })
        {
            self.due = now + self.generation;
        }
    }

    pub(crate) fn on_response_started(&mut self, now: Time, id: &str, purpose: Purpose) {
        self.on_progress(now);
        if self.words == FarewellWords::Asked && purpose == Purpose::Farewell {
            self.words = FarewellWords::Generating { response_id: id.to_owned() };
        }
    }

    /// A response is over. True when a farewell is to be asked for: not a word of one came.
    pub(crate) fn on_response_finished(&mut self, now: Time, id: &str, end: ResponseEnd, queued_ms: u64) -> bool {
        match &self.words {
            FarewellWords::InThisResponse if end == ResponseEnd::Wordless => {}
            // It was given up, and what is asked for after it has little time: the caller has waited already.
            FarewellWords::InThisResponse if end == ResponseEnd::Stopped => {
                let due = self.due.max(now + SECOND_CHANCE);
                self.ask(now);
                self.due = due;
                return true;
            }
            FarewellWords::Generating { response_id } if response_id == id => {
                if end != ResponseEnd::Stopped || self.asked >= MAX_ASKED {
                    self.play(now, queued_ms);
                    return false;
                }
            }
            FarewellWords::InThisResponse => {
                self.play(now, queued_ms);
                return false;
            }
            _ => {
                self.on_progress(now);
                return false;
            }
        }
        self.ask(now);
        true
    }

    /// Nothing more will come: what is there is played.
    pub(crate) fn on_provider_gone(&mut self, now: Time, queued_ms: u64) {
        if !matches!(self.words, FarewellWords::Unheard | FarewellWords::Played) {
            self.play(now, queued_ms);
        }
    }

    /// What to do by now, `silent` when nothing is queued or being played and `responding` while the AI is generating.
    pub(crate) fn step(&mut self, now: Time, silent: bool, responding: bool, queued_ms: u64) -> EndingStep {
        let (over, due) = (self.latest <= now, self.due <= now);
        if self.turns.as_mut().is_some_and(|turns| turns.decide(now, over)) {
            return EndingStep::KeepTalking;
        }
        match self.words {
            _ if over => return EndingStep::End,
            FarewellWords::Finishing if silent && !responding => {
                self.ask(now);
                return EndingStep::AskFarewell;
            }
            FarewellWords::Finishing if due => {
                self.ask(now);
                return EndingStep::CutAndAskFarewell;
            }
            FarewellWords::InThisResponse | FarewellWords::Asked | FarewellWords::Generating { .. }
                if due && !silent =>
            {
                self.play(now, queued_ms);
            }
            FarewellWords::InThisResponse
            | FarewellWords::Asked
            | FarewellWords::Generating { .. }
            | FarewellWords::Playing
                if due =>
            {
                self.words = FarewellWords::Played;
            }
            FarewellWords::Playing if silent => {
                self.words = FarewellWords::Played;
                self.due = now + TAIL;
            }
            _ => {}
        }
        let played = matches!(self.words, FarewellWords::Played | FarewellWords::Unheard) && self.due <= now;
        if played && !self.is_undecided() { EndingStep::End } else { EndingStep::Wait }
    }

    /// When [`Self::step`] has something to do by time alone.
    pub(crate) fn deadline(&self) -> Time {
        let turns = self.turns.as_ref().and_then(|turns| turns.deadline());
        let due = if self.words == FarewellWords::Played && self.is_undecided() { None } else { Some(self.due) };
        [turns, due].into_iter().flatten().fold(self.latest, Time::min)
    }

    fn is_undecided(&self) -> bool {
        self.turns.as_ref().is_some_and(|turns| turns.are_undecided())
    }

    fn ask(&mut self, now: Time) {
        self.asked += 1;
        self.words = FarewellWords::Asked;
        self.due = now + self.generation;
        self.latest = now + self.whole;
    }

    fn play(&mut self, now: Time, queued_ms: u64) {
        self.words = FarewellWords::Playing;
        self.due = now + Duration::from_millis(queued_ms) + PLAYING_MARGIN;
    }
}
