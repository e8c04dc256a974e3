//! `voicebridge calls`: the list, or one call from webhook to end.

use anyhow::Context as _;
use voicebridge_proto::{
    control::v1::{
        Call, CallFilter, CallPhase, CallView, GetCallRequest, ListCallsRequest, ListTranscriptsRequest,
        StreamEventsRequest,
    },
    types::v1::{Transcript, event::Kind},
};
use voicebridge_server::json;

use crate::{
    args::{Calls, Search},
    client::{Client, connect},
    describe,
    failure::refused,
    print::{DIM, TITLE, clean, outln},
    timeline::{self, GraphTimes},
};

/// What the control plane gives at once.
const MAX_PAGE: u32 = 1000;

pub(crate) async fn run(args: Calls) -> anyhow::Result<()> {
    let mut client = connect(&args.access).await?;
    match &args.call {
        Some(id) => show(&mut client, id, args.json).await,
        None => list(&mut client, &args).await,
    }
}

async fn list(client: &mut Client, args: &Calls) -> anyhow::Result<()> {
    let calls = found(client, &args.search, args.limit).await?;
    if args.json {
        return calls.iter().try_for_each(|call| Ok(outln(&json::line(call))?));
    }
    if calls.is_empty() {
        let is_any = args.search.filter() == CallFilter::default();
        let what = if is_any { "calls yet" } else { "such calls" };
        outln(&format!("No {what}. `voicebridge demo` makes some, `voicebridge watch` waits for them."))?;
    }
    for call in &calls {
        outln(&format!(
            "{DIM}{:<20}{DIM:#}  {:<9} {:<24} {:>9}  {}",
            describe::moment(call.received_at),
            clean(&call.region),
            describe::caller(call.caller.as_ref()),
            describe::conversation_ms(call).map(describe::span).unwrap_or_default(),
            describe::standing(call),
        ))?;
        outln(&format!("  {DIM}{}{DIM:#}", clean(&call.call_id)))?;
    }
    Ok(())
}

/// The first calls of those searched for, page by page up to `limit`.
async fn found(client: &mut Client, search: &Search, limit: u32) -> anyhow::Result<Vec<Call>> {
    let mut calls: Vec<Call> = Vec::new();
    let mut page_token = String::new();
    loop {
        let left = limit - u32::try_from(calls.len()).context("more calls than were asked for")?;
        let request = ListCallsRequest {
            page_size: left.min(MAX_PAGE),
            page_token,
            filter: Some(search.filter()),
            order: search.order().into(),
            view: CallView::Basic.into(),
        };
        let page = client.list_calls(request).await.map_err(|status| refused(&status))?.into_inner();
        calls.extend(page.calls.into_iter().take(left as usize));
        page_token = page.next_page_token;
        if page_token.is_empty() || calls.len() >= limit as usize {
            return Ok(calls);
        }
    }
}

async fn show(client: &mut Client, id: &str, as_json: bool) -> anyhow::Result<()> {
    let call = get(client, id).await?;
    let said = transcripts(client, &call.call_id).await?;
    if as_json {
        let said: Vec<_> = said.iter().map(json::value).collect();
        return Ok(outln(&serde_json::json!({"call": json::value(&call), "transcripts": said}).to_string())?);
    }
    // The events of a call still going on would not end.
    let graph = if call.phase() == CallPhase::Ended { graph_times(client, id).await? } else { GraphTimes::default() };
    for line in card(&call, &said, graph) {
        outln(&line)?;
    }
    Ok(())
}

/// One call.
pub(crate) async fn get(client: &mut Client, id: &str) -> anyhow::Result<Call> {
    let request = GetCallRequest { call_id: id.to_owned() };
    let answer = client.get_call(request).await.map_err(|status| refused(&status))?.into_inner();
    answer.call.context("the control plane answered without a call; are both of the same version?")
}

/// All that was said on a call, in the order of its beginning.
pub(crate) async fn transcripts(client: &mut Client, id: &str) -> anyhow::Result<Vec<Transcript>> {
    let mut request = ListTranscriptsRequest { call_id: id.to_owned(), page_size: MAX_PAGE, ..Default::default() };
    let mut said = Vec::new();
    loop {
        let page = client.list_transcripts(request.clone()).await.map_err(|status| refused(&status))?.into_inner();
        said.extend(page.transcripts);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            return Ok(said);
        }
    }
}

