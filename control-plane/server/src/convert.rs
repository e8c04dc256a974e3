//! The one place where the contract's types and ours meet.

mod older;

use std::{collections::BTreeMap, time::Duration};

use prost::Message as _;
use prost_types::Timestamp;
use voicebridge_core::{
    call_life,
    identity::{CallId, Caller, PhoneNumber, UserId},
    labels::Labels,
    termination::{Termination, TerminationResult},
};
use voicebridge_proto::{
    control::v1 as control,
    media::v1 as media,
    types::v1::{self as types, EventKind, event::Kind},
};
use voicebridge_text::name;

use crate::{
    graph::Answer,
    scope::{Scope, Scopes},
    store::{CallRow, Holder, KeyRow, NewEvent, StoredEvent},
};

pub(crate) fn timestamp(ms: i64) -> Timestamp {
    Timestamp { seconds: ms.div_euclid(1_000), nanos: (ms.rem_euclid(1_000) * 1_000_000) as i32 }
}

fn millis(timestamp: &Timestamp) -> i64 {
    timestamp.seconds.saturating_mul(1_000).saturating_add(i64::from(timestamp.nanos) / 1_000_000)
}

/// An instant of a request, if it is one (RFC 3339's years 1 to 9999).
pub(crate) fn instant_ms(timestamp: &Timestamp) -> Option<i64> {
    const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
    let is_one = SECONDS.contains(&timestamp.seconds) && (0..1_000_000_000).contains(&timestamp.nanos);
    is_one.then(|| millis(timestamp))
}

/// Between two instants of the wall clock; 0 when it was set back in between.
pub(crate) fn elapsed_ms(from_ms: i64, to_ms: i64) -> u64 {
    u64::try_from(to_ms.saturating_sub(from_ms)).unwrap_or(0)
}

pub(crate) fn termination_to_wire(termination: &Termination) -> types::Termination {
    let result = match termination.result {
        TerminationResult::Completed => types::TerminationResult::Completed,
        TerminationResult::Abandoned => types::TerminationResult::Abandoned,
        TerminationResult::Rejected => types::TerminationResult::Rejected,
        TerminationResult::Failed => types::TerminationResult::Failed,
    };
    types::Termination {
        result: result.into(),
        reason: termination.reason.clone().into_owned(),
        message: termination.message.clone(),
        upstream_code: termination.upstream_code.clone(),
    }
}

pub(crate) const fn result_from_wire(result: types::TerminationResult) -> Option<TerminationResult> {
    match result {
        types::TerminationResult::Completed => Some(TerminationResult::Completed),
        types::TerminationResult::Abandoned => Some(TerminationResult::Abandoned),
        types::TerminationResult::Rejected => Some(TerminationResult::Rejected),
        types::TerminationResult::Failed => Some(TerminationResult::Failed),
        types::TerminationResult::Unspecified => None,
    }
}

/// A termination without a known result is a failure.
pub(crate) fn termination_from_wire(termination: types::Termination) -> Termination {
    let result = result_from_wire(termination.result()).unwrap_or(TerminationResult::Failed);
    Termination {
        result,
        reason: termination.reason.into(),
        message: termination.message,
        upstream_code: termination.upstream_code,
    }
}

pub(crate) fn caller_to_wire(caller: &Caller) -> types::Caller {
    types::Caller {
        phone_number: caller.phone_number.as_ref().map_or_else(String::new, |number| number.digits().to_owned()),
        user_id: caller.user_id.as_ref().map_or_else(String::new, |id| id.as_str().to_owned()),
        name: caller.name.clone().unwrap_or_default(),
    }
}

pub(crate) fn caller_from_wire(caller: types::Caller) -> Caller {
    Caller {
        phone_number: PhoneNumber::parse(&caller.phone_number),
        user_id: UserId::parse(&caller.user_id),
        name: name::cleaned(&caller.name),
    }
}

pub(crate) fn signalling_stage_to_wire(stage: call_life::SignallingStage) -> types::SignallingStage {
    match stage {
        call_life::SignallingStage::AnswerDelivered => types::SignallingStage::AnswerDelivered,
        call_life::SignallingStage::Accepted => types::SignallingStage::Accepted,
    }
}

