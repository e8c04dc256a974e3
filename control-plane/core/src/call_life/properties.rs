//! What must hold whatever happens, in whatever order: over arbitrary event sequences, then the deadlines fire.

use proptest::prelude::*;

use super::*;
use crate::termination::TerminationResult;

fn outcomes() -> impl Strategy<Value = GraphOutcome> {
    prop_oneof![
        3 => Just(GraphOutcome::Ok),
        1 => Just(GraphOutcome::Refused { code: "100".to_owned() }),
        1 => Just(GraphOutcome::Unreachable { code: "timeout".to_owned() }),
    ]
}

fn actions() -> impl Strategy<Value = GraphAction> {
    prop::sample::select(vec![GraphAction::PreAccept, GraphAction::Accept, GraphAction::Reject, GraphAction::Terminate])
}

fn events() -> impl Strategy<Value = Event> {
    prop_oneof![
        (0..9_u32).prop_map(|n| Event::Placed { answer: Sdp::new(&format!("v=0 {n}")) }),
        Just(Event::PlacementFailed),
        Just(Event::OfferRejected { rule: "no-audio".to_owned(), message: String::new() }),
        (actions(), outcomes()).prop_map(|(action, outcome)| Event::GraphAnswered { action, outcome }),
        Just(Event::TransportConnected),
        Just(Event::ProviderReady),
        Just(Event::BridgeActive),
        Just(Event::SessionEnded(Termination::new(TerminationResult::Completed, "AGENT_HANGUP", ""))),
        any::<bool>().prop_map(|failed| Event::WebhookTerminate { failed, code: None }),
        Just(Event::ApiEnd { reason: EndReason::ApiHangup }),
        prop::sample::select(vec![SignallingStage::AnswerDelivered, SignallingStage::Accepted])
            .prop_map(Event::Advance),
        prop::sample::select(vec![DeadlineKind::Ring, DeadlineKind::Patience, DeadlineKind::Ending])
            .prop_map(Event::Deadline),
        Just(Event::NodeLost),
    ]
}

/// Everything that came out of a life, with the events between.
struct Watched {
    signalling: Signalling,
    phase: Phase,
    effects: Vec<Effect>,
    placed: Option<Sdp>,
    pre_accepted: bool,
    session_over: bool,
    armed: Vec<DeadlineKind>,
    /// The holder of the signalling, or Meta, ended it or is waiting for our answer.
    is_known: bool,
}

impl Watched {
    fn new(signalling: Signalling) -> Self {
        let begun = claimed(signalling);
        let mut watched = Self {
            signalling,
            phase: begun.phase,
            effects: Vec::new(),
            placed: None,
            pre_accepted: false,
            session_over: false,
            armed: Vec::new(),
            is_known: false,
        };
        watched.take(begun.effects);
        watched
    }

    fn feed(&mut self, event: Event) {
        let before = self.phase.clone();
        // A session exists once a placement that was out succeeded; it is over by its own word or with its node.
        let expected = matches!(before, Phase::Placing { .. })
            || matches!(before, Phase::Ending(Ending { slot: Slot::Starting, .. }));
        match &event {
            Event::Placed { answer } if expected && self.placed.is_none() => self.placed = Some(answer.clone()),
            Event::SessionEnded(_) if self.placed.is_some() && before != Phase::Ended => self.session_over = true,
            Event::GraphAnswered { action: GraphAction::PreAccept, outcome: GraphOutcome::Ok } => {
                self.pre_accepted |= matches!(before, Phase::PreAccepting { .. });
            }
            _ => {}
        }
        self.is_known |= matches!(event, Event::ApiEnd { .. } | Event::WebhookTerminate { .. });
        let was_placing = matches!(before, Phase::Placing { .. });
        let step = step(self.signalling, before, event);
        self.is_known |= was_placing && step.phase.termination().is_some();
        self.phase = step.phase;
        self.take(step.effects);
    }

    fn take(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            assert!(!self.closed(), "{effect:?} after close");
            match &effect {
                Effect::Graph { action, answer } => {
                    if self.signalling == Signalling::SelfHeld {
                        assert!(matches!(action, GraphAction::Reject | GraphAction::Terminate), "{action:?}");
                        assert!(!self.is_known, "{action:?} for somebody else's call, who knows");
                    }
                    match action {
                        GraphAction::PreAccept => assert_eq!(*answer, self.placed),
                        GraphAction::Accept => {
                            assert!(self.pre_accepted, "accept before pre_accept returned 200");
                            assert_eq!(*answer, self.placed, "accept carries the SDP of pre_accept");
                        }
                        GraphAction::Reject | GraphAction::Terminate => assert_eq!(*answer, None),
                    }
                }
                Effect::SetDeadline(kind) => self.armed.push(*kind),
                Effect::ClearDeadline(kind) => self.armed.retain(|armed| armed != kind),
                _ => {}
            }
            self.effects.push(effect);
        }
    }

    fn count(&self, wanted: impl Fn(&Effect) -> bool) -> usize {
        self.effects.iter().filter(|effect| wanted(effect)).count()
    }

    fn closed(&self) -> bool {
        matches!(self.effects.last(), Some(Effect::Close(_)))
    }
}

fn check_life(signalling: Signalling, sequence: Vec<Event>) {
    let mut call = Watched::new(signalling);
    for event in sequence {
        call.feed(event);
    }
    // An active call may go on for ever; somebody ends it. Before that, and after, only deadlines are needed.
    if call.phase == Phase::Active {
        call.feed(Event::ApiEnd { reason: EndReason::ApiHangup });
    }
    for _ in 0..3 {
        if call.phase != Phase::Ended {
            assert!(!call.armed.is_empty(), "nothing will ever end {:?}", call.phase);
            let kind = call.armed.remove(0);
            call.feed(Event::Deadline(kind));
        }
    }
    assert_eq!(call.phase, Phase::Ended);
    assert_eq!(call.count(|effect| matches!(effect, Effect::Close(_))), 1);
    for action in [GraphAction::PreAccept, GraphAction::Accept, GraphAction::Reject, GraphAction::Terminate] {
        let times = call.count(|effect| matches!(effect, Effect::Graph { action: a, .. } if *a == action));
        assert!(times <= 1, "{action:?} {times} times");
    }
    let ended = call.count(|effect| matches!(effect, Effect::EndSession(_)));
    assert!(ended <= 1, "the node is told once");
    assert!(call.placed.is_none() || call.session_over || ended == 1, "a slot was not given back");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_managed_call_ends_well(sequence in prop::collection::vec(events(), 0..24)) {
        check_life(Signalling::Managed, sequence);
    }

    #[test]
    fn every_self_held_call_ends_well(sequence in prop::collection::vec(events(), 0..24)) {
        check_life(Signalling::SelfHeld, sequence);
    }

    #[test]
    fn a_plausible_call_is_answered(tail in prop::collection::vec(events(), 0..12)) {
        let mut sequence = vec![
            Event::Placed { answer: Sdp::new("v=0") },
            Event::GraphAnswered { action: GraphAction::PreAccept, outcome: GraphOutcome::Ok },
            Event::TransportConnected,
            Event::ProviderReady,
            Event::GraphAnswered { action: GraphAction::Accept, outcome: GraphOutcome::Ok },
        ];
        let mut call = Watched::new(Signalling::Managed);
        for event in sequence.clone() {
            call.feed(event);
        }
        prop_assert_eq!(&call.phase, &Phase::Active);
        sequence.extend(tail);
        check_life(Signalling::Managed, sequence);
    }
}
