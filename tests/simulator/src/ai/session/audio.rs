//! Audio of the caller: the input buffer, turns, what was said in them.

use std::{sync::Arc, time::Duration};

use serde_json::json;

use super::{
    Output, Session, Timer,
    generation::Ending,
    input::{InputChange, Turn},
    usage::transcription_usage,
};
use crate::{
    ai::{
        protocol::ProtocolError,
        record::{MAX_RECORDED_SAMPLES, SessionRecord, Utterance, note_piece},
        settings::Mode,
        wire::{Appended, Intake},
    },
    speech::{Recognised, fixture},
};

/// Most audio in one append, bytes.
const MAX_APPEND_BYTES: usize = 15 * 1024 * 1024;
/// Least audio in a commit by the client, milliseconds.
const MIN_COMMIT_MS: f64 = 100.0;

impl Session {
    pub(super) fn append(
        &mut self,
        now: Duration,
        base64: &str,
        record: &mut SessionRecord,
    ) -> Result<(), ProtocolError> {
        if base64.is_empty() {
            return Err(ProtocolError::missing("audio"));
        }
        let format = self.config.input_format();
        if self.intake.format() != format {
            self.intake = Intake::new(format);
        }
        let Appended { pcm, bytes, samples } = self.intake.take(base64).ok_or_else(|| {
            let expected = format.described();
            let message =
                format!("Invalid 'audio'. Expected base64-encoded audio bytes ({expected}) but got invalid bytes.");
            ProtocolError::invalid_value("audio", message)
        })?;
        if bytes > MAX_APPEND_BYTES {
            let message = format!("Invalid 'audio': an append holds at most {MAX_APPEND_BYTES} bytes of audio.");
            return Err(ProtocolError::invalid_value("audio", message));
        }
        record.appends.note(samples, bytes, now, self.updates_confirmed > 0);
        note_piece(&mut record.appends.pieces, now, pcm.len());
        let room = MAX_RECORDED_SAMPLES.saturating_sub(record.pcm.len()).min(pcm.len());
        record.pcm.extend_from_slice(&pcm[..room]);
        match self.settings.mode {
            Mode::Echo if format != self.config.output_format() => {
                let message = "In echo mode audio goes back as it came: both formats must be the same.";
                return Err(ProtocolError::invalid_value("audio", message));
            }
            Mode::Echo => self.echo(now, base64, &pcm, record),
            Mode::Converse => {
                for change in self.input.append(&pcm, self.config.turn_detection()) {
                    match change {
                        InputChange::Started { start_ms } => self.speech_started(now, start_ms, record),
                        InputChange::Stopped(turn) => self.speech_stopped(now, turn, record),
                    }
                }
            }
        }
        Ok(())
    }

    fn speech_started(&mut self, now: Duration, start_ms: u64, record: &mut SessionRecord) {
        self.cancel_idle_timer();
        record.speech_started.push(now);
        let item_id = self.ids.next("item");
        self.send(json!({
            "type": "input_audio_buffer.speech_started", "audio_start_ms": start_ms, "item_id": item_id,
        }));
        self.turn_item = Some(item_id);
        if self.config.turn_detection().is_some_and(|detection| detection.interrupt_response) {
            self.responses.drop_waiting_replies();
            self.end_active_response(now, Ending::Cancelled("turn_detected"), record);
        }
    }

    fn speech_stopped(&mut self, now: Duration, turn: Turn, record: &mut SessionRecord) {
        let item_id = self.turn_item.take().unwrap_or_else(|| self.ids.next("item"));
        self.send(json!({
            "type": "input_audio_buffer.speech_stopped", "audio_end_ms": turn.end_ms, "item_id": item_id,
        }));
        self.commit_turn(item_id, turn, record);
        if self.config.turn_detection().is_some_and(|detection| detection.create_response) {
            self.reply_when_recognised(now, record);
        }
    }

    /// The client's own commit.
    pub(super) fn commit(&mut self, record: &mut SessionRecord) -> Result<(), ProtocolError> {
        let pending_ms = self.input.pending_ms();
        if pending_ms < MIN_COMMIT_MS {
            let message = format!(
                "Error committing input audio buffer: buffer too small. Expected at least {MIN_COMMIT_MS:.0}ms of \
                 audio, but buffer only has {pending_ms:.2}ms of audio."
            );
            return Err(ProtocolError::new("input_audio_buffer_commit_empty", message));
        }
        let item_id = self.turn_item.take().unwrap_or_else(|| self.ids.next("item"));
        let turn = self.input.commit();
        self.commit_turn(item_id, turn, record);
        Ok(())
    }

