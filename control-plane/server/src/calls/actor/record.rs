//! The record of a call: its events, those of its node among them, and its end.

use voicebridge_core::{
    call_life::{GraphAction, GraphOutcome},
    termination::Termination,
};
use voicebridge_proto::types::v1::{self as types, event::Kind};
use voicebridge_telemetry::labels;

use super::Actor;
use crate::{
    callback::CallbackError,
    clock::now_ms,
    convert,
    events::Entry,
    graph::Answer,
    nodes::NodeNews,
    store::{CallRow, Change, NewEvent},
};

/// The event that closes a record.
pub(in crate::calls) fn last_event(row: &CallRow, termination: &Termination, now_ms: i64) -> NewEvent {
    let ended = types::CallEnded {
        termination: Some(convert::termination_to_wire(termination)),
        duration_ms: row.accepted_at_ms.map_or(0, |accepted| convert::elapsed_ms(accepted, now_ms)),
    };
    convert::own_event_to_row(row, now_ms, Kind::CallEnded(ended))
}

impl Actor {
    fn own(&self, kind: Kind, at_ms: i64) -> NewEvent {
        convert::own_event_to_row(&self.row, at_ms, kind)
    }

    pub(super) fn stage_reached(&self, stage: types::Stage, at_ms: i64) -> NewEvent {
        self.own(Kind::StageReached(types::StageReached { stage: stage.into() }), at_ms)
    }

    /// Meta's answer, for the log, the metrics and the record.
    pub(super) fn graph_answered(&self, action: GraphAction, answer: &Answer) -> Vec<NewEvent> {
        let action_word = action.word();
        let outcome = match answer.outcome() {
            GraphOutcome::Ok => "ok",
            GraphOutcome::Refused { .. } => "refused",
            GraphOutcome::Unreachable { .. } => "unreachable",
        };
        metrics::counter!("voicebridge_control_graph_requests_total", "action" => action_word, "outcome" => outcome)
            .increment(1);
        metrics::histogram!("voicebridge_control_graph_ms", "action" => action_word)
            .record(f64::from(answer.duration_ms));
        let (status, duration_ms) = (answer.status, answer.duration_ms);
        match (&answer.error, answer.doubt) {
            (None, None) => tracing::info!(action = action_word, outcome, status, duration_ms, "graph answered"),
            (None, Some(doubt)) => tracing::warn!(
                call_id = %self.row.call_id,
                action = action_word,
                outcome,
                status,
                duration_ms,
                doubt,
                "graph answered oddly"
            ),
            (Some(error), _) => tracing::warn!(
                call_id = %self.row.call_id,
                action = action_word,
                outcome,
                status,
                duration_ms,
                code = error.code,
                error_subcode = error.error_subcode,
                fbtrace_id = error.fbtrace_id,
                "graph answered with an error"
            ),
        }
        let mut answered = convert::graph_answered(action, answer);
        if let Some(doubt) = answer.doubt {
            answered.error_details = doubt.to_owned();
        }
        vec![self.own(Kind::GraphAnswered(answered), now_ms())]
    }

    /// What became of telling whoever holds the signalling that Meta is to be told.
    pub(super) fn holder_told(&self, action: GraphAction, told: &Result<(), CallbackError>) -> Vec<NewEvent> {
        let outcome = match told {
            Ok(()) => "told",
            Err(CallbackError::NotConfigured) => "not-configured",
            Err(_) => "failed",
        };
        metrics::counter!("voicebridge_control_callbacks_total", "outcome" => outcome).increment(1);
        let call_id = &self.row.call_id;
        let Err(error) = told else {
            tracing::info!(%call_id, action = action.word(), "the holder of the signalling was told of the end");
            return Vec::new();
        };
        let reason = error.reason();
        tracing::error!(%call_id, action = action.word(), %error, reason, "Meta may not know that the call is over");
        let incident = types::Incident {
            reason: reason.to_owned(),
            message: format!("Meta may not have been told to {} the call: {error}.", action.word()),
            upstream_code: error.code(),
        };
        vec![self.own(Kind::Incident(incident), now_ms())]
    }

    pub(super) fn hear(&mut self, news: NodeNews) {
        let (fact, kind) = self.fact(news);
        match kind.as_ref().and_then(convert::life_event) {
            Some(life) => self.feed(life, fact.into_iter().collect()),
            None => self.journal.add(fact, Change::default()),
        }
    }

    /// What is to be stored of a node's news, and what it is of the news that is new.
    fn fact(&mut self, news: NodeNews) -> (Option<NewEvent>, Option<Kind>) {
        match news {
            NodeNews::Event(event) => self.event_fact(*event),
            NodeNews::EventsGone { after, through } => {
                let incident = types::Incident {
                    reason: "EVENTS_GONE".to_owned(),
                    message: format!("The node no longer had its events after {after} up to {through}."),
                    upstream_code: String::new(),
                };
                self.row.node_sequence = through;
                let event = self.own(Kind::Incident(incident), now_ms());
                (Some(NewEvent { node_sequence: Some(through), ..event }), None)
            }
        }
    }

    fn event_fact(&mut self, mut event: types::Event) -> (Option<NewEvent>, Option<Kind>) {
        let ours = self.row.session.as_ref().map(|session| session.session_id.as_str());
        if ours != Some(event.session_id.as_str()) {
            tracing::warn!(session = event.session_id, "an event of another session was dropped");
            return (None, None);
        }
        event.call_id = self.row.call_id.as_str().to_owned();
        let Some(kind) = event.kind.clone() else { return (None, None) };
        if let Kind::StatisticsReported(types::StatisticsReported { statistics: Some(statistics) }) = kind {
            self.statistics = Some(statistics);
            self.show();
        }
        let (sequence, elapsed_ms) = (event.sequence, event.elapsed_ms);
        let Some(row) = convert::event_to_row(event.clone(), now_ms(), Some(sequence)) else {
            let event = types::Event { sequence: 0, ..event };
            self.shared.hub.transient(Entry::transient(&self.row, event, self.last_position));
            return (None, None);
        };
        if sequence <= self.row.node_sequence {
            return (None, None);
        }
        self.row.node_sequence = sequence;
        if let Kind::StageReached(reached) = &kind {
            tracing::debug!(stage = reached.stage().as_str_name(), elapsed_ms, "stage reached at the node");
        }
        (Some(row), Some(kind))
    }

    /// Has the record closed, after what came of the node until now.
    pub(super) fn close(&mut self, termination: &Termination, now: i64) {
        while let Ok(news) = self.news.1.try_recv() {
            let (fact, _) = self.fact(news);
            self.journal.add(fact, Change::default());
        }
        // The first one stands.
        let termination = self.row.termination.get_or_insert_with(|| termination.clone()).clone();
        let last = last_event(&self.row, &termination, now);
        let change = Change { ended_at_ms: Some(now), termination: Some(termination.clone()), ..Change::default() };
        self.journal.add([last], change);
        self.row.ended_at_ms = Some(now);
        let (result, reason) = (termination.result.word(), termination.reason.into_owned());
        tracing::info!(
            call_id = %self.row.call_id,
            elapsed_ms = convert::elapsed_ms(self.row.received_at_ms, now),
            result,
            reason,
            upstream_code = termination.upstream_code,
            "call ended"
        );
        let reason = labels::reason(&reason);
        metrics::counter!("voicebridge_control_calls_ended_total", "result" => result, "reason" => reason).increment(1);
    }
}
