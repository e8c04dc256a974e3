//! Explores all the queue can come to against a server that may say anything it ever could, at any time, any number of
//! times: so every message may be lost, late or doubled. To closure: until no state is new.
//!
//! What must hold is kept beside the queue, in [`Ledger`], from what was done to it and what it answered.
//!
//! Time is in the server's hands as well: each deadline may come before or after anything else. So how far away one is
//! makes no difference, and is left out of the states. So is all that makes no difference any more: see
//! [`Ledger::forget`].

use std::{
    collections::{HashSet, VecDeque},
    rc::Rc,
};

use super::{ledger::Ledger, *};
use crate::provider::Purpose;

pub(super) const NOW: Time = Time::from_millis(1_000_000);

/// Something that happens to the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// One of the creates of the scenario is asked for.
    Push(usize),
    Interrupt,
    SpeechStarted,
    SpeechStopped,
    Committed,
    Created(Whose),
    Heard(Whose),
    Done(Whose, Outcome),
    /// Of an attempt at a request, or without an event id.
    Refused(Option<EventId>, Refusal),
    /// Time passes until then.
    Until(Deadline),
}

/// One of the queue's deadlines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deadline {
    Open,
    Active,
    Turn,
    Pause,
}

/// Whose response something is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Whose {
    Server(u8),
    Ours(EventId),
}

impl Whose {
    pub(super) fn response_id(self) -> String {
        match self {
            Self::Server(number) => format!("V{number}"),
            Self::Ours(id) => format!("R{}_{}", id.request, id.attempt),
        }
    }
}

/// A fault put into the queue on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mutation {
    /// It does not notice that the caller speaks.
    SpeaksOverTheCaller,
    /// An interruption of what was asked for is forgotten when another response begins first.
    ForgetsTheInterruption,
    /// What was refused is not asked for again, and nobody is told.
    DropsWhatWasRefused,
    /// The end of any response frees the place of the active one.
    TakesAnyEndForTheEnd,
    /// It does not ask to be woken for a create without an answer.
    WaitsForEver,
    /// It does not count its attempts.
    AsksForEver,
}

/// What is explored.
#[derive(Clone, Debug)]
pub(super) struct Scenario {
    pub(super) creates: [Option<Create>; 2],
    pub(super) answerer: Answerer,
    /// The server repeats our metadata.
    pub(super) echoes: bool,
    /// Responses may fail, of which something was heard or not.
    pub(super) fails: bool,
    pub(super) mutation: Option<Mutation>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    queue: ResponseQueue,
    ledger: Ledger,
}

