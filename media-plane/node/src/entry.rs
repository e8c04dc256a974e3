//! What the gRPC side knows of one session: fixed facts, the journal, and a snapshot of how it is doing.
//!
//! The session itself lives on its media thread; here is what others may look at without asking that thread.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use voicebridge_audio::Time;
use voicebridge_session::{Event, EventKind, Stage, State, Statistics, Termination};

use crate::{
    journal::{Journal, Record},
    start_arguments::StartArguments,
};

/// One session, live or ended.
#[derive(Debug)]
pub struct Entry {
    /// Chosen by the control plane.
    pub session_id: String,
    /// Meta's.
    pub call_id: String,
    /// For people.
    pub started_at: SystemTime,
    /// On the node's clock.
    pub started: Time,
    /// Milliseconds between the connect webhook and `started`.
    pub elapsed_ms: u64,
    /// The answer, to be given again to a repeated request.
    pub sdp_answer: String,
    /// Findings of the lint that did not stop the call.
    pub warnings: Vec<&'static str>,
    /// What a repeated request must have.
    pub arguments: StartArguments,
    /// Its events.
    pub journal: Arc<Journal>,
    snapshot: Mutex<Snapshot>,
}

/// How a session was doing when its thread last said so: at every change of state or stage, and once a second.
#[derive(Clone, Copy, Debug)]
pub struct Snapshot {
    /// Its state.
    pub state: State,
    /// The last stage it was told of.
    pub stage: Option<Stage>,
    /// Counters.
    pub statistics: Statistics,
}

/// What an [`Entry`] begins with.
#[derive(Debug)]
pub struct Opening {
    /// As in [`Entry`].
    pub session_id: String,
    /// As in [`Entry`].
    pub call_id: String,
    /// As in [`Entry`].
    pub started: Time,
    /// As in [`Entry`].
    pub elapsed_ms: u64,
    /// As in [`Entry`].
    pub sdp_answer: String,
    /// As in [`Entry`].
    pub warnings: Vec<&'static str>,
    /// As in [`Entry`].
    pub arguments: StartArguments,
}

impl Entry {
    /// A session that is about to be handed to its thread.
    #[must_use]
    pub fn new(opening: Opening) -> Self {
        Self {
            session_id: opening.session_id,
            call_id: opening.call_id,
            started_at: SystemTime::now(),
            started: opening.started,
            elapsed_ms: opening.elapsed_ms,
            sdp_answer: opening.sdp_answer,
            warnings: opening.warnings,
            arguments: opening.arguments,
            journal: Arc::default(),
            snapshot: Mutex::new(Snapshot { state: State::Answered, stage: None, statistics: Statistics::default() }),
        }
    }

    /// Milliseconds since the connect webhook at `at`.
    #[must_use]
    pub fn elapsed_ms(&self, at: Time) -> u64 {
        self.elapsed_ms + at.since(self.started).as_millis() as u64
    }

    /// Writes an event into the journal and, if it is a milestone of the call, into the log;
    /// the caller has entered the session's span.
    pub fn record(&self, event: Event) {
        let elapsed_ms = self.elapsed_ms(event.at);
        let record = Record { event, wall: SystemTime::now(), elapsed_ms };
        crate::call_log::write(self, &record);
        self.journal.push(record);
    }

    /// How the session is doing.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        *self.lock()
    }

    /// The session's thread says how it is doing.
    pub fn publish(&self, snapshot: Snapshot) {
        *self.lock() = snapshot;
    }

    /// How it ended, once it has.
    #[must_use]
    pub fn termination(&self) -> Option<Termination> {
        self.journal.end().and_then(|record| match &record.event.kind {
            EventKind::Ended { termination, .. } => Some(termination.clone()),
            _ => None,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Snapshot> {
        self.snapshot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
