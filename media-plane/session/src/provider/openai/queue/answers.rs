//! What the server's answers to our requests mean, and what it begins and ends by itself.

use std::time::Duration;

use voicebridge_audio::Time;

use super::{
    CANCEL_TIMEOUT, Ended, EventId, Outcome, Refusal, Refused, ResponseQueue, Retry, SILENCE_TIMEOUT, Started,
    request::{Active, Open, Origin, Request},
    turn::Turn,
};
use crate::provider::{Purpose, openai::request::Create};

impl ResponseQueue {
    /// `response.created`; `tag` is the event id in its metadata. `None` when that is known already.
    pub(in super::super) fn created(&mut self, now: Time, response_id: &str, tag: Option<&str>) -> Option<Started> {
        if self.finished.contains(response_id) || self.active.as_ref().is_some_and(|active| active.is(response_id)) {
            return None;
        }
        let origin = self.origin(tag);
        let guess = if origin == Origin::Guess { self.take_guess(None) } else { None };
        let unseen_was_cancelled = self.leave_active();
        let (cancel, request) = match origin {
            Origin::Open => self.open.take().map_or((true, None), |open| (open.cancel, open.request)),
            // One that only answers is not needed any more: what was taken for it was the server's own answer.
            Origin::Guess => (guess.is_none(), guess),
            Origin::Earlier(number) => (false, self.take_request(now, number)),
            Origin::Past => (true, None),
            Origin::Server => (unseen_was_cancelled && self.turn == Turn::Over, None),
        };
        if origin == Origin::Server {
            self.server_answers(now);
        }
        let purpose = request.as_ref().map_or(Purpose::Reply, |request| request.create.purpose());
        self.active = Some(Active {
            id: Some(response_id.into()),
            request,
            guessed: tag.is_none(),
            cancelled: cancel,
            heard: false,
            due: now + if cancel { CANCEL_TIMEOUT } else { SILENCE_TIMEOUT },
        });
        Some(Started { purpose, cancel })
    }

    /// Another response begins, so the one that was active is over although nobody said so. Returns whether it was one
    /// never seen and cancelled: then the one that begins is that.
    fn leave_active(&mut self) -> bool {
        match self.active.take() {
            Some(Active { id: Some(id), .. }) => {
                self.finished.push(id);
                false
            }
            Some(Active { id: None, cancelled, .. }) => cancelled,
            None => false,
        }
    }

    fn origin(&mut self, tag: Option<&str>) -> Origin {
        let Some(tag) = tag else {
            let ours = self.open.is_some() && !self.echoes_tags && !matches!(self.turn, Turn::Unanswered { .. });
            return if ours { Origin::Open } else { Origin::Server };
        };
        self.echoes_tags = true;
        let Some(id) = EventId::parse(tag) else { return Origin::Server };
        if self.open.as_ref().is_some_and(|open| open.id == id) {
            return Origin::Open;
        }
        let guess = self.active.iter().filter(|active| active.guessed).find_map(|active| active.request.as_ref());
        if guess.is_some_and(|guess| guess.number == id.request && guess.interrupted < id.attempt) {
            return Origin::Guess;
        }
        let open = self.open.iter().filter_map(|open| open.request.as_ref());
        match self.waiting.iter().chain(open).find(|request| request.number == id.request) {
            Some(request) if request.interrupted < id.attempt => Origin::Earlier(id.request),
            _ => Origin::Past,
        }
    }

    /// Takes a request out of those that wait or are open; an attempt at it that is open is not wanted any more.
    fn take_request(&mut self, now: Time, number: u32) -> Option<Request> {
        if let Some(open) = self.open.as_mut().filter(|open| open.id.request == number) {
            open.cancel = true;
            open.due = open.due.min(now + CANCEL_TIMEOUT);
            if open.request.is_some() {
                return open.request.take();
            }
        }
        let position = self.waiting.iter().position(|request| request.number == number)?;
        self.waiting.remove(position)
    }

    /// The server answers the caller by itself: so nobody else has to.
    fn server_answers(&mut self, now: Time) {
        self.turn.answered();
        self.waiting.retain(|request| request.create != Create::Answer);
        let answer = |open: &&mut Open| open.request.as_ref().is_some_and(|request| request.create == Create::Answer);
        if let Some(open) = self.open.as_mut().filter(answer) {
            open.request = None;
            open.cancel = true;
            open.due = open.due.min(now + CANCEL_TIMEOUT);
        }
    }

