//! Calls and events in words.

use std::collections::BTreeMap;

use jiff::Timestamp;
use voicebridge_proto::{
    control::v1::{Call, CallPhase},
    types::v1::{
        Caller, Direction, Event, GraphAction, MediaStatistics, ResponseStatus, Speaker, Stage, Termination,
        TerminationResult, Transcript, Usage, event::Kind,
    },
};

use crate::{
    print::{AGENT, CALLER, DIM, ERROR, GOOD, TITLE, WARN, clean},
    sound, timeline,
};

/// A moment in UTC, to the second; empty when there is none.
pub(crate) fn moment(at: Option<prost_types::Timestamp>) -> String {
    at.and_then(|at| Timestamp::new(at.seconds, at.nanos).ok())
        .map(|at| at.strftime("%Y-%m-%d %H:%M:%SZ").to_string())
        .unwrap_or_default()
}

/// `3.2 s`, `4:07 min`.
pub(crate) fn span(ms: u64) -> String {
    if ms < 60_000 {
        format!("{:.1} s", ms as f64 / 1000.0)
    } else {
        format!("{}:{:02} min", ms / 60_000, ms / 1000 % 60)
    }
}

/// From the answer to the end, milliseconds; none for a call not answered or not over.
pub(crate) fn conversation_ms(call: &Call) -> Option<u64> {
    let ms = |at: &prost_types::Timestamp| at.seconds * 1000 + i64::from(at.nanos) / 1_000_000;
    u64::try_from(ms(call.ended_at.as_ref()?) - ms(call.accepted_at.as_ref()?)).ok()
}

/// Where a call stands: its phase, or how it ended.
pub(crate) fn standing(call: &Call) -> String {
    match &call.termination {
        Some(termination) => ending(termination),
        None => format!("{GOOD}{}{GOOD:#}", phase(call.phase())),
    }
}

fn phase(phase: CallPhase) -> &'static str {
    match phase {
        CallPhase::Unspecified => "unknown",
        CallPhase::Placing => "looking for a node",
        CallPhase::PreAccepting => "delivering the answer",
        CallPhase::Connecting => "connecting",
        CallPhase::Accepting => "accepting",
        CallPhase::Active => "active",
        CallPhase::Ending => "ending",
        CallPhase::Ended => "ended",
    }
}

/// `completed USER_HANGUP`, in the colour of the result.
pub(crate) fn ending(termination: &Termination) -> String {
    let (style, result) = match termination.result() {
        TerminationResult::Completed => (DIM, "completed"),
        TerminationResult::Abandoned => (WARN, "abandoned"),
        TerminationResult::Rejected => (WARN, "rejected"),
        TerminationResult::Failed => (ERROR, "failed"),
        TerminationResult::Unspecified => (WARN, "ended"),
    };
    let upstream = match termination.upstream_code.as_str() {
        "" => String::new(),
        code => format!(" ({})", clean(code)),
    };
    format!("{style}{result} {}{upstream}{style:#}", clean(&termination.reason))
}

/// What is known of the caller: number, else user id, and the name.
pub(crate) fn caller(caller: Option<&Caller>) -> String {
    let Some(caller) = caller else { return "unknown".to_owned() };
    let id = match (caller.phone_number.as_str(), caller.user_id.as_str()) {
        ("", "") => "unknown".to_owned(),
        ("", user) => clean(user),
        (number, _) => format!("+{}", clean(number)),
    };
    if caller.name.is_empty() { id } else { format!("{id} {}", clean(&caller.name)) }
}

/// `campaign=spring team=a`, by name.
pub(crate) fn labels(labels: &BTreeMap<String, String>) -> String {
    let pairs: Vec<_> = labels.iter().map(|(name, value)| format!("{}={}", clean(name), clean(value))).collect();
    pairs.join(" ")
}

/// Which way a call goes.
pub(crate) fn direction(direction: Direction) -> &'static str {
    match direction {
        Direction::Outbound => "outbound",
        Direction::Inbound | Direction::Unspecified => "inbound",
    }
}

/// `caller  Bom dia`, with a mark when the agent was cut short.
pub(crate) fn transcript(transcript: &Transcript) -> String {
    let (style, who) = speaker(transcript.speaker());
    let cut = if transcript.interrupted { format!(" {WARN}-- interrupted{WARN:#}") } else { String::new() };
    format!("{style}{who:<6}{style:#}  {}{cut}", clean(&transcript.text))
}

fn speaker(speaker: Speaker) -> (anstyle::Style, &'static str) {
    match speaker {
        Speaker::Agent => (AGENT, "agent"),
        Speaker::Caller | Speaker::Unspecified => (CALLER, "caller"),
    }
}

