//! `voicebridge explain`: one call in words, from its webhook to its end. What happened, how good it sounded every five
//! seconds, what spoilt it, what the AI's provider counted, why it ended, and where that is written up.
//!
//! Tells what the call's events say; it measures nothing itself.

use voicebridge_proto::{
    control::v1::{Call, CallPhase, StreamEventsRequest},
    types::v1::{Event, Quality, event::Kind},
};
use voicebridge_server::json;

use crate::{
    args::Explain,
    calls,
    client::{Client, connect},
    describe,
    failure::refused,
    print::{DIM, TITLE, clean, outln},
    sound,
};

/// Where reasons are written up, in the repository; one page each.
const REASONS: &str = "docs/errors";

pub(crate) async fn run(args: Explain) -> anyhow::Result<()> {
    let mut client = connect(&args.access).await?;
    let call = calls::get(&mut client, &args.call).await?;
    if call.phase() != CallPhase::Ended {
        anyhow::bail!(
            "this call goes on; `voicebridge watch {}` follows it, and explain tells it once it ended",
            args.call
        );
    }
    let events = events(&mut client, &args.call).await?;
    if args.json {
        let events: Vec<_> = events.iter().map(json::value).collect();
        return Ok(outln(&serde_json::json!({"call": json::value(&call), "events": events}).to_string())?);
    }
    for line in story(&call, &events) {
        outln(&line)?;
    }
    Ok(())
}

/// All durable events of an ended call.
async fn events(client: &mut Client, id: &str) -> anyhow::Result<Vec<Event>> {
    let request = StreamEventsRequest { call_id: id.to_owned(), ..Default::default() };
    let mut answers = client.stream_events(request).await.map_err(|status| refused(&status))?.into_inner();
    let mut events = Vec::new();
    while let Some(answer) = answers.message().await.map_err(|status| refused(&status))? {
        events.extend(answer.event);
    }
    Ok(events)
}

fn story(call: &Call, events: &[Event]) -> Vec<String> {
    let mut lines = vec![
        format!("{TITLE}{}{TITLE:#}", clean(&call.call_id)),
        format!(
            "{} from {}, {}",
            describe::direction(call.direction()),
            describe::caller(call.caller.as_ref()),
            describe::moment(call.received_at)
        ),
        String::new(),
        format!("{TITLE}What happened{TITLE:#}"),
    ];
    let told = events.iter().filter(|event| !matches!(event.kind, Some(Kind::QualityReported(_))));
    lines.extend(told.filter_map(describe::event));
    lines.extend([String::new(), format!("{TITLE}How it sounded{TITLE:#}")]);
    lines.extend(how_it_sounded(call.quality.as_ref(), events));
    if let Some(usage) = call.usage.as_ref().filter(|usage| !usage.provider.is_empty()) {
        lines.extend([String::new(), format!("{TITLE}What it cost{TITLE:#}")]);
        lines.extend(describe::usage(usage));
    }
    lines.extend([String::new(), format!("{TITLE}How it ended{TITLE:#}")]);
    lines.extend(ending(call));
    lines
}

fn how_it_sounded(whole: Option<&Quality>, events: &[Event]) -> Vec<String> {
    let mut lines: Vec<String> = events
        .iter()
        .filter_map(|event| match &event.kind {
            Some(Kind::QualityReported(reported)) => {
                let quality = reported.quality.as_ref()?;
                Some(format!("{DIM}{:>7} ms{DIM:#}  {}", event.elapsed_ms, sound::in_a_line(quality)))
            }
            _ => None,
        })
        .collect();
    let Some(whole) = whole else {
        lines.push("audio never flowed".to_owned());
        return lines;
    };
    lines.push(format!("the call, {}: {}", describe::span(whole.period_ms), sound::in_a_line(whole)));
    lines.push(match whole.cause.as_str() {
        "" => "nothing spoilt it".to_owned(),
        cause => format!("what spoilt it most: {}", clean(cause)),
    });
    if whole.reports == 0 {
        lines.push(format!("{DIM}the caller's side sent no reports: loss on the way to it is not known{DIM:#}"));
    }
    lines
}

