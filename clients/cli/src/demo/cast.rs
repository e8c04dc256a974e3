//! Who calls in the demo, from where, and what they say. By index, so that every run makes the same calls.

use std::time::Duration;

use anyhow::Context as _;
use voicebridge_simulator::{
    meta::{Step, Utterance},
    speech::{Role, fixture, fixtures},
};

/// A silence this long means that the AI has finished.
const QUIET: Duration = Duration::from_millis(900);
/// How long the caller lets the AI talk before interrupting it.
const INTERRUPT_AFTER: Duration = Duration::from_millis(1_500);

/// What a call is to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plot {
    /// Greeting, question, answer; the caller hangs up.
    Talk,
    /// As before, but the caller interrupts the answer with another question.
    BargeIn,
    /// As [`Plot::Talk`], and then the caller says goodbye and the AI hangs up.
    Goodbye,
}

impl Plot {
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Talk => "talk, the caller hangs up",
            Self::BargeIn => "talk with a barge-in",
            Self::Goodbye => "talk, the AI hangs up",
        }
    }

    /// The reason the call must end with.
    pub(crate) fn ending(self) -> &'static str {
        match self {
            Self::Talk | Self::BargeIn => "USER_HANGUP",
            Self::Goodbye => "AGENT_HANGUP",
        }
    }
}

/// One caller. Numbers are of ranges kept for fiction where the country has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    /// International digits.
    pub(crate) number: String,
    /// ISO 3166, as Meta puts it into the business-scoped user id.
    pub(crate) country: &'static str,
    pub(crate) name: &'static str,
    /// Where the call has to be placed.
    pub(crate) region: &'static str,
    pub(crate) plot: Plot,
    /// Fixtures said, in order.
    pub(crate) says: Vec<String>,
}

/// Somebody who calls.
struct Person {
    language: &'static str,
    country: &'static str,
    /// Of their number, which the index of the call completes.
    prefix: &'static str,
    name: &'static str,
    region: &'static str,
}

const PEOPLE: [Person; 5] = [
    Person { language: "pt", country: "BR", prefix: "551199990", name: "Ana", region: "sa" },
    Person { language: "en", country: "GB", prefix: "447700900", name: "Ben", region: "eu" },
    Person { language: "es", country: "MX", prefix: "521550000", name: "Diego", region: "sa" },
    Person { language: "de", country: "DE", prefix: "491510000", name: "Clara", region: "eu" },
    Person { language: "hi", country: "IN", prefix: "919000000", name: "Esha", region: "eu" },
];

/// Rules for the control plane that put each of them where `region` says.
pub(crate) const PLACEMENT: &str = "BR,MX=sa;*=eu";

/// The caller of the call with this index.
pub(crate) fn caller(index: usize) -> Caller {
    let plot = [Plot::Talk, Plot::BargeIn, Plot::Goodbye][index % 3];
    // The reply that is long enough to be interrupted is English.
    let person = if plot == Plot::BargeIn { &PEOPLE[1] } else { &PEOPLE[(index + index / 3) % PEOPLE.len()] };
    let Person { language, country, prefix, name, region } = *person;
    let questions: Vec<&str> = fixtures()
        .iter()
        .filter(|fixture| fixture.language == language && fixture.role == Role::Caller && !fixture.is_goodbye())
        .map(|fixture| fixture.name.as_str())
        .collect();
    let question = questions[index / PEOPLE.len() % questions.len()].to_owned();
    let says = match plot {
        Plot::Talk => vec![question],
        Plot::BargeIn => vec!["wait-a-moment".to_owned(), "opening-hours".to_owned()],
        Plot::Goodbye => vec![question, format!("goodbye-{language}")],
    };
    Caller { number: format!("{prefix}{index:03}"), country, name, region, plot, says }
}

impl Caller {
    /// What the caller does, step by step.
    pub(crate) fn script(&self) -> anyhow::Result<Vec<Step>> {
        let mut says = self.says.iter();
        let mut say =
            || anyhow::Ok(Step::Say(utterance(says.next().context("the plot has more lines than the caller")?)?));
        let heard = || Step::WaitHeard { quiet: QUIET };
        Ok(match self.plot {
            Plot::Talk => vec![heard(), say()?, heard(), Step::HangUp],
            Plot::BargeIn => vec![heard(), say()?, Step::BargeInAfter(INTERRUPT_AFTER), say()?, heard(), Step::HangUp],
            Plot::Goodbye => vec![heard(), say()?, heard(), say()?, Step::Listen],
        })
    }
}

fn utterance(name: &str) -> anyhow::Result<Utterance> {
    let fixture = fixture(name).with_context(|| format!("there is no recording {name}"))?;
    Ok(Utterance::new(name, &fixture.pcm)?)
}

/// The caller of the measurement: says several things into an AI that echoes, and hangs up.
pub(crate) fn echo_script() -> anyhow::Result<Vec<Step>> {
    let mut script = vec![Step::Silence(Duration::from_secs(1))];
    for name in ["opening-hours", "where-is-my-order", "wait-a-moment"] {
        script.extend([Step::Say(utterance(name)?), Step::Silence(Duration::from_millis(700))]);
    }
    script.push(Step::HangUp);
    Ok(script)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn three_calls_show_everything() {
        let plots: Vec<Plot> = (0..3).map(|index| caller(index).plot).collect();
        assert_eq!(plots, [Plot::Talk, Plot::BargeIn, Plot::Goodbye]);
        let regions: BTreeSet<&str> = (0..3).map(|index| caller(index).region).collect();
        assert_eq!(regions.len(), 2, "both nodes get calls");
    }

    #[test]
    fn every_caller_has_a_number_of_their_own_and_a_script() {
        let numbers: BTreeSet<String> = (0..200).map(|index| caller(index).number).collect();
        assert_eq!(numbers.len(), 200);
        for index in 0..30 {
            let caller = caller(index);
            let said = caller.script().unwrap().iter().filter(|step| matches!(step, Step::Say(_))).count();
            assert_eq!(said, caller.says.len(), "{caller:?}");
        }
        assert!(echo_script().unwrap().len() > 3);
    }
}
