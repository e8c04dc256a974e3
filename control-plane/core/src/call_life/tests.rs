//! The table: every phase against every event.

use super::*;
use crate::termination::TerminationResult;

fn answer() -> Sdp {
    Sdp::new("v=0\r\n")
}

fn readiness(word: &str) -> Readiness {
    Readiness { transport: word.contains('t'), provider: word.contains('p'), patience_over: word.contains('1') }
}

fn died() -> Termination {
    Termination::new(TerminationResult::Failed, "PROVIDER_LOST", "gone")
}

fn word(effect: &Effect) -> String {
    match effect {
        Effect::Place => "place".to_owned(),
        Effect::Graph { action, answer: Some(sdp) } => format!("{} {}", action.word(), sdp.as_str().trim()),
        Effect::Graph { action, answer: None } => action.word().to_owned(),
        Effect::AdvanceSession(stage) => format!("advance {stage:?}"),
        Effect::EndSession(termination) => format!("end-session {}", termination.reason),
        Effect::SetDeadline(kind) => format!("set {kind:?}"),
        Effect::ClearDeadline(kind) => format!("clear {kind:?}"),
        Effect::Reached(stage) => format!("reached {stage:?}"),
        Effect::Close(termination) => {
            format!("close {}/{}/{}", termination.result.word(), termination.reason, termination.upstream_code)
        }
    }
}

/// Clearing deadlines is left out of the tables: it goes with every ending and every answer.
fn words(step: &Step) -> Vec<String> {
    step.effects.iter().filter(|effect| !matches!(effect, Effect::ClearDeadline(_))).map(word).collect()
}

#[track_caller]
fn check(signalling: Signalling, phase: Phase, event: Event, expect_phase: &str, expect: &[&str]) -> Phase {
    let from = format!("{phase:?} + {event:?}");
    let step = step(signalling, phase, event);
    assert_eq!(step.phase.word(), expect_phase, "{from}");
    assert_eq!(words(&step), expect, "{from}");
    step.phase
}

fn placing() -> Phase {
    Phase::Placing { readiness: Readiness::default() }
}
fn pre_accepting(ready: &str) -> Phase {
    Phase::PreAccepting { answer: answer(), readiness: readiness(ready) }
}
fn connecting(ready: &str) -> Phase {
    Phase::Connecting { answer: answer(), readiness: readiness(ready) }
}
fn ending(hang_up_state: HangUpState, slot: Slot) -> Phase {
    Phase::Ending(Ending { termination: died(), hang_up_state, slot })
}
fn graph(action: GraphAction, outcome: GraphOutcome) -> Event {
    Event::GraphAnswered { action, outcome }
}
fn refused(code: &str) -> GraphOutcome {
    GraphOutcome::Refused { code: code.to_owned() }
}
fn unreachable() -> GraphOutcome {
    GraphOutcome::Unreachable { code: "timeout".to_owned() }
}
fn hangup() -> Event {
    Event::WebhookTerminate { failed: false, code: None }
}
fn api() -> Event {
    Event::ApiEnd { reason: EndReason::ApiHangup }
}

use DeadlineKind as D;
use GraphAction::{Accept, PreAccept, Reject, Terminate};
use Signalling::{Managed, SelfHeld};

#[test]
fn a_call_begins() {
    let managed = claimed(Managed);
    assert_eq!(words(&managed), ["reached Connect", "set Ring", "set Patience", "place"]);
    assert_eq!(words(&claimed(SelfHeld)), ["reached Connect", "set Ring", "place"]);
}

