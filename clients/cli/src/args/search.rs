//! Which calls a list is about: options, and what they ask the control plane for.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use voicebridge_proto::{
    control::v1::{CallFilter, CallOrder, CallState},
    types::v1::TerminationResult,
};

/// Of options that may be given several times one value must fit; all options must.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Search {
    /// Only calls that have not ended.
    #[arg(long, conflicts_with_all = ["call", "ended"])]
    pub(crate) live: bool,
    /// Only calls that have ended.
    #[arg(long, conflicts_with = "call")]
    pub(crate) ended: bool,
    /// Received at this time or later: 2026-09-21T14:00:00Z, or so long ago: 90m, 12h, 7d.
    #[arg(long, value_name = "TIME", value_parser = parse_time, conflicts_with = "call")]
    pub(crate) from: Option<Timestamp>,
    /// Received before this time.
    #[arg(long, value_name = "TIME", value_parser = parse_time, conflicts_with = "call")]
    pub(crate) before: Option<Timestamp>,
    /// Of this business number, by Meta's phone number id.
    #[arg(long, value_name = "ID", conflicts_with = "call")]
    pub(crate) number: Vec<String>,
    /// From this caller, by phone number or by user id (BR.1300...).
    #[arg(long, value_name = "CALLER", conflicts_with = "call")]
    pub(crate) caller: Vec<String>,
    /// Ended so.
    #[arg(long, value_name = "RESULT", conflicts_with = "call")]
    pub(crate) result: Vec<EndedAs>,
    /// Ended for this reason, e.g. USER_HANGUP.
    #[arg(long, value_name = "REASON", conflicts_with = "call")]
    pub(crate) reason: Vec<String>,
    /// On this media node.
    #[arg(long, value_name = "ID", conflicts_with = "call")]
    pub(crate) node: Vec<String>,
    /// With this label.
    #[arg(long, value_name = "NAME=VALUE", value_parser = super::parse_label, conflicts_with = "call")]
    pub(crate) label: Vec<(String, String)>,
    /// From the oldest on.
    #[arg(long, conflicts_with = "call")]
    pub(crate) oldest_first: bool,
}

/// How a call ended, in one word.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum EndedAs {
    /// A conversation took place and ended normally.
    Completed,
    /// The caller gave up before it was answered.
    Abandoned,
    /// It was turned down.
    Rejected,
    /// Something broke.
    Failed,
}

impl EndedAs {
    const fn to_wire(self) -> TerminationResult {
        match self {
            Self::Completed => TerminationResult::Completed,
            Self::Abandoned => TerminationResult::Abandoned,
            Self::Rejected => TerminationResult::Rejected,
            Self::Failed => TerminationResult::Failed,
        }
    }
}

impl Search {
    /// As the control plane is asked.
    pub(crate) fn filter(&self) -> CallFilter {
        // A user id begins with a country; a number has digits only, whatever stands between them.
        let (users, numbers) = self.caller.iter().cloned().partition(|id| id.chars().any(char::is_alphabetic));
        let wire = |at: Timestamp| prost_types::Timestamp { seconds: at.as_second(), nanos: at.subsec_nanosecond() };
        let state = match (self.live, self.ended) {
            (true, _) => CallState::Live,
            (false, true) => CallState::Ended,
            (false, false) => CallState::Unspecified,
        };
        CallFilter {
            received_from: self.from.map(wire),
            received_before: self.before.map(wire),
            phone_number_ids: self.number.clone(),
            caller_phone_numbers: numbers,
            caller_user_ids: users,
            results: self.result.iter().map(|result| result.to_wire().into()).collect(),
            reasons: self.reason.clone(),
            node_ids: self.node.clone(),
            state: state.into(),
            labels: self.label.iter().cloned().collect(),
        }
    }

    pub(crate) const fn order(&self) -> CallOrder {
        if self.oldest_first { CallOrder::OldestFirst } else { CallOrder::NewestFirst }
    }
}

/// An instant, or how long ago.
fn parse_time(text: &str) -> Result<Timestamp, String> {
    let at = |ago: Duration| SystemTime::now().checked_sub(ago).and_then(|at| Timestamp::try_from(at).ok());
    let parsed = match super::parse_lifetime(text) {
        Ok(ago) => at(ago),
        Err(_) => text.parse().ok(),
    };
    parsed.ok_or_else(|| "must be a time, e.g. 2026-09-21T14:00:00Z, or how long ago, e.g. 12h".to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use clap::Parser as _;

    use super::*;
    use crate::args::{Args, Command};

    fn parse(options: &[&str]) -> Option<Search> {
        let words = ["voicebridge", "calls"].iter().chain(options);
        match Args::try_parse_from(words).ok()?.command {
            Command::Calls(calls) => Some(calls.search),
            _ => None,
        }
    }

    #[test]
    fn options_become_a_filter() {
        let filter = parse(&[
            "--ended",
            "--number",
            "106",
            "--number",
            "107",
            "--caller",
            "+55 11 1",
            "--caller",
            "BR.1",
            "--result",
            "failed",
            "--label",
            "campaign=a=b",
            "--reason",
            "NODE_LOST",
            "--node",
            "n1",
            "--from",
            "2026-09-21T14:13:20.5Z",
            "--before",
            "2h",
        ]);
        let filter = filter.unwrap().filter();
        let before = filter.received_before.unwrap();
        let now = prost_types::Timestamp::from(SystemTime::now());
        assert!((7_100..7_300).contains(&(now.seconds - before.seconds)), "{before}");
        let expect = CallFilter {
            received_from: Some(prost_types::Timestamp { seconds: 1_790_000_000, nanos: 500_000_000 }),
            received_before: Some(before),
            phone_number_ids: vec!["106".to_owned(), "107".to_owned()],
            caller_phone_numbers: vec!["+55 11 1".to_owned()],
            caller_user_ids: vec!["BR.1".to_owned()],
            results: vec![TerminationResult::Failed.into()],
            reasons: vec!["NODE_LOST".to_owned()],
            node_ids: vec!["n1".to_owned()],
            state: CallState::Ended.into(),
            labels: [("campaign".to_owned(), "a=b".to_owned())].into(),
        };
        assert_eq!(filter, expect);
        assert_eq!(parse(&[]).unwrap().filter(), CallFilter::default());
        assert_eq!(parse(&["--oldest-first"]).unwrap().order(), CallOrder::OldestFirst);
        for wrong in [
            &["--live", "--ended"] as &[_],
            &["--from", "yesterday"],
            &["--result", "fine"],
            &["--label", "x"],
            &["x", "--live"],
        ] {
            assert!(parse(wrong).is_none(), "{wrong:?}");
        }
    }
}
