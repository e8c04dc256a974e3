//! One response while it is generated: the events it consists of, piece by piece.
//!
//! It knows nothing of time, ids of events or other responses; the session asks it for the next piece when that is due.

use serde_json::{Value, json};

use super::usage::{Tokens, assistant_audio_tokens, text_tokens};
use crate::{
    ai::wire::{Coded, Format},
    speech::{Fixture, SAMPLES_PER_MS},
};

/// The transcript runs this far ahead of the audio.
const TRANSCRIPT_LEAD: f64 = 1.4;

/// How a response ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Completed,
    /// `turn_detected` or `client_cancelled`.
    Cancelled(&'static str),
    /// `max_output_tokens` or `content_filter`.
    Incomplete(&'static str),
    /// The error's type and code.
    Failed(&'static str),
}

impl Ending {
    pub(super) const fn status(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Cancelled(_) => "cancelled",
            Self::Incomplete(_) => "incomplete",
            Self::Failed(_) => "failed",
        }
    }

    pub(super) const fn reason(self) -> &'static str {
        match self {
            Self::Completed => "",
            Self::Cancelled(reason) | Self::Incomplete(reason) | Self::Failed(reason) => reason,
        }
    }

    fn details(self) -> Value {
        match self {
            Self::Completed => Value::Null,
            Self::Cancelled(reason) | Self::Incomplete(reason) => json!({"type": self.status(), "reason": reason}),
            Self::Failed(code) => {
                let message = "The server had an error while processing your request.";
                json!({"type": "failed", "error": {"type": code, "code": code, "message": message}})
            }
        }
    }
}

/// What it is made of.
pub(super) enum Source {
    /// A recording, and perhaps a tool call after it.
    Speech { said: &'static Fixture, call: Option<Call> },
    /// Whatever the caller says.
    Echo,
}

/// A tool call.
#[derive(Clone)]
pub(super) struct Call {
    pub(super) item_id: String,
    pub(super) call_id: String,
    pub(super) name: String,
}

/// One response.
pub(super) struct Generation {
    pub(super) id: String,
    pub(super) item_id: String,
    pub(super) source: Source,
    coded: Coded,
    /// Whether it belongs to the conversation, and so takes its one slot.
    pub(super) in_conversation: bool,
    pub(super) conversation_id: String,
    pub(super) metadata: Value,
    pub(super) text_only: bool,
    /// What it read.
    pub(super) input: Tokens,
    /// Samples sent so far.
    pub(super) sent: usize,
    /// Pieces sent so far.
    pub(super) pieces: usize,
    /// Bytes of the transcript sent so far.
    transcript_sent: usize,
}

impl Generation {
    /// One whose audio goes out in `format`.
    pub(super) fn new(id: String, item_id: String, source: Source, format: Format) -> Self {
        let recording: &'static [i16] = match &source {
            Source::Speech { said, .. } => &said.pcm,
            Source::Echo => &[],
        };
        Self {
            id,
            item_id,
            source,
            coded: Coded::new(recording, format),
            in_conversation: true,
            conversation_id: String::new(),
            metadata: Value::Null,
            text_only: false,
            input: Tokens::default(),
            sent: 0,
            pieces: 0,
            transcript_sent: 0,
        }
    }

    /// Name and words for the record.
    pub(super) fn described(&self) -> (&str, &str) {
        match &self.source {
            Source::Speech { said, .. } => (&said.name, &said.text),
            Source::Echo => ("echo", ""),
        }
    }