/// Counters of both directions in one line.
pub(crate) fn statistics(statistics: &MediaStatistics) -> String {
    let MediaStatistics {
        packets_received, packets_lost, jitter_ms, packets_sent, longest_send_gap_ms, underruns, ..
    } = statistics;
    format!(
        "{packets_received} packets in, {packets_lost} lost, jitter {jitter_ms} ms; {packets_sent} out, longest gap \
         {longest_send_gap_ms} ms, {underruns} underruns"
    )
}

/// What a call cost, as the provider counts it, in lines.
pub(crate) fn usage(usage: &Usage) -> Vec<String> {
    let Usage { input_text_tokens, input_audio_tokens, cached_text_tokens, cached_audio_tokens, .. } = usage;
    let Usage { output_text_tokens, output_audio_tokens, transcription_tokens, transcription_ms, .. } = usage;
    let mut lines = vec![format!(
        "{}: {input_text_tokens} tokens of text in ({cached_text_tokens} cached), {input_audio_tokens} of audio \
         ({cached_audio_tokens} cached); {output_text_tokens} of text out, {output_audio_tokens} of audio",
        clean(format!("{} {}", usage.provider, usage.model).trim())
    )];
    if !usage.transcription_model.is_empty() && (*transcription_tokens, *transcription_ms) != (0, 0) {
        let model = clean(&usage.transcription_model);
        let counted = match transcription_tokens {
            0 => span(*transcription_ms),
            tokens => format!("{tokens} tokens"),
        };
        lines.push(format!("{model}: {counted} transcribed"));
    }
    lines
}

/// An event as one line, or none where there is nothing for a person in it.
pub(crate) fn event(event: &Event) -> Option<String> {
    let what = kind(event.kind.as_ref()?)?;
    Some(format!("{DIM}{:>7} ms{DIM:#}  {what}", event.elapsed_ms))
}

fn kind(kind: &Kind) -> Option<String> {
    Some(match kind {
        Kind::StageReached(reached) => stage(reached.stage()),
        Kind::OfferAnswered(answered) if answered.warnings.is_empty() => {
            format!("offer answered in {} ms, {}", answered.duration_ms, clean(&answered.codec))
        }
        Kind::OfferAnswered(answered) => format!(
            "offer answered in {} ms, {}; noticed: {}",
            answered.duration_ms,
            clean(&answered.codec),
            clean(&answered.warnings.join(", "))
        ),
        Kind::TransportConnected(connected) => format!("ICE and DTLS up in {} ms", connected.duration_ms),
        Kind::ProviderReady(ready) => {
            format!("AI ready in {} ms: {} {}", ready.duration_ms, clean(&ready.provider), clean(&ready.model))
        }
        Kind::CallerSpeechStarted(_) => format!("{CALLER}caller{CALLER:#}  {DIM}speaks{DIM:#}"),
        Kind::Transcript(said) => transcript(said),
        Kind::BargedIn(cut) => format!(
            "{WARN}barge-in{WARN:#}: {} ms of {} ms were heard of what the agent was saying",
            cut.heard_ms, cut.received_ms
        ),
        Kind::DtmfReceived(key) => format!("{CALLER}caller{CALLER:#}  pressed {}", clean(&key.digit)),
        Kind::QualityReported(reported) => {
            format!("{DIM}sound{DIM:#}   {}", sound::in_a_line(reported.quality.as_ref()?))
        }
        Kind::BargeInReverted(held) => {
            format!("{DIM}agent held back for {} ms: the caller did not speak on{DIM:#}", held.held_ms)
        }
        Kind::ResponseFinished(finished) if finished.status() == ResponseStatus::Failed => {
            format!("{WARN}reply failed{WARN:#}: {}", clean(&finished.status_reason))
        }
        Kind::ToolCalled(called) => {
            format!("{AGENT}agent{AGENT:#}   calls {}({})", clean(&called.name), clean(&called.arguments))
        }
        Kind::Incident(incident) => {
            format!("{WARN}{}{WARN:#}: {}", clean(&incident.reason), clean(&incident.message))
        }
        Kind::StatisticsReported(reported) => {
            format!("{DIM}{}{DIM:#}", statistics(reported.statistics.as_ref()?))
        }
        Kind::GraphAnswered(answered) if answered.error_code == 0 && answered.status == 200 => {
            format!("{DIM}Graph: {} 200 in {} ms{DIM:#}", graph_action(answered.action()), answered.duration_ms)
        }
        Kind::GraphAnswered(answered) => format!(
            "{ERROR}Graph{ERROR:#}: {} {} in {} ms, code {}: {}",
            graph_action(answered.action()),
            answered.status,
            answered.duration_ms,
            answered.error_code,
            clean(&answered.error_details)
        ),
        Kind::CallEnded(ended) => {
            let termination = ended.termination.as_ref()?;
            format!("{TITLE}call ended{TITLE:#}: {}  {}", ending(termination), clean(&termination.message))
        }
        // Said better by others: final transcripts, the stage, CallEnded.
        Kind::PartialTranscript(_)
        | Kind::CallerSpeechStopped(_)
        | Kind::ResponseStarted(_)
        | Kind::ResponseFinished(_)
        | Kind::SessionEnded(_) => return None,
    })
}

