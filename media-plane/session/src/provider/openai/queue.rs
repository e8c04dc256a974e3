//! Decides when a response is asked for: one at a time, and never over the caller.
//!
//! A second `response.create` while a response is active is an error, and the server creates responses of its own. So
//! ours wait here until nothing is being generated, the caller's turn was answered and a pause asked for is over:
//!
//! ```text
//! waiting --sent--> open --response.created--> active --response.done--> over
//!    ^-- refused, -----|                          |
//!    |   no answer     |--- failed, nothing heard-|
//! ```
//!
//! Every request ends in one of three ways: it began; it was refused for good, after [`MAX_ATTEMPTS`] at most; or an
//! interruption dropped it, which happens to answers only. An attempt that was interrupted before it began is cancelled
//! when it begins, however late. Nothing waits without a deadline.
//!
//! Ours are known by the tag that the server repeats in its responses. Of a server that has never repeated one it is
//! guessed: while the caller waits for its answer what begins is that, else it is ours, until a refusal says otherwise.
//!
//! Does not send or report: it says what there is to send, and what became of it.

mod answers;
mod request;
mod turn;

pub(super) use request::{Cancel, Ended, EventId, Lapse, Outcome, Refusal, Refused, Retry, Started};
pub(super) use turn::Answerer;

use std::{collections::VecDeque, time::Duration};

use voicebridge_audio::Time;

use super::request::Create;
use crate::provider::Purpose;
use request::{Active, Finished, Open, Request};
use turn::Turn;

/// Requests that have not ended. Further ones are refused.
const MAX_REQUESTS: usize = 16;
/// How often one is asked for.
const MAX_ATTEMPTS: u8 = 3;
/// From `response.create` to `response.created`.
const TAKE_UP_TIMEOUT: Duration = Duration::from_secs(3);
/// From `response.cancel` to `response.done`, and from an interruption to the beginning of what was interrupted.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(1);
/// An active response of which nothing was heard for so long is not coming.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(8);
/// Before the second attempt; twice as long before the third.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct ResponseQueue {
    answerer: Answerer,
    waiting: VecDeque<Request>,
    /// Nothing is sent before.
    not_before: Option<Time>,
    open: Option<Open>,
    active: Option<Active>,
    turn: Turn,
    finished: Finished,
    /// The server has repeated a tag of ours, so that a response without one is not ours.
    echoes_tags: bool,
    /// Numbers given so far.
    numbered: u32,
}

impl ResponseQueue {
    pub(super) fn new(answerer: Answerer) -> Self {
        Self { answerer, ..Self::default() }
    }

    /// Takes a request. False when too many have not ended yet.
    ///
    /// One that asks for nothing in particular is the same as another of its kind that waits, and joins it.
    pub(super) fn push(&mut self, create: Create) -> bool {
        if create == Create::Answer && matches!(self.turn, Turn::Unanswered { .. }) {
            self.turn = Turn::Over;
        }
        let plain = self.waiting.iter_mut().find(|request| request.create.is_plain());
        if let (true, Some(request)) = (create.is_plain(), plain) {
            if request.create.is_dropped_by_interruption() && create != Create::Answer {
                request.create = create;
            }
            return true;
        }
        self.push_new(create, 0)
    }

    fn push_new(&mut self, create: Create, attempts: u8) -> bool {
        let open = self.open.iter().filter(|open| open.request.is_some()).count();
        let active = self.active.iter().filter(|active| active.request.is_some()).count();
        if self.waiting.len() + open + active >= MAX_REQUESTS {
            return false;
        }
        self.numbered += 1;
        self.waiting.push_back(Request { number: self.numbered, create, attempts, interrupted: 0 });
        true
    }

    /// The next request to send, if its time has come; from here on it is open.
    pub(super) fn next(&mut self, now: Time) -> Option<(EventId, &Create)> {
        if !self.is_free() || self.not_before.is_some_and(|time| now < time) {
            return None;
        }
        let mut request = self.waiting.pop_front()?;
        self.not_before = None;
        request.attempts += 1;
        let id = EventId { request: request.number, attempt: request.attempts };
        let open = self.open.insert(Open { id, request: Some(request), cancel: false, due: now + TAKE_UP_TIMEOUT });
        open.request.as_ref().map(|request| (id, &request.create))
    }

    fn is_free(&self) -> bool {
        self.open.is_none() && self.active.is_none() && self.turn == Turn::Over
    }

    /// Whether the server is generating, as far as we know.
    pub(super) const fn is_active(&self) -> bool {
        self.active.is_some()
    }

    /// Whether it is this response that the server is generating, as far as we know.
    pub(super) fn is_generating(&self, response_id: &str) -> bool {
        self.active.as_ref().is_some_and(|active| active.id.is_none() || active.is(response_id))
    }

    /// Whether this response is over.
    pub(super) fn has_finished(&self, response_id: &str) -> bool {
        self.finished.contains(response_id)
    }

