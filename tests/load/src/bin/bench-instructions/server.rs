//! The provider's side of the call: what OpenAI Realtime sends while a caller talks with it, when the session asks for it and
//! when the caller speaks. Of the audio it hears nothing; when somebody speaks is written down.
//!
//! Flow: [`Server::hear`] takes what the session sends, [`Server::due`] gives what it is sent by now. Audio comes as from the
//! service: in pieces of no round size, many times faster than it plays, its words ahead of it.
//!
//! It checks nothing: the simulated server of the system's tests does.

use anyhow::Context as _;
use base64_simd::STANDARD;
use serde_json::{Value, json};
use std::{collections::VecDeque, time::Duration};
use voicebridge_simulator::speech::{Role, fixtures};

/// When the caller begins to speak and ends, milliseconds. All but the first interrupt.
const TURNS_MS: [(u64, u64); 5] = [(200, 1_400), (7_000, 8_600), (14_500, 16_000), (22_000, 23_900), (29_000, 30_300)];
/// How often the reply is cut in on within the call.
pub(crate) const INTERRUPTIONS: usize = TURNS_MS.len() - 1;
/// From the end of the caller's words to the server knowing of it.
const SILENCE: Duration = Duration::from_millis(500);
/// From asking to `response.created`, and from there to the first piece.
const THINKING: Duration = Duration::from_millis(150);
const FIRST_PIECE: Duration = Duration::from_millis(250);
/// Length of a reply, seconds: longer than any is listened to.
const REPLY_S: usize = 8;
/// Audio comes this much faster than it plays.
const SPEED: u32 = 8;
/// Samples of the pieces, in turn.
const PIECES: [usize; 4] = [1_237, 4_811, 2_399, 3_607];
const SAMPLES_A_MS: u64 = 24;
const WORDS: [&str; 8] = ["We", " open", " at", " nine", " on", " weekdays", ",", " certainly"];

/// See the module.
pub(crate) struct Server {
    /// The agent answers a turn by itself.
    answers: bool,
    speech: Vec<i16>,
    spoken: usize,
    /// In the order of their time.
    messages: VecDeque<(Duration, String)>,
    events: u64,
    responses: u64,
    /// Of the response being generated, when it ends.
    generating: Option<(String, Duration)>,
}

impl Server {
    /// One whose agent answers by itself, or only when asked.
    pub(crate) fn new(answers: bool) -> Self {
        let speech = fixtures().iter().filter(|fixture| fixture.role == Role::Agent && fixture.language == "en");
        let mut server = Self {
            answers,
            speech: speech.flat_map(|fixture| fixture.pcm.iter().copied()).collect(),
            spoken: 0,
            messages: VecDeque::new(),
            events: 0,
            responses: 0,
            generating: None,
        };
        for (index, (began, ended)) in TURNS_MS.into_iter().enumerate() {
            server.turn(index, Duration::from_millis(began), Duration::from_millis(ended));
        }
        server
    }

    /// The next message whose time has come.
    pub(crate) fn due(&mut self, now: Duration) -> Option<String> {
        let (at, _) = self.messages.front()?;
        if *at > now {
            return None;
        }
        let (at, message) = self.messages.pop_front()?;
        if self.answers && message.contains("input_audio_buffer.committed") {
            self.respond(at + THINKING, &Value::Null);
        }
        Some(message)
    }

    /// The session sent this.
    pub(crate) fn hear(&mut self, now: Duration, message: &str) -> anyhow::Result<()> {
        let event: Value = serde_json::from_str(message).context("the session writes JSON")?;
        match event["type"].as_str().unwrap_or_default() {
            "response.create" => self.respond(now + THINKING, &event["response"]["metadata"]),
            "response.cancel" => self.cancel(now),
            "conversation.item.truncate" => {
                let (item, end) = (&event["item_id"], &event["audio_end_ms"]);
                let truncated = json!({"item_id": item, "content_index": 0, "audio_end_ms": end});
                self.send(now, "conversation.item.truncated", &truncated);
            }
            _ => {}
        }
        Ok(())
    }

    fn turn(&mut self, index: usize, began: Duration, ended: Duration) {
        let item = format!("item_CzUser{index:016}");
        let ended = ended + SILENCE;
        let [started, stopped] = [began, ended].map(|time| time.as_millis() as u64);
        let event = json!({"audio_start_ms": started, "item_id": item});
        self.send(began, "input_audio_buffer.speech_started", &event);
        let event = json!({"audio_end_ms": stopped, "item_id": item});
        self.send(ended, "input_audio_buffer.speech_stopped", &event);
        let event = json!({"previous_item_id": null, "item_id": item});
        self.send(ended, "input_audio_buffer.committed", &event);
        let content = json!([{"type": "input_audio", "transcript": null}]);
        let message = json!({"id": item, "object": "realtime.item", "type": "message", "status": "completed",
            "role": "user", "content": content});
        let event = json!({"previous_item_id": null, "item": message});
        self.send(ended, "conversation.item.added", &event);
        for (word, text) in WORDS.into_iter().enumerate() {
            let at = ended + Duration::from_millis(300 + 20 * word as u64);
            let event = json!({"item_id": item, "content_index": 0, "delta": text});
            self.send(at, "conversation.item.input_audio_transcription.delta", &event);
        }
        let usage = json!({"type": "tokens", "total_tokens": 30, "input_tokens": 20, "output_tokens": 10});
        let event = json!({"item_id": item, "content_index": 0, "transcript": WORDS.concat(), "usage": usage});
        self.send(ended + Duration::from_millis(500), "conversation.item.input_audio_transcription.completed", &event);
    }

