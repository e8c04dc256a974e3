//! The table itself: one function per phase, each exhaustive over events.

use super::ending::{self, HangUp, end, known_to_holder};
use super::{
    DeadlineKind, Effect, Ending, Event, GraphAction, Phase, Readiness, Sdp, Signalling, SignallingStage, Slot, Stage,
    Step,
};
use crate::termination::{Termination, TerminationResult};

/// A new call: its id is ours, nothing else has happened.
#[must_use]
pub fn claimed(signalling: Signalling) -> Step {
    let mut effects = vec![Effect::Reached(Stage::Connect), Effect::SetDeadline(DeadlineKind::Ring)];
    if signalling == Signalling::Managed {
        effects.push(Effect::SetDeadline(DeadlineKind::Patience));
    }
    effects.push(Effect::Place);
    Step { phase: Phase::Placing { readiness: Readiness::default() }, effects }
}

/// A call found in the store after a restart, by the [`Phase::word`] it was stored with.
///
/// Active calls go on, and the node is told how far signalling is: that is written down before it is done. One that was ending is ended again: its termination stands, and both sides take a repetition.
/// One whose set-up was cut short is turned down: the request that was out cannot be asked about. A self-held call goes
/// on in any phase, because its caller drives it.
#[must_use]
pub fn restored(signalling: Signalling, word: &str, ending: Option<Termination>, has_session: bool) -> Step {
    let slot = if has_session { Slot::Live } else { Slot::Free };
    if let Some(termination) = ending {
        let hang_up = match termination.result {
            TerminationResult::Abandoned => HangUp::Known,
            TerminationResult::Completed => HangUp::Terminate,
            // Falls back to terminate by itself when Graph will not reject.
            TerminationResult::Rejected | TerminationResult::Failed => HangUp::Reject,
        };
        return end(signalling, termination, hang_up, slot);
    }
    match (word, signalling) {
        ("ACTIVE", _) => {
            Step { phase: Phase::Active, effects: vec![Effect::AdvanceSession(SignallingStage::Accepted)] }
        }
        ("PRE_ACCEPTING" | "CONNECTING", Signalling::SelfHeld) if has_session => {
            let (answer, readiness) = (Sdp::new(""), Readiness::default());
            let mut effects = vec![Effect::SetDeadline(DeadlineKind::Ring)];
            let phase = match word {
                "CONNECTING" => {
                    effects.push(Effect::AdvanceSession(SignallingStage::AnswerDelivered));
                    Phase::Connecting { answer, readiness }
                }
                _ => Phase::PreAccepting { answer, readiness },
            };
            Step { phase, effects }
        }
        _ => end(signalling, ending::restarted(), HangUp::Reject, slot),
    }
}

/// One step of a call's life.
#[must_use]
pub fn step(signalling: Signalling, phase: Phase, event: Event) -> Step {
    match phase {
        Phase::Placing { readiness } => placing(signalling, readiness, event),
        Phase::PreAccepting { answer, readiness } => pre_accepting(signalling, answer, readiness, event),
        Phase::Connecting { answer, readiness } => connecting(signalling, answer, readiness, event),
        Phase::Accepting => accepting(signalling, event),
        Phase::Active => active(signalling, event),
        Phase::Ending(ending) => finishing(signalling, ending, event),
        Phase::Ended => stay(Phase::Ended),
    }
}

fn stay(phase: Phase) -> Step {
    Step { phase, effects: Vec::new() }
}

fn placing(signalling: Signalling, mut readiness: Readiness, event: Event) -> Step {
    // Whoever holds the signalling is waiting for the answer, and gets the refusal in its place.
    let reject = known_to_holder(signalling, HangUp::Reject);
    match event {
        Event::Placed { answer } => {
            let effects = match signalling {
                Signalling::Managed => {
                    vec![Effect::Graph { action: GraphAction::PreAccept, answer: Some(answer.clone()) }]
                }
                Signalling::SelfHeld => Vec::new(),
            };
            Step { phase: Phase::PreAccepting { answer, readiness }, effects }
        }
        Event::PlacementFailed => end(signalling, ending::no_node(), reject, Slot::Free),
        Event::OfferRejected { rule, message } => {
            end(signalling, ending::bad_offer(&rule, &message), reject, Slot::Free)
        }
        Event::WebhookTerminate { failed, code } => {
            end(signalling, ending::by_webhook(false, failed, code), HangUp::Known, Slot::Starting)
        }
        Event::ApiEnd { reason } => end(signalling, ending::by_api(false, reason), reject, Slot::Starting),
        Event::Deadline(DeadlineKind::Ring) => end(signalling, ending::rang_too_long(), reject, Slot::Starting),
        Event::Deadline(DeadlineKind::Patience) => {
            readiness.patience_over = true;
            stay(Phase::Placing { readiness })
        }
        // Nothing of this can come from a session that does not exist; placement itself moves on to the next node.
        Event::GraphAnswered { .. }
        | Event::TransportConnected
        | Event::ProviderReady
        | Event::BridgeActive
        | Event::SessionEnded(_)
        | Event::Advance(_)
        | Event::Deadline(DeadlineKind::Ending)
        | Event::NodeLost => stay(Phase::Placing { readiness }),
    }
}

