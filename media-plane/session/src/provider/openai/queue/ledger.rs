//! What the exploration knows of the requests, the caller and the server, kept apart from what the queue knows.

use super::{
    exploration::{Deadline, Said, Step, Whose},
    *,
};

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Ledger {
    /// Creates of the scenario that were asked for.
    pub(super) pushed: u8,
    /// By number.
    requests: Vec<Known>,
    /// The attempt that was sent and of which nothing was said yet.
    in_flight: Option<InFlight>,
    active: Option<Generating>,
    turn: Floor,
    /// Responses that are over for the server.
    over: Vec<Whose>,
    /// Whether a tag was ever repeated.
    echoed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Known {
    create: Create,
    attempts: u8,
    /// Attempts so far when it was last interrupted.
    interrupted: u8,
    /// The attempt that is being generated.
    begun: Option<u8>,
    ended: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct InFlight {
    id: EventId,
    unwanted: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Generating {
    /// `None`: known from a refusal only.
    whose: Option<Whose>,
    cancelled: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
enum Floor {
    #[default]
    Free,
    Speaking,
    Unanswered,
}

/// Where a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Waiting,
    Open,
    Active,
    Gone,
}

impl Ledger {
    /// All attempts that were ever sent.
    pub(super) fn attempts(&self) -> impl Iterator<Item = EventId> + Clone + use<'_> {
        let numbered = self.requests.iter().zip(1..);
        numbered
            .flat_map(|(known, request)| (1..=known.attempts).map(move |attempt| EventId { request, attempt }))
            .filter(|id| self.was_sent(*id))
    }

    /// Whether the server has said anything of this response.
    pub(super) fn has_named(&self, whose: Whose) -> bool {
        self.over.contains(&whose) || self.active.as_ref().is_some_and(|active| active.whose == Some(whose))
    }

    /// The first attempt at an answer that the server had begun by itself was its own.
    fn was_sent(&self, id: EventId) -> bool {
        self.requests[id.request as usize - 1].attempts >= id.attempt
    }

    pub(super) fn places(&self, queue: &ResponseQueue) -> Vec<Place> {
        (1..=queue.numbered).map(|number| place(queue, number)).collect()
    }

    pub(super) fn on_push(&mut self, create: &Create) {
        if *create == Create::Answer && matches!(self.turn, Floor::Unanswered) {
            self.turn = Floor::Free;
        }
    }

    pub(super) fn on_interrupt(&mut self) {
        if let Some(in_flight) = &mut self.in_flight {
            in_flight.unwanted = true;
        }
        self.requests.iter_mut().for_each(|known| known.interrupted = known.attempts);
    }

    /// An interruption cancels what is being generated, once.
    pub(super) fn on_cancel(&mut self, cancelled: bool) -> Result<(), String> {
        let due = self.active.as_ref().is_some_and(|active| !active.cancelled);
        if due != cancelled {
            return Err(format!("an interruption cancels {cancelled} instead of {due}"));
        }
        if let Some(active) = &mut self.active {
            active.cancelled = true;
        }
        Ok(())
    }

    pub(super) fn on_speech_started(&mut self) {
        self.turn = Floor::Speaking;
    }

    pub(super) fn on_speech_stopped(&mut self) {
        self.turn = Floor::Unanswered;
    }

    pub(super) fn on_committed(&mut self, answerer: Answerer) {
        self.turn = match answerer {
            Answerer::Server => Floor::Unanswered,
            Answerer::Us => Floor::Free,
        };
    }

    /// `cancel`: what the queue has the provider do, if it took it for news.
    pub(super) fn on_created(&mut self, whose: Whose, echoes: bool, cancel: Option<bool>) -> Result<(), String> {
        let news = !self.over.contains(&whose) && self.active.as_ref().is_none_or(|active| active.whose != Some(whose));
        let Some(cancel) = cancel.filter(|_| news) else {
            return if news == cancel.is_some() { Ok(()) } else { Err("a beginning is taken for another".to_owned()) };
        };
        if let Some(Generating { whose: Some(whose), .. }) = self.active.take() {
            self.over.push(whose);
        }
        self.active = Some(Generating { whose: Some(whose), cancelled: cancel });
        let in_flight = self.in_flight.clone();
        self.on_named(whose, echoes);
        let Whose::Ours(id) = whose else { return Ok(()) };
        if !echoes {
            return Ok(());
        }
        let superseded = in_flight.is_some_and(|other| other.id == id && other.unwanted);
        let known = &mut self.requests[id.request as usize - 1];
        let unwanted = known.ended || known.begun.is_some() || id.attempt <= known.interrupted;
        if unwanted && !cancel {
            return Err("what was interrupted or has ended is heard later".to_owned());
        }
        // An answer is not wanted once the server has given one.
        if !unwanted && cancel && !superseded && known.create != Create::Answer {
            return Err("what is wanted is cancelled".to_owned());
        }
        known.begun = known.begun.or((!unwanted && !cancel).then_some(id.attempt));
        Ok(())
    }

    /// Whether a response without a tag passes for ours.
    fn guesses(&self) -> bool {
        !self.echoed && self.in_flight.is_some() && !matches!(self.turn, Floor::Unanswered)
    }

    /// The server named a response: whose it is shows whether it answers the caller or an attempt.
    fn on_named(&mut self, whose: Whose, echoes: bool) {
        let ours = match whose {
            Whose::Ours(id) if echoes => {
                self.echoed = true;
                self.in_flight.take_if(|in_flight| in_flight.id == id);
                let known = &self.requests[id.request as usize - 1];
                let wanted = !known.ended && known.begun.is_none() && id.attempt > known.interrupted;
                // A later attempt at the same.
                let later = |in_flight: &&mut InFlight| wanted && in_flight.id.request == id.request;
                if let Some(in_flight) = self.in_flight.as_mut().filter(later) {
                    in_flight.unwanted = true;
                }
                return;
            }
            Whose::Ours(_) | Whose::Server(_) => self.guesses(),
        };
        if ours {
            self.in_flight = None;
            return;
        }
        if matches!(self.turn, Floor::Unanswered) {
            self.turn = Floor::Free;
        }
        let answer =
            |in_flight: &&mut InFlight| self.requests[in_flight.id.request as usize - 1].create == Create::Answer;
        if let Some(in_flight) = self.in_flight.as_mut().filter(answer) {
            in_flight.unwanted = true;
        }
    }

    pub(super) fn on_done(&mut self, whose: Whose, echoes: bool) {
        let was_active = self.active.take_if(|active| active.whose.is_none_or(|active| active == whose));
        if self.over.contains(&whose) {
            return;
        }
        self.over.push(whose);
        let seen = was_active.is_some_and(|active| active.whose.is_some());
        let tagged = echoes && matches!(whose, Whose::Ours(_));
        // While another is active its end says nothing of ours.
        if !seen && (tagged || self.active.is_none() || !self.guesses()) {
            self.on_named(whose, echoes);
        }
    }

    pub(super) fn on_refused(&mut self, id: Option<EventId>, refusal: Refusal) {
        if id.is_none() && refusal == Refusal::Failed(Retry::Never) {
            return;
        }
        let about = self.in_flight.take_if(|in_flight| id.is_none_or(|id| in_flight.id == id));
        if about.is_some() && refusal == Refusal::Collision && self.active.is_none() {
            self.active = Some(Generating { whose: None, cancelled: false });
        }
    }

    pub(super) fn on_lapse(&mut self, lapse: &Lapse) -> Result<(), String> {
        match lapse {
            Lapse::NotTakenUp | Lapse::NeverTakenUp(_) | Lapse::SpeechNotEnded | Lapse::TurnNotTaken => Ok(()),
            Lapse::NotEnded { .. } => {
                let active = self.active.as_mut().ok_or("nothing was being generated")?;
                if std::mem::replace(&mut active.cancelled, true) { Err("cancelled twice".to_owned()) } else { Ok(()) }
            }
            Lapse::NotCancelled { .. } => {
                let active = self.active.take().ok_or("nothing was being generated")?;
                if let Some(whose) = active.whose {
                    self.over.push(whose);
                }
                if active.cancelled { Ok(()) } else { Err("given up without a cancel".to_owned()) }
            }
        }
    }

    pub(super) fn on_time(&mut self, deadline: Deadline) {
        match deadline {
            Deadline::Open => self.in_flight = None,
            Deadline::Turn => self.turn = Floor::Free,
            Deadline::Active | Deadline::Pause => {}
        }
    }

    /// A `response.create` goes out.
    pub(super) fn on_sent(&mut self, id: EventId) -> Result<(), String> {
        if self.in_flight.is_some() {
            return Err("two of ours are open".to_owned());
        }
        if self.active.is_some() {
            return Err("a create is sent while a response is active".to_owned());
        }
        match self.turn {
            Floor::Free => {}
            Floor::Speaking => return Err("a create is sent while the caller speaks".to_owned()),
            Floor::Unanswered => return Err("a create is sent before the caller is answered".to_owned()),
        }
        let known = &mut self.requests[id.request as usize - 1];
        if known.ended {
            return Err("what has ended is asked for".to_owned());
        }
        if id.attempt != known.attempts + 1 || id.attempt > MAX_ATTEMPTS {
            return Err(format!("attempt {} follows {}", id.attempt, known.attempts));
        }
        known.attempts = id.attempt;
        self.in_flight = Some(InFlight { id, unwanted: false });
        Ok(())
    }

    /// Every request that is nowhere any more must have ended, in one way and for good.
    pub(super) fn settle(
        &mut self,
        before: &[Place],
        queue: &ResponseQueue,
        step: Step,
        said: &Said,
    ) -> Result<(), String> {
        for number in self.requests.len() as u32 + 1..=queue.numbered {
            let request = queue.waiting.iter().find(|request| request.number == number).ok_or("a request is lost")?;
            let (create, attempts) = (request.create.clone(), request.attempts);
            self.requests.push(Known { create, attempts, interrupted: 0, begun: None, ended: false });
        }
        // One that joins another may make more of it.
        for request in &queue.waiting {
            self.requests[request.number as usize - 1].create = request.create.clone();
        }
        let mut ends = 0;
        for (number, before) in (1..).zip(before) {
            let known = &mut self.requests[number as usize - 1];
            let now = place(queue, number);
            if known.ended && now != Place::Gone {
                return Err(format!("request {number} has ended and is {now:?}"));
            }
            if now != Place::Active {
                let begun = EventId { request: number, attempt: known.begun.take().unwrap_or_default() };
                let answered = now == Place::Gone && known.create == Create::Answer;
                if step == Step::Created(Whose::Ours(begun)) && !known.ended && !answered {
                    return Err(format!("request {number} has begun and is {now:?}"));
                }
            }
            if known.ended || now != Place::Gone {
                continue;
            }
            let answer = known.create == Create::Answer;
            let droppable = known.create.is_dropped_by_interruption();
            let given_up = said.gives_up(known.create.purpose());
            let right = match (before, step) {
                // It had begun, and nothing more is to be done about it.
                (Place::Active, Step::Created(_) | Step::Done(..) | Step::Until(_)) => true,
                (Place::Active, Step::Interrupt) => droppable,
                // Guessed wrongly: the caller was answered by the server.
                (Place::Active, Step::Refused(..)) => answer || given_up,
                (Place::Waiting | Place::Open, Step::Interrupt) => droppable,
                // The server's own answers the caller.
                (Place::Waiting | Place::Open, Step::Created(_)) => answer,
                (Place::Waiting | Place::Open, Step::Done(whose, _)) => {
                    answer || matches!(whose, Whose::Ours(id) if id.request == number) || !self.echoed
                }
                (Place::Open, Step::Refused(..) | Step::Until(_)) => given_up,
                _ => false,
            };
            if !right {
                return Err(format!("request {number} is lost"));
            }
            ends += u32::from(given_up && !matches!(before, Place::Waiting));
            known.ended = true;
        }
        let told = u32::from(matches!(said.ended, Some(Ended::Refused(_))))
            + u32::from(matches!(said.refused, Some(Refused::GivenUp(_))))
            + said.lapses.iter().filter(|lapse| matches!(lapse, Lapse::NeverTakenUp(_))).count() as u32;
        // The failure of a response of the server's own is told as well.
        if ends > told || (told > ends && !matches!(step, Step::Done(Whose::Server(_), _))) {
            return Err(format!("{ends} requests are given up and {told} are said to be"));
        }
        Ok(())
    }
}

/// Ends of responses of which something may still come late, or twice. An older response begins anew when it is named.
const LATE: usize = 1;

impl Ledger {
    /// Forgets what makes no difference any more.
    pub(super) fn forget(&mut self, queue: &mut ResponseQueue) {
        let forgotten = self.over.len().saturating_sub(LATE);
        self.over.drain(..forgotten);
        queue.finished.0.retain(|id| self.over.iter().any(|whose| *whose.response_id() == **id));
        let active = self.active.iter().filter_map(|active| active.whose);
        let named: Vec<Whose> = active.chain(self.over.iter().copied()).collect();
        for (known, request) in self.requests.iter_mut().zip(1..).filter(|(known, _)| known.ended) {
            known.interrupted = 0;
            known.begun = None;
            // One attempt is as stale as another.
            let is_named = |whose: &Whose| matches!(whose, Whose::Ours(id) if id.request == request);
            if !named.iter().any(is_named) && self.in_flight.as_ref().is_none_or(|other| other.id.request != request) {
                known.attempts = known.attempts.min(1);
            }
        }
    }
}

fn place(queue: &ResponseQueue, number: u32) -> Place {
    let is = |request: &Option<Request>| request.as_ref().is_some_and(|request| request.number == number);
    if queue.waiting.iter().any(|request| request.number == number) {
        Place::Waiting
    } else if queue.open.as_ref().is_some_and(|open| is(&open.request)) {
        Place::Open
    } else if queue.active.as_ref().is_some_and(|active| is(&active.request)) {
        Place::Active
    } else {
        Place::Gone
    }
}
