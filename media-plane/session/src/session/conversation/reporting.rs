//! What is reported of a conversation: who said what, which responses there were, which AI is there.

use super::{
    Conversation, Parts, Reply,
    closing::CallState,
    transcripts::{Said, Span, start_of},
};
use crate::{
    event::{EventKind, Milestone, Models, ResponseStatus, Speaker, Usage},
    provider::{Failure, ProviderCommand, TextMode},
    reason,
};

/// Longest tag of a language (RFC 5646, section 4.4.1: 35 characters have room for all in use).
const MAX_LANGUAGE_BYTES: usize = 35;

impl Conversation {
    pub(super) fn on_ready(&mut self, session_id: String, model: String, on: &mut Parts<'_>) {
        self.report_ready(session_id, model, on);
        on.emit(EventKind::Milestone(Milestone::ProviderSessionCreated));
        // Prepared now, played once the call is answered.
        on.command(ProviderCommand::Greet);
    }

    fn report_ready(&mut self, session_id: String, model: String, on: &mut Parts<'_>) {
        self.models = Models {
            provider: on.connections.name(),
            model: model.clone(),
            transcription_model: on.connections.transcription_model().to_owned(),
        };
        let ready = EventKind::ProviderReady {
            provider: on.connections.name(),
            model,
            provider_session_id: session_id,
            duration_ms: on.now().since(self.started).as_millis() as u32,
        };
        on.emit(ready);
    }

    /// Another AI speaks from now on. What the one before it was saying ends with what came of it; what it owed is asked of
    /// the new one.
    pub(crate) fn on_took_over(&mut self, session_id: String, model: String, on: &mut Parts<'_>) {
        self.report_ready(session_id, model, on);
        let owed = self.answer.is_waiting();
        if let Some(response_id) = self.reply.response_id.take() {
            on.leg.finish(&self.reply.item);
            self.on_response_finished(
                response_id,
                ResponseStatus::Incomplete,
                "connection_replaced".to_owned(),
                Usage::default(),
                on,
            );
        }
        self.reply = Reply::default();
        if let CallState::Closing(ending) = &self.call_state
            && ending.awaits_farewell()
        {
            on.command(ProviderCommand::Farewell);
        } else if owed {
            self.ask(ProviderCommand::Reply, on);
        }
    }

    /// An AI that was to take over is of no use; the one that speaks goes on.
    pub(crate) fn on_successor_lost(failure: Failure, on: &mut Parts<'_>) {
        on.incident(reason::PROVIDER_ERROR, failure.message, failure.code);
    }

    pub(super) fn on_user_text(
        &mut self,
        item_id: String,
        text: String,
        mode: TextMode,
        language: String,
        on: &mut Parts<'_>,
    ) {
        let speaker = Speaker::Caller;
        let offset = if mode == TextMode::Append { self.pieces.add(&item_id, &text) } else { 0 };
        let text = start_of(&text, self.limits.transcript_bytes).to_owned();
        match mode {
            TextMode::Append if text.is_empty() => {}
            TextMode::Append => on.emit(EventKind::PartialTranscript { speaker, item_id, delta: text, offset }),
            TextMode::Final => {
                if let Some(hold) = &mut self.hold {
                    hold.on_words(&text);
                }
                let (began, ended) = self.turns.take(&item_id, on.now());
                if !text.is_empty() {
                    let (item_id, text) = (item_id.clone(), text.clone());
                    let language = start_of(&language, MAX_LANGUAGE_BYTES).to_owned();
                    on.emit(EventKind::Transcript {
                        speaker,
                        item_id,
                        text,
                        interrupted: false,
                        began,
                        ended,
                        language,
                    });
                }
                self.on_last_words(&item_id, &text, on);
            }
        }
    }

    pub(super) fn on_agent_text(&mut self, item_id: String, text: &str, mode: TextMode, on: &mut Parts<'_>) {
        self.reply.sound.on_text(text);
        self.on_sound();
        let said = self.transcripts.add(&item_id, text, mode);
        if mode == TextMode::Append && !text.is_empty() {
            let offset = self.pieces.add(&item_id, text);
            let delta = start_of(text, self.limits.transcript_bytes).to_owned();
            on.emit(EventKind::PartialTranscript { speaker: Speaker::Agent, item_id, delta, offset });
        }
        self.report_said(said, on);
    }

    /// Reports what the agent said.
    pub(super) fn report_said(&mut self, said: impl IntoIterator<Item = Said>, on: &mut Parts<'_>) {
        for Said { item: item_id, text, interrupted, span: Span { began, ended } } in said {
            self.transcripts.remember(&text);
            let (speaker, language) = (Speaker::Agent, String::new());
            on.emit(EventKind::Transcript { speaker, item_id, text, interrupted, began, ended, language });
        }
    }

    /// Reports the words of what was played to its end.
    pub(super) fn on_played(&mut self, on: &mut Parts<'_>) {
        let now = on.now();
        if let Some((item, heard_samples)) = on.leg.sounding() {
            self.transcripts.playing(item, heard_samples, now);
        }
        for item in on.leg.take_completed() {
            let said = self.transcripts.heard(&item, now);
            self.report_said(said, on);
        }
    }
}