    /// Anything that shows the response to be alive.
    pub(in super::super) fn alive(&mut self, now: Time, response_id: &str) {
        if let Some(active) = self.active.as_mut().filter(|active| active.is(response_id) && !active.cancelled) {
            active.due = now + SILENCE_TIMEOUT;
        }
    }

    /// Something came of the response that must not come twice: audio, a call of a tool.
    pub(in super::super) fn heard(&mut self, now: Time, response_id: &str) {
        self.alive(now, response_id);
        if let Some(active) = self.active.as_mut().filter(|active| active.is(response_id)) {
            active.heard = true;
        }
    }

    /// `response.done`. `None` when that is known already.
    pub(in super::super) fn done(
        &mut self,
        now: Time,
        response_id: &str,
        tag: Option<&str>,
        outcome: Outcome,
    ) -> Option<Ended> {
        let ours = |active: &mut Active| active.id.is_none() || active.is(response_id);
        let was_active = self.active.take_if(ours);
        if self.finished.contains(response_id) {
            return None;
        }
        self.finished.push(response_id.into());
        let (request, cancelled, heard) = match was_active {
            Some(active) if active.id.is_some() => (active.request, active.cancelled, active.heard),
            // It began without our seeing it; what came of it is not known.
            was_active => {
                let request = match self.origin(tag) {
                    Origin::Open if tag.is_some() || self.active.is_none() => self.open.take()?.request,
                    Origin::Guess => self.take_guess(None),
                    Origin::Earlier(number) => self.take_request(now, number),
                    Origin::Open | Origin::Past => None,
                    Origin::Server => {
                        self.server_answers(now);
                        None
                    }
                };
                (request, was_active.is_some_and(|active| active.cancelled), true)
            }
        };
        match outcome {
            Outcome::Failed(retry) if !cancelled => Some(self.failed(now, request, heard, retry)),
            Outcome::Failed(_) | Outcome::Over => Some(Ended::Over),
        }
    }

    fn failed(&mut self, now: Time, request: Option<Request>, heard: bool, retry: Retry) -> Ended {
        if heard {
            return Ended::Broken;
        }
        let is_answer = request.as_ref().is_none_or(|request| request.create.is_dropped_by_interruption());
        if is_answer && self.turn != Turn::Over {
            return Ended::Overtaken;
        }
        let purpose = request.as_ref().map_or(Purpose::Reply, |request| request.create.purpose());
        let again = purpose != Purpose::Farewell
            && match request {
                Some(request) => self.retry(now, request, retry),
                None => self.retry_answer(now, retry),
            };
        if again { Ended::Again } else { Ended::Refused(purpose) }
    }

    /// An error that may be about a `response.create` of ours: there is one open at most, so that without an event id it
    /// is about that.
    pub(in super::super) fn refused(&mut self, now: Time, event_id: Option<&str>, refusal: Refusal) -> Refused {
        let about = match event_id.map(EventId::parse) {
            Some(None) => return Refused::NotOurs,
            Some(about) => about,
            // A request that is wrong is told by its id; without one it is something else that was.
            None if refusal == Refusal::Failed(Retry::Never) => return Refused::NotOurs,
            None => None,
        };
        let open = self.open.take_if(|open| about.is_none_or(|id| open.id == id));
        if open.is_some() && refusal == Refusal::Collision && self.active.is_none() {
            self.active = Some(Active::unseen(now + SILENCE_TIMEOUT));
        }
        let request = match open {
            Some(open) => open.request,
            None if about.is_none() && refusal != Refusal::Collision => return Refused::NotOurs,
            None => self.take_guess(about),
        };
        let Some(request) = request else { return Refused::Settled };
        let purpose = request.create.purpose();
        let (retry, again) = match refusal {
            Refusal::Collision => (Retry::After(Some(Duration::ZERO)), Refused::Settled),
            Refusal::Failed(retry) => (retry, Refused::Again),
        };
        if self.retry(now, request, retry) { again } else { Refused::GivenUp(purpose) }
    }

    /// Takes back the guess that the active response is ours. With an id only if it is that attempt.
    fn take_guess(&mut self, id: Option<EventId>) -> Option<Request> {
        let active = self.active.as_mut().filter(|active| active.guessed)?;
        let is_it =
            |request: &mut Request| id.is_none_or(|id| id.request == request.number && id.attempt == request.attempts);
        let request = active.request.take_if(is_it)?;
        // It is the server's own then, and answers what an answer would have.
        (request.create != Create::Answer).then_some(request)
    }
}
