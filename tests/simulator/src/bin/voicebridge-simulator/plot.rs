//! What the callers of the command line do, and how a call of that kind must end.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use voicebridge_simulator::{
    meta::{CallRecord, CallerSettings, EndedBy, Step, Utterance},
    speech::{Fixture, Role, fixtures},
};

/// A silence this long means that the other side has finished.
const QUIET: Duration = Duration::from_millis(900);
/// How long an impatient caller listens.
const LISTENS: Duration = Duration::from_millis(1_500);
/// How long a caller who gives up lets it ring.
const RINGS: Duration = Duration::from_millis(300);

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Plot {
    /// Listen to the greeting, ask, listen to the answer, hang up.
    Talk,
    /// As talk, but interrupt the answer with another question.
    BargeIn,
    /// As talk, then say goodbye and leave hanging up to the AI.
    Goodbye,
    /// Say nothing until the other side hangs up.
    Listen,
    /// Hang up while it rings.
    Abandon,
}

impl Plot {
    /// The caller number `index` of this plot in `language`.
    pub(crate) fn caller(self, index: usize, language: &str) -> anyhow::Result<CallerSettings> {
        let heard = || Step::WaitHeard { quiet: QUIET };
        let questions: Vec<&Fixture> = said_in(language).filter(|fixture| !fixture.is_goodbye()).collect();
        ensure!(!questions.is_empty(), "nobody speaks {language}; known are {}", languages().join(", "));
        let ask = |offset: usize| say(questions[(index + offset) % questions.len()]);
        let script = match self {
            Self::Talk => vec![heard(), ask(0)?, heard()],
            Self::BargeIn => vec![heard(), ask(0)?, Step::BargeInAfter(LISTENS), ask(1)?, heard()],
            Self::Goodbye => {
                let goodbye = said_in(language).find(|fixture| fixture.is_goodbye()).context("nobody says goodbye")?;
                vec![heard(), ask(0)?, heard(), say(goodbye)?, Step::Listen]
            }
            Self::Listen | Self::Abandon => vec![Step::Listen],
        };
        Ok(CallerSettings {
            from: Some(format!("551199990{index:04}")),
            script,
            hang_up_while_ringing: (self == Self::Abandon).then_some(RINGS),
            ..CallerSettings::default()
        })
    }

    /// What is wrong with a call of this plot, in words.
    pub(crate) fn faults(self, record: &CallRecord) -> Vec<String> {
        let mut faults = record.violations.clone();
        let expected: &[EndedBy] = match self {
            Self::Talk | Self::BargeIn => &[EndedBy::Caller],
            Self::Goodbye | Self::Listen => &[EndedBy::BusinessTerminated],
            Self::Abandon => &[EndedBy::CallerAbandoned],
        };
        if !expected.contains(&record.ended_by) {
            faults.push(format!("ended by {:?}, expected {expected:?}", record.ended_by));
        }
        if self != Self::Abandon && record.speech_heard.is_zero() {
            faults.push("the caller heard no speech".to_owned());
        }
        if !record.terminate.as_ref().is_some_and(|report| report.accepted()) {
            faults.push("the terminate webhook was not answered 200".to_owned());
        }
        faults
    }
}

fn said_in(language: &str) -> impl Iterator<Item = &'static Fixture> {
    fixtures().iter().filter(move |fixture| fixture.role == Role::Caller && fixture.language == language)
}

fn languages() -> Vec<&'static str> {
    let mut all: Vec<&str> = fixtures().iter().map(|fixture| fixture.language.as_str()).collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn say(fixture: &Fixture) -> anyhow::Result<Step> {
    Ok(Step::Say(Utterance::new(&fixture.name, &fixture.pcm)?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_plot_has_lines_in_every_language() {
        for language in languages() {
            for (plot, lines) in
                [(Plot::Talk, 1), (Plot::BargeIn, 2), (Plot::Goodbye, 2), (Plot::Listen, 0), (Plot::Abandon, 0)]
            {
                let caller = plot.caller(3, language).unwrap();
                let said = caller.script.iter().filter(|step| matches!(step, Step::Say(_))).count();
                assert_eq!(said, lines, "{plot:?} {language}");
            }
        }
    }

    #[test]
    fn a_language_nobody_speaks_is_named() {
        let error = Plot::Talk.caller(0, "tlh").unwrap_err().to_string();
        assert!(error.contains("tlh") && error.contains("en"), "{error}");
    }
}