#[test]
fn placing_table() {
    let place = |event, phase: &str, effects: &[&str]| check(Managed, placing(), event, phase, effects);
    place(Event::Placed { answer: answer() }, "PRE_ACCEPTING", &["pre_accept v=0"]);
    place(Event::PlacementFailed, "ENDING", &["reject", "set Ending"]);
    place(
        Event::OfferRejected { rule: "no-audio".to_owned(), message: "m".to_owned() },
        "ENDING",
        &["reject", "set Ending"],
    );
    place(hangup(), "ENDING", &["set Ending"]);
    place(api(), "ENDING", &["reject", "set Ending"]);
    place(Event::Deadline(D::Ring), "ENDING", &["reject", "set Ending"]);
    for event in [
        graph(PreAccept, GraphOutcome::Ok),
        Event::TransportConnected,
        Event::ProviderReady,
        Event::BridgeActive,
        Event::SessionEnded(died()),
        Event::Advance(SignallingStage::Accepted),
        Event::Deadline(D::Ending),
        Event::Deadline(D::Patience),
        Event::NodeLost,
    ] {
        place(event, "PLACING", &[]);
    }
    let late = check(Managed, placing(), Event::Deadline(D::Patience), "PLACING", &[]);
    assert_eq!(late, Phase::Placing { readiness: readiness("1") });
}

#[test]
fn a_refused_offer_names_the_rule() {
    let event = Event::OfferRejected { rule: "no-fingerprint".to_owned(), message: "none".to_owned() };
    let phase = check(Managed, placing(), event, "ENDING", &["reject", "set Ending"]);
    let termination = phase.termination().cloned();
    assert!(termination.is_some_and(|t| t.reason == "SDP_INVALID" && t.message.contains("no-fingerprint")));
}

#[test]
fn pre_accepting_table() {
    let pre =
        |ready: &str, event, phase: &str, effects: &[&str]| check(Managed, pre_accepting(ready), event, phase, effects);
    let told = ["advance AnswerDelivered", "reached PreAccepted"];
    for waiting in ["", "p", "1", "p1", "t"] {
        pre(waiting, graph(PreAccept, GraphOutcome::Ok), "CONNECTING", &told);
    }
    for ready in ["tp", "t1", "tp1"] {
        pre(
            ready,
            graph(PreAccept, GraphOutcome::Ok),
            "ACCEPTING",
            &["advance AnswerDelivered", "reached PreAccepted", "accept v=0"],
        );
    }
    pre("", graph(PreAccept, refused("100")), "ENDING", &["reject", "end-session GRAPH_REFUSED", "set Ending"]);
    pre("", graph(PreAccept, unreachable()), "ENDING", &["reject", "end-session GRAPH_UNREACHABLE", "set Ending"]);
    pre("", Event::SessionEnded(died()), "ENDING", &["reject", "set Ending"]);
    pre("", Event::NodeLost, "ENDING", &["reject", "end-session NODE_LOST", "set Ending"]);
    pre("", hangup(), "ENDING", &["end-session CALLER_ABANDONED", "set Ending"]);
    pre("", api(), "ENDING", &["reject", "end-session API_HANGUP", "set Ending"]);
    pre("", Event::Deadline(D::Ring), "ENDING", &["reject", "end-session RING_TIMEOUT", "set Ending"]);
    for event in [
        Event::Placed { answer: answer() },
        Event::PlacementFailed,
        Event::OfferRejected { rule: String::new(), message: String::new() },
        graph(Accept, GraphOutcome::Ok),
        Event::TransportConnected,
        Event::ProviderReady,
        Event::BridgeActive,
        Event::Advance(SignallingStage::Accepted),
        Event::Deadline(D::Patience),
        Event::Deadline(D::Ending),
    ] {
        pre("", event, "PRE_ACCEPTING", &[]);
    }
}

