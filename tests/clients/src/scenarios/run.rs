//! One run of a scenario: how far it has come and what the client did wrong.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::Serialize;
use tokio::{sync::watch, time::timeout};
use voicebridge_proto::control::v1::StreamEventsRequest;

use super::script::{Connection, Scenario};

/// What a client of a run must show.
pub(super) const API_KEY: &str = "scenario-key";
/// How long a run that has been ended waits for connections that are still being played, and one that goes on for a client
/// that takes its time.
const SETTLE: Duration = Duration::from_secs(10);

/// What a run was like, for the client's runner.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Report {
    /// How often the client asked.
    connections: usize,
    /// What it did wrong; empty: nothing.
    violations: Vec<String>,
}

#[derive(Debug)]
pub(super) struct Run {
    pub(super) scenario: Scenario,
    report: Mutex<Report>,
    playing: watch::Sender<usize>,
    sent: AtomicU64,
    /// How many responses the client has taken, if its runner says.
    taken: Option<watch::Sender<u64>>,
}

impl Run {
    pub(super) fn new(scenario: Scenario, tells_taken: bool) -> Self {
        Self {
            scenario,
            report: Mutex::default(),
            playing: watch::Sender::new(0),
            sent: AtomicU64::new(0),
            taken: tells_taken.then(|| watch::Sender::new(0)),
        }
    }

    fn report(&self) -> MutexGuard<'_, Report> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn violation(&self, violation: impl Into<String>) {
        self.report().violations.push(violation.into());
    }

    /// The next connection, whose request is checked. None: the scenario has no more.
    pub(super) fn connect(&self, request: &StreamEventsRequest, authorization: Option<&str>) -> Option<&Connection> {
        let mut report = self.report();
        let index = report.connections;
        report.connections += 1;
        drop(report);
        let Some(connection) = self.scenario.connections.get(index) else {
            self.violation(format!("connection {index} is one too many, with cursor {:?}", request.cursor));
            return None;
        };
        let wrong = |what: &str, found: String, expected: String| {
            if found != expected {
                self.violation(format!("connection {index}: {what} is {found}, expected {expected}"));
            }
        };
        let expected = &self.scenario.request;
        let kinds = expected.kind_numbers().expect("checked when it was loaded");
        let start = expected.start_number().expect("checked when it was loaded");
        wrong("the key", format!("{authorization:?}"), format!("{:?}", Some(format!("Bearer {API_KEY}"))));
        wrong("call_id", format!("{:?}", request.call_id), format!("{:?}", expected.call_id));
        wrong("cursor", format!("{:?}", request.cursor), format!("{:?}", connection.cursor));
        wrong("start", request.start.to_string(), start.to_string());
        wrong("kinds", format!("{:?}", request.kinds), format!("{kinds:?}"));
        wrong(
            "phone_number_ids",
            format!("{:?}", request.phone_number_ids),
            format!("{:?}", expected.phone_number_ids),
        );
        // Not shown: the option on the field asks for that everywhere.
        if request.caller_phone_numbers != expected.caller_phone_numbers {
            self.violation(format!("connection {index}: caller_phone_numbers are not as expected"));
        }
        Some(connection)
    }

    /// A connection is being played for as long as the guard lives.
    pub(super) fn begin(&self) -> Playing<'_> {
        self.playing.send_modify(|playing| *playing += 1);
        Playing(self)
    }

    /// A response is about to be sent.
    pub(super) fn sends(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
    }

    /// The client has taken so many responses since the run began. False: its runner did not say that it would tell.
    pub(super) fn took(&self, responses: u64) -> bool {
        self.taken.as_ref().is_some_and(|taken| taken.send_replace(responses) <= responses)
    }

    /// Waits until the client has taken every response sent, if its runner tells.
    pub(super) async fn all_taken(&self) {
        let Some(taken) = &self.taken else { return };
        let sent = self.sent.load(Ordering::Relaxed);
        let mut taken = taken.subscribe();
        let all = taken.wait_for(|taken| *taken >= sent);
        if timeout(SETTLE, all).await.is_err() {
            self.violation(format!("the client did not take {sent} responses in {} s", SETTLE.as_secs()));
        }
    }

    /// The report, once nothing is being played any more.
    pub(super) async fn end(&self) -> Report {
        let mut playing = self.playing.subscribe();
        let settled = playing.wait_for(|playing| *playing == 0);
        if timeout(SETTLE, settled).await.is_err() {
            self.violation(format!("a connection was still open {} s after the end", SETTLE.as_secs()));
        }
        self.report().clone()
    }
}

pub(super) struct Playing<'a>(&'a Run);

impl Drop for Playing<'_> {
    fn drop(&mut self) {
        self.0.playing.send_modify(|playing| *playing -= 1);
    }
}