    pub(super) fn audio(&self) -> &'static [i16] {
        match &self.source {
            Source::Speech { said, .. } => &said.pcm,
            Source::Echo => &[],
        }
    }

    pub(super) const fn call(&self) -> Option<&Call> {
        match &self.source {
            Source::Speech { call, .. } => call.as_ref(),
            Source::Echo => None,
        }
    }

    /// Nothing of it is left to send.
    pub(super) fn is_exhausted(&self) -> bool {
        matches!(self.source, Source::Speech { .. }) && self.sent >= self.audio().len()
    }

    pub(super) fn created(&self) -> Value {
        json!({"type": "response.created", "response": self.response("in_progress", &Value::Null, &[], &Value::Null)})
    }

    /// The item as it looks before there is anything in it.
    pub(super) fn empty_item(&self) -> Value {
        json!({
            "id": self.item_id, "object": "realtime.item", "type": "message", "status": "in_progress",
            "role": "assistant", "content": [],
        })
    }

    /// Events that open the item, `conversation.item.added` excepted.
    pub(super) fn opened(&self) -> [Value; 2] {
        let part = if self.text_only {
            json!({"type": "text", "text": ""})
        } else {
            json!({"type": "audio", "transcript": ""})
        };
        [
            self.output_item("response.output_item.added", self.empty_item()),
            self.content("response.content_part.added", "part", part),
        ]
    }

    /// The next piece: words running ahead and at most `samples` of audio, which are returned too.
    pub(super) fn piece(&mut self, samples: usize) -> (Vec<Value>, &'static [i16]) {
        let audio = self.audio();
        let end = (self.sent + samples.max(1)).min(audio.len());
        let (from, piece) = (self.sent, &audio[self.sent..end]);
        self.sent = end;
        self.pieces += 1;
        let mut events = Vec::with_capacity(2);
        let words = self.words();
        if !words.is_empty() {
            let kind =
                if self.text_only { "response.output_text.delta" } else { "response.output_audio_transcript.delta" };
            events.push(self.content(kind, "delta", json!(words)));
        }
        if !self.text_only && !piece.is_empty() {
            events.push(self.audio_delta(&self.coded.base64(from, end)));
        }
        (events, piece)
    }

    /// What would have come next, in pieces of `samples`, at most so many.
    pub(super) fn unsent(&self, samples: usize, pieces: usize) -> Vec<Value> {
        // An echo has sent more than it ever had.
        let (samples, end) = (samples.max(1), self.audio().len());
        let begins = (self.sent..end).step_by(samples).take(pieces);
        begins.map(|from| self.audio_delta(&self.coded.base64(from, (from + samples).min(end)))).collect()
    }

    pub(super) fn audio_delta(&self, base64: &str) -> Value {
        self.content("response.output_audio.delta", "delta", json!(base64))
    }

    /// Words due with the audio sent so far, whole ones.
    fn words(&mut self) -> String {
        let (text, total) = (self.described().1, self.audio().len());
        let progress = (self.sent as f64 / total.max(1) as f64 * TRANSCRIPT_LEAD).min(1.0);
        let wanted = (text.len() as f64 * progress) as usize;
        let boundary = text.char_indices().filter(|(_, letter)| *letter == ' ').map(|(at, _)| at).chain([text.len()]);
        let until = boundary.take_while(|at| *at <= wanted).last().unwrap_or(0).max(self.transcript_sent);
        let words = text[self.transcript_sent..until].to_owned();
        self.transcript_sent = until;
        words
    }

    fn transcript(&self) -> &str {
        &self.described().1[..self.transcript_sent]
    }

    /// The item as it looks in the end.
    pub(super) fn final_item(&self, ending: Ending) -> Value {
        let content = if self.text_only {
            json!({"type": "output_text", "text": self.transcript()})
        } else {
            json!({"type": "output_audio", "transcript": self.transcript()})
        };
        json!({
            "id": self.item_id, "object": "realtime.item", "type": "message", "status": item_status(ending),
            "role": "assistant", "content": [content],
        })
    }

    /// Events that close the item, `conversation.item.done` excepted.
    pub(super) fn closed(&self, ending: Ending) -> Vec<Value> {
        let transcript = self.transcript();
        let mut events = if self.text_only {
            vec![self.content("response.output_text.done", "text", json!(transcript))]
        } else {
            vec![
                self.content_event("response.output_audio.done"),
                self.content("response.output_audio_transcript.done", "transcript", json!(transcript)),
            ]
        };
        let part = if self.text_only {
            json!({"type": "text", "text": transcript})
        } else {
            json!({"type": "audio", "transcript": transcript})
        };
        events.push(self.content("response.content_part.done", "part", part));
        events.push(self.output_item("response.output_item.done", self.final_item(ending)));
        events
    }

    /// Events of the tool call in order, those of the conversation included.
    pub(super) fn called(call: &Call, response_id: &str, previous: &str) -> (Vec<Value>, Value) {
        let item = |status: &str, arguments: &str| {
            json!({
                "id": call.item_id, "object": "realtime.item", "type": "function_call", "status": status,
                "call_id": call.call_id, "name": call.name, "arguments": arguments,
            })
        };
        let output = |kind: &str, item: Value| {
            let mut event = json!({"type": kind, "response_id": response_id, "output_index": 1});
            event["item"] = item;
            event
        };
        let conversation = |kind: &str, item: Value| json!({"type": kind, "previous_item_id": previous, "item": item});
        let arguments = |kind: &str| {
            json!({
                "type": kind, "response_id": response_id, "item_id": call.item_id, "output_index": 1,
                "call_id": call.call_id,
            })
        };
        let mut delta = arguments("response.function_call_arguments.delta");
        delta["delta"] = json!("{}");
        let mut done = arguments("response.function_call_arguments.done");
        done["name"] = json!(call.name);
        done["arguments"] = json!("{}");
        let finished = item("completed", "{}");
        let events = vec![
            output("response.output_item.added", item("in_progress", "")),
            conversation("conversation.item.added", item("in_progress", "")),
            delta,
            done,
            output("response.output_item.done", finished.clone()),
            conversation("conversation.item.done", finished.clone()),
        ];
        (events, finished)
    }

    pub(super) fn done(&self, ending: Ending, output: &[Value], usage: &Value) -> Value {
        json!({"type": "response.done", "response": self.response(ending.status(), &ending.details(), output, usage)})
    }

    /// Tokens written so far.
    pub(super) fn output_tokens(&self) -> Tokens {
        let audio_ms = if self.text_only { 0 } else { (self.sent / SAMPLES_PER_MS) as u64 };
        Tokens { text: text_tokens(self.transcript()), audio: assistant_audio_tokens(audio_ms) }
    }

    fn response(&self, status: &str, details: &Value, output: &[Value], usage: &Value) -> Value {
        let conversation_id = self.in_conversation.then_some(&self.conversation_id);
        let modality = if self.text_only { "text" } else { "audio" };
        json!({
            "object": "realtime.response", "id": self.id, "status": status, "status_details": details,
            "output": output, "conversation_id": conversation_id, "output_modalities": [modality],
            "max_output_tokens": "inf", "metadata": self.metadata, "usage": usage,
        })
    }

    fn output_item(&self, kind: &str, item: Value) -> Value {
        let mut event = json!({"type": kind, "response_id": self.id, "output_index": 0});
        event["item"] = item;
        event
    }

    fn content_event(&self, kind: &str) -> Value {
        json!({
            "type": kind, "response_id": self.id, "item_id": self.item_id, "output_index": 0, "content_index": 0,
        })
    }

    fn content(&self, kind: &str, member: &str, value: Value) -> Value {
        let mut event = self.content_event(kind);
        event[member] = value;
        event
    }
}