pub(crate) fn signalling_stage_from_wire(stage: types::SignallingStage) -> Option<call_life::SignallingStage> {
    match stage {
        types::SignallingStage::AnswerDelivered => Some(call_life::SignallingStage::AnswerDelivered),
        types::SignallingStage::Accepted => Some(call_life::SignallingStage::Accepted),
        types::SignallingStage::Unspecified => None,
    }
}

/// The name operators know, and the contract's value.
pub(crate) fn stage_to_wire(stage: call_life::Stage) -> (&'static str, types::Stage) {
    match stage {
        call_life::Stage::Connect => ("WA_CALL_CONNECT", types::Stage::WaCallConnect),
        call_life::Stage::PreAccepted => ("WA_CALL_PRE_ACCEPTED", types::Stage::WaCallPreAccepted),
        call_life::Stage::Accepted => ("WA_CALL_ACCEPTED", types::Stage::WaCallAccepted),
    }
}

/// The contract's name and number of an event's kind.
pub(crate) const fn event_kind(kind: &Kind) -> (&'static str, EventKind) {
    match kind {
        Kind::StageReached(_) => ("stage_reached", EventKind::StageReached),
        Kind::OfferAnswered(_) => ("offer_answered", EventKind::OfferAnswered),
        Kind::TransportConnected(_) => ("transport_connected", EventKind::TransportConnected),
        Kind::ProviderReady(_) => ("provider_ready", EventKind::ProviderReady),
        Kind::CallerSpeechStarted(_) => ("caller_speech_started", EventKind::CallerSpeechStarted),
        Kind::CallerSpeechStopped(_) => ("caller_speech_stopped", EventKind::CallerSpeechStopped),
        Kind::Transcript(_) => ("transcript", EventKind::Transcript),
        Kind::PartialTranscript(_) => ("partial_transcript", EventKind::PartialTranscript),
        Kind::ResponseStarted(_) => ("response_started", EventKind::ResponseStarted),
        Kind::ResponseFinished(_) => ("response_finished", EventKind::ResponseFinished),
        Kind::BargedIn(_) => ("barged_in", EventKind::BargedIn),
        Kind::BargeInReverted(_) => ("barge_in_reverted", EventKind::BargeInReverted),
        Kind::DtmfReceived(_) => ("dtmf_received", EventKind::DtmfReceived),
        Kind::QualityReported(_) => ("quality_reported", EventKind::QualityReported),
        Kind::ToolCalled(_) => ("tool_called", EventKind::ToolCalled),
        Kind::StatisticsReported(_) => ("statistics_reported", EventKind::StatisticsReported),
        Kind::Incident(_) => ("incident", EventKind::Incident),
        Kind::SessionEnded(_) => ("session_ended", EventKind::SessionEnded),
        Kind::GraphAnswered(_) => ("graph_answered", EventKind::GraphAnswered),
        Kind::CallEnded(_) => (crate::store::LAST_KIND, EventKind::CallEnded),
    }
}

/// Not stored: for whoever listens now.
const fn is_transient(kind: EventKind) -> bool {
    matches!(kind, EventKind::PartialTranscript | EventKind::StatisticsReported)
}

/// What an event of a node means for the call's life.
pub(crate) fn life_event(kind: &Kind) -> Option<call_life::Event> {
    match kind {
        Kind::TransportConnected(_) => Some(call_life::Event::TransportConnected),
        Kind::ProviderReady(_) => Some(call_life::Event::ProviderReady),
        Kind::StageReached(reached) if reached.stage() == types::Stage::MediaBridgeActive => {
            Some(call_life::Event::BridgeActive)
        }
        Kind::SessionEnded(ended) => {
            let termination = ended.termination.clone().unwrap_or_default();
            Some(call_life::Event::SessionEnded(termination_from_wire(termination)))
        }
        _ => None,
    }
}

/// An event of the control plane itself, for the store.
pub(crate) fn own_event_to_row(call: &CallRow, now_ms: i64, kind: Kind) -> NewEvent {
    let name = event_kind(&kind).0;
    let event = types::Event {
        call_id: String::new(),
        session_id: call.session.as_ref().map_or_else(String::new, |session| session.session_id.clone()),
        sequence: 0,
        occurred_at: Some(timestamp(now_ms)),
        node: String::new(),
        region: String::new(),
        elapsed_ms: elapsed_ms(call.received_at_ms, now_ms),
        kind: Some(kind),
    };
    NewEvent { kind: name, occurred_at_ms: now_ms, node_sequence: None, payload: event.encode_to_vec() }
}

