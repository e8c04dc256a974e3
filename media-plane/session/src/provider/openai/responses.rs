//! Responses from their request to their end: what the queue says there is to send, and what is reported of them.

use std::time::Duration;

use voicebridge_audio::Time;

use super::{
    OpenAi, OpenAiPhase,
    error::{self, ErrorClass},
    queue::{Cancel, Ended, Lapse, Outcome, Refusal, Refused, Retry},
    request::{self, Create},
    server::{ErrorBody, Response},
};
use crate::{
    event::{ResponseStatus, Usage},
    provider::{Failure, Outbox, ProviderEvent, Purpose},
};

/// Replies in a row that failed or never came and are tried again; one more means that the service is not working.
const MAX_RETRIES: u32 = 2;
/// The longest pause before a response is asked for again, whatever the service asks for: a caller does not wait longer.
const MAX_PAUSE: Duration = Duration::from_secs(10);
/// What a response that was given up is said to have ended with.
const TIMEOUT: &str = "response_timeout";

/// What the service last said of its limits.
#[derive(Debug, Default)]
pub(super) struct RateLimit {
    at: Time,
    reset: Duration,
}

impl RateLimit {
    pub(super) fn set(&mut self, now: Time, reset_seconds: f64) {
        *self = Self { at: now, reset: Duration::try_from_secs_f64(reset_seconds).unwrap_or_default() };
    }

    /// How long until there is room again, if there is none.
    fn left(&self, now: Time) -> Option<Duration> {
        Some(self.reset.saturating_sub(now.since(self.at))).filter(|left| !left.is_zero())
    }
}

/// Whether the AI has taken its leave: what fails then is not asked for again.
#[derive(Debug, Default)]
pub(super) enum Goodbye {
    #[default]
    None,
    /// It hung up with this call of the tool.
    Called(String),
    /// It was asked for its last words.
    Asked,
}

impl Goodbye {
    /// Its call to hang up was answered: the conversation goes on, or a goodbye is asked for next.
    pub(super) fn on_outcome(&mut self, call_id: &str) {
        if matches!(self, Self::Called(call) if call == call_id) {
            *self = Self::None;
        }
    }
}

impl OpenAi {
    /// Asks for a response, now or when its time has come.
    pub(super) fn create(&mut self, now: Time, create: Create, out: &mut Outbox<'_>) {
        let purpose = create.purpose();
        if self.queue.push(create) {
            return self.release(now, out);
        }
        let message = "too many replies are waiting to be spoken; this one was dropped".to_owned();
        give_up(purpose, "response_queue_full", message, out);
    }

    /// Sends what is due.
    pub(super) fn release(&mut self, now: Time, out: &mut Outbox<'_>) {
        if self.phase != OpenAiPhase::Ready {
            return;
        }
        if let Some((event_id, create)) = self.queue.next(now) {
            let message = request::response_create(&event_id.to_string(), create, &self.instructions);
            out.send(&message);
        }
    }

    /// Stops what is being generated. Unless interruption is ours alone, the server cancels by itself when its voice
    /// detection fired; a second cancel is answered with an error that is ignored.
    pub(super) fn interrupt(&mut self, now: Time, out: &mut Outbox<'_>) {
        self.half_samples.clear();
        if let Some(cancel) = self.queue.interrupt(now) {
            self.cancel(&cancel, out);
        }
    }

    fn cancel(&mut self, cancel: &Cancel, out: &mut Outbox<'_>) {
        let response_id = cancel.response_id.as_deref();
        response_id.into_iter().for_each(|id| self.stale_filter.response(id));
        out.send(&request::response_cancel(&self.ids.next("cancel"), response_id));
    }

    pub(super) fn on_created(&mut self, now: Time, response: &Response, out: &mut Outbox<'_>) {
        let Some(started) = self.queue.created(now, &response.id, response.tag()) else { return };
        out.event(ProviderEvent::ResponseStarted { response_id: response.id.clone(), purpose: started.purpose });
        if started.cancel {
            self.cancel(&Cancel { response_id: Some(response.id.as_str().into()) }, out);
        }
    }

