//! What each server event means.

use std::time::Duration;

use voicebridge_audio::Time;

use super::{
    OpenAi, Phase,
    config::Effective,
    error::{self, Class},
    request::{self, Create},
    server::{self, ErrorBody, Item, Response, ServerEvent},
    slot::Stuck,
};
use crate::{
    ports::AudioDelta,
    provider::{Failure, Outbox, ProviderEvent, TextMode},
};

/// Failures of responses in a row that are tried again; one more means that the service is not working.
const MAX_RETRIES: u32 = 2;
/// Wait after a rate limit, when the service did not say how long, and at most.
const RATE_LIMIT_PAUSE: Duration = Duration::from_secs(2);
const MAX_RATE_LIMIT_PAUSE: Duration = Duration::from_secs(10);

impl OpenAi {
    pub(super) fn on_message(&mut self, now: Time, text: &str, out: &mut Outbox<'_>) {
        let error = match server::parse(text) {
            Ok(message) => {
                if message.beta {
                    self.tell_of_beta(out);
                }
                return self.on_event(now, message.event, out);
            }
            Err(error) => error,
        };
        // The position only: the message may hold the caller's words.
        let message = format!("could not be read at line {} column {}", error.line(), error.column());
        if matches!(self.phase, Phase::Configuring { .. }) && text.contains(server::SESSION_UPDATED) {
            let message = format!("what configuration is in force is not known: session.updated {message}");
            return self.fail(Failure { code: "session_unreadable".to_owned(), message }, out);
        }
        out.event(ProviderEvent::Error {
            code: "malformed_message".to_owned(),
            message: format!("a message {message}"),
        });
    }

    /// Once: it is understood, but the deployment will miss what the protocol of today has.
    fn tell_of_beta(&mut self, out: &mut Outbox<'_>) {
        if !std::mem::replace(&mut self.told_of_beta, true) {
            out.event(ProviderEvent::Error {
                code: "beta_event_names".to_owned(),
                message: "the server speaks the beta protocol (response.audio.delta for response.output_audio.delta); \
                    its events are understood as far as their names go"
                    .to_owned(),
            });
        }
    }

    fn on_event(&mut self, now: Time, event: ServerEvent, out: &mut Outbox<'_>) {
        match event {
            ServerEvent::SessionCreated(session) => self.session_id = session.id,
            ServerEvent::SessionUpdated(session) => self.on_updated(now, session, out),
            ServerEvent::SpeechStarted { item_id: item, audio_ms } => {
                out.event(ProviderEvent::SpeechStarted { item, audio_ms });
            }
            ServerEvent::SpeechStopped { audio_ms } => out.event(ProviderEvent::SpeechStopped { audio_ms }),
            ServerEvent::Committed => out.event(ProviderEvent::TurnTaken),
            ServerEvent::UserDelta(piece) => {
                out.event(ProviderEvent::UserText { item: piece.item_id, text: piece.delta, mode: TextMode::Append })
            }
            ServerEvent::UserCompleted { item_id, transcript, usage } => {
                out.event(ProviderEvent::UserText { item: item_id, text: transcript, mode: TextMode::Final });
                out.event(ProviderEvent::Usage(usage));
            }
            ServerEvent::UserFailed { code, message } => out.event(ProviderEvent::Error {
                message: format!(
                    "the caller's words could not be transcribed ({code}): {}",
                    error::shortened(&message)
                ),
                code: "transcription_failed".to_owned(),
            }),
            ServerEvent::ResponseCreated(response) => self.on_created(now, &response, out),
            ServerEvent::BadAudio => malformed_audio(out),
            ServerEvent::AudioDone(piece) => self.on_audio_done(&piece.response_id, &piece.item_id, out),
            ServerEvent::TextDelta(piece) => {
                self.slot.touch(now, &piece.response_id);
                if !self.fence.blocks(&piece.response_id, &piece.item_id) {
                    out.event(ProviderEvent::AgentText {
                        item: piece.item_id,
                        text: piece.delta,
                        mode: TextMode::Append,
                    });
                }
            }
            ServerEvent::TextDone(piece) => {
                if !self.fence.blocks(&piece.response_id, &piece.item_id) {
                    out.event(ProviderEvent::AgentText {
                        item: piece.item_id,
                        text: piece.transcript,
                        mode: TextMode::Final,
                    });
                }
            }
            ServerEvent::ItemDone { response_id, item } => self.on_item_done(now, &response_id, item, out),
            ServerEvent::ResponseDone(response) => self.on_done(now, &response, out),
            ServerEvent::RateLimits { reset_seconds } => {
                self.rate_limit_reset = Duration::try_from_secs_f64(reset_seconds).unwrap_or_default();
            }
            ServerEvent::Error(error) => self.on_error(now, &error, out),
            ServerEvent::Other => {}
        }
    }

    pub(super) fn on_audio_delta(&mut self, now: Time, delta: AudioDelta<'_>, out: &mut Outbox<'_>) {
        self.slot.touch(now, delta.response_id);
        if self.fence.blocks(delta.response_id, delta.item_id) {
            return;
        }
        let pcm = self.half_samples.join(self.format, delta.item_id, delta.bytes);
        self.sounding.insert(delta.item_id);
        out.event(ProviderEvent::AudioOut { item: delta.item_id.to_owned(), pcm });
    }