#[test]
fn connecting_table() {
    let conn =
        |ready: &str, event, phase: &str, effects: &[&str]| check(Managed, connecting(ready), event, phase, effects);
    conn("", Event::TransportConnected, "CONNECTING", &[]);
    conn("", Event::ProviderReady, "CONNECTING", &[]);
    conn("", Event::Deadline(D::Patience), "CONNECTING", &[]);
    conn("p", Event::Deadline(D::Patience), "CONNECTING", &[]);
    conn("p", Event::TransportConnected, "ACCEPTING", &["accept v=0"]);
    conn("1", Event::TransportConnected, "ACCEPTING", &["accept v=0"]);
    conn("t", Event::ProviderReady, "ACCEPTING", &["accept v=0"]);
    conn("t", Event::Deadline(D::Patience), "ACCEPTING", &["accept v=0"]);
    conn("", Event::SessionEnded(died()), "ENDING", &["reject", "set Ending"]);
    conn("", Event::NodeLost, "ENDING", &["reject", "end-session NODE_LOST", "set Ending"]);
    conn("", hangup(), "ENDING", &["end-session CALLER_ABANDONED", "set Ending"]);
    conn("", api(), "ENDING", &["reject", "end-session API_HANGUP", "set Ending"]);
    conn("t", Event::Deadline(D::Ring), "ENDING", &["reject", "end-session RING_TIMEOUT", "set Ending"]);
    for event in [
        Event::Placed { answer: answer() },
        Event::PlacementFailed,
        Event::OfferRejected { rule: String::new(), message: String::new() },
        graph(PreAccept, GraphOutcome::Ok),
        graph(Accept, GraphOutcome::Ok),
        Event::BridgeActive,
        Event::Advance(SignallingStage::Accepted),
        Event::Deadline(D::Ending),
    ] {
        conn("p", event, "CONNECTING", &[]);
    }
}

#[test]
fn accepting_table() {
    let acc = |event, phase: &str, effects: &[&str]| check(Managed, Phase::Accepting, event, phase, effects);
    acc(graph(Accept, GraphOutcome::Ok), "ACTIVE", &["advance Accepted", "reached Accepted"]);
    acc(graph(Accept, refused("138003")), "ENDING", &["reject", "end-session GRAPH_REFUSED", "set Ending"]);
    acc(graph(Accept, unreachable()), "ENDING", &["reject", "end-session GRAPH_UNREACHABLE", "set Ending"]);
    acc(Event::SessionEnded(died()), "ENDING", &["set Ending"]);
    acc(Event::NodeLost, "ENDING", &["end-session NODE_LOST", "set Ending"]);
    acc(hangup(), "ENDING", &["end-session CALLER_ABANDONED", "set Ending"]);
    acc(api(), "ENDING", &["end-session API_HANGUP", "set Ending"]);
    acc(Event::Deadline(D::Ring), "ENDING", &["end-session RING_TIMEOUT", "set Ending"]);
    for event in [
        Event::Placed { answer: answer() },
        Event::PlacementFailed,
        Event::OfferRejected { rule: String::new(), message: String::new() },
        graph(PreAccept, GraphOutcome::Ok),
        Event::TransportConnected,
        Event::ProviderReady,
        Event::BridgeActive,
        Event::Advance(SignallingStage::Accepted),
        Event::Deadline(D::Patience),
        Event::Deadline(D::Ending),
    ] {
        acc(event, "ACCEPTING", &[]);
    }
}

#[test]
fn active_table() {
    let act = |event, phase: &str, effects: &[&str]| check(Managed, Phase::Active, event, phase, effects);
    act(Event::SessionEnded(died()), "ENDING", &["terminate", "set Ending"]);
    act(Event::NodeLost, "ENDING", &["terminate", "end-session NODE_LOST", "set Ending"]);
    act(hangup(), "ENDING", &["end-session USER_HANGUP", "set Ending"]);
    act(api(), "ENDING", &["terminate", "end-session API_HANGUP", "set Ending"]);
    for event in [
        Event::Placed { answer: answer() },
        Event::PlacementFailed,
        Event::OfferRejected { rule: String::new(), message: String::new() },
        graph(Accept, GraphOutcome::Ok),
        Event::TransportConnected,
        Event::ProviderReady,
        Event::BridgeActive,
        Event::Advance(SignallingStage::Accepted),
        Event::Deadline(D::Ring),
        Event::Deadline(D::Patience),
        Event::Deadline(D::Ending),
    ] {
        act(event, "ACTIVE", &[]);
    }
}

