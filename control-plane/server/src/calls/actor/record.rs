//! The call's record: the row as stored or about to be, and the journal that has it written. Nobody else changes either.
//!
//! What a node says goes in by [`Record::hear`], which knows what was heard before, and [`Record::add`].

use std::sync::Arc;

use voicebridge_core::{call_life::Phase, termination::Termination};
use voicebridge_proto::types::v1::{self as types, event::Kind};

use super::report;
use crate::{
    calls::journal::Journal,
    clock::now_ms,
    convert,
    nodes::NodeNews,
    store::{CallRow, Change, NewEvent, SessionPlace, Store, Written},
};

/// What a node's news is.
pub(super) enum Heard {
    /// Known, or not about this call's session.
    Nothing,
    /// For whoever listens now.
    Transient(types::Event),
    /// To be stored; and what it says, if it is an event of the session.
    Durable(NewEvent, Option<Kind>),
}

/// See the module.
pub(super) struct Record {
    row: CallRow,
    journal: Journal,
    /// Of the call's last event stored by this process.
    last_position: u64,
}

impl Record {
    pub(super) fn new(store: Arc<dyn Store>, row: CallRow) -> Self {
        let journal = Journal::new(store, row.call_id.clone(), row.last_sequence);
        Self { row, journal, last_position: 0 }
    }

    pub(super) const fn row(&self) -> &CallRow {
        &self.row
    }

    pub(super) const fn last_position(&self) -> u64 {
        self.last_position
    }

    /// Everything is stored.
    pub(super) fn is_written(&self) -> bool {
        self.journal.is_written()
    }

    /// What became of the next write that the store answers; see [`Journal::written`].
    pub(super) async fn written(&mut self) -> Written {
        let written = self.journal.written().await;
        if let Written::Stored { position: Some(position) } = written {
            self.last_position = position;
        }
        written
    }

    /// An event of ours.
    pub(super) fn own(&self, kind: Kind, at_ms: i64) -> NewEvent {
        convert::own_event_to_row(&self.row, at_ms, kind)
    }

    /// Has an event written.
    pub(super) fn add(&mut self, event: NewEvent) {
        self.journal.add([event], Change::default());
    }

    /// Has written what a step led to: these events, and what the row does not say yet of the phase. `closing`: the end,
    /// if this was the last step.
    pub(super) fn step(&mut self, phase: &Phase, events: Vec<NewEvent>, closing: Option<&Termination>, now_ms: i64) {
        let mut change = Change::default();
        if self.row.phase != phase.word() {
            phase.word().clone_into(&mut self.row.phase);
            change.phase = Some(phase.word());
        }
        if *phase == Phase::Active && self.row.accepted_at_ms.is_none() {
            self.row.accepted_at_ms = Some(now_ms);
            change.accepted_at_ms = self.row.accepted_at_ms;
        }
        let termination = phase.termination().or(closing);
        if self.row.termination.is_none() && termination.is_some() {
            self.row.termination = termination.cloned();
            change.termination = self.row.termination.clone();
        }
        self.journal.add(events, change);
    }

    /// A node is about to be asked for this session.
    pub(super) fn set_session(&mut self, session: SessionPlace) {
        self.row.session = Some(session.clone());
        self.row.node_sequence = 0;
        self.journal.add([], Change { session: Some(session), ..Change::default() });
    }

    /// Nobody has taken the call. What is stored of the last attempt stays: it is ended in any case.
    pub(super) fn clear_session(&mut self) {
        self.row.session = None;
    }

    pub(super) fn hear(&mut self, news: NodeNews) -> Heard {
        match news {
            NodeNews::Event { session_sequence, event } => self.hear_event(session_sequence, *event),
            NodeNews::EventsGone { after, through } => {
                let incident = types::Incident {
                    reason: "EVENTS_GONE".to_owned(),
                    message: format!("The node no longer had its events after {after} up to {through}."),
                    upstream_code: String::new(),
                    command_id: String::new(),
                };
                self.row.node_sequence = through;
                let event = self.own(Kind::Incident(incident), now_ms());
                Heard::Durable(NewEvent { node_sequence: Some(through), ..event }, None)
            }
        }
    }

    fn hear_event(&mut self, session_sequence: u64, mut event: types::Event) -> Heard {
        let ours = self.row.session.as_ref().map(|session| session.session_id.as_str());
        if ours != Some(event.session_id.as_str()) {
            tracing::warn!(session = event.session_id, "an event of another session was dropped");
            return Heard::Nothing;
        }
        event.call_id = self.row.call_id.as_str().to_owned();
        let Some(kind) = event.kind.clone() else { return Heard::Nothing };
        let elapsed_ms = event.elapsed_ms;
        let Some(row) = convert::event_to_row(event.clone(), now_ms(), Some(session_sequence)) else {
            return Heard::Transient(types::Event { sequence: 0, ..event });
        };
        if session_sequence <= self.row.node_sequence {
            return Heard::Nothing;
        }
        self.row.node_sequence = session_sequence;
        if let Kind::StageReached(reached) = &kind {
            tracing::debug!(stage = reached.stage().as_str_name(), elapsed_ms, "stage reached at the node");
        }
        Heard::Durable(row, Some(kind))
    }

    /// Has the record closed. The first termination stands.
    pub(super) fn close(&mut self, termination: Termination, now_ms: i64) {
        let termination = self.row.termination.get_or_insert(termination).clone();
        let last = self.own(report::call_ended(&self.row, &termination, now_ms), now_ms);
        self.row.ended_at_ms = Some(now_ms);
        report::closed(&self.row, &termination, now_ms);
        let change = Change { ended_at_ms: Some(now_ms), termination: Some(termination), ..Change::default() };
        self.journal.add([last], change);
    }
}
