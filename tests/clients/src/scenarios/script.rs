//! The format of a scenario file, and what makes one valid. `tests/clients/README.md` is its manual.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, bail, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tonic::Code;
use voicebridge_proto::{control::v1::StreamStart, types::v1::EventKind};

/// A kind of no version there is: the number of its field in `Event`.
const FUTURE_KIND: u32 = 1_000;

/// One scenario. What only the clients' runners read is kept as it stands in the file.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What it shows, in one sentence.
    pub about: String,
    /// What every connection must ask for, besides its cursor.
    #[serde(default)]
    pub request: Request,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    settings: BTreeMap<String, Value>,
    #[serde(default, skip_serializing_if = "is_false")]
    /// Nobody listens at the address.
    pub away: bool,
    /// In the order in which they come.
    pub connections: Vec<Connection>,
    delivered: Vec<String>,
    end: Value,
    cursor: String,
    delays_ms: Vec<f64>,
}

/// A `StreamEventsRequest` without its cursor; enum values by name without their prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Request {
    pub call_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cursor: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub start: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub phone_number_ids: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub caller_phone_numbers: Vec<String>,
}

/// One `StreamEvents` call of the client.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Connection {
    /// The cursor it must begin at.
    pub cursor: String,
    /// What the server does, the last of it being the end.
    pub steps: Vec<Step>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Step {
    /// A whole response.
    Send(Message),
    /// The first half of one, then the connection is cut.
    SendPartly(Message),
    /// A frame that holds no protobuf.
    Garbage,
    /// Nothing for a while.
    Pause { ms: u64 },
    /// The connection is cut, every stream on it.
    Cut,
    /// The stream alone is broken off (HTTP/2: RST_STREAM).
    Abort,
    /// The body ends in order, without a status.
    EndWithoutStatus,
    /// Status OK.
    Ok,
    /// Another status.
    Error(Failure),
    /// Not gRPC at all: this status alone, as a proxy gives.
    Http(u16),
    /// The same with a page of HTML.
    Page(u16),
    /// Nothing until the client goes, which must not be earlier than this.
    Stall { at_least_ms: u64 },
}

/// A `StreamEventsResponse`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Message {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cursor: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<Event>,
    /// `transient_missed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lagged: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keepalive_ms: Option<u64>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// Absent: the request's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call_id: Option<String>,
    /// By name, or `FUTURE`.
    pub kind: String,
    /// 0: transient.
    pub sequence: u64,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// By name, e.g. `NOT_FOUND`.
    pub code: String,
    /// Empty: no `ErrorInfo`, as a status of other origin.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// Of `RetryInfo`; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_delay_ms: Option<u64>,
}

impl Step {
    /// Nothing can come after it.
    fn is_last(&self) -> bool {
        !matches!(self, Self::Send(_) | Self::Garbage | Self::Pause { .. })
    }
}

impl Step {
    /// Breaks the connection or the stream, from which what was sent before may suffer on its way through a client's
    /// transport.
    pub(super) const fn breaks_off(&self) -> bool {
        matches!(self, Self::SendPartly(_) | Self::Cut | Self::Abort | Self::EndWithoutStatus)
    }
}

impl Event {
    /// The number of its field in `Event`.
    pub(super) fn field(&self) -> anyhow::Result<u32> {
        if self.kind == "FUTURE" {
            return Ok(FUTURE_KIND);
        }
        kind(&self.kind).map(|kind| kind as u32)
    }
}

impl Failure {
    pub(super) fn code(&self) -> anyhow::Result<Code> {
        const NAMES: [&str; 17] = [
            "OK",
            "CANCELLED",
            "UNKNOWN",
            "INVALID_ARGUMENT",
            "DEADLINE_EXCEEDED",
            "NOT_FOUND",
            "ALREADY_EXISTS",
            "PERMISSION_DENIED",
            "RESOURCE_EXHAUSTED",
            "FAILED_PRECONDITION",
            "ABORTED",
            "OUT_OF_RANGE",
            "UNIMPLEMENTED",
            "INTERNAL",
            "UNAVAILABLE",
            "DATA_LOSS",
            "UNAUTHENTICATED",
        ];
        let number =
            NAMES.iter().position(|name| *name == self.code).with_context(|| format!("no code {}", self.code))?;
        Ok(Code::from_i32(i32::try_from(number)?))
    }
}