#[test]
fn ending_table() {
    let fin = |hang_up_state, slot, event, phase: &str, effects: &[&str]| {
        check(Managed, ending(hang_up_state, slot), event, phase, effects)
    };
    let close = "close failed/PROVIDER_LOST/";
    use HangUpState::{AfterAccept, Awaiting, Settled};
    // The node gives the slot back.
    fin(Settled, Slot::Live, Event::SessionEnded(died()), "ENDED", &[close]);
    fin(Settled, Slot::Live, Event::NodeLost, "ENDED", &[close]);
    fin(Awaiting(Reject), Slot::Live, Event::SessionEnded(died()), "ENDING", &[]);
    fin(Settled, Slot::Starting, Event::Placed { answer: answer() }, "ENDING", &["end-session PROVIDER_LOST"]);
    fin(Settled, Slot::Starting, Event::PlacementFailed, "ENDED", &[close]);
    fin(
        Settled,
        Slot::Starting,
        Event::OfferRejected { rule: String::new(), message: String::new() },
        "ENDED",
        &[close],
    );
    fin(Settled, Slot::Starting, Event::SessionEnded(died()), "ENDING", &[]);
    // Meta hears of it.
    fin(Awaiting(Reject), Slot::Free, graph(Reject, GraphOutcome::Ok), "ENDED", &[close]);
    fin(Awaiting(Reject), Slot::Live, graph(Reject, GraphOutcome::Ok), "ENDING", &[]);
    fin(Awaiting(Reject), Slot::Free, graph(Reject, refused("100")), "ENDING", &["terminate"]);
    fin(Awaiting(Reject), Slot::Free, graph(Reject, unreachable()), "ENDED", &[close]);
    fin(Awaiting(Terminate), Slot::Free, graph(Terminate, refused("100")), "ENDED", &[close]);
    fin(Awaiting(Terminate), Slot::Free, graph(Terminate, unreachable()), "ENDED", &[close]);
    fin(Awaiting(Reject), Slot::Free, graph(PreAccept, GraphOutcome::Ok), "ENDING", &[]);
    fin(AfterAccept, Slot::Free, graph(Accept, GraphOutcome::Ok), "ENDING", &["terminate"]);
    fin(AfterAccept, Slot::Free, graph(Accept, unreachable()), "ENDING", &["terminate"]);
    fin(AfterAccept, Slot::Free, graph(Accept, refused("100")), "ENDING", &["reject"]);
    fin(AfterAccept, Slot::Free, hangup(), "ENDED", &[close]);
    fin(Settled, Slot::Live, graph(Accept, GraphOutcome::Ok), "ENDING", &[]);
    // Time is up.
    fin(Awaiting(Reject), Slot::Live, Event::Deadline(D::Ending), "ENDED", &[close]);
    fin(Settled, Slot::Starting, Event::Deadline(D::Ending), "ENDED", &["end-session PROVIDER_LOST", close]);
    // The rest changes nothing.
    for event in [
        Event::PlacementFailed,
        Event::TransportConnected,
        Event::ProviderReady,
        Event::BridgeActive,
        hangup(),
        api(),
        Event::Advance(SignallingStage::Accepted),
        Event::Deadline(D::Ring),
        Event::Deadline(D::Patience),
    ] {
        fin(Awaiting(Reject), Slot::Live, event, "ENDING", &[]);
    }
    check(Managed, Phase::Ended, hangup(), "ENDED", &[]);
}