/// For the store; `None` for transient events and those of kinds we do not know.
pub(crate) fn event_to_row(mut event: types::Event, now_ms: i64, node_sequence: Option<u64>) -> Option<NewEvent> {
    let (kind, number) = event_kind(event.kind.as_ref()?);
    if is_transient(number) {
        return None;
    }
    (event.call_id, event.sequence) = (String::new(), 0);
    let occurred_at_ms = event.occurred_at.as_ref().map_or(now_ms, millis);
    Some(NewEvent { kind, occurred_at_ms, node_sequence, payload: event.encode_to_vec() })
}

/// From the store.
///
/// # Errors
/// The row's bytes are no event: the file was changed by somebody else, or by a version ahead of this one.
pub(crate) fn event_from_row(call_id: &CallId, row: &StoredEvent) -> Result<types::Event, prost::DecodeError> {
    let mut event = types::Event::decode(row.payload.as_slice())?;
    older::complete(&mut event, &row.payload)?;
    // In the bytes it has none, or one that calls had before.
    call_id.as_str().clone_into(&mut event.call_id);
    event.sequence = row.sequence;
    Ok(event)
}

/// What is asked of a call, as its node is told.
pub(crate) fn command_to_node(command: control::Command) -> media::Command {
    use control::command::Kind;
    let kind = command.kind.map(|kind| match kind {
        Kind::Say(control::Say { text }) => media::command::Kind::Say(media::Say { text }),
        Kind::Interrupt(control::Interrupt {}) => media::command::Kind::Interrupt(media::Interrupt {}),
        Kind::InjectText(control::InjectText { text }) => media::command::Kind::InjectText(media::InjectText { text }),
        Kind::SendDtmf(control::SendDtmf { digits }) => media::command::Kind::SendDtmf(media::SendDtmf { digits }),
    });
    media::Command { kind }
}

/// `None` if it is unknown.
pub(crate) fn end_reason_from_wire(reason: i32) -> Option<call_life::EndReason> {
    Some(match control::EndReason::try_from(reason).ok()? {
        control::EndReason::Unspecified | control::EndReason::ApiHangup => call_life::EndReason::ApiHangup,
        control::EndReason::UserHangup => call_life::EndReason::UserHangup,
        control::EndReason::MetaFailed => call_life::EndReason::MetaFailed,
        control::EndReason::MediaTimeout => call_life::EndReason::MediaTimeout,
        control::EndReason::GraphRefused => call_life::EndReason::GraphRefused,
        control::EndReason::GraphUnreachable => call_life::EndReason::GraphUnreachable,
        control::EndReason::RingTimeout => call_life::EndReason::RingTimeout,
    })
}

fn graph_action(action: call_life::GraphAction) -> types::GraphAction {
    match action {
        call_life::GraphAction::PreAccept => types::GraphAction::PreAccept,
        call_life::GraphAction::Accept => types::GraphAction::Accept,
        call_life::GraphAction::Reject => types::GraphAction::Reject,
        call_life::GraphAction::Terminate => types::GraphAction::Terminate,
    }
}

pub(crate) fn graph_answered(action: call_life::GraphAction, answer: &Answer) -> types::GraphAnswered {
    let error = answer.error.as_ref();
    types::GraphAnswered {
        action: graph_action(action).into(),
        status: u32::from(answer.status),
        duration_ms: answer.duration_ms,
        error_code: error.map_or(0, |error| i32::try_from(error.code).unwrap_or_default()),
        error_details: match (error, answer.silence) {
            (Some(error), _) => error.text().to_owned(),
            (None, Some(silence)) => silence.to_owned(),
            (None, None) => String::new(),
        },
        fbtrace_id: error.map_or_else(String::new, |error| error.fbtrace_id.clone()),
    }
}

pub(crate) fn phase_to_wire(word: &str) -> control::CallPhase {
    match word {
        "PLACING" => control::CallPhase::Placing,
        "PRE_ACCEPTING" => control::CallPhase::PreAccepting,
        "CONNECTING" => control::CallPhase::Connecting,
        "ACCEPTING" => control::CallPhase::Accepting,
        "ACTIVE" => control::CallPhase::Active,
        "ENDING" => control::CallPhase::Ending,
        "ENDED" => control::CallPhase::Ended,
        _ => control::CallPhase::Unspecified,
    }
}