/// Meta's word for it.
fn graph_action(action: GraphAction) -> &'static str {
    match action {
        GraphAction::PreAccept => "pre_accept",
        GraphAction::Accept => "accept",
        GraphAction::Reject => "reject",
        GraphAction::Terminate => "terminate",
        GraphAction::Unspecified => "?",
    }
}

fn stage(stage: Stage) -> String {
    format!("{TITLE}{}{TITLE:#}", timeline::name(stage))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use voicebridge_proto::types::v1::{BargedIn, CallEnded, PartialTranscript};

    use super::*;

    #[track_caller]
    fn check(kind: Kind, expect: Option<&str>) {
        let line = event(&Event { elapsed_ms: 1250, kind: Some(kind), ..Event::default() });
        let line = line.map(|line| anstream::adapter::strip_str(&line).to_string());
        assert_eq!(line.as_deref(), expect);
    }

    #[test]
    fn events_read_as_sentences() {
        let said = Transcript { speaker: 2, text: "Good mor".into(), interrupted: true, ..Transcript::default() };
        check(Kind::Transcript(said), Some("   1250 ms  agent   Good mor -- interrupted"));
        check(
            Kind::BargedIn(BargedIn { item_id: "a".into(), heard_ms: 640, received_ms: 4000 }),
            Some("   1250 ms  barge-in: 640 ms of 4000 ms were heard of what the agent was saying"),
        );
        let termination = Termination {
            result: TerminationResult::Failed.into(),
            reason: "GRAPH_REFUSED".into(),
            message: "Meta refused the answer.".into(),
            upstream_code: "138008".into(),
        };
        check(
            Kind::CallEnded(CallEnded { termination: Some(termination), duration_ms: 0 }),
            Some("   1250 ms  call ended: failed GRAPH_REFUSED (138008)  Meta refused the answer."),
        );
        check(Kind::PartialTranscript(PartialTranscript::default()), None);
    }

    #[test]
    fn what_has_a_price_of_its_own_is_told_apart() {
        let told = Usage {
            input_text_tokens: 10,
            input_audio_tokens: 20,
            cached_text_tokens: 3,
            cached_audio_tokens: 4,
            output_text_tokens: 5,
            output_audio_tokens: 6,
            provider: "openai".into(),
            model: "m".into(),
            ..Usage::default()
        };
        let first = "openai m: 10 tokens of text in (3 cached), 20 of audio (4 cached); 5 of text out, 6 of audio";
        assert_eq!(usage(&told), [first]);
        let by_time = Usage { transcription_model: "t".into(), transcription_ms: 1_600, ..told.clone() };
        assert_eq!(usage(&by_time), [first, "t: 1.6 s transcribed"]);
        let by_tokens = Usage { transcription_model: "t".into(), transcription_tokens: 40, ..told };
        assert_eq!(usage(&by_tokens), [first, "t: 40 tokens transcribed"]);
    }

    #[test]
    fn what_is_not_known_of_a_caller_is_left_out() {
        let some = |number: &str, user: &str, name: &str| Caller {
            phone_number: number.into(),
            user_id: user.into(),
            name: name.into(),
        };
        assert_eq!(caller(None), "unknown");
        assert_eq!(caller(Some(&some("", "", ""))), "unknown");
        assert_eq!(caller(Some(&some("5511900000001", "BR.1", "Ana"))), "+5511900000001 Ana");
        assert_eq!(caller(Some(&some("", "BR.1", ""))), "BR.1");
    }

    #[test]
    fn durations_and_moments() {
        assert_eq!((span(3249), span(247_000)), ("3.2 s".to_owned(), "4:07 min".to_owned()));
        let at = |seconds| Some(prost_types::Timestamp { seconds, nanos: 500_000_000 });
        assert_eq!(moment(at(1_790_000_000)), "2026-09-21 14:13:20Z");
        assert_eq!(moment(at(i64::MAX)), "");
        let call = Call { accepted_at: at(10), ended_at: at(14), ..Call::default() };
        assert_eq!(conversation_ms(&call).unwrap(), 4000);
        assert_eq!(conversation_ms(&Call { accepted_at: at(14), ended_at: at(10), ..Call::default() }), None);
    }
}