#[test]
fn self_held_calls_are_their_holders_until_they_end_by_themselves() {
    let held = |phase, event, expect: &str, effects: &[&str]| check(SelfHeld, phase, event, expect, effects);
    held(placing(), Event::Placed { answer: answer() }, "PRE_ACCEPTING", &[]);
    held(placing(), Event::PlacementFailed, "ENDED", &["set Ending", "close rejected/NO_NODE_AVAILABLE/"]);
    held(pre_accepting("tp"), graph(PreAccept, GraphOutcome::Ok), "PRE_ACCEPTING", &[]);
    held(connecting("p"), Event::TransportConnected, "CONNECTING", &[]);
    held(
        pre_accepting(""),
        Event::Advance(SignallingStage::AnswerDelivered),
        "CONNECTING",
        &["advance AnswerDelivered", "reached PreAccepted"],
    );
    held(connecting(""), Event::Advance(SignallingStage::AnswerDelivered), "CONNECTING", &["advance AnswerDelivered"]);
    for phase in [pre_accepting(""), connecting("")] {
        held(phase, Event::Advance(SignallingStage::Accepted), "ACTIVE", &["advance Accepted", "reached Accepted"]);
    }
    held(Phase::Active, Event::Advance(SignallingStage::Accepted), "ACTIVE", &["advance Accepted"]);
    held(pre_accepting(""), Event::BridgeActive, "ACTIVE", &[]);
    held(connecting(""), Event::BridgeActive, "ACTIVE", &[]);
    held(Phase::Active, api(), "ENDING", &["end-session API_HANGUP", "set Ending"]);
    held(Phase::Active, hangup(), "ENDING", &["end-session USER_HANGUP", "set Ending"]);
    held(placing(), api(), "ENDING", &["set Ending"]);
    held(connecting(""), api(), "ENDING", &["end-session API_HANGUP", "set Ending"]);
    // Nobody knows but us.
    held(Phase::Active, Event::SessionEnded(died()), "ENDING", &["terminate", "set Ending"]);
    held(Phase::Active, Event::NodeLost, "ENDING", &["terminate", "end-session NODE_LOST", "set Ending"]);
    held(connecting(""), Event::SessionEnded(died()), "ENDING", &["reject", "set Ending"]);
    held(pre_accepting(""), Event::Deadline(D::Ring), "ENDING", &["reject", "end-session RING_TIMEOUT", "set Ending"]);
    let awaiting = |action| ending(HangUpState::Awaiting(action), Slot::Free);
    let closed = ["close failed/PROVIDER_LOST/"];
    for event in [graph(Terminate, GraphOutcome::Ok), api(), hangup()] {
        held(awaiting(Terminate), event, "ENDED", &closed);
    }
    held(awaiting(Reject), graph(Reject, GraphOutcome::Ok), "ENDED", &closed);
    // The call was answered after all.
    held(awaiting(Reject), graph(Reject, refused("100")), "ENDING", &["terminate"]);
}