    pub(super) fn clear(&mut self) {
        self.input.clear();
        self.turn_item = None;
        self.send(json!({"type": "input_audio_buffer.cleared"}));
    }

    /// Makes a turn a user item and asks what it is.
    fn commit_turn(&mut self, item_id: String, turn: Turn, record: &mut SessionRecord) {
        self.caller_spoke = true;
        let previous = self.conversation.last_id();
        let pcm = Arc::new(turn.pcm);
        let item = self.conversation.push_user_audio(&item_id, Arc::clone(&pcm));
        self.send(json!({
            "type": "input_audio_buffer.committed", "previous_item_id": previous, "item_id": item_id,
        }));
        self.send(json!({"type": "conversation.item.added", "previous_item_id": previous, "item": item}));
        self.send(json!({"type": "conversation.item.done", "previous_item_id": previous, "item": item}));
        record.utterances.push(Utterance {
            item_id: item_id.clone(),
            start_ms: turn.start_ms,
            end_ms: turn.end_ms,
            recognised: None,
        });
        self.responses.recognitions += 1;
        self.output(Output::Recognise { item_id, pcm });
    }

    /// What the shell found out about a turn; transcription and the reply follow.
    pub(in crate::ai) fn recognised(
        &mut self,
        now: Duration,
        item_id: &str,
        recognised: Option<Recognised>,
        record: &mut SessionRecord,
    ) {
        self.responses.recognitions = self.responses.recognitions.saturating_sub(1);
        self.heard = recognised.as_ref().and_then(|recognised| fixture(&recognised.name));
        self.language = self.heard.map(|heard| heard.language.as_str()).or(self.language);
        let utterance = record.utterances.iter_mut().find(|utterance| utterance.item_id == item_id);
        let audio_ms = utterance.map_or(0, |utterance| {
            utterance.recognised = recognised;
            utterance.end_ms - utterance.start_ms
        });
        self.transcribe(item_id, audio_ms);
        if self.responses.recognitions == 0 {
            self.start_waiting(now, record);
        }
        self.poll(now, record);
    }

    fn transcribe(&mut self, item_id: &str, audio_ms: u64) {
        let Some(model) = self.config.transcription_model().map(str::to_owned) else { return };
        let words = self.heard.map_or("", |heard| heard.text.as_str());
        let language = self.heard.map(|heard| json!([{"code": heard.language}]));
        self.conversation.set_user_transcript(item_id, words);
        let middle = words.char_indices().filter(|(_, letter)| *letter == ' ').map(|(at, _)| at);
        let middle = middle.take_while(|at| *at <= words.len() / 2).last().unwrap_or(0);
        for delta in [&words[..middle], &words[middle..]].into_iter().filter(|delta| !delta.is_empty()) {
            self.send(json!({
                "type": "conversation.item.input_audio_transcription.delta", "item_id": item_id, "content_index": 0,
                "delta": delta,
            }));
        }
        let mut completed = json!({
            "type": "conversation.item.input_audio_transcription.completed", "item_id": item_id, "content_index": 0,
            "transcript": words, "usage": transcription_usage(&model, audio_ms, words),
        });
        if let Some(language) = language.filter(|_| model == "gpt-transcribe" || model == "gpt-live-transcribe") {
            completed["languages"] = language;
        }
        self.send(completed);
    }

    /// Counts from the end of what was just said, if the session wants to know that nobody answers.
    pub(super) fn set_idle_timer(&mut self, heard_until: Duration) {
        self.cancel_idle_timer();
        let timeout_ms = self.config.turn_detection().and_then(|detection| detection.idle_timeout_ms);
        if let Some(timeout_ms) = timeout_ms.filter(|_| !self.input.is_speaking()) {
            self.set_timer(heard_until + Duration::from_millis(timeout_ms), Timer::Idle);
        }
    }

    pub(super) fn cancel_idle_timer(&mut self) {
        self.timers.retain(|_, timer| !matches!(timer, Timer::Idle));
    }

    pub(super) fn idle(&mut self, now: Duration, record: &mut SessionRecord) {
        let item_id = self.ids.next("item");
        let turn = self.input.commit();
        self.send(json!({
            "type": "input_audio_buffer.timeout_triggered", "audio_start_ms": turn.start_ms,
            "audio_end_ms": turn.end_ms, "item_id": item_id,
        }));
        self.commit_turn(item_id, turn, record);
        self.reply_when_recognised(now, record);
    }
}