fn ending(call: &Call) -> Vec<String> {
    let lasted = describe::conversation_ms(call).map(|ms| format!(" after {}", describe::span(ms))).unwrap_or_default();
    let mut lines = vec![format!("{}{lasted}", describe::standing(call))];
    let Some(termination) = &call.termination else { return lines };
    if !termination.message.is_empty() {
        lines.push(clean(&termination.message));
    }
    // One that a caller of the API made up, as was possible before, has no page.
    let known =
        |reason: &str| reason.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_') && !reason.is_empty();
    if known(&termination.reason) {
        lines.push(format!("{DIM}see {REASONS}/{}.md{DIM:#}", termination.reason));
    }
    lines
}

#[cfg(test)]
mod tests {
    use voicebridge_proto::types::v1::{
        DirectionQuality, QualityReported, StageReached, Termination, TerminationResult,
    };

    use super::*;

    fn quality(period_ms: u64, loss_percent: f32, cause: &str) -> Quality {
        let uplink = DirectionQuality { loss_percent, mos: 3.1, missing_ms: 400, jitter_ms: 31, ..Default::default() };
        let downlink = DirectionQuality { mos: 4.4, round_trip_ms: Some(58), jitter_ms: 4, ..Default::default() };
        let (uplink, downlink) = (Some(uplink), Some(downlink));
        Quality { period_ms, uplink, downlink, reports: 5, cause: cause.to_owned() }
    }

    fn plain(call: &Call, events: &[Event]) -> String {
        anstream::adapter::strip_str(&story(call, events).join("\n")).to_string()
    }

    fn event(elapsed_ms: u64, kind: Kind) -> Event {
        Event { elapsed_ms, kind: Some(kind), ..Event::default() }
    }

    #[test]
    fn a_call_is_told_from_its_webhook_to_its_page() {
        let cause = "relay to us lost 8.0 %";
        let call = Call {
            call_id: "wacid.X=".into(),
            quality: Some(quality(61_000, 8.0, cause)),
            termination: Some(Termination {
                result: TerminationResult::Failed.into(),
                reason: "MEDIA_TIMEOUT".into(),
                message: "Nothing came from the caller.".into(),
                upstream_code: String::new(),
            }),
            ..Call::default()
        };
        let events = [
            event(0, Kind::StageReached(StageReached { stage: 1 })),
            event(5_100, Kind::QualityReported(QualityReported { quality: Some(quality(5_000, 8.0, cause)) })),
        ];
        let expect = "wacid.X=\ninbound from unknown, \n\nWhat happened\n      0 ms  WA_CALL_CONNECT\n\nHow it sounded\n   \
            5100 ms  caller 3.1 (lost 8.0 %, 400 ms missing, jitter 31 ms), agent 4.4 (jitter 4 ms, round trip 58 ms); \
            relay to us lost 8.0 %\nthe call, 1:01 min: caller 3.1 (lost 8.0 %, 400 ms missing, jitter 31 ms), agent 4.4 \
            (jitter 4 ms, round trip 58 ms); relay to us lost 8.0 %\nwhat spoilt it most: relay to us lost 8.0 %\n\nHow \
            it ended\nfailed MEDIA_TIMEOUT\nNothing came from the caller.\nsee docs/errors/MEDIA_TIMEOUT.md";
        assert_eq!(plain(&call, &events), expect);
    }

    #[test]
    fn what_is_not_known_is_not_made_up() {
        assert!(plain(&Call::default(), &[]).contains("audio never flowed"));
        let silent = Quality { reports: 0, ..quality(5_000, 0.0, "") };
        let text = plain(&Call { quality: Some(silent), ..Call::default() }, &[]);
        assert!(text.contains("nothing spoilt it") && text.contains("sent no reports"), "{text}");
        let own = Termination { reason: "CUSTOM_1\u{1b}[2J".into(), ..Termination::default() };
        let text = plain(&Call { termination: Some(own), ..Call::default() }, &[]);
        assert!(!text.contains("docs/errors") && !text.contains('\u{1b}'), "{text}");
    }
}