    fn on_updated(&mut self, now: Time, session: Effective, out: &mut Outbox<'_>) {
        if !matches!(self.phase, Phase::Configuring { .. }) {
            return;
        }
        if let Some(mismatch) = session.mismatch(self.format) {
            let message = format!("the service did not take the configuration: {mismatch}");
            return self.fail(Failure { code: "format_mismatch".to_owned(), message }, out);
        }
        self.phase = Phase::Ready;
        let or = |given: String, other: &str| if given.is_empty() { other.to_owned() } else { given };
        out.event(ProviderEvent::Ready {
            session_id: or(session.id, &self.session_id),
            model: or(session.model, &self.settings.model),
        });
        self.release(now, out);
    }

    fn on_created(&mut self, now: Time, response: &Response, out: &mut Outbox<'_>) {
        let started = self.slot.started(now, &response.id, response.tag());
        out.event(ProviderEvent::ResponseStarted { response_id: response.id.clone(), purpose: started.purpose });
        if started.cancel {
            self.fence.response(&response.id);
            out.send(&request::response_cancel(&self.ids.next("cancel"), &response.id));
        }
    }

    fn on_audio_done(&mut self, response_id: &str, item_id: &str, out: &mut Outbox<'_>) {
        self.half_samples.end(item_id);
        if self.sounding.remove(item_id) && !self.fence.blocks(response_id, item_id) {
            out.event(ProviderEvent::AudioDone { item: item_id.to_owned() });
        }
    }

    /// The only safe place to run a tool from: arguments are also reported "done" for cancelled responses.
    fn on_item_done(&mut self, now: Time, response_id: &str, item: Item, out: &mut Outbox<'_>) {
        self.slot.touch(now, response_id);
        let is_call = item.kind == "function_call" && item.status == "completed";
        if is_call && !self.fence.blocks(response_id, &item.id) {
            out.event(ProviderEvent::ToolCall { call_id: item.call_id, name: item.name, arguments: item.arguments });
        }
    }

    fn on_done(&mut self, now: Time, response: &Response, out: &mut Outbox<'_>) {
        self.half_samples.clear();
        // A cancelled response may end without `output_audio.done`.
        for item in self.sounding.drain() {
            if !self.fence.blocks(&response.id, &item) {
                out.event(ProviderEvent::AudioDone { item });
            }
        }
        let ours = self.slot.finished(&response.id, response.tag());
        out.event(ProviderEvent::ResponseFinished {
            response_id: response.id.clone(),
            status: response.status.clone(),
            status_reason: response.reason().to_owned(),
            usage: response.usage(),
        });
        if response.status == "failed" {
            self.on_failed(now, response, ours.unwrap_or(Create::Reply), out);
        } else {
            self.failures = 0;
        }
        self.release(now, out);
    }

    /// A reply that failed leaves the caller in silence: tried again, after a pause if it was for the rate.
    fn on_failed(&mut self, now: Time, response: &Response, create: Create, out: &mut Outbox<'_>) {
        let code = response.reason();
        self.failures += 1;
        if error::is_fatal(code) || self.failures > MAX_RETRIES {
            let code = if code.is_empty() { "response_failed" } else { code };
            return self.fail(error::failure(code, response.error_text(), &self.settings.model), out);
        }
        out.event(ProviderEvent::Error {
            code: if code.is_empty() { "response_failed".to_owned() } else { code.to_owned() },
            message: format!("a reply failed and is tried again: {}", error::shortened(response.error_text())),
        });
        let pause = if error::is_rate_limit(code) {
            let asked = self.rate_limit_reset;
            Some(if asked.is_zero() { RATE_LIMIT_PAUSE } else { asked.min(MAX_RATE_LIMIT_PAUSE) })
        } else {
            None
        };
        self.slot.retry(create, pause.map(|pause| now + pause));
    }

    /// The service does not answer. Once is bad luck; twice in a row means that the session is dead.
    pub(super) fn on_stuck(&mut self, stuck: Stuck, out: &mut Outbox<'_>) {
        self.failures += 1;
        let message = match &stuck {
            Stuck::NeverStarted(_) => "a reply was asked for and did not begin",
            Stuck::NeverEnded => "a reply began and did not end",
        };
        if self.failures > 1 {
            let message = format!("the service does not respond any more: {message}");
            return self.fail(Failure { code: "response_timeout".to_owned(), message }, out);
        }
        out.event(ProviderEvent::Error { code: "response_timeout".to_owned(), message: message.to_owned() });
        if let Stuck::NeverStarted(create) = stuck {
            self.slot.retry(create, None);
        }
    }

    fn on_error(&mut self, now: Time, error: &ErrorBody, out: &mut Outbox<'_>) {
        let event_id = error.event_id.as_deref().unwrap_or_default();
        if matches!(&self.phase, Phase::Configuring { event_id: ours } if ours == event_id) {
            // A configuration that is refused is a bug or a bad setting: fail before the caller hears anything.
            return self.fail(error::failure(error.name(), error.text(), &self.settings.model), out);
        }
        match error::classify(error) {
            Class::Ignore => {}
            Class::Collision => {
                self.slot.collided(now, event_id);
            }
            Class::Fatal => self.fail(error::failure(error.name(), error.text(), &self.settings.model), out),
            Class::Recoverable => {
                self.slot.refused(event_id);
                out.event(ProviderEvent::Error {
                    code: error.name().to_owned(),
                    message: error::shortened(error.text()),
                });
                self.release(now, out);
            }
        }
    }
}

fn malformed_audio(out: &mut Outbox<'_>) {
    out.event(ProviderEvent::Error {
        code: "malformed_audio".to_owned(),
        message: "a piece of audio was not base64 and was dropped".to_owned(),
    });
}