/// Notes what `accept` waits for; false when the event is not about that.
fn note(readiness: &mut Readiness, event: &Event) -> bool {
    match event {
        Event::TransportConnected => readiness.transport = true,
        Event::ProviderReady => readiness.provider = true,
        Event::Deadline(DeadlineKind::Patience) => readiness.patience_over = true,
        _ => return false,
    }
    true
}

fn pre_accepting(signalling: Signalling, answer: Sdp, mut readiness: Readiness, event: Event) -> Step {
    if note(&mut readiness, &event) {
        return stay(Phase::PreAccepting { answer, readiness });
    }
    match event {
        Event::GraphAnswered { action: GraphAction::PreAccept, outcome } if signalling == Signalling::Managed => {
            match ending::by_graph(GraphAction::PreAccept, &outcome) {
                Some(termination) => end(signalling, termination, HangUp::Reject, Slot::Live),
                None => {
                    let told = vec![
                        Effect::AdvanceSession(SignallingStage::AnswerDelivered),
                        Effect::Reached(Stage::PreAccepted),
                    ];
                    accept_when_ready(answer, readiness, told)
                }
            }
        }
        Event::Advance(stage) if signalling == Signalling::SelfHeld => advanced(answer, readiness, stage),
        Event::BridgeActive if signalling == Signalling::SelfHeld => answered(Vec::new()),
        other => {
            end_before_accept(signalling, other).unwrap_or_else(|| stay(Phase::PreAccepting { answer, readiness }))
        }
    }
}

fn connecting(signalling: Signalling, answer: Sdp, mut readiness: Readiness, event: Event) -> Step {
    if note(&mut readiness, &event) {
        return match signalling {
            Signalling::Managed => accept_when_ready(answer, readiness, Vec::new()),
            Signalling::SelfHeld => stay(Phase::Connecting { answer, readiness }),
        };
    }
    match event {
        // Known already: only the node is asked again.
        Event::Advance(SignallingStage::AnswerDelivered) if signalling == Signalling::SelfHeld => Step {
            phase: Phase::Connecting { answer, readiness },
            effects: vec![Effect::AdvanceSession(SignallingStage::AnswerDelivered)],
        },
        Event::Advance(stage) if signalling == Signalling::SelfHeld => advanced(answer, readiness, stage),
        Event::BridgeActive if signalling == Signalling::SelfHeld => answered(Vec::new()),
        other => end_before_accept(signalling, other).unwrap_or_else(|| stay(Phase::Connecting { answer, readiness })),
    }
}

fn accept_when_ready(answer: Sdp, readiness: Readiness, mut effects: Vec<Effect>) -> Step {
    if readiness.is_ready() {
        effects.push(Effect::Graph { action: GraphAction::Accept, answer: Some(answer) });
        Step { phase: Phase::Accepting, effects }
    } else {
        Step { phase: Phase::Connecting { answer, readiness }, effects }
    }
}

/// A stage reported by who holds the signalling. Passed on even if known: the node is idempotent and answers with its stage.
fn advanced(answer: Sdp, readiness: Readiness, stage: SignallingStage) -> Step {
    let told = Effect::AdvanceSession(stage);
    match stage {
        SignallingStage::AnswerDelivered => Step {
            phase: Phase::Connecting { answer, readiness },
            effects: vec![told, Effect::Reached(Stage::PreAccepted)],
        },
        SignallingStage::Accepted => answered(vec![told, Effect::Reached(Stage::Accepted)]),
    }
}

fn answered(mut effects: Vec<Effect>) -> Step {
    effects.push(Effect::ClearDeadline(DeadlineKind::Ring));
    effects.push(Effect::ClearDeadline(DeadlineKind::Patience));
    Step { phase: Phase::Active, effects }
}

/// Endings that `PreAccepting` and `Connecting` share; `None` when the event ends nothing.
fn end_before_accept(signalling: Signalling, event: Event) -> Option<Step> {
    let (termination, hang_up, slot) = match event {
        Event::SessionEnded(termination) => (termination, HangUp::Reject, Slot::Free),
        Event::NodeLost => (ending::node_lost(), HangUp::Reject, Slot::Live),
        Event::WebhookTerminate { failed, code } => {
            (ending::by_webhook(false, failed, code), HangUp::Known, Slot::Live)
        }
        Event::ApiEnd { reason } => {
            (ending::by_api(false, reason), known_to_holder(signalling, HangUp::Reject), Slot::Live)
        }
        Event::Deadline(DeadlineKind::Ring) => (ending::rang_too_long(), HangUp::Reject, Slot::Live),
        Event::Placed { .. }
        | Event::PlacementFailed
        | Event::OfferRejected { .. }
        | Event::GraphAnswered { .. }
        | Event::TransportConnected
        | Event::ProviderReady
        | Event::BridgeActive
        | Event::Advance(_)
        | Event::Deadline(DeadlineKind::Patience | DeadlineKind::Ending) => return None,
    };
    Some(end(signalling, termination, hang_up, slot))
}