impl Request {
    pub(super) fn kind_numbers(&self) -> anyhow::Result<Vec<i32>> {
        self.kinds.iter().map(|name| kind(name).map(|kind| kind as i32)).collect()
    }

    pub(super) fn start_number(&self) -> anyhow::Result<i32> {
        if self.start.is_empty() {
            return Ok(0);
        }
        let start = StreamStart::from_str_name(&format!("STREAM_START_{}", self.start));
        start.map(|start| start as i32).with_context(|| format!("no start {}", self.start))
    }
}

impl Scenario {
    fn check(&self) -> anyhow::Result<()> {
        self.request.kind_numbers()?;
        self.request.start_number()?;
        ensure!(self.away == self.connections.is_empty(), "connections, or away");
        for connection in &self.connections {
            let (last, before) = connection.steps.split_last().context("a connection without steps")?;
            ensure!(last.is_last(), "a connection must end by its last step");
            ensure!(!before.iter().any(Step::is_last), "steps after the end of a connection");
            let plain = matches!(last, Step::Http(_) | Step::Page(_));
            ensure!(!plain || before.is_empty(), "http and page come alone");
            for step in &connection.steps {
                match step {
                    Step::Send(Message { event: Some(event), .. })
                    | Step::SendPartly(Message { event: Some(event), .. }) => drop(event.field()?),
                    Step::Error(failure) if failure.code()? == Code::Ok => bail!("OK is no error"),
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

/// Every `*.json` in the folder, by name.
///
/// # Errors
///
/// A file cannot be read or does not follow the format; the message names it.
pub fn load(folder: &Path) -> anyhow::Result<BTreeMap<String, Scenario>> {
    let mut scenarios = BTreeMap::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let scenario = parse(&path).with_context(|| format!("{}", path.display()))?;
        let name = path.file_stem().and_then(|name| name.to_str()).context("a name that is no UTF-8")?;
        scenarios.insert(name.to_owned(), scenario);
    }
    ensure!(!scenarios.is_empty(), "no scenario in {}", folder.display());
    Ok(scenarios)
}

fn parse(path: &Path) -> anyhow::Result<Scenario> {
    let scenario: Scenario = serde_json::from_slice(&fs::read(path)?)?;
    scenario.check()?;
    Ok(scenario)
}

fn kind(name: &str) -> anyhow::Result<EventKind> {
    EventKind::from_str_name(&format!("EVENT_KIND_{name}")).with_context(|| format!("no kind {name}"))
}

fn is_false(value: &bool) -> bool {
    !value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(connections: &str, expect: &str) {
        let text = format!(
            r#"{{"about": "", "connections": {connections}, "delivered": [], "end": "complete", "cursor": "", "delays_ms": []}}"#
        );
        let found = serde_json::from_str::<Scenario>(&text)
            .map_err(anyhow::Error::from)
            .and_then(|scenario| scenario.check())
            .map_or_else(|error| error.to_string(), |()| "valid".to_owned());
        assert!(found.contains(expect), "{connections}: {found}");
    }

    #[test]
    fn mistakes_in_a_scenario_are_named() {
        check(r#"[{"cursor": "", "steps": ["ok"]}]"#, "valid");
        check(r#"[]"#, "connections, or away");
        check(r#"[{"cursor": "", "steps": []}]"#, "without steps");
        check(r#"[{"cursor": "", "steps": [{"send": {}}]}]"#, "must end");
        check(r#"[{"cursor": "", "steps": ["ok", "cut"]}]"#, "after the end");
        check(r#"[{"cursor": "", "steps": [{"send": {}}, {"http": 503}]}]"#, "come alone");
        check(r#"[{"cursor": "", "steps": [{"error": {"code": "LOST"}}]}]"#, "no code LOST");
        check(r#"[{"cursor": "", "steps": [{"error": {"code": "OK"}}]}]"#, "OK is no error");
        check(
            r#"[{"cursor": "", "steps": [{"send": {"event": {"kind": "NONE", "sequence": 1}}}, "ok"]}]"#,
            "no kind NONE",
        );
        check(r#"[{"cursor": "", "steps": ["explode"]}]"#, "explode");
        check(r#"[{"cursor": "", "steps": ["ok"], "more": 1}]"#, "more");
    }

    #[test]
    fn the_scenarios_here_are_valid() {
        let scenarios = load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios")).unwrap();
        assert!(scenarios.len() > 10, "{:?}", scenarios.keys());
    }
}