    /// The caller began to speak.
    pub(super) fn speech_started(&mut self, now: Time) {
        self.turn.speech_started(now);
    }

    /// The caller stopped.
    pub(super) fn speech_stopped(&mut self, now: Time) {
        self.turn.speech_stopped(now);
    }

    /// What the caller said is part of the conversation.
    pub(super) fn committed(&mut self, now: Time) {
        match self.answerer {
            Answerer::Server => self.turn.speech_stopped(now),
            Answerer::Us => self.turn = Turn::Over,
        }
    }

    /// Stops what is being generated or was asked for, and drops answers. Returns what to cancel now.
    pub(super) fn interrupt(&mut self, now: Time) -> Option<Cancel> {
        self.waiting.retain(|request| !request.create.is_dropped_by_interruption());
        let open = self.open.as_mut().map(|open| {
            open.cancel = true;
            open.due = open.due.min(now + CANCEL_TIMEOUT);
            &mut open.request
        });
        let active = self.active.as_mut().map(|active| &mut active.request);
        for request in open.into_iter().chain(active) {
            request.take_if(|request| request.create.is_dropped_by_interruption());
        }
        self.requests_mut().for_each(|request| request.interrupted = request.attempts);
        let active = self.active.as_mut().filter(|active| !active.cancelled)?;
        Some(cancel(active, now))
    }

    fn requests_mut(&mut self) -> impl Iterator<Item = &mut Request> {
        let open = self.open.iter_mut().filter_map(|open| open.request.as_mut());
        let active = self.active.iter_mut().filter_map(|active| active.request.as_mut());
        self.waiting.iter_mut().chain(open).chain(active)
    }

    /// Gives up what did not happen in time, one thing for each call.
    pub(super) fn expire(&mut self, now: Time) -> Option<Lapse> {
        match (self.turn.expire(now), self.answerer) {
            (Some(Turn::Speaking { .. }), _) => return Some(Lapse::SpeechNotEnded),
            (Some(Turn::Unanswered { .. }), Answerer::Us) => return Some(Lapse::TurnNotTaken),
            // An answer of the server's that does not come is missed by the conversation.
            _ => {}
        }
        let open = self.open.take_if(|open| open.due <= now);
        let wanted = open.as_ref().is_some_and(|open| !open.cancel);
        if let Some(request) = open.and_then(|open| open.request) {
            let purpose = request.create.purpose();
            if !self.retry(now, request, Retry::After(Some(Duration::ZERO))) {
                return Some(Lapse::NeverTakenUp(purpose));
            }
            if wanted {
                return Some(Lapse::NotTakenUp);
            }
        }
        let active = self.active.as_mut().filter(|active| active.due <= now)?;
        if !active.cancelled {
            let purpose = active.request.as_ref().map_or(Purpose::Reply, |request| request.create.purpose());
            let owed = active.heard && matches!(purpose, Purpose::Reply | Purpose::Greeting);
            return Some(Lapse::NotEnded { cancel: cancel(active, now), owed });
        }
        let response_id = self.active.take()?.id;
        response_id.iter().cloned().for_each(|id| self.finished.push(id));
        Some(Lapse::NotCancelled { response_id })
    }

    /// Asks again for a response that the server had begun by itself: that was the first attempt.
    fn retry_answer(&mut self, now: Time, retry: Retry) -> bool {
        let Retry::After(pause) = retry else { return false };
        let fits = self.push_new(Create::Answer, 1);
        if fits {
            self.waiting.rotate_right(1);
            self.pause(now, pause, 1);
        }
        fits
    }

    /// Puts a request before all others, if it may be asked for again.
    fn retry(&mut self, now: Time, request: Request, retry: Retry) -> bool {
        let Retry::After(pause) = retry else { return false };
        if request.attempts >= MAX_ATTEMPTS {
            return false;
        }
        self.pause(now, pause, request.attempts);
        self.waiting.push_front(request);
        true
    }

    fn pause(&mut self, now: Time, pause: Option<Duration>, attempts: u8) {
        let until = now + pause.unwrap_or(FIRST_PAUSE * (1 << attempts.saturating_sub(1)));
        self.not_before = self.not_before.max(Some(until));
    }

    /// When to call [`Self::expire`] and [`Self::next`] again.
    pub(super) fn deadline(&self) -> Option<Time> {
        let next = (self.is_free() && !self.waiting.is_empty()).then_some(self.not_before.unwrap_or(Time::ZERO));
        let open = self.open.as_ref().map(|open| open.due);
        let active = self.active.as_ref().map(|active| active.due);
        [next, open, active, self.turn.until()].into_iter().flatten().min()
    }
}

fn cancel(active: &mut Active, now: Time) -> Cancel {
    active.cancelled = true;
    active.due = now + CANCEL_TIMEOUT;
    Cancel { response_id: active.id.clone() }
}

#[cfg(test)]
mod exploration;
#[cfg(test)]
mod ledger;
#[cfg(test)]
mod tests;