fn accepting(signalling: Signalling, event: Event) -> Step {
    match event {
        Event::GraphAnswered { action: GraphAction::Accept, outcome } => {
            match ending::by_graph(GraphAction::Accept, &outcome) {
                // Falls back to terminate by itself should the accept have worked after all.
                Some(termination) => end(signalling, termination, HangUp::Reject, Slot::Live),
                None => {
                    answered(vec![Effect::AdvanceSession(SignallingStage::Accepted), Effect::Reached(Stage::Accepted)])
                }
            }
        }
        Event::SessionEnded(termination) => end(signalling, termination, HangUp::AfterAccept, Slot::Free),
        Event::NodeLost => end(signalling, ending::node_lost(), HangUp::AfterAccept, Slot::Live),
        Event::WebhookTerminate { failed, code } => {
            end(signalling, ending::by_webhook(false, failed, code), HangUp::Known, Slot::Live)
        }
        Event::ApiEnd { reason } => {
            let hang_up = known_to_holder(signalling, HangUp::AfterAccept);
            end(signalling, ending::by_api(false, reason), hang_up, Slot::Live)
        }
        Event::Deadline(DeadlineKind::Ring) => {
            end(signalling, ending::rang_too_long(), HangUp::AfterAccept, Slot::Live)
        }
        Event::Placed { .. }
        | Event::PlacementFailed
        | Event::OfferRejected { .. }
        | Event::GraphAnswered { .. }
        | Event::TransportConnected
        | Event::ProviderReady
        | Event::BridgeActive
        | Event::Advance(_)
        | Event::Deadline(DeadlineKind::Patience | DeadlineKind::Ending) => stay(Phase::Accepting),
    }
}

fn active(signalling: Signalling, event: Event) -> Step {
    match event {
        Event::SessionEnded(termination) => end(signalling, termination, HangUp::Terminate, Slot::Free),
        Event::NodeLost => end(signalling, ending::node_lost(), HangUp::Terminate, Slot::Live),
        Event::WebhookTerminate { failed, code } => {
            end(signalling, ending::by_webhook(true, failed, code), HangUp::Known, Slot::Live)
        }
        Event::ApiEnd { reason } => {
            let hang_up = known_to_holder(signalling, HangUp::Terminate);
            end(signalling, ending::by_api(true, reason), hang_up, Slot::Live)
        }
        Event::Advance(stage) if signalling == Signalling::SelfHeld => {
            Step { phase: Phase::Active, effects: vec![Effect::AdvanceSession(stage)] }
        }
        Event::Placed { .. }
        | Event::PlacementFailed
        | Event::OfferRejected { .. }
        | Event::GraphAnswered { .. }
        | Event::TransportConnected
        | Event::ProviderReady
        | Event::BridgeActive
        | Event::Advance(_)
        | Event::Deadline(_) => stay(Phase::Active),
    }
}

fn finishing(signalling: Signalling, mut ending: Ending, event: Event) -> Step {
    match event {
        // Whoever was to be told is telling us, or Meta is: an answer to the notice may never come.
        Event::ApiEnd { .. } | Event::WebhookTerminate { .. }
            if signalling == Signalling::SelfHeld && ending.hang_up_state != super::HangUpState::Settled =>
        {
            ending.hang_up_state = super::HangUpState::Settled;
            ending::settle(ending, Vec::new())
        }
        Event::Placed { .. } if ending.slot == Slot::Starting => {
            ending.slot = Slot::Live;
            let effects = vec![Effect::EndSession(ending.termination.clone())];
            Step { phase: Phase::Ending(ending), effects }
        }
        Event::PlacementFailed | Event::OfferRejected { .. } if ending.slot == Slot::Starting => {
            ending.slot = Slot::Free;
            ending::settle(ending, Vec::new())
        }
        Event::SessionEnded(_) | Event::NodeLost if ending.slot == Slot::Live => {
            ending.slot = Slot::Free;
            ending::settle(ending, Vec::new())
        }
        Event::GraphAnswered { action, outcome } => ending::graph_answered(ending, action, &outcome),
        Event::WebhookTerminate { .. } if ending.hang_up_state == super::HangUpState::AfterAccept => {
            ending.hang_up_state = super::HangUpState::Settled;
            ending::settle(ending, Vec::new())
        }
        Event::Deadline(DeadlineKind::Ending) => {
            let mut effects = Vec::new();
            if ending.slot == Slot::Starting {
                effects.push(Effect::EndSession(ending.termination.clone()));
            }
            effects.push(Effect::Close(ending.termination));
            Step { phase: Phase::Ended, effects }
        }
        Event::Placed { .. }
        | Event::PlacementFailed
        | Event::OfferRejected { .. }
        | Event::TransportConnected
        | Event::ProviderReady
        | Event::BridgeActive
        | Event::SessionEnded(_)
        | Event::WebhookTerminate { .. }
        | Event::ApiEnd { .. }
        | Event::Advance(_)
        | Event::Deadline(DeadlineKind::Ring | DeadlineKind::Patience)
        | Event::NodeLost => Step { phase: Phase::Ending(ending), effects: Vec::new() },
    }
}
