//! What follows from what happens: a step of the call's life, written down, and what is to be done then.
//!
//! Flow: [`Steps::step`] or [`Steps::ask`] has something written and keeps what it asks for; once all is written,
//! [`Steps::written`] gives that back. An end waits for nothing: what it asks for is given back at once, and what was kept
//! with it, which is not to be done any more.
//!
//! Does nothing of what is asked for.

use std::sync::Arc;

use tokio::time::sleep_until;
use voicebridge_core::{
    call_life::{DeadlineKind, Effect, Event, Step},
    termination::Termination,
};

use super::{deadlines::Deadlines, input::Reporter, life::Life, record::Record, report, request::Request};
use crate::{
    clock::now_ms,
    config::Limits,
    store::{CallRow, NewEvent, SessionPlace, Store, Written},
};

/// What is to be done now.
pub(super) enum Due {
    /// Nothing: something is being written.
    Later,
    /// Everything is written.
    Requests(Vec<Request>),
    /// The call is over.
    End {
        requests: Vec<Request>,
        /// Close the record.
        closing: Option<(Termination, i64)>,
        /// From before, not to be done any more.
        given_up: Vec<Request>,
    },
}

/// What was waited for.
pub(super) enum Came {
    Written(Written),
    Deadline(DeadlineKind),
}

/// See the module.
pub(super) struct Steps {
    life: Life,
    deadlines: Deadlines,
    record: Record,
    held: Vec<Request>,
}

impl Steps {
    pub(super) fn new(store: Arc<dyn Store>, row: CallRow, limits: &Limits) -> Self {
        Self {
            life: Life::new(row.holder.signalling()),
            deadlines: Deadlines::new(&row, limits),
            record: Record::new(store, row),
            held: Vec::new(),
        }
    }

    pub(super) const fn life(&self) -> &Life {
        &self.life
    }

    pub(super) const fn deadlines(&self) -> &Deadlines {
        &self.deadlines
    }

    pub(super) const fn record(&self) -> &Record {
        &self.record
    }

    /// For what is to be written besides steps.
    pub(super) const fn record_mut(&mut self) -> &mut Record {
        &mut self.record
    }

    pub(super) fn set_deadline(&mut self, kind: DeadlineKind) {
        self.deadlines.set(kind);
    }

    pub(super) fn begin(&mut self, step: Step) -> Due {
        let effects = self.life.begin(step);
        self.take(effects, Vec::new(), None)
    }

    /// Something happened, and these events tell of it. `reporter` waits for what the node says of a stage.
    pub(super) fn step(&mut self, event: Event, facts: Vec<NewEvent>, reporter: Option<Reporter>) -> Due {
        let effects = self.life.step(event);
        self.take(effects, facts, reporter)
    }

    fn take(&mut self, effects: Vec<Effect>, facts: Vec<NewEvent>, mut reporter: Option<Reporter>) -> Due {
        let now = now_ms();
        let (mut events, mut requests, mut closing) = (facts, Vec::new(), None);
        for effect in effects {
            match effect {
                Effect::Reached(stage) => {
                    let reached = report::stage_reached(self.record.row(), stage, now);
                    events.push(self.record.own(reached, now));
                }
                Effect::Close(termination) => closing = Some(termination),
                Effect::SetDeadline(kind) => self.deadlines.set(kind),
                Effect::ClearDeadline(kind) => self.deadlines.clear(kind),
                request @ Effect::AdvanceSession(_) => requests.push(Request::Effect(request, reporter.take())),
                request => requests.push(Request::Effect(request, None)),
            }
        }
        self.record.step(self.life.phase(), events, closing.as_ref(), now);
        if self.life.is_over() {
            let closing = closing.map(|termination| (termination, now));
            return Due::End { requests, closing, given_up: std::mem::take(&mut self.held) };
        }
        self.held.extend(requests);
        self.due()
    }

    /// A node is about to be asked for this session: that is written down first.
    pub(super) fn ask(&mut self, session: SessionPlace) {
        self.record.set_session(session.clone());
        self.held.push(Request::Session(session));
    }

    /// After the store has answered.
    pub(super) fn due(&mut self) -> Due {
        if self.record.is_written() { Due::Requests(std::mem::take(&mut self.held)) } else { Due::Later }
    }

    /// The next answer of the store, or the next deadline. Nothing is lost when this is given up and called again.
    pub(super) async fn next(&mut self) -> Came {
        let deadline = self.deadlines.next();
        let writing = !self.record.is_written();
        let due = async {
            match deadline {
                Some((kind, at)) => {
                    sleep_until(at).await;
                    kind
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            written = self.record.written(), if writing => Came::Written(written),
            kind = due => {
                self.deadlines.clear(kind);
                Came::Deadline(kind)
            }
        }
    }
}
