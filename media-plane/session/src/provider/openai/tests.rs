//! What the provider makes of the server's events, and sends for the session's commands.

#![allow(clippy::unwrap_used)]

mod audio;
mod creates;
mod odd_events;
mod refusals;
mod tools;
mod walks;

use std::collections::VecDeque;

use serde_json::{Value, json};

use super::*;
use crate::{
    event::ResponseStatus,
    provider::{Decoded, Purpose, Wire},
};

/// What was sent, as JSON.
#[derive(Default)]
struct Sent(Vec<Value>);

impl std::ops::Deref for Sent {
    type Target = Vec<Value>;

    fn deref(&self) -> &Vec<Value> {
        &self.0
    }
}

impl Wire for Sent {
    fn send_control(&mut self, frame: Frame<'_>) {
        let Frame::Text(message) = frame else { panic!("the protocol is text") };
        self.0.push(serde_json::from_str(message).unwrap());
    }

    fn send_audio(&mut self, frame: Frame<'_>) {
        self.send_control(frame);
    }
}

/// A provider on its own, with what it sent and reported, and a clock.
struct Bench {
    provider: OpenAi,
    sent: Sent,
    events: VecDeque<ProviderEvent>,
    now: Time,
}

impl Bench {
    fn opened() -> Self {
        let provider = OpenAi::new(OpenAiSettings::default());
        let mut bench =
            Self { provider, sent: Sent::default(), events: VecDeque::new(), now: Time::from_millis(5_000) };
        bench.with(|now, provider, out| provider.open(now, &Agent::default(), AudioFormat::Pcm, out));
        bench
    }

    fn ready() -> Self {
        let mut bench = Self::opened();
        bench.server(json!({"type": "session.updated", "session": {"id": "s"}}));
        bench.sent.0.clear();
        bench.events.clear();
        bench
    }