impl Scenario {
    fn mutated(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    /// Explores everything; the number of states, or what went wrong and how it came to that.
    pub(super) fn explore(&self) -> Result<usize, String> {
        let first = Rc::new(State { queue: ResponseQueue::new(self.answerer), ledger: Ledger::default() });
        let mut known = HashSet::from([Rc::clone(&first)]);
        let mut came_by: Vec<(usize, Option<Step>)> = vec![(0, None)];
        let mut open = VecDeque::from([first]);
        let mut index = 0;
        while let Some(state) = open.pop_front() {
            for step in self.steps(&state) {
                let mut next = (*state).clone();
                if let Err(what) = self.take(&mut next, step) {
                    return Err(format!("{what}: {step:?} after {}", path(&came_by, index)));
                }
                if next == *state {
                    continue;
                }
                let next = Rc::new(next);
                if known.insert(Rc::clone(&next)) {
                    came_by.push((index, Some(step)));
                    open.push_back(next);
                }
            }
            index += 1;
        }
        Ok(known.len())
    }

    /// All that can happen.
    fn steps(&self, state: &State) -> Vec<Step> {
        let mut steps = vec![Step::Interrupt, Step::SpeechStarted, Step::SpeechStopped, Step::Committed];
        let pushed = |index: &usize| state.ledger.pushed & (1 << index) != 0 || self.creates[*index].is_none();
        steps.extend((0..2).filter(|index| !pushed(index)).map(Step::Push));
        let late = Retry::After(None);
        let refusals = [Refusal::Collision, Refusal::Failed(late), Refusal::Failed(Retry::Never)];
        let servers: &[u8] = match self.answerer {
            // They differ by name only: the second begins after the first.
            Answerer::Server if state.ledger.has_named(Whose::Server(1)) && !self.fails => &[1, 2],
            Answerer::Server => &[1],
            Answerer::Us => &[],
        };
        let attempts = state.ledger.attempts();
        for whose in servers.iter().map(|number| Whose::Server(*number)).chain(attempts.clone().map(Whose::Ours)) {
            steps.extend([Step::Created(whose), Step::Done(whose, Outcome::Over)]);
            // The server's own fails once: what is asked for instead is one more request.
            if self.fails
                && (matches!(whose, Whose::Ours(_)) || state.queue.numbered == state.ledger.pushed.count_ones())
            {
                steps.extend([Step::Heard(whose), Step::Done(whose, Outcome::Failed(late))]);
            }
        }
        for id in attempts {
            steps.extend(refusals.map(|refusal| Step::Refused(Some(id), refusal)));
        }
        steps.extend(refusals.map(|refusal| Step::Refused(None, refusal)));
        let queue = &state.queue;
        let deadlines = [
            (Deadline::Open, queue.open.is_some() && !self.mutated(Mutation::WaitsForEver)),
            (Deadline::Active, queue.active.is_some()),
            (Deadline::Turn, queue.turn != Turn::Over),
            (Deadline::Pause, queue.not_before.is_some()),
        ];
        steps.extend(deadlines.into_iter().filter(|(_, is)| *is).map(|(deadline, _)| Step::Until(deadline)));
        steps
    }

    fn deadline(&self, queue: &ResponseQueue) -> Option<Time> {
        if !self.mutated(Mutation::WaitsForEver) {
            return queue.deadline();
        }
        let mut queue = queue.clone();
        queue.waiting.clear();
        queue.open = None;
        queue.deadline()
    }

    /// Does what happens, and what the provider does then; checks all of it.
    fn take(&self, state: &mut State, step: Step) -> Result<(), String> {
        let State { queue, ledger } = state;
        let before = ledger.places(queue);
        let tag = |whose: Whose| match whose {
            Whose::Ours(id) if self.echoes => Some(id.to_string()),
            Whose::Ours(_) | Whose::Server(_) => None,
        };
        let mut said = Said::default();
        match step {
            Step::Push(index) => {
                let create = self.creates[index].clone().ok_or("there is none")?;
                ledger.pushed |= 1 << index;
                ledger.on_push(&create);
                if !queue.push(create) {
                    return Err("the queue is full".to_owned());
                }
            }
            Step::Interrupt => {
                ledger.on_interrupt();
                said.cancelled = queue.interrupt(NOW).is_some();
                ledger.on_cancel(said.cancelled)?;
            }
            Step::SpeechStarted => {
                queue.speech_started(NOW);
                ledger.on_speech_started();
                if self.mutated(Mutation::SpeaksOverTheCaller) {
                    queue.turn = Turn::Over;
                }
            }
            Step::SpeechStopped => {
                queue.speech_stopped(NOW);
                ledger.on_speech_stopped();
            }
            Step::Committed => {
                queue.committed(NOW);
                ledger.on_committed(self.answerer);
            }
            Step::Created(whose) => {
                let cancel = queue.open.as_ref().is_some_and(|open| open.cancel);
                let started = queue.created(NOW, &whose.response_id(), tag(whose).as_deref());
                ledger.on_created(whose, self.echoes, started.as_ref().map(|started| started.cancel))?;
                if self.mutated(Mutation::ForgetsTheInterruption) && cancel && matches!(whose, Whose::Server(_)) {
                    queue.open.iter_mut().for_each(|open| open.cancel = false);
                }
            }
            Step::Heard(whose) => {
                queue.heard(NOW, &whose.response_id());
            }
            Step::Done(whose, outcome) => {
                said.ended = queue.done(NOW, &whose.response_id(), tag(whose).as_deref(), outcome);
                ledger.on_done(whose, self.echoes);
                if self.mutated(Mutation::TakesAnyEndForTheEnd) {
                    queue.active = None;
                }
            }
            Step::Refused(id, refusal) => {
                let waiting = queue.waiting.len();
                let about = id.map(|id| id.to_string());
                said.refused = Some(queue.refused(NOW, about.as_deref(), refusal));
                ledger.on_refused(id, refusal);
                if self.mutated(Mutation::DropsWhatWasRefused) && queue.waiting.len() > waiting {
                    queue.waiting.pop_front();
                }
            }
            Step::Until(deadline) => {
                queue.bring(deadline);
                ledger.on_time(deadline);
                while let Some(lapse) = queue.expire(NOW) {
                    ledger.on_lapse(&lapse)?;
                    said.lapses.push(lapse);
                }
            }
        }
        if self.mutated(Mutation::AsksForEver) {
            queue.waiting.iter_mut().for_each(|request| request.attempts = request.attempts.min(1));
        }
        ledger.settle(&before, queue, step, &said)?;
        while let Some((id, _)) = queue.next(NOW) {
            ledger.on_sent(id)?;
        }
        self.check(queue)?;
        ledger.forget(queue);
        queue.forget_times();
        Ok(())
    }

    /// What holds in every state.
    fn check(&self, queue: &ResponseQueue) -> Result<(), String> {
        let deadline = self.deadline(queue);
        let waits = !queue.waiting.is_empty() || queue.open.is_some() || queue.active.is_some();
        if waits && deadline.is_none() {
            return Err("something waits without a deadline".to_owned());
        }
        if deadline.is_some_and(|due| due <= NOW) {
            return Err("something due is left undone".to_owned());
        }
        let longest = [TAKE_UP_TIMEOUT, SILENCE_TIMEOUT, turn::LONGEST_SPEECH, turn::ANSWER_TIMEOUT];
        if deadline.is_some_and(|due| longest.iter().all(|longest| due.since(NOW) > *longest)) {
            return Err("a deadline is further away than any bound".to_owned());
        }
        let open = queue.open.iter().filter(|open| open.request.is_some()).count();
        let active = queue.active.iter().filter(|active| active.request.is_some()).count();
        if queue.waiting.len() + open + active > MAX_REQUESTS {
            return Err("more requests wait than there is room for".to_owned());
        }
        Ok(())
    }
}

/// What the queue answered to a step.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) cancelled: bool,
    pub(super) ended: Option<Ended>,
    pub(super) refused: Option<Refused>,
    pub(super) lapses: Vec<Lapse>,
}