    fn respond(&mut self, at: Duration, metadata: &Value) {
        self.responses += 1;
        let (id, item) = (format!("resp_Cz{:020}", self.responses), format!("item_CzAgent{:015}", self.responses));
        let response = |status: &str, usage: Value| {
            let response = json!({"object": "realtime.response", "id": id, "status": status, "status_details": null,
                "output": [], "conversation_id": "conv_Cz00000000000000000001", "output_modalities": ["audio"],
                "max_output_tokens": "inf", "usage": usage, "metadata": metadata});
            json!({"response": response})
        };
        let message = |status: &str, content: Value| {
            json!({"id": item, "object": "realtime.item", "type": "message", "status": status,
                "role": "assistant", "content": content})
        };
        let of_response = |message: Value| json!({"response_id": id, "output_index": 0, "item": message});
        // As the service writes it: what is long comes last.
        let place = format!(r#""response_id":"{id}","item_id":"{item}","output_index":0,"content_index":0"#);
        let piece = |name: &str, value: Value| format!(r#"{{{place},"{name}":{value}}}"#);
        self.send(at, "response.created", response("in_progress", Value::Null));
        self.send(at, "response.output_item.added", of_response(message("in_progress", json!([]))));
        let added = json!({"previous_item_id": null, "item": message("in_progress", json!([]))});
        self.send(at, "conversation.item.added", added);
        let empty = json!({"type": "audio", "transcript": ""});
        self.send(at, "response.content_part.added", piece("part", empty));
        let mut at = at + FIRST_PIECE;
        let (mut samples, mut count) = (0, 0);
        while samples < REPLY_S * SAMPLES_A_MS as usize * 1_000 {
            let words = json!(WORDS[count % WORDS.len()]);
            self.send(at, "response.output_audio_transcript.delta", piece("delta", words));
            let length = PIECES[count % PIECES.len()];
            let audio = json!(STANDARD.encode_to_string(self.bytes(length)));
            self.send(at, "response.output_audio.delta", piece("delta", audio));
            (samples, count) = (samples + length, count + 1);
            at += Duration::from_micros(length as u64 * 1_000 / SAMPLES_A_MS) / SPEED;
        }
        self.send(at, "response.output_audio.done", format!("{{{place}}}"));
        let said: String = WORDS.into_iter().cycle().take(count).collect();
        self.send(at, "response.output_audio_transcript.done", piece("transcript", json!(said)));
        let whole = json!({"type": "audio", "transcript": said});
        self.send(at, "response.content_part.done", piece("part", whole));
        let content = json!([{"type": "output_audio", "transcript": said}]);
        self.send(at, "response.output_item.done", of_response(message("completed", content)));
        let usage = json!({"total_tokens": 500, "input_tokens": 300, "output_tokens": 200,
            "input_token_details": {"text_tokens": 100, "audio_tokens": 200, "cached_tokens": 50},
            "output_token_details": {"text_tokens": 40, "audio_tokens": 160}});
        self.send(at, "response.done", response("completed", usage));
        let limits = json!({"rate_limits": [
            {"name": "requests", "limit": 10_000, "remaining": 9_990, "reset_seconds": 0.06},
            {"name": "tokens", "limit": 800_000, "remaining": 790_000, "reset_seconds": 0.75}]});
        self.send(at, "rate_limits.updated", limits);
        self.generating = Some((id, at));
    }

    /// Ends the response at hand, if it is still being generated.
    fn cancel(&mut self, now: Duration) {
        let Some((id, _)) = self.generating.take().filter(|(_, until)| *until > now) else { return };
        self.messages.retain(|(_, message)| !message.contains(&id));
        let details = json!({"type": "cancelled", "reason": "client_cancelled"});
        let response = json!({"object": "realtime.response", "id": id, "status": "cancelled",
            "status_details": details, "output": [], "usage": null, "metadata": null});
        self.send(now, "response.done", json!({"response": response}));
    }

    /// The next samples of its voice.
    fn bytes(&mut self, samples: usize) -> Vec<u8> {
        let voice = self.speech.iter().cycle().skip(self.spoken % self.speech.len()).take(samples);
        let bytes = voice.flat_map(|sample| sample.to_le_bytes()).collect();
        self.spoken += samples;
        bytes
    }

    /// Sends this object, its type first.
    fn send(&mut self, at: Duration, kind: &str, event: impl std::fmt::Display) {
        self.events += 1;
        let (id, event) = (self.events, event.to_string());
        let message = format!(r#"{{"type":"{kind}","event_id":"event_Cz{id:018}",{}"#, &event[1..]);
        let behind = self.messages.partition_point(|(other, _)| *other <= at);
        self.messages.insert(behind, (at, message));
    }
}
