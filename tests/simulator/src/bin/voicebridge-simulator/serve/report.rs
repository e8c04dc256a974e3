//! What became of calls, deliveries and sessions, as JSON. Speech is told by the name of the recording.

use serde_json::{Value, json};
use voicebridge_simulator::{
    ai::SessionRecord,
    meta::{CallRecord, GraphExchange, Moment, WebhookReport},
    speech::{self, Recognised},
};

pub(super) fn call(record: &CallRecord) -> Value {
    let start = record.timeline.at(Moment::ConnectSent);
    let timeline: serde_json::Map<String, Value> = record
        .timeline
        .in_order()
        .into_iter()
        .filter_map(|(moment, at)| {
            let since = at.checked_duration_since(start?)?;
            Some((format!("{moment:?}"), json!(since.as_secs_f64() * 1_000.0)))
        })
        .collect();
    json!({
        "callId": record.call_id,
        "endedBy": format!("{:?}", record.ended_by),
        "graph": record.graph.iter().map(exchange).collect::<Value>(),
        "heard": speech::recognise_all(&record.pcm_heard).iter().map(recognised).collect::<Value>(),
        "speechHeardMs": u64::try_from(record.speech_heard.as_millis()).unwrap_or(u64::MAX),
        "packets": record.packets.len(),
        "sdpOffer": record.sdp_offer,
        "sdpPreAccept": record.sdp_pre_accept,
        "sdpAccept": record.sdp_accept,
        "terminate": record.terminate.as_ref().map(webhook),
        "violations": record.violations,
        "timelineMs": timeline,
    })
}

fn exchange(exchange: &GraphExchange) -> Value {
    let refusal = exchange.result.as_ref().err();
    json!({
        "action": exchange.action.name(),
        "granted": exchange.result.is_ok(),
        "code": refusal.map(|error| error.code),
        "details": refusal.map(|error| &error.details),
    })
}

fn recognised(found: &Recognised) -> Value {
    json!({"name": found.name, "correlation": found.correlation, "portion": found.portion})
}

pub(super) fn webhook(report: &WebhookReport) -> Value {
    json!({
        "events": report.events,
        "callIds": report.call_ids,
        "attempt": report.attempt,
        "elapsedMs": report.elapsed.as_secs_f64() * 1_000.0,
        "status": report.outcome.as_ref().ok(),
        "problem": report.outcome.as_ref().err(),
    })
}

pub(super) fn session(session: &SessionRecord) -> Value {
    let said: Vec<Value> =
        session.utterances.iter().map(|one| one.recognised.as_ref().map_or(Value::Null, recognised)).collect();
    let violations: Vec<&str> = session.violations.iter().map(|one| one.message.as_str()).collect();
    json!({
        "index": session.index,
        "httpStatus": session.http_status,
        "instructions": session.instructions,
        "config": session.config,
        "heard": said,
        "said": session.replies.iter().map(|reply| &reply.name).collect::<Vec<_>>(),
        "appendedBeforeUpdate": session.appends.before_update,
        "violations": violations,
        "closed": session.closed,
    })
}