impl Said {
    /// Whether somebody was told that a request for this will not come.
    pub(super) fn gives_up(&self, purpose: Purpose) -> bool {
        self.ended == Some(Ended::Refused(purpose))
            || self.refused == Some(Refused::GivenUp(purpose))
            || self.lapses.contains(&Lapse::NeverTakenUp(purpose))
    }
}

impl ResponseQueue {
    /// Time passes until then, while everything else happens to be due later.
    fn bring(&mut self, deadline: Deadline) {
        match deadline {
            Deadline::Open => self.open.iter_mut().for_each(|open| open.due = NOW),
            Deadline::Active => self.active.iter_mut().for_each(|active| active.due = NOW),
            Deadline::Turn => match &mut self.turn {
                Turn::Over => {}
                Turn::Speaking { until } | Turn::Unanswered { until } => *until = NOW,
            },
            Deadline::Pause => self.not_before = None,
        }
    }

    /// How far away deadlines are makes no difference.
    fn forget_times(&mut self) {
        let later = NOW + Duration::from_secs(1);
        self.not_before.take_if(|time| *time <= NOW);
        self.not_before.iter_mut().for_each(|time| *time = later);
        self.open.iter_mut().for_each(|open| open.due = later);
        self.active.iter_mut().for_each(|active| active.due = later);
        match &mut self.turn {
            Turn::Over => {}
            Turn::Speaking { until } | Turn::Unanswered { until } => *until = later,
        }
    }
}

fn path(came_by: &[(usize, Option<Step>)], mut index: usize) -> String {
    let mut steps = Vec::new();
    while let (parent, Some(step)) = came_by[index] {
        steps.push(format!("{step:?}"));
        index = parent;
    }
    steps.reverse();
    steps.join(", ")
}

fn scenario(creates: [Option<Create>; 2], answerer: Answerer) -> Scenario {
    Scenario { creates, answerer, echoes: true, fails: false, mutation: None }
}

fn farewell_and_answer() -> Scenario {
    scenario([Some(Create::Farewell), Some(Create::Answer)], Answerer::Server)
}

fn check(scenario: &Scenario) {
    let states = scenario.explore().unwrap_or_else(|what| panic!("{scenario:?}: {what}"));
    println!("{states} states to closure: {scenario:?}");
}

#[test]
fn no_server_that_repeats_metadata_breaks_a_promise() {
    check(&farewell_and_answer());
}

#[test]
fn no_server_that_repeats_no_metadata_breaks_a_promise() {
    check(&Scenario { echoes: false, ..farewell_and_answer() });
}

#[test]
fn no_server_breaks_a_promise_when_replies_join() {
    check(&scenario([Some(Create::Reply), Some(Create::AfterTools)], Answerer::Server));
}

#[test]
fn no_server_that_leaves_the_answer_to_us_breaks_a_promise() {
    check(&scenario([Some(Create::Greeting("g".into())), Some(Create::Answer)], Answerer::Us));
}

#[test]
fn no_server_whose_responses_fail_breaks_a_promise() {
    check(&Scenario { fails: true, ..scenario([Some(Create::Say("s".into())), None], Answerer::Server) });
    check(&Scenario { fails: true, ..scenario([Some(Create::Farewell), None], Answerer::Us) });
}

#[test]
fn every_mutation_is_caught() {
    let mutations = [
        Mutation::SpeaksOverTheCaller,
        Mutation::ForgetsTheInterruption,
        Mutation::DropsWhatWasRefused,
        Mutation::TakesAnyEndForTheEnd,
        Mutation::WaitsForEver,
        Mutation::AsksForEver,
    ];
    for mutation in mutations {
        let caught = Scenario { mutation: Some(mutation), ..farewell_and_answer() }.explore().err();
        println!("{mutation:?} is caught: {}", caught.unwrap_or_else(|| panic!("{mutation:?} is not caught")));
    }
}