/// How long Graph took for its two steps, from the events of an ended call.
async fn graph_times(client: &mut Client, id: &str) -> anyhow::Result<GraphTimes> {
    let request = StreamEventsRequest { call_id: id.to_owned(), ..Default::default() };
    let mut events = client.stream_events(request).await.map_err(|status| refused(&status))?.into_inner();
    let mut times = GraphTimes::default();
    while let Some(answer) = events.message().await.map_err(|status| refused(&status))? {
        if let Some(Kind::GraphAnswered(answered)) = answer.event.and_then(|event| event.kind) {
            times.note(&answered);
        }
    }
    Ok(times)
}

/// Everything there is to say about one call.
fn card(call: &Call, said: &[Transcript], graph: GraphTimes) -> Vec<String> {
    let mut lines = vec![
        format!("{TITLE}{}{TITLE:#}", clean(&call.call_id)),
        format!(
            "{} from {}, {}",
            describe::direction(call.direction()),
            describe::caller(call.caller.as_ref()),
            describe::moment(call.received_at)
        ),
    ];
    if !call.node_id.is_empty() {
        lines.push(format!("on node {} in region {}", clean(&call.node_id), clean(&call.region)));
    }
    let lasted = describe::conversation_ms(call).map(|ms| format!(" after {}", describe::span(ms))).unwrap_or_default();
    lines.push(format!("{}{lasted}", describe::standing(call)));
    if let Some(termination) = call.termination.as_ref().filter(|termination| !termination.message.is_empty()) {
        lines.push(format!("{DIM}{}{DIM:#}", clean(&termination.message)));
    }
    for (name, payload) in [
        ("link", &call.deeplink_payload),
        ("button", &call.cta_payload),
        ("callback data", &call.biz_opaque_callback_data),
    ] {
        if !payload.is_empty() {
            lines.push(format!("{name}: {}", clean(payload)));
        }
    }
    if !call.labels.is_empty() {
        lines.push(describe::labels(&call.labels));
    }
    lines.push(String::new());
    lines.extend(timeline::lines(call, graph));
    if !said.is_empty() {
        lines.push(String::new());
        lines.extend(said.iter().map(describe::transcript));
    }
    if let Some(statistics) = &call.statistics {
        lines.push(String::new());
        lines.push(format!("{DIM}{}{DIM:#}", describe::statistics(statistics)));
    }
    let usage = call.usage.iter().filter(|usage| !usage.provider.is_empty()).flat_map(describe::usage);
    lines.extend(usage.map(|line| format!("{DIM}{line}{DIM:#}")));
    lines
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use voicebridge_proto::{
        control::v1::TimelineEntry,
        types::v1::{Caller, Termination, TerminationResult},
    };

    use super::*;

    #[test]
    fn a_card_tells_the_whole_call() {
        let at = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
        let call = Call {
            call_id: "wacid.X=".into(),
            region: "sa".into(),
            node_id: "node-1".into(),
            caller: Some(Caller { phone_number: "5511900000001".into(), ..Caller::default() }),
            received_at: at(1_790_000_000),
            accepted_at: at(1_790_000_001),
            ended_at: at(1_790_000_009),
            termination: Some(Termination {
                result: TerminationResult::Completed.into(),
                reason: "USER_HANGUP".into(),
                message: "The caller hung up.".into(),
                upstream_code: String::new(),
            }),
            timeline: vec![TimelineEntry { stage: 1, elapsed_ms: 0 }],
            deeplink_payload: "campaign-7".into(),
            labels: [("team", "a"), ("campaign", "x")].map(|(name, value)| (name.into(), value.into())).into(),
            ..Call::default()
        };
        let said = [Transcript { speaker: 1, text: "Bom dia".into(), ..Transcript::default() }];
        let text = card(&call, &said, GraphTimes::default()).join("\n");
        let text = anstream::adapter::strip_str(&text).to_string();
        let expect = "wacid.X=\ninbound from +5511900000001, 2026-09-21 14:13:20Z\non node node-1 in region sa\n\
            completed USER_HANGUP after 8.0 s\nThe caller hung up.\nlink: campaign-7\ncampaign=x team=a\n\n      0 ms  WA_CALL_CONNECT\n\ncaller  Bom dia";
        assert_eq!(text, expect);
    }
}
