//! A call in the log: the milestones under the names operators know, what went wrong, and the
//! end, each with the call id and the milliseconds since the connect webhook.
//!
//! Never in it: words, numbers, SDP. Per-packet work is counted, not told.

use tracing::{info, warn};
use voicebridge_session::{EventKind, TerminationResult, event::Milestone};
use voicebridge_telemetry::labels;

use crate::{entry::Entry, journal::Record};

/// Logs what is worth a line.
pub(crate) fn write(entry: &Entry, record: &Record) {
    let elapsed_ms = record.elapsed_ms;
    // The session id is in the span; the call id is what people search for.
    let call_id = &entry.call_id;
    match &record.event.kind {
        EventKind::Milestone(milestone) => {
            let stage = stage_name(*milestone);
            info!(call_id, stage, elapsed_ms, "stage reached");
        }
        EventKind::OfferAnswered { warnings, codec, duration_ms } => {
            let warnings = warnings.join(",");
            info!(call_id, elapsed_ms, duration_ms, codec, warnings, "offer answered");
        }
        EventKind::TransportConnected { duration_ms } => {
            info!(call_id, elapsed_ms, duration_ms, "transport connected");
        }
        EventKind::ProviderReady { provider, model, provider_session_id, duration_ms } => {
            info!(call_id, elapsed_ms, duration_ms, provider, model, provider_session_id, "provider ready");
        }
        EventKind::BargedIn { heard_ms, received_ms, .. } => {
            info!(call_id, elapsed_ms, heard_ms, received_ms, "caller barged in");
        }
        EventKind::Incident { reason, message, upstream_code, .. } => {
            metrics::counter!("voicebridge_media_incidents_total", "reason" => labels::reason(reason)).increment(1);
            // What a provider says may quote the caller: the event has it, the log has the code.
            let message = upstream_code.is_empty().then_some(message.as_str());
            warn!(call_id, elapsed_ms, reason, upstream_code, message, "incident");
        }
        EventKind::Ended { termination, statistics, duration_ms, .. } => {
            let result = result_name(termination.result);
            let reason = labels::reason(&termination.reason);
            metrics::counter!("voicebridge_media_sessions_ended_total", "result" => result, "reason" => reason)
                .increment(1);
            // A session that never carried audio had no conversation: zeros would pull the percentiles down.
            if *duration_ms > 0 {
                metrics::histogram!("voicebridge_media_conversation_seconds").record(*duration_ms as f64 / 1_000.0);
            }
            info!(
                call_id,
                elapsed_ms,
                duration_ms,
                result,
                reason = termination.reason,
                upstream_code = termination.upstream_code,
                packets_received = statistics.packets_received,
                packets_sent = statistics.packets_sent,
                longest_send_gap_ms = statistics.longest_send_gap_ms,
                "session ended"
            );
        }
        _ => {}
    }
}

const fn stage_name(milestone: Milestone) -> &'static str {
    match milestone {
        Milestone::SessionCreated => "VOICE_BRIDGE_SESSION_CREATED",
        // What operators search their logs for since there was but one provider; the contract says AI_READY.
        Milestone::ProviderSessionCreated => "OPENAI_SESSION_CREATED",
        Milestone::BridgeActive => "MEDIA_BRIDGE_ACTIVE",
    }
}

const fn result_name(result: TerminationResult) -> &'static str {
    match result {
        TerminationResult::Completed => "completed",
        TerminationResult::Abandoned => "abandoned",
        TerminationResult::Rejected => "rejected",
        TerminationResult::Failed => "failed",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex, PoisonError};

    use metrics::{Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit};
    use voicebridge_audio::Time;
    use voicebridge_session::{Event, Models, Statistics, Termination, TerminationResult, Usage};

    use super::*;
    use crate::entry::Opening;

    /// What the histogram of conversations was given.
    #[derive(Default)]
    struct Conversations(Mutex<Vec<f64>>);

    impl HistogramFn for Conversations {
        fn record(&self, seconds: f64) {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(seconds);
        }
    }

    struct OneHistogram(Arc<Conversations>);

    impl Recorder for OneHistogram {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
            Counter::noop()
        }

        fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::noop()
        }

        fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
            assert_eq!(key.name(), "voicebridge_media_conversation_seconds");
            Histogram::from_arc(self.0.clone())
        }
    }

    fn ended(sequence: u64, duration_ms: u64) -> Event {
        let termination = Termination {
            result: TerminationResult::Completed,
            reason: "USER_HANGUP".to_owned(),
            message: String::new(),
            upstream_code: String::new(),
        };
        let (statistics, usage) = (Statistics::default(), Usage::default());
        let models = Models::default();
        let kind = EventKind::Ended { termination, statistics, usage, models, quality: None, duration_ms };
        Event { sequence, at: Time::ZERO, kind }
    }

    #[test]
    fn the_log_keeps_the_name_that_operators_search_for() {
        assert_eq!(stage_name(Milestone::ProviderSessionCreated), "OPENAI_SESSION_CREATED");
    }

    #[test]
    fn a_call_that_never_carried_audio_counts_as_no_conversation() {
        let conversations = Arc::new(Conversations::default());
        metrics::with_local_recorder(&OneHistogram(conversations.clone()), || {
            for duration_ms in [0, 61_500] {
                let entry = Entry::new(Opening {
                    session_id: "s".to_owned(),
                    call_id: "c".to_owned(),
                    started: Time::ZERO,
                    elapsed_ms: 0,
                    sdp_answer: String::new(),
                    warnings: Vec::new(),
                    arguments: Default::default(),
                });
                entry.record(ended(1, duration_ms));
            }
        });
        assert_eq!(*conversations.0.lock().unwrap_or_else(PoisonError::into_inner), [61.5]);
    }
}
