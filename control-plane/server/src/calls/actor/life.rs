//! Where the call stands: what [`call_life`] says of what happens, one event after the other.

use voicebridge_core::call_life::{self, Effect, Event, Phase, Signalling, Step};

/// See the module.
pub(super) struct Life {
    signalling: Signalling,
    phase: Phase,
}

impl Life {
    /// Of a call that has not begun: [`Life::begin`] does.
    pub(super) const fn new(signalling: Signalling) -> Self {
        Self { signalling, phase: Phase::Ended }
    }

    /// The first step.
    pub(super) fn begin(&mut self, step: Step) -> Vec<Effect> {
        self.phase = step.phase;
        step.effects
    }

    pub(super) fn step(&mut self, event: Event) -> Vec<Effect> {
        let phase = std::mem::replace(&mut self.phase, Phase::Ended);
        self.begin(call_life::step(self.signalling, phase, event))
    }

    pub(super) const fn signalling(&self) -> Signalling {
        self.signalling
    }

    pub(super) const fn phase(&self) -> &Phase {
        &self.phase
    }

    pub(super) const fn is_placing(&self) -> bool {
        matches!(self.phase, Phase::Placing { .. })
    }

    /// What is done now is the end.
    pub(super) const fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Ending(_) | Phase::Ended)
    }

    pub(super) fn is_ended(&self) -> bool {
        self.phase == Phase::Ended
    }

    /// Nothing is under way that a shutdown should wait for.
    pub(super) const fn is_idle(&self) -> bool {
        match (&self.phase, self.signalling) {
            (Phase::Active | Phase::Ended, _) => true,
            // Whoever holds the signalling drives it on, also after a restart of ours.
            (phase, Signalling::SelfHeld) => matches!(phase, Phase::PreAccepting { .. } | Phase::Connecting { .. }),
            (_, Signalling::Managed) => false,
        }
    }
}
