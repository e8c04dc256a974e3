//! What is said of a call's steps: to the log, to the metrics, and as events of its record.

use voicebridge_core::{
    call_life::{GraphAction, GraphOutcome, Stage},
    identity::CallId,
    termination::Termination,
};
use voicebridge_proto::types::v1::{self as types, event::Kind};
use voicebridge_telemetry::labels;

use crate::{callback::CallbackError, convert, graph::Answer, store::CallRow};

/// The event that closes a record.
pub(in crate::calls) fn call_ended(call: &CallRow, termination: &Termination, now_ms: i64) -> Kind {
    Kind::CallEnded(types::CallEnded {
        termination: Some(convert::termination_to_wire(termination)),
        duration_ms: call.accepted_at_ms.map_or(0, |accepted| convert::elapsed_ms(accepted, now_ms)),
    })
}

/// The record is being closed.
pub(super) fn closed(call: &CallRow, termination: &Termination, now_ms: i64) {
    let (result, reason) = (termination.result.word(), termination.reason.as_ref());
    tracing::info!(
        call_id = %call.call_id,
        elapsed_ms = convert::elapsed_ms(call.received_at_ms, now_ms),
        result,
        reason,
        upstream_code = termination.upstream_code,
        "call ended"
    );
    let reason = labels::reason(reason);
    metrics::counter!("voicebridge_control_calls_ended_total", "result" => result, "reason" => reason).increment(1);
}

/// A stage that the control plane itself reaches.
pub(super) fn stage_reached(call: &CallRow, stage: Stage, at_ms: i64) -> Kind {
    let (stage, wire) = convert::stage_to_wire(stage);
    let elapsed_ms = convert::elapsed_ms(call.received_at_ms, at_ms);
    tracing::info!(stage, call_id = %call.call_id, elapsed_ms, "stage reached");
    metrics::histogram!("voicebridge_control_stage_ms", "stage" => stage).record(elapsed_ms as f64);
    Kind::StageReached(types::StageReached { stage: wire.into() })
}

/// Meta's answer.
pub(super) fn graph_answered(call_id: &CallId, action: GraphAction, answer: &Answer) -> Kind {
    let action_word = action.word();
    let outcome = match answer.outcome() {
        GraphOutcome::Ok => "ok",
        GraphOutcome::Refused { .. } => "refused",
        GraphOutcome::Unreachable { .. } => "unreachable",
    };
    metrics::counter!("voicebridge_control_graph_requests_total", "action" => action_word, "outcome" => outcome)
        .increment(1);
    metrics::histogram!("voicebridge_control_graph_ms", "action" => action_word).record(f64::from(answer.duration_ms));
    let (status, duration_ms) = (answer.status, answer.duration_ms);
    match (&answer.error, answer.doubt) {
        (None, None) => tracing::info!(action = action_word, outcome, status, duration_ms, "graph answered"),
        (None, Some(doubt)) => tracing::warn!(
            %call_id,
            action = action_word,
            outcome,
            status,
            duration_ms,
            doubt,
            "graph answered oddly"
        ),
        (Some(error), _) => tracing::warn!(
            %call_id,
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
    Kind::GraphAnswered(answered)
}

/// What became of telling whoever holds the signalling that Meta is to be told.
pub(super) fn holder_told(call_id: &CallId, action: GraphAction, told: &Result<(), CallbackError>) -> Option<Kind> {
    let outcome = match told {
        Ok(()) => "told",
        Err(CallbackError::NotConfigured) => "not-configured",
        Err(_) => "failed",
    };
    metrics::counter!("voicebridge_control_callbacks_total", "outcome" => outcome).increment(1);
    let Err(error) = told else {
        tracing::info!(%call_id, action = action.word(), "the holder of the signalling was told of the end");
        return None;
    };
    let reason = error.reason();
    tracing::error!(%call_id, action = action.word(), %error, reason, "Meta may not know that the call is over");
    Some(Kind::Incident(types::Incident {
        reason: reason.to_owned(),
        message: format!("Meta may not have been told to {} the call: {error}.", action.word()),
        upstream_code: error.code(),
        command_id: String::new(),
    }))
}