#[test]
fn what_the_record_says() {
    fn check(phase: Phase, event: Event, result: &str, reason: &str, code: &str) {
        let from = format!("{phase:?} + {event:?}");
        let step = step(Managed, phase, event);
        let termination = step.phase.termination().cloned();
        let got = termination.map(|t| (t.result.word(), t.reason.into_owned(), t.upstream_code));
        assert_eq!(
            got,
            Some((
                TerminationResult::from_word(result).map_or("?", TerminationResult::word),
                reason.to_owned(),
                code.to_owned()
            )),
            "{from}"
        );
    }
    let by_meta = |failed, code| Event::WebhookTerminate { failed, code };
    check(Phase::Active, by_meta(false, None), "completed", "USER_HANGUP", "");
    check(Phase::Active, by_meta(true, None), "failed", "META_FAILED", "");
    check(Phase::Active, by_meta(true, Some(138_021)), "failed", "MEDIA_TIMEOUT", "138021");
    check(Phase::Active, by_meta(false, Some(138_022)), "failed", "MEDIA_TIMEOUT", "138022");
    check(Phase::Active, by_meta(true, Some(138_020)), "failed", "META_FAILED", "138020");
    check(connecting(""), by_meta(false, None), "abandoned", "CALLER_ABANDONED", "");
    check(connecting(""), by_meta(true, None), "abandoned", "CALLER_ABANDONED", "");
    check(connecting(""), by_meta(true, Some(138_019)), "failed", "META_FAILED", "138019");
    check(placing(), by_meta(false, None), "abandoned", "CALLER_ABANDONED", "");
    check(Phase::Accepting, by_meta(false, None), "abandoned", "CALLER_ABANDONED", "");
    check(pre_accepting(""), graph(PreAccept, refused("100")), "failed", "GRAPH_REFUSED", "100");
    check(Phase::Accepting, graph(Accept, unreachable()), "failed", "GRAPH_UNREACHABLE", "timeout");
    check(placing(), Event::PlacementFailed, "rejected", "NO_NODE_AVAILABLE", "");
    check(connecting(""), Event::NodeLost, "failed", "NODE_LOST", "");
    check(connecting(""), Event::Deadline(D::Ring), "failed", "RING_TIMEOUT", "");
    check(connecting(""), api(), "rejected", "API_HANGUP", "");
    check(Phase::Active, api(), "completed", "API_HANGUP", "");
    let by_api = |reason| Event::ApiEnd { reason };
    // Who holds the signalling speaks for Meta.
    check(Phase::Active, by_api(EndReason::UserHangup), "completed", "USER_HANGUP", "");
    check(connecting(""), by_api(EndReason::UserHangup), "abandoned", "CALLER_ABANDONED", "");
    check(placing(), by_api(EndReason::UserHangup), "abandoned", "CALLER_ABANDONED", "");
    check(Phase::Active, by_api(EndReason::MetaFailed), "failed", "META_FAILED", "");
    check(Phase::Active, by_api(EndReason::MediaTimeout), "failed", "MEDIA_TIMEOUT", "");
    check(connecting(""), by_api(EndReason::GraphRefused), "failed", "GRAPH_REFUSED", "");
    check(connecting(""), by_api(EndReason::GraphUnreachable), "failed", "GRAPH_UNREACHABLE", "");
    check(connecting(""), by_api(EndReason::RingTimeout), "failed", "RING_TIMEOUT", "");
    check(Phase::Active, Event::SessionEnded(died()), "failed", "PROVIDER_LOST", "");
}

#[test]
fn after_a_restart() {
    fn check(
        signalling: Signalling,
        word: &str,
        ending: Option<Termination>,
        has_session: bool,
        expect: &str,
        effects: &[&str],
    ) {
        let step = restored(signalling, word, ending, has_session);
        assert_eq!(step.phase.word(), expect, "{word}");
        assert_eq!(words(&step), effects, "{word}");
    }
    check(Managed, "ACTIVE", None, true, "ACTIVE", &["advance Accepted"]);
    check(Managed, "PLACING", None, false, "ENDING", &["reject", "set Ending"]);
    check(Managed, "CONNECTING", None, true, "ENDING", &["reject", "end-session CONTROL_RESTARTED", "set Ending"]);
    check(Managed, "ENDING", Some(died()), true, "ENDING", &["reject", "end-session PROVIDER_LOST", "set Ending"]);
    let done = Termination::new(TerminationResult::Completed, "AGENT_HANGUP", "");
    check(Managed, "ENDING", Some(done), false, "ENDING", &["terminate", "set Ending"]);
    let gone = Termination::new(TerminationResult::Abandoned, "CALLER_ABANDONED", "");
    check(Managed, "ENDING", Some(gone), false, "ENDED", &["set Ending", "close abandoned/CALLER_ABANDONED/"]);
    check(SelfHeld, "PRE_ACCEPTING", None, true, "PRE_ACCEPTING", &["set Ring"]);
    check(SelfHeld, "CONNECTING", None, true, "CONNECTING", &["set Ring", "advance AnswerDelivered"]);
    check(SelfHeld, "ACTIVE", None, true, "ACTIVE", &["advance Accepted"]);
    check(SelfHeld, "PLACING", None, false, "ENDING", &["reject", "set Ending"]);
    check(SelfHeld, "ENDING", Some(died()), false, "ENDING", &["reject", "set Ending"]);
}