fn item_status(ending: Ending) -> &'static str {
    if ending == Ending::Completed { "completed" } else { "incomplete" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ai::protocol::decode_audio, speech::fixture};

    fn generation() -> Generation {
        let said = fixture("near-the-market").expect("a fixture");
        Generation::new("resp_1".to_owned(), "item_1".to_owned(), Source::Speech { said, call: None }, Format::Pcm)
    }

    #[test]
    fn the_pieces_are_the_recording_and_its_words() {
        let (mut generation, mut pcm, mut words) = (generation(), Vec::new(), String::new());
        while !generation.is_exhausted() {
            let (events, piece) = generation.piece(4_811);
            let of = |kind: &str| {
                events.iter().find(|event| event["type"] == kind).and_then(|event| event["delta"].as_str())
            };
            assert_eq!(decode_audio(of("response.output_audio.delta").expect("audio")).as_deref(), Some(piece));
            pcm.extend_from_slice(piece);
            words.push_str(of("response.output_audio_transcript.delta").unwrap_or_default());
        }
        let said = fixture("near-the-market").expect("a fixture");
        assert_eq!((pcm, words), (said.pcm.clone(), said.text.clone()));
        assert_eq!(generation.final_item(Ending::Completed)["content"][0]["transcript"], said.text);
    }

    #[test]
    fn cut_short_it_has_only_the_words_sent() {
        let mut generation = generation();
        generation.piece(24_000);
        let item = generation.final_item(Ending::Cancelled("turn_detected"));
        let words = item["content"][0]["transcript"].as_str().expect("words");
        assert!(!words.is_empty() && words.len() < generation.described().1.len(), "{words}");
        assert_eq!(item["status"], "incomplete");
        assert_eq!(generation.output_tokens().audio, 20);
        let done = generation.done(Ending::Cancelled("turn_detected"), &[item], &Value::Null);
        assert_eq!(done["response"]["status_details"], json!({"type": "cancelled", "reason": "turn_detected"}));
    }
}
