//! The record of a call: its events, those of its node among them, and its end.

use voicebridge_core::{
    call_life::{Event, GraphAction, GraphOutcome},
    termination::{Termination, TerminationResult},
};
use voicebridge_proto::types::v1::{self as types, event::Kind};
use voicebridge_telemetry::labels;

use super::{Actor, View};
use crate::{
    callback::CallbackError,
    clock::now_ms,
    convert,
    events::Entry,
    graph::Answer,
    nodes::NodeNews,
    store::{CallRow, Change, LAST_KIND, NewEvent},
};

/// The event that closes a record.
pub(in crate::calls) fn last_event(row: &CallRow, termination: &Termination, now_ms: i64) -> NewEvent {
    let ended = types::CallEnded {
        termination: Some(convert::termination_to_wire(termination)),
        duration_ms: row.accepted_at_ms.map_or(0, |accepted| convert::elapsed_ms(accepted, now_ms)),
    };
    let event = convert::own_event(row, now_ms, Kind::CallEnded(ended));
    NewEvent {
        kind: LAST_KIND,
        occurred_at_ms: now_ms,
        node_sequence: None,
        payload: prost::Message::encode_to_vec(&event),
    }
}

impl Actor {
    pub(super) async fn update(&self, change: &Change) {
        if let Err(error) = self.shared.store.update(&self.row.call_id, change).await {
            tracing::error!(error = &error as &dyn std::error::Error, "the call's state could not be stored");
        }
    }

    async fn record(&mut self, kind: Kind, at_ms: i64) {
        let event = convert::own_event(&self.row, at_ms, kind);
        if let Some(row) = convert::event_to_row(event, at_ms, None) {
            self.append(row).await;
        }
    }

    /// False: the event of the node is known already.
    async fn append(&mut self, event: NewEvent) -> bool {
        match self.shared.store.append(&self.row.call_id, &event).await {
            Ok(Some(place)) => {
                self.row.last_sequence = place.sequence;
                self.last_position = place.position;
                self.shared.hub.stored(place.position);
                true
            }
            Ok(None) => false,
            // The call itself goes on.
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    kind = event.kind,
                    "an event could not be stored"
                );
                true
            }
        }
    }

    pub(super) async fn record_stage(&mut self, stage: types::Stage, at_ms: i64) {
        self.record(Kind::StageReached(types::StageReached { stage: stage.into() }), at_ms).await;
    }

    pub(super) async fn graph_answered(&mut self, action: GraphAction, answer: &Answer) {
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
                details = error.text(),
                fbtrace_id = error.fbtrace_id,
                "graph answered with an error"
            ),
        }
        let mut answered = convert::graph_answered(action, answer);
        if let Some(doubt) = answer.doubt {
            answered.error_details = doubt.to_owned();
        }
        self.record(Kind::GraphAnswered(answered), now_ms()).await;
    }

    /// What became of telling whoever holds the signalling that Meta is to be told.
    pub(super) async fn holder_told(&mut self, action: GraphAction, told: &Result<(), CallbackError>) {
        let outcome = match told {
            Ok(()) => "told",
            Err(CallbackError::NotConfigured) => "not-configured",
            Err(_) => "failed",
        };
        metrics::counter!("voicebridge_control_callbacks_total", "outcome" => outcome).increment(1);
        let call_id = &self.row.call_id;
        let Err(error) = told else {
            tracing::info!(%call_id, action = action.word(), "the holder of the signalling was told of the end");
            return;
        };
        let reason = error.reason();
        tracing::error!(%call_id, action = action.word(), %error, reason, "Meta may not know that the call is over");
        let incident = types::Incident {
            reason: reason.to_owned(),
            message: format!("Meta may not have been told to {} the call: {error}.", action.word()),
            upstream_code: error.code(),
        };
        self.record(Kind::Incident(incident), now_ms()).await;
    }

    pub(super) async fn hear(&mut self, news: NodeNews) {
        match news {
            NodeNews::Event(event) => self.hear_event(*event).await,
            NodeNews::EventsGone { after, through } => {
                let now = now_ms();
                let incident = types::Incident {
                    reason: "EVENTS_GONE".to_owned(),
                    message: format!("The node no longer had its events after {after} up to {through}."),
                    upstream_code: String::new(),
                };
                let event = convert::own_event(&self.row, now, Kind::Incident(incident));
                if let Some(row) = convert::event_to_row(event, now, Some(through)) {
                    self.append(row).await;
                }
            }
            NodeNews::SessionUnknown => {
                self.following = false;
                let termination = Termination::new(
                    TerminationResult::Failed,
                    "SESSION_NOT_FOUND",
                    "The media node no longer knows the session.",
                );
                self.feed(Event::SessionEnded(termination)).await;
            }
            NodeNews::NodeLost => {
                self.following = false;
                tracing::warn!(node = self.row.session.as_ref().map(|session| session.node_id.as_str()), "node lost");
                self.feed(Event::NodeLost).await;
            }
        }
    }

    async fn hear_event(&mut self, mut event: types::Event) {
        let ours = self.row.session.as_ref().map(|session| session.session_id.as_str());
        if ours != Some(event.session_id.as_str()) {
            tracing::warn!(session = event.session_id, "an event of another session was dropped");
            return;
        }
        event.call_id = self.row.call_id.as_str().to_owned();
        let Some(kind) = event.kind.clone() else { return };
        if let Kind::StatisticsReported(types::StatisticsReported { statistics: Some(statistics) }) = kind {
            self.statistics = Some(statistics);
            self.show();
        }
        let sequence = event.sequence;
        match convert::event_to_row(event.clone(), now_ms(), Some(sequence)) {
            None => {
                let event = types::Event { sequence: 0, ..event };
                return self.shared.hub.transient(Entry::transient(&self.row, event, self.last_position));
            }
            Some(row) => {
                if !self.append(row).await {
                    return;
                }
                self.row.node_sequence = sequence;
            }
        }
        if let Kind::StageReached(reached) = &kind {
            tracing::debug!(
                stage = reached.stage().as_str_name(),
                elapsed_ms = event.elapsed_ms,
                "stage reached at the node"
            );
        }
        if let Some(life) = convert::life_event(&kind) {
            self.feed(life).await;
        }
    }

    pub(super) async fn close(&mut self, termination: Termination) {
        let now = now_ms();
        // The first one stands.
        let termination = self.row.termination.clone().unwrap_or(termination);
        let last = last_event(&self.row, &termination, now);
        match self.shared.store.close(&self.row.call_id, &termination, &last).await {
            Ok(Some(place)) => self.shared.hub.stored(place.position),
            Ok(None) => {}
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "the call's record could not be closed");
            }
        }
        self.row.ended_at_ms = Some(now);
        let (result, reason) = (termination.result.word(), termination.reason.clone().into_owned());
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
        self.view.send_modify(|view| {
            *view = View { termination: Some(termination), is_busy: false, closed: true, ..view.clone() };
        });
    }
}
