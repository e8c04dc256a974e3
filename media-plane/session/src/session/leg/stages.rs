//! How far signalling and transport have come, and what that allows.

use voicebridge_audio::Time;

use crate::ports::Stage;

/// What a session does before it has been told of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignallingMode {
    /// Wait: no ICE or DTLS before ANSWER_DELIVERED, no RTP before ACCEPTED.
    Staged,
    /// Connect at once and send RTP as soon as DTLS is up. The first ANSWER_DELIVERED that comes before RTP has started
    /// turns it into a staged one.
    Immediate,
}

/// How a session is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The answer exists; waiting for ANSWER_DELIVERED.
    Answered,
    /// ICE and DTLS may run.
    Connecting,
    /// The transport is up; waiting for ACCEPTED.
    Connected,
    /// Audio flows.
    Active,
    /// Over.
    Ended,
}

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stages {
    mode: SignallingMode,
    stage: Option<Stage>,
    /// When ICE and DTLS were allowed to run.
    connecting_since: Option<Time>,
    connected: bool,
    active_since: Option<Time>,
}

impl Stages {
    pub(crate) fn new(now: Time, mode: SignallingMode) -> Self {
        let connecting_since = (mode == SignallingMode::Immediate).then_some(now);
        Self { mode, stage: None, connecting_since, connected: false, active_since: None }
    }

    /// Takes a stage; one already passed changes nothing.
    pub(crate) fn advance(&mut self, now: Time, stage: Stage) {
        if self.stage >= Some(stage) {
            return;
        }
        if self.mode == SignallingMode::Immediate && stage == Stage::AnswerDelivered && self.active_since.is_none() {
            self.mode = SignallingMode::Staged;
            self.connecting_since = Some(now);
        }
        self.stage = Some(stage);
        self.connecting_since.get_or_insert(now);
    }

    pub(crate) fn connect(&mut self) {
        self.connected = true;
    }

    /// Whether audio may begin, for the first time: both sides of the gate are open.
    pub(crate) fn activate(&mut self, now: Time) -> bool {
        let opens = self.active_since.is_none() && self.connected && self.accepted();
        if opens {
            self.active_since = Some(now);
        }
        opens
    }

    /// The call is answered, as far as this session has to wait for that.
    pub(crate) fn accepted(&self) -> bool {
        self.stage == Some(Stage::Accepted) || self.mode == SignallingMode::Immediate
    }

    pub(crate) const fn stage(&self) -> Option<Stage> {
        self.stage
    }

    pub(crate) const fn connected(&self) -> bool {
        self.connected
    }

    pub(crate) const fn connecting_since(&self) -> Option<Time> {
        self.connecting_since
    }

    pub(crate) const fn active_since(&self) -> Option<Time> {
        self.active_since
    }

    pub(crate) const fn state(&self) -> State {
        match (self.active_since, self.connected, self.connecting_since) {
            (Some(_), ..) => State::Active,
            (None, true, Some(_)) => State::Connected,
            (None, _, Some(_)) => State::Connecting,
            (None, _, None) => State::Answered,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: Time = Time::ZERO;

    #[test]
    fn audio_begins_when_both_gates_are_open_and_once() {
        let mut stages = Stages::new(T0, SignallingMode::Staged);
        assert_eq!(stages.state(), State::Answered);
        assert!(!stages.activate(T0));
        stages.advance(T0, Stage::AnswerDelivered);
        assert_eq!(stages.state(), State::Connecting);
        stages.connect();
        assert_eq!(stages.state(), State::Connected);
        assert!(!stages.activate(T0));
        stages.advance(T0, Stage::Accepted);
        assert!(stages.activate(T0));
        assert!(!stages.activate(T0));
        assert_eq!(stages.state(), State::Active);
    }

    #[test]
    fn accepted_implies_delivered_and_stages_never_go_back() {
        let mut stages = Stages::new(T0, SignallingMode::Staged);
        stages.advance(Time::from_millis(5), Stage::Accepted);
        assert_eq!(stages.connecting_since(), Some(Time::from_millis(5)));
        stages.advance(Time::from_millis(9), Stage::AnswerDelivered);
        assert_eq!(stages.stage(), Some(Stage::Accepted));
        assert_eq!(stages.connecting_since(), Some(Time::from_millis(5)));
    }

    #[test]
    fn immediate_becomes_staged_by_the_first_advance_before_audio() {
        let mut stages = Stages::new(T0, SignallingMode::Immediate);
        assert_eq!(stages.state(), State::Connecting);
        stages.advance(T0, Stage::AnswerDelivered);
        stages.connect();
        assert!(!stages.activate(T0));

        let mut running = Stages::new(T0, SignallingMode::Immediate);
        running.connect();
        assert!(running.activate(T0));
        running.advance(T0, Stage::AnswerDelivered);
        assert_eq!(running.state(), State::Active);
    }
}
