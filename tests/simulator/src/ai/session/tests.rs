#![allow(clippy::unwrap_used)]
//! Sessions in virtual time: what a client sends and hears back, event by event.

mod conversation;
mod echo;
mod faults;
mod formats;
mod protocol;

use super::*;
use crate::{
    ai::protocol::{decode_audio, encode_audio},
    speech::{SAMPLES_PER_MS, fixture, recognise},
};

const FRAME_MS: u64 = 20;

/// A client without a network.
struct Client {
    session: Session,
    record: SessionRecord,
    now: Duration,
    /// Everything received and not taken yet.
    events: Vec<Value>,
    /// How the socket ended.
    ended: Option<Output>,
    silenced: bool,
}

impl Client {
    fn new(settings: AiSettings) -> Self {
        Self::with_index(settings, 0)
    }

    fn with_index(settings: AiSettings, index: usize) -> Self {
        let mut record = SessionRecord::default();
        let session = Session::new(Arc::new(settings), index, "gpt-realtime-2.1", 1_700_000_000, &mut record);
        let mut client =
            Self { session, record, now: Duration::ZERO, events: Vec::new(), ended: None, silenced: false };
        client.drain();
        client
    }

    /// With a session configured as a call wants it, and what came of that taken.
    fn configured(settings: AiSettings) -> Self {
        let mut client = Self::new(settings);
        client.send(call_config());
        client.events.clear();
        client
    }

    fn send(&mut self, event: Value) {
        self.session.handle(self.now, &event.to_string(), &mut self.record);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.session.take_output() {
            match output {
                Output::Event(json) => self.events.push(serde_json::from_str(&json).unwrap()),
                Output::Recognise { item_id, pcm } => {
                    self.session.recognised(self.now, &item_id, recognise(&pcm), &mut self.record);
                }
                Output::Silence => self.silenced = true,
                Output::Close { .. } | Output::Abort => self.ended = Some(output),
            }
        }
    }

    /// Lets time pass, doing what is due when it is due.
    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(deadline) = self.session.deadline().filter(|deadline| *deadline <= until) {
            self.now = deadline;
            self.session.poll(self.now, &mut self.record);
            self.drain();
        }
        self.now = until;
    }

    fn pass_ms(&mut self, ms: u64) {
        self.pass(Duration::from_millis(ms));
    }

    /// Appends audio frame by frame as time passes.
    fn say(&mut self, pcm: &[i16]) {
        for frame in pcm.chunks(FRAME_MS as usize * SAMPLES_PER_MS) {
            self.send(json!({"type": "input_audio_buffer.append", "audio": encode_audio(frame)}));
            self.pass_ms(FRAME_MS);
        }
    }

    fn speak(&mut self, name: &str) {
        self.say(&fixture(name).unwrap().pcm);
    }

    fn keep_silent(&mut self, ms: usize) {
        self.say(&vec![0; ms * SAMPLES_PER_MS]);
    }

    fn types(&self) -> Vec<&str> {
        self.events.iter().map(|event| event["type"].as_str().unwrap()).collect()
    }

    #[track_caller]
    fn one(&self, kind: &str) -> &Value {
        let mut found = self.events.iter().filter(|event| event["type"] == kind);
        let (first, second) = (found.next(), found.next());
        assert!(second.is_none(), "more than one {kind}");
        first.unwrap_or_else(|| panic!("no {kind} in {:?}", self.types()))
    }

    fn count(&self, kind: &str) -> usize {
        self.events.iter().filter(|event| event["type"] == kind).count()
    }

    fn place(&self, kind: &str) -> usize {
        self.events.iter().position(|event| event["type"] == kind).unwrap_or_else(|| panic!("no {kind}"))
    }

    /// All audio received.
    fn heard(&self) -> Vec<i16> {
        let deltas = self.events.iter().filter(|event| event["type"] == "response.output_audio.delta");
        deltas.flat_map(|event| decode_audio(event["delta"].as_str().unwrap()).unwrap()).collect()
    }

    /// Code, parameter and event id of the only error received.
    #[track_caller]
    fn error(&self) -> (Option<&str>, Option<&str>, Option<&str>) {
        let error = &self.one("error")["error"];
        (error["code"].as_str(), error["param"].as_str(), error["event_id"].as_str())
    }
}

fn call_config() -> Value {
    json!({"type": "session.update", "event_id": "su1", "session": {
        "type": "realtime",
        "instructions": "You answer the phone of a shop.",
        "output_modalities": ["audio"],
        "audio": {
            "input": {
                "format": {"type": "audio/pcm", "rate": 24_000},
                "transcription": {"model": "gpt-transcribe", "languages": ["pt", "en"]},
                "turn_detection": {
                    "type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 300, "silence_duration_ms": 500,
                    "create_response": true, "interrupt_response": true,
                },
            },
            "output": {"format": {"type": "audio/pcm", "rate": 24_000}, "voice": "marin"},
        },
        "tools": [{
            "type": "function", "name": "end_call", "description": "Hang up.",
            "parameters": {"type": "object", "properties": {}},
        }],
        "tool_choice": "auto",
    }})
}