    pub(super) fn on_done(&mut self, now: Time, response: &Response, out: &mut Outbox<'_>) {
        let failed = response.status() == ResponseStatus::Failed;
        let outcome = if failed { Outcome::Failed(self.retry_of(now, response)) } else { Outcome::Over };
        let Some(ended) = self.queue.done(now, &response.id, response.tag(), outcome) else { return };
        // A cancelled response may end without `output_audio.done`.
        self.end_items(&response.id, out);
        out.event(ProviderEvent::ResponseFinished {
            response_id: response.id.clone(),
            status: response.status(),
            status_reason: response.reason().to_owned(),
            usage: response.usage(),
        });
        if failed && ended != Ended::Over {
            self.on_failed(response, ended, out);
        } else {
            self.failures = 0;
        }
        self.after_response(now, &response.id, out);
    }

    /// A response is over: tools it called may be complete, and the next request may be due.
    fn after_response(&mut self, now: Time, response_id: &str, out: &mut Outbox<'_>) {
        if self.tool_calls.response_over(response_id) {
            self.create(now, Create::AfterTools, out);
        }
        self.release(now, out);
    }

    /// No more audio comes of the items of which some has come.
    fn end_items(&mut self, response_id: &str, out: &mut Outbox<'_>) {
        self.half_samples.clear();
        for item in self.audio_items.drain() {
            if !self.stale_filter.blocks(response_id, &item) {
                out.event(ProviderEvent::AudioDone { item });
            }
        }
    }

    fn retry_of(&self, now: Time, response: &Response) -> Retry {
        if !matches!(self.goodbye, Goodbye::None) {
            return Retry::Never;
        }
        Retry::After(self.pause(now, response.error_text()))
    }

    /// The pause the service asks for.
    fn pause(&self, now: Time, text: &str) -> Option<Duration> {
        error::pause_asked_for(text).or_else(|| self.rate_limit.left(now)).map(|pause| pause.min(MAX_PAUSE))
    }

    /// A reply that failed leaves the caller in silence, or in the middle of a sentence.
    fn on_failed(&mut self, response: &Response, ended: Ended, out: &mut Outbox<'_>) {
        let code = if response.reason().is_empty() { "response_failed" } else { response.reason() };
        self.failures += 1;
        if error::is_fatal(code) || self.failures > MAX_RETRIES {
            return self.fail(error::failure(code, response.error_text(), &self.settings.model), out);
        }
        let what = match ended {
            Ended::Again => "and is asked for again",
            Ended::Broken => "after a part of it was heard, and is not asked for again",
            Ended::Overtaken => "while the caller spoke again",
            Ended::Refused(_) | Ended::Over => "and is given up",
        };
        let message = format!("a reply failed {what}: {}", error::shortened(response.error_text()));
        match ended {
            Ended::Refused(purpose) => give_up(purpose, code, message, out),
            _ => out.event(ProviderEvent::Error { code: code.to_owned(), message }),
        }
    }

    /// Does what is due.
    pub(super) fn on_time(&mut self, now: Time, out: &mut Outbox<'_>) {
        while let Some(lapse) = self.queue.expire(now) {
            self.on_lapse(now, lapse, out);
        }
        if self.tool_calls.expire(now) {
            self.create(now, Create::AfterTools, out);
        }
        self.release(now, out);
    }