    fn with(&mut self, act: impl FnOnce(Time, &mut OpenAi, &mut Outbox<'_>)) {
        act(self.now, &mut self.provider, &mut Outbox::new(&mut self.sent, &mut self.events));
    }

    fn server(&mut self, message: Value) {
        self.server_text(&message.to_string());
    }

    fn server_text(&mut self, text: &str) {
        self.with(|now, provider, out| match provider.decode()(Frame::Text(text)) {
            Decoded::Audio { response_id, item_id, bytes } => {
                let delta = AudioDelta { response_id: &response_id, item_id: &item_id, bytes: &bytes };
                provider.audio_delta(now, delta, out);
            }
            Decoded::Other => provider.message(now, Frame::Text(text), out),
        });
    }

    fn command(&mut self, command: ProviderCommand<'_>) {
        self.with(|now, provider, out| provider.command(now, command, out));
    }

    /// Lets time pass, waking the provider when it asked for it.
    fn wait_ms(&mut self, ms: u64) {
        let target = self.now + Duration::from_millis(ms);
        let mut steps = 0;
        while let Some(due) = self.provider.deadline().filter(|due| *due <= target) {
            self.now = due.max(self.now);
            self.with(|now, provider, out| provider.tick(now, out));
            steps += 1;
            assert!(steps < 1_000, "the provider asks to be woken for ever");
        }
        self.now = target;
    }

    /// Messages sent of this type.
    fn sent(&self, kind: &str) -> Vec<Value> {
        self.sent.iter().filter(|message| message["type"] == kind).cloned().collect()
    }

    /// The latest `response.create`, and how many there were.
    fn create(&self) -> (Value, usize) {
        let creates = self.sent("response.create");
        (creates.last().cloned().unwrap_or_default(), creates.len())
    }

    /// The server begins a response; with `create` it is that one's, and says so.
    fn created(&mut self, id: &str, create: Option<&Value>) {
        let metadata = create.map_or(Value::Null, |create| create["response"]["metadata"].clone());
        self.server(json!({"type": "response.created", "response": {"id": id, "metadata": metadata}}));
    }

    fn done(&mut self, id: &str, status: &str) {
        self.server(json!({"type": "response.done", "response": {"id": id, "status": status}}));
    }

    fn failed(&mut self, id: &str) {
        self.server(json!({"type": "response.done", "response": {"id": id, "status": "failed", "status_details":
            {"type": "failed", "error": {"type": "server_error", "code": null, "message": "no luck"}}}}));
    }

    fn delta(&mut self, response: &str, item: &str, bytes: &[u8]) {
        let base64 = base64_simd::STANDARD.encode_to_string(bytes);
        self.server(
            json!({"type": "response.output_audio.delta", "response_id": response, "item_id": item, "delta": base64}),
        );
    }

    fn tool_call(&mut self, response: &str, call: &str, name: &str) {
        self.server(json!({"type": "response.output_item.done", "response_id": response, "item": {"id": "F",
            "type": "function_call", "status": "completed", "call_id": call, "name": name, "arguments": "{}"}}));
    }

    fn error(&mut self, code: &str, message: &str, about: Option<&Value>) {
        let event_id = about.map_or(Value::Null, |about| about["event_id"].clone());
        self.server(json!({"type": "error", "error": {"type": "invalid_request_error", "code": code,
            "message": message, "event_id": event_id}}));
    }

    fn caller_speaks(&mut self) {
        self.server(json!({"type": "input_audio_buffer.speech_started", "audio_start_ms": 100, "item_id": "U"}));
    }

    fn caller_stops(&mut self) {
        self.server(json!({"type": "input_audio_buffer.speech_stopped", "audio_end_ms": 900, "item_id": "U"}));
        self.server(json!({"type": "input_audio_buffer.committed", "item_id": "U"}));
    }

    /// Codes and messages of errors reported so far.
    fn errors(&self) -> Vec<(String, String)> {
        self.events
            .iter()
            .filter_map(|event| match event {
                ProviderEvent::Error { code, message } => Some((code.clone(), message.clone())),
                _ => None,
            })
            .collect()
    }

    /// Why the provider gave up.
    fn failure(&self) -> Option<Failure> {
        self.events.iter().find_map(|event| match event {
            ProviderEvent::Failed(failure) => Some(failure.clone()),
            _ => None,
        })
    }

    /// Samples reported so far.
    fn heard(&self) -> Vec<i16> {
        self.events
            .iter()
            .filter_map(|event| match event {
                ProviderEvent::AudioOut { pcm, .. } => Some(pcm.clone()),
                _ => None,
            })
            .flatten()
            .collect()
    }
}

fn cut(item: &str, heard_ms: u64, received_ms: u64) -> EndedItem {
    EndedItem { item: item.to_owned(), heard_samples: heard_ms * 24, received_samples: received_ms * 24 }
}

#[test]
fn each_cut_is_truncated_deleted_or_left_alone() {
    let check = |active: bool, cut: EndedItem, expected: &[&str]| {
        let mut bench = Bench::ready();
        if active {
            bench.server(json!({"type": "response.created", "response": {"id": "R1"}}));
        }
        bench.command(ProviderCommand::Interrupt(std::slice::from_ref(&cut)));
        let kinds: Vec<&str> = bench.sent.iter().map(|message| message["type"].as_str().unwrap()).collect();
        assert_eq!(kinds, expected, "{active} {cut:?}");
    };
    check(true, cut("A", 500, 900), &["response.cancel", "conversation.item.truncate"]);
    check(true, cut("A", 900, 900), &["response.cancel", "conversation.item.truncate"]);
    check(false, cut("A", 500, 900), &["conversation.item.truncate"]);
    check(false, cut("A", 900, 900), &[]);
    check(false, cut("A", 0, 900), &["conversation.item.delete"]);
    let a_few_samples = EndedItem { item: "A".into(), heard_samples: 23, received_samples: 900 };
    check(false, a_few_samples, &["conversation.item.delete"]);
}

#[test]
fn a_truncation_is_never_beyond_what_was_received() {
    let mut bench = Bench::ready();
    bench.command(ProviderCommand::Interrupt(&[EndedItem {
        item: "A".into(),
        heard_samples: 24_000,
        received_samples: 12_000,
    }]));
    assert!(bench.sent.is_empty(), "heard to its end");
    bench.server(json!({"type": "response.created", "response": {"id": "R1"}}));
    bench.command(ProviderCommand::Interrupt(&[EndedItem {
        item: "B".into(),
        heard_samples: 24_000,
        received_samples: 12_000,
    }]));
    assert_eq!(bench.sent.last().unwrap()["audio_end_ms"], 500);
}

#[test]
fn tools_run_only_when_their_item_is_complete() {
    let mut bench = Bench::ready();
    let item = |status: &str| {
        json!({"type": "response.output_item.done", "response_id": "R1", "item":
            {"id": "F", "type": "function_call", "status": status, "call_id": "c", "name": "end_call", "arguments": "{}"}})
    };
    bench.server(json!({"type": "response.function_call_arguments.done", "response_id": "R1", "call_id": "c",
        "name": "end_call", "arguments": "{}"}));
    bench.server(item("incomplete"));
    assert!(bench.events.is_empty());
    bench.server(item("completed"));
    assert!(matches!(bench.events.pop_front(), Some(ProviderEvent::ToolCall { .. })));
}

#[test]
fn a_response_that_ends_without_audio_done_finishes_its_items() {
    let mut bench = Bench::ready();
    bench.server(json!({"type": "response.created", "response": {"id": "R1"}}));
    bench.server(json!({"type": "response.output_audio.delta", "response_id": "R1", "item_id": "A", "delta": "AAAA"}));
    bench.server(
        json!({"type": "response.output_audio.delta", "response_id": "R1", "item_id": "A", "delta": "AAAAAAAA"}),
    );
    bench.server(json!({"type": "response.done", "response": {"id": "R1", "status": "incomplete",
        "status_details": {"type": "incomplete", "reason": "max_output_tokens"}}}));
    let finished: Vec<&ProviderEvent> = bench
        .events
        .iter()
        .filter(|event| matches!(event, ProviderEvent::AudioDone { .. } | ProviderEvent::ResponseFinished { .. }))
        .collect();
    assert_eq!(finished.len(), 2, "{finished:?}");
    assert!(matches!(finished[1],
        ProviderEvent::ResponseFinished { status, status_reason, .. }
            if *status == ResponseStatus::Incomplete && status_reason == "max_output_tokens"));
}

#[test]
fn the_purpose_of_a_response_is_known_by_its_metadata() {
    let mut bench = Bench::ready();
    bench.command(ProviderCommand::Farewell);
    let metadata = bench.sent[0]["response"]["metadata"].clone();
    bench.server(json!({"type": "response.created", "response": {"id": "R1", "metadata": metadata}}));
    assert!(matches!(
        bench.events.pop_front(),
        Some(ProviderEvent::ResponseStarted { purpose: Purpose::Farewell, .. })
    ));
    bench.server(
        json!({"type": "response.done", "response": {"id": "R1", "status": "completed", "metadata": metadata}}),
    );
    bench.server(json!({"type": "response.created", "response": {"id": "V1", "metadata": null}}));
    assert!(matches!(bench.events.pop_back(), Some(ProviderEvent::ResponseStarted { purpose: Purpose::Reply, .. })));
}

#[test]
fn nothing_is_sent_before_it_is_ready_or_after_it_failed() {
    let mut provider = OpenAi::new(OpenAiSettings::default());
    let (mut sent, mut events) = (Sent::default(), VecDeque::new());
    let mut out = Outbox::new(&mut sent, &mut events);
    provider.audio(Time::ZERO, &[0; 480], &mut out);
    provider.command(Time::ZERO, ProviderCommand::Greet, &mut out);
    provider.tick(Time::ZERO, &mut out);
    assert_eq!((sent.len(), provider.deadline()), (0, None));

    let mut bench = Bench::ready();
    bench.server(json!({"type": "error", "error": {"code": "insufficient_quota"}}));
    bench.server(json!({"type": "error", "error": {"code": "insufficient_quota"}}));
    bench.command(ProviderCommand::Say("hello"));
    bench.with(|now, provider, out| provider.audio(now, &[0; 480], out));
    assert_eq!((bench.sent.len(), bench.events.len()), (0, 1));
}