pub(crate) fn mode(holder: Holder) -> types::SignallingMode {
    match holder {
        Holder::Managed | Holder::SelfStaged => types::SignallingMode::Staged,
        Holder::SelfImmediate => types::SignallingMode::Immediate,
    }
}

/// A call as API callers see it, without what only its events tell.
pub(crate) fn call_to_wire(row: &CallRow) -> control::Call {
    let session = row.session.clone().unwrap_or_default();
    control::Call {
        call_id: row.call_id.as_str().to_owned(),
        wacid: row.wacid.as_str().to_owned(),
        session_id: session.session_id,
        direction: types::Direction::Inbound.into(),
        phase: phase_to_wire(&row.phase).into(),
        caller: Some(caller_to_wire(&row.caller)),
        phone_number_id: row.phone_number_id.clone(),
        node_id: session.node_id,
        region: session.region,
        received_at: Some(timestamp(row.received_at_ms)),
        accepted_at: row.accepted_at_ms.map(timestamp),
        ended_at: row.ended_at_ms.map(timestamp),
        termination: row.ended_at_ms.and(row.termination.as_ref()).map(termination_to_wire),
        timeline: Vec::new(),
        usage: None,
        statistics: None,
        last_sequence: row.last_sequence,
        quality: None,
        labels: labels_to_wire(&row.labels),
        deeplink_payload: row.payloads.deeplink.clone().unwrap_or_default(),
        cta_payload: row.payloads.cta.clone().unwrap_or_default(),
        biz_opaque_callback_data: row.payloads.biz_opaque.clone().unwrap_or_default(),
    }
}

pub(crate) fn labels_to_wire(labels: &Labels) -> BTreeMap<String, String> {
    labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Adds what an event tells to the call.
pub(crate) fn add_event(call: &mut control::Call, event: types::Event) {
    match event.kind {
        Some(Kind::StageReached(reached)) => {
            call.timeline.push(control::TimelineEntry { stage: reached.stage, elapsed_ms: event.elapsed_ms });
        }
        Some(Kind::SessionEnded(ended)) => {
            call.usage = ended.usage;
            call.statistics = ended.statistics;
            call.quality = ended.quality;
        }
        _ => {}
    }
}

pub(crate) fn duration_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn scope_to_wire(scope: Scope) -> control::Scope {
    match scope {
        Scope::CallsRead => control::Scope::CallsRead,
        Scope::CallsWrite => control::Scope::CallsWrite,
        Scope::Nodes => control::Scope::Nodes,
        Scope::Admin => control::Scope::Admin,
    }
}

/// `None` if one of them is unknown.
pub(crate) fn scopes_from_wire(scopes: &[i32]) -> Option<Scopes> {
    let known = |wire| Scope::ALL.into_iter().find(|scope| i32::from(scope_to_wire(*scope)) == wire);
    scopes.iter().map(|wire| known(*wire)).collect()
}

pub(crate) fn key_to_wire(row: &KeyRow) -> control::Key {
    control::Key {
        key_id: row.key_id.clone(),
        name: row.name.clone(),
        scopes: row.scopes.given().map(|scope| scope_to_wire(scope).into()).collect(),
        created_at: Some(timestamp(row.created_at_ms)),
        expires_at: row.expires_at_ms.map(timestamp),
        revoked_at: row.revoked_at_ms.map(timestamp),
        last_used_at: row.last_used_at_ms.map(timestamp),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// Cached tokens were one number once, as field 3 of `Usage`; a number of today never means it.
    #[test]
    fn an_end_that_was_stored_before_cached_tokens_were_split_is_read() {
        const USAGE: [u8; 6] = [0x08, 5, 0x18, 40, 0x28, 7];
        let ended: Vec<u8> = [&[0x1a, USAGE.len() as u8], USAGE.as_slice(), &[0x20, 9]].concat();
        let payload = [&[0x38, 99, 0x92, 0x02, ended.len() as u8], ended.as_slice()].concat();
        let row = StoredEvent { sequence: 3, payload, is_last: false };
        let event = event_from_row(&crate::ids::example("old"), &row).unwrap();
        let Some(Kind::SessionEnded(ended)) = event.kind else { panic!("{event:?}") };
        let usage = types::Usage { input_text_tokens: 5, output_audio_tokens: 7, ..types::Usage::default() };
        assert_eq!((event.sequence, event.elapsed_ms, ended.duration_ms, ended.usage), (3, 99, 9, Some(usage)));
    }
}