    /// The service does not answer. A request that is not taken up has its attempts; responses that begin and go silent one
    /// after the other mean that the session is dead.
    fn on_lapse(&mut self, now: Time, lapse: Lapse, out: &mut Outbox<'_>) {
        let message = match lapse {
            Lapse::NotTakenUp => "a reply was asked for and did not begin; it is asked for again",
            Lapse::NeverTakenUp(_) => "a reply was asked for and did not begin; it is given up",
            Lapse::NotEnded { .. } => "a reply began and did not go on; it is cancelled",
            Lapse::SpeechNotEnded => {
                let message = "the end of the caller's speech was not reported within a minute; it counts as over";
                return lose_turn("speech_not_ended", message, out);
            }
            Lapse::TurnNotTaken => {
                let message = "what the caller said did not become part of the conversation; an answer is asked for";
                return lose_turn("turn_not_taken", message, out);
            }
            Lapse::NotCancelled { response_id } => return self.on_not_cancelled(now, response_id.as_deref(), out),
        };
        self.failures += u32::from(matches!(lapse, Lapse::NotEnded { .. }));
        if self.failures > MAX_RETRIES {
            let message = format!("the service does not respond any more: {message}");
            return self.fail(Failure { code: TIMEOUT.to_owned(), message }, out);
        }
        let error = ProviderEvent::Error { code: TIMEOUT.to_owned(), message: message.to_owned() };
        match lapse {
            Lapse::NeverTakenUp(purpose) => give_up(purpose, TIMEOUT, message.to_owned(), out),
            Lapse::NotEnded { cancel, owed } => {
                // What has come of it is heard to its end.
                self.end_items(cancel.response_id.as_deref().unwrap_or_default(), out);
                self.cancel(&cancel, out);
                out.event(error);
                if owed {
                    out.event(ProviderEvent::BrokenOff);
                }
            }
            _ => out.event(error),
        }
    }

    fn on_not_cancelled(&mut self, now: Time, response_id: Option<&str>, out: &mut Outbox<'_>) {
        let Some(response_id) = response_id else { return };
        self.end_items(response_id, out);
        out.event(ProviderEvent::ResponseFinished {
            response_id: response_id.to_owned(),
            status: ResponseStatus::Cancelled,
            status_reason: TIMEOUT.to_owned(),
            usage: Usage::default(),
        });
        self.after_response(now, response_id, out);
    }

    pub(super) fn on_error(&mut self, now: Time, error: &ErrorBody, out: &mut Outbox<'_>) {
        let event_id = error.event_id.as_deref();
        if matches!(&self.phase, OpenAiPhase::Configuring { event_id: ours } if event_id.is_none_or(|id| id == ours)) {
            // A configuration that is refused is a bug or a bad setting: fail before the caller hears anything.
            return self.fail(error::failure(error.name(), error.text(), &self.settings.model), out);
        }
        let refusal = match error::classify(error) {
            ErrorClass::Ignore => return,
            ErrorClass::Fatal | ErrorClass::SpendLimit => {
                return self.fail(error::failure(error.name(), error.text(), &self.settings.model), out);
            }
            ErrorClass::Collision => Refusal::Collision,
            ErrorClass::RateLimited | ErrorClass::SlowDown | ErrorClass::Overloaded | ErrorClass::ServerError => {
                Refusal::Failed(Retry::After(self.pause(now, error.text())))
            }
            ErrorClass::Recoverable => Refusal::Failed(Retry::Never),
        };
        let refused = self.queue.refused(now, event_id, refusal);
        let text = error::shortened(error.text());
        let report = |message: String| ProviderEvent::Error { code: error.name().to_owned(), message };
        match refused {
            Refused::NotOurs | Refused::Settled if refusal == Refusal::Collision => {}
            Refused::NotOurs | Refused::Settled => out.event(report(text)),
            Refused::Again => out.event(report(format!("a reply was refused and is asked for again: {text}"))),
            Refused::GivenUp(purpose) => {
                give_up(purpose, error.name(), format!("a reply was refused and is given up: {text}"), out);
            }
        }
        self.release(now, out);
    }
}

/// Says that nobody will report the end of the caller's turn any more, and why.
fn lose_turn(code: &str, message: &str, out: &mut Outbox<'_>) {
    out.event(ProviderEvent::Error { code: code.to_owned(), message: message.to_owned() });
    out.event(ProviderEvent::TurnLost);
}

/// Says that a response will not come, and why.
fn give_up(purpose: Purpose, code: &str, message: String, out: &mut Outbox<'_>) {
    out.event(ProviderEvent::Error { code: code.to_owned(), message });
    out.event(ProviderEvent::CreateRefused { purpose });
}
