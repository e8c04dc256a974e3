//! What each server event means.

use voicebridge_audio::Time;

use super::{
    OpenAi, OpenAiPhase,
    config::Effective,
    error,
    responses::Goodbye,
    server::{self, ConversationItem, ServerEvent},
};
use crate::{
    agent::END_CALL_TOOL,
    ports::AudioDelta,
    provider::{Failure, Outbox, ProviderEvent, TextMode},
};

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
        if matches!(self.phase, OpenAiPhase::Configuring { .. }) && text.contains(server::SESSION_UPDATED) {
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
            ServerEvent::SessionCreated(session) => {
                self.session_id = session.id;
                self.lifetime.expires_at(session.expires_at);
            }
            ServerEvent::SessionUpdated(session) => self.on_updated(now, session, out),
            ServerEvent::SpeechStarted { item_id: item, audio_ms } => {
                self.queue.speech_started(now);
                out.event(ProviderEvent::SpeechStarted { item, audio_ms });
            }
            ServerEvent::SpeechStopped { audio_ms } => {
                self.queue.speech_stopped(now);
                out.event(ProviderEvent::SpeechStopped { audio_ms });
            }
            ServerEvent::Committed => {
                self.queue.committed(now);
                out.event(ProviderEvent::TurnTaken);
                self.release(now, out);
            }
            ServerEvent::UserDelta(piece) => {
                let (item, text, language) = (piece.item_id, piece.delta, String::new());
                out.event(ProviderEvent::UserText { item, text, mode: TextMode::Append, language });
            }
            ServerEvent::UserCompleted { item_id: item, transcript: text, language, usage } => {
                out.event(ProviderEvent::UserText { item, text, mode: TextMode::Final, language });
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
                self.queue.alive(now, &piece.response_id);
                if !self.stale_filter.blocks(&piece.response_id, &piece.item_id) {
                    out.event(ProviderEvent::AgentText {
                        item: piece.item_id,
                        text: piece.delta,
                        mode: TextMode::Append,
                    });
                }
            }
            ServerEvent::TextDone(piece) => {
                if !self.stale_filter.blocks(&piece.response_id, &piece.item_id) {
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
                self.rate_limit.set(now, reset_seconds);
            }
            ServerEvent::Error(error) => self.on_error(now, &error, out),
            ServerEvent::Other => {}
        }
    }

    pub(super) fn on_audio_delta(&mut self, now: Time, delta: AudioDelta<'_>, out: &mut Outbox<'_>) {
        let AudioDelta { response_id, item_id, bytes } = delta;
        self.queue.alive(now, response_id);
        // What comes after the end of a response would be an item without one.
        if self.stale_filter.blocks(response_id, item_id) || self.queue.has_finished(response_id) {
            return;
        }
        let pcm = self.half_samples.join(self.format, item_id, bytes);
        if pcm.is_empty() {
            return;
        }
        self.queue.heard(now, response_id);
        let item = item_id.to_owned();
        out.event(ProviderEvent::AudioOut { item: item.clone(), pcm });
        if self.queue.is_generating(response_id) {
            self.audio_items.insert(item_id);
        } else {
            // Nobody announced the response, so that nobody is bound to tell its end.
            out.event(ProviderEvent::AudioDone { item });
        }
    }

    fn on_updated(&mut self, now: Time, session: Effective, out: &mut Outbox<'_>) {
        if !matches!(self.phase, OpenAiPhase::Configuring { .. }) {
            return;
        }
        if let Some(mismatch) = session.mismatch(self.format) {
            let message = format!("the service did not take the configuration: {mismatch}");
            return self.fail(Failure { code: "format_mismatch".to_owned(), message }, out);
        }
        self.phase = OpenAiPhase::Ready;
        let or = |given: String, other: &str| if given.is_empty() { other.to_owned() } else { given };
        out.event(ProviderEvent::Ready {
            session_id: or(session.id, &self.session_id),
            model: or(session.model, &self.settings.model),
        });
        self.release(now, out);
    }

    fn on_audio_done(&mut self, response_id: &str, item_id: &str, out: &mut Outbox<'_>) {
        self.half_samples.end(item_id);
        if self.audio_items.remove(item_id) && !self.stale_filter.blocks(response_id, item_id) {
            out.event(ProviderEvent::AudioDone { item: item_id.to_owned() });
        }
    }

    /// The only safe place to run a tool from: arguments are also reported "done" for cancelled responses.
    fn on_item_done(&mut self, now: Time, response_id: &str, item: ConversationItem, out: &mut Outbox<'_>) {
        self.queue.alive(now, response_id);
        let is_call = item.kind == "function_call" && item.status == "completed";
        if !is_call || self.stale_filter.blocks(response_id, &item.id) {
            return;
        }
        self.queue.heard(now, response_id);
        self.tool_calls.called(response_id, &item.call_id, self.queue.has_finished(response_id));
        if item.name == END_CALL_TOOL {
            self.goodbye = Goodbye::Called(item.call_id.clone());
        }
        out.event(ProviderEvent::ToolCall { call_id: item.call_id, name: item.name, arguments: item.arguments });
    }
}

fn malformed_audio(out: &mut Outbox<'_>) {
    out.event(ProviderEvent::Error {
        code: "malformed_audio".to_owned(),
        message: "a piece of audio was not base64 and was dropped".to_owned(),
    });
}
