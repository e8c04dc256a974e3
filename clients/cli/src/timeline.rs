//! The milestones of a call, each step beside what it should take.

use voicebridge_proto::{
    control::v1::{Call, TimelineEntry},
    types::v1::{GraphAction, GraphAnswered, Stage},
};

use crate::print::{DIM, GOOD, WARN};

/// What a step may take before a caller notices, milliseconds.
const TARGETS: [(Stage, &str, u64); 4] = [
    (Stage::VoiceBridgeSessionCreated, "SDP answer", 500),
    (Stage::WaCallPreAccepted, "pre_accept", 1000),
    (Stage::WaCallAccepted, "accept", 1000),
    (Stage::MediaBridgeActive, "webhook to audio", 2500),
];

/// The node's times lack the way of the request for its session to it (docs/telemetry.md). A larger difference than this is
/// none of the clocks.
const CLOCK_DIFFERENCE_MS: u64 = 20;

/// Time Graph took for pre_accept and accept, from the call's events where they are known.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct GraphTimes {
    pub(crate) pre_accept_ms: Option<u64>,
    pub(crate) accept_ms: Option<u64>,
}

impl GraphTimes {
    /// Takes up an event if it is the successful answer to one of the two.
    pub(crate) fn note(&mut self, answered: &GraphAnswered) {
        let took = Some(u64::from(answered.duration_ms));
        match (answered.action(), answered.status) {
            (GraphAction::PreAccept, 200) => self.pre_accept_ms = took,
            (GraphAction::Accept, 200) => self.accept_ms = took,
            _ => {}
        }
    }
}

/// The timeline as lines of text, in the order things happened. Audio flows after the call was accepted, and stands there,
/// though the planes' times may differ by a little more than there was between the two.
pub(crate) fn lines(call: &Call, graph: GraphTimes) -> Vec<String> {
    let mut entries: Vec<&TimelineEntry> = call.timeline.iter().collect();
    let accepted_ms = entries.iter().find(|entry| entry.stage() == Stage::WaCallAccepted).map(|entry| entry.elapsed_ms);
    let happened_ms = |entry: &TimelineEntry| match (entry.stage(), accepted_ms) {
        (Stage::MediaBridgeActive, Some(accepted))
            if accepted.saturating_sub(entry.elapsed_ms) <= CLOCK_DIFFERENCE_MS =>
        {
            entry.elapsed_ms.max(accepted)
        }
        _ => entry.elapsed_ms,
    };
    // Stages reached within one millisecond stand in their usual order.
    entries.sort_by_key(|entry| (happened_ms(entry), entry.stage));
    entries.into_iter().map(|entry| line(&call.timeline, entry, graph)).collect()
}

fn line(timeline: &[TimelineEntry], entry: &TimelineEntry, graph: GraphTimes) -> String {
    let stage = entry.stage();
    let text = format!("{:>7} ms  {:<28}", entry.elapsed_ms, name(stage));
    let Some((_, step, target)) = TARGETS.iter().find(|(with_target, ..)| *with_target == stage) else {
        return text.trim_end().to_owned();
    };
    let Some(took) = duration(timeline, stage, graph) else {
        return text.trim_end().to_owned();
    };
    let (style, mark) = if took <= *target { (GOOD, "") } else { (WARN, ", over") };
    format!("{text}  {style}{step} {took} ms{mark}{style:#} {DIM}(target {target}){DIM:#}")
}

/// How long the step to `stage` took, milliseconds. For Graph's two stages that is the request itself, since between
/// them the call waits for transport and AI; without its event, the time since the stage before.
pub(crate) fn duration(timeline: &[TimelineEntry], stage: Stage, graph: GraphTimes) -> Option<u64> {
    let at = |stage: Stage| timeline.iter().find(|entry| entry.stage() == stage).map(|entry| entry.elapsed_ms);
    let since = |from: Stage| Some(at(stage)?.saturating_sub(at(from)?));
    match stage {
        Stage::VoiceBridgeSessionCreated => since(Stage::WaCallConnect),
        Stage::WaCallPreAccepted => graph.pre_accept_ms.or_else(|| since(Stage::VoiceBridgeSessionCreated)),
        Stage::WaCallAccepted => graph.accept_ms.or_else(|| since(Stage::WaCallPreAccepted)),
        Stage::MediaBridgeActive => since(Stage::WaCallConnect),
        _ => None,
    }
}

/// The name operators know, e.g. `WA_CALL_CONNECT`.
pub(crate) fn name(stage: Stage) -> &'static str {
    stage.as_str_name().trim_start_matches("STAGE_")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn call(stages: &[(Stage, u64)]) -> Call {
        let timeline = stages.iter().map(|(stage, ms)| TimelineEntry { stage: (*stage).into(), elapsed_ms: *ms });
        Call { timeline: timeline.collect(), ..Call::default() }
    }

    const USUAL: [(Stage, u64); 6] = [
        (Stage::WaCallConnect, 0),
        (Stage::VoiceBridgeSessionCreated, 12),
        (Stage::WaCallPreAccepted, 20),
        (Stage::WaCallAccepted, 95),
        (Stage::AiReady, 31),
        (Stage::MediaBridgeActive, 99),
    ];

    fn plain(call: &Call, graph: GraphTimes) -> Vec<String> {
        lines(call, graph).iter().map(|line| anstream::adapter::strip_str(line).to_string()).collect()
    }

    #[test]
    fn steps_stand_in_order_beside_their_targets() {
        let graph = GraphTimes { pre_accept_ms: Some(8), accept_ms: Some(1004) };
        let lines = plain(&call(&USUAL), graph);
        assert_eq!(lines.len(), 6);
        assert_eq!(lines[0], "      0 ms  WA_CALL_CONNECT");
        assert!(lines[1].ends_with("SDP answer 12 ms (target 500)"), "{}", lines[1]);
        assert!(lines[2].ends_with("pre_accept 8 ms (target 1000)"), "{}", lines[2]);
        assert_eq!(lines[3], "     31 ms  AI_READY");
        assert!(lines[4].ends_with("accept 1004 ms, over (target 1000)"), "{}", lines[4]);
        assert!(lines[5].ends_with("webhook to audio 99 ms (target 2500)"), "{}", lines[5]);
    }

    #[test]
    fn audio_stands_behind_the_accept_that_it_needs_though_the_nodes_clock_says_less() {
        let order = |audio_ms: u64| {
            let mut stages = USUAL;
            stages[5].1 = audio_ms;
            let names = plain(&call(&stages), GraphTimes::default());
            names.iter().position(|line| line.contains("MEDIA_BRIDGE_ACTIVE")).unwrap()
        };
        assert_eq!(order(94), 5, "behind WA_CALL_ACCEPTED at 95");
        assert_eq!(order(70), 4, "no difference of clocks explains that");
    }

    #[test]
    fn a_call_cut_short_shows_what_it_reached() {
        let call = call(&USUAL[..3]);
        assert_eq!(plain(&call, GraphTimes::default()).len(), 3);
        assert_eq!(duration(&call.timeline, Stage::WaCallPreAccepted, GraphTimes::default()).unwrap(), 8);
        assert_eq!(duration(&call.timeline, Stage::MediaBridgeActive, GraphTimes::default()), None);
    }
}
