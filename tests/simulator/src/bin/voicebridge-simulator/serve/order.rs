//! Orders as they are written in JSON, and the settings they stand for.

use std::time::Duration;

use anyhow::Context as _;
use serde::Deserialize;
use serde_json::Value;
use voicebridge_simulator::{
    meta::{Action, CallerSettings, ConnectDelivery, Faults, GraphFault, Moment, Signing, Step, Utterance},
    speech,
};

/// An order and the number its answer carries.
#[derive(Debug, Deserialize)]
pub(super) struct Numbered {
    pub(super) number: u64,
    #[serde(flatten)]
    pub(super) order: Order,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub(super) enum Order {
    /// Webhooks go here from now on.
    Webhook { url: String },
    /// Meta's verification request, with another token if given.
    Verify { token: Option<String> },
    /// Somebody calls.
    Call { caller: Caller },
    /// Several call; their webhooks come in one delivery.
    Batch { callers: Vec<Caller> },
    /// Answers once the call has come so far, or is over.
    Reached { call_id: String, moment: String },
    /// The caller hangs up now.
    HangUp { call_id: String },
    /// Answers with the record once the call is over.
    Finish { call_id: String },
    /// Delivers these changes in one body.
    Deliver { values: Vec<Value>, signing: Option<Sign> },
    /// Delivers this text as it is.
    DeliverRaw { body: String, signing: Option<Sign> },
    /// Every delivery so far.
    Webhooks,
    /// The AI's sessions so far.
    Sessions,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Sign {
    WrongSecret,
    Missing,
}

/// Somebody who calls. What is not said is as in [`CallerSettings`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Caller {
    from: Option<String>,
    profile_name: Option<String>,
    #[serde(default)]
    script: Vec<Line>,
    hang_up_while_ringing_ms: Option<u64>,
    #[serde(default)]
    connect: Connect,
    #[serde(default)]
    faults: Vec<Fault>,
}

/// A line of a caller's script.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    /// Until the other side speaks.
    WaitForSpeech,
    /// Until the other side has spoken and been quiet for so many milliseconds.
    WaitHeard(u64),
    /// A fixture by its name.
    Say(String),
    /// Milliseconds.
    Silence(u64),
    /// Until the other side ends the call.
    Listen,
    HangUp,
}

/// How the connect webhook comes.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Connect {
    #[default]
    Once,
    Copies(u32),
    AfterTerminate,
    /// So many seconds old.
    Stale(u64),
    Withheld,
}

/// A fault of Graph for this call.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Fault {
    action: String,
    refuse: u32,
    /// Every time if absent.
    times: Option<u32>,
}

/// As ordered; without a word, as Meta signs.
pub(super) fn signing(sign: Option<Sign>) -> Signing {
    match sign {
        None => Signing::Valid,
        Some(Sign::WrongSecret) => Signing::WrongSecret,
        Some(Sign::Missing) => Signing::Missing,
    }
}

impl Caller {
    pub(super) fn settings(self) -> anyhow::Result<CallerSettings> {
        let defaults = CallerSettings::default();
        let script = self.script.into_iter().map(Line::step).collect::<Result<Vec<_>, _>>()?;
        let mut faults = Faults::none();
        for fault in self.faults {
            let action =
                Action::parse(&fault.action).with_context(|| format!("Graph has no action {}", fault.action))?;
            let refusal = GraphFault::Refuse(fault.refuse);
            faults = match fault.times {
                None => faults.always(action, refusal),
                Some(times) => faults.times(action, refusal, times),
            };
        }
        Ok(CallerSettings {
            from: self.from.or(defaults.from),
            profile_name: self.profile_name.unwrap_or(defaults.profile_name),
            script: if script.is_empty() { defaults.script } else { script },
            hang_up_while_ringing: self.hang_up_while_ringing_ms.map(Duration::from_millis),
            connect: match self.connect {
                Connect::Once => ConnectDelivery::Once,
                Connect::Copies(copies) => ConnectDelivery::Copies(copies),
                Connect::AfterTerminate => ConnectDelivery::AfterTerminate,
                Connect::Stale(seconds) => ConnectDelivery::Stale(Duration::from_secs(seconds)),
                Connect::Withheld => ConnectDelivery::Withheld,
            },
            faults,
            ..CallerSettings::default()
        })
    }
}

impl Line {
    fn step(self) -> anyhow::Result<Step> {
        Ok(match self {
            Self::WaitForSpeech => Step::WaitForSpeech,
            Self::WaitHeard(quiet) => Step::WaitHeard { quiet: Duration::from_millis(quiet) },
            Self::Say(name) => {
                let fixture = speech::fixture(&name).with_context(|| format!("no fixture is called {name}"))?;
                Step::Say(Utterance::new(name, &fixture.pcm)?)
            }
            Self::Silence(length) => Step::Silence(Duration::from_millis(length)),
            Self::Listen => Step::Listen,
            Self::HangUp => Step::HangUp,
        })
    }
}

/// A moment an order may wait for, by its name.
pub(super) fn moment(name: &str) -> anyhow::Result<Moment> {
    const MOMENTS: [Moment; 9] = [
        Moment::ConnectAnswered,
        Moment::PreAcceptAnswered,
        Moment::TransportConnected,
        Moment::AcceptAnswered,
        Moment::FirstSpeech,
        Moment::CallerHungUp,
        Moment::Rejected,
        Moment::Terminated,
        Moment::TerminateAnswered,
    ];
    MOMENTS
        .into_iter()
        .find(|moment| format!("{moment:?}") == name)
        .with_context(|| format!("no moment {name}; known are {MOMENTS:?}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(text: &str) -> Result<Numbered, serde_json::Error> {
        serde_json::from_str(text)
    }

    #[test]
    fn a_caller_is_read_with_script_and_faults() {
        let order = read(
            r#"{"number":7,"do":"call","caller":{"from":"4915","connect":{"copies":3},
                "script":[{"wait_heard":700},{"say":"opening-hours"},"hang_up"],
                "faults":[{"action":"pre_accept","refuse":138008,"times":1}]}}"#,
        )
        .unwrap();
        assert_eq!(order.number, 7);
        let Order::Call { caller } = order.order else { panic!("{order:?}") };
        let settings = caller.settings().unwrap();
        assert_eq!(settings.from.as_deref(), Some("4915"));
        assert_eq!(settings.connect, ConnectDelivery::Copies(3));
        let names: Vec<_> = settings.script.iter().map(Step::name).collect();
        assert_eq!(names, ["wait_heard", "say", "hang_up"]);
    }

    #[test]
    fn mistakes_are_named() {
        assert!(read(r#"{"number":1,"do":"dance"}"#).unwrap_err().to_string().contains("dance"));
        assert!(read(r#"{"number":1,"do":"call","caller":{"nmae":"x"}}"#).unwrap_err().to_string().contains("nmae"));
        assert!(moment("Yesterday").unwrap_err().to_string().contains("AcceptAnswered"));
        let unknown = Line::Say("nothing".to_owned()).step().unwrap_err();
        assert!(unknown.to_string().contains("nothing"));
    }
}
