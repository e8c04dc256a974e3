//! Responses: the one slot of the conversation, what is generated in it and when.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    Session, Timer,
    config::check_modalities,
    generation::{Call, Ending, Generation, Source},
    replies::Cue,
    schema::RESPONSE,
};
use crate::{
    ai::{
        protocol::ProtocolError,
        record::{MAX_RECORDED_SAMPLES, ReplyRecord, SessionRecord, note_piece},
        settings::{Mode, ResponseFault},
    },
    speech::SAMPLES_PER_MS,
};

/// Pieces a response that is to fail still sends.
const PIECES_BEFORE_FAILURE: usize = 2;
/// Between deltas that come too late.
const LATE_DELTA_INTERVAL: Duration = Duration::from_millis(5);
/// Shown in `rate_limits.updated`.
const TOKENS_PER_MINUTE: u64 = 800_000;

/// All responses of a session that are not done.
#[derive(Default)]
pub(super) struct Responses {
    active: Vec<Active>,
    /// Asked for while it is not known yet what the caller said.
    waiting: Vec<Request>,
    /// Turns whose words are being found out.
    pub(super) recognitions: usize,
    /// Whether the caller can have heard the voice.
    pub(super) audio_was_said: bool,
    /// Responses begun so far.
    begun: usize,
}

/// A response and when its next piece is due.
struct Active {
    generation: Generation,
    fault: Option<ResponseFault>,
    next_at: Duration,
    created: bool,
    /// In [`SessionRecord::replies`].
    reply: usize,
}

/// What somebody wants a response to be.
struct Request {
    /// `response` of the event; null when the server asks by itself.
    options: Value,
    by_server: bool,
}

impl Request {
    fn in_conversation(&self) -> bool {
        self.options["conversation"] != "none"
    }
}

impl Responses {
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.active.iter().map(|active| active.next_at).min()
    }

    /// A caller who speaks again has not finished; the reply to the first half is not wanted.
    pub(super) fn drop_waiting_replies(&mut self) {
        self.waiting.retain(|request| !request.by_server);
    }

    fn slot(&self) -> Option<usize> {
        self.active.iter().position(|active| active.generation.in_conversation)
    }

    fn slot_is_taken(&self) -> bool {
        self.slot().is_some() || self.waiting.iter().any(Request::in_conversation)
    }
}

impl Session {
    pub(super) fn create_response(
        &mut self,
        now: Duration,
        event: &Value,
        record: &mut SessionRecord,
    ) -> Result<(), ProtocolError> {
        let options = event.get("response").cloned().unwrap_or(Value::Null);
        if !options.is_null() {
            RESPONSE.check(&options, "response")?;
            check_modalities(options.get("output_modalities"), "response.output_modalities")?;
        }
        self.request(now, Request { options, by_server: false }, record)
    }

    /// The server's own reply to a turn, once it knows what was said.
    pub(super) fn reply_when_recognised(&mut self, now: Duration, record: &mut SessionRecord) {
        let request = Request { options: Value::Null, by_server: true };
        if let Err(error) = self.request(now, request, record) {
            self.complain(&error, None, record);
        }
    }

    fn request(&mut self, now: Duration, request: Request, record: &mut SessionRecord) -> Result<(), ProtocolError> {
        if request.in_conversation() && self.responses.slot_is_taken() {
            let active = self.responses.slot().map_or("a response", |slot| &self.responses.active[slot].generation.id);
            let message = format!(
                "Conversation already has an active response in progress: {active}. Wait until the response is \
                 finished before creating a new one."
            );
            return Err(ProtocolError::new("conversation_already_has_active_response", message));
        }
        self.responses.waiting.push(request);
        if self.responses.recognitions == 0 {
            self.start_waiting(now, record);
        }
        Ok(())
    }

    pub(super) fn start_waiting(&mut self, now: Duration, record: &mut SessionRecord) {
        for request in std::mem::take(&mut self.responses.waiting) {
            let source = self.choose(&request);
            self.start(now, &request, source, record);
        }
    }

    fn choose(&mut self, request: &Request) -> Source {
        if self.settings.mode == Mode::Echo {
            return Source::Echo;
        }
        let tools = request.options.get("tools").unwrap_or_else(|| self.config.tools());
        let choice = request.options.get("tool_choice").unwrap_or(&self.config.effective()["tool_choice"]);
        let no_tools = Value::Null;
        let cue = Cue {
            session: self.index,
            reply: self.responses.begun,
            heard: self.heard,
            language: self.language,
            caller_spoke: self.caller_spoke,
            instructions: request.options["instructions"].as_str().unwrap_or_default(),
            tools: if *choice == "none" { &no_tools } else { tools },
            end_call_tool: &self.settings.end_call_tool,
        };
        let reply = self.settings.replies.choose(&cue);
        let call = reply.tool.map(|name| Call { item_id: self.ids.next("item"), call_id: self.ids.next("call"), name });
        if request.in_conversation() {
            self.heard = None;
        }
        Source::Speech { said: reply.said, call }
    }

    fn start(&mut self, now: Duration, request: &Request, source: Source, record: &mut SessionRecord) {
        self.cancel_idle_timer();
        let fault = self.faults.responses.get(&self.responses.begun).copied();
        self.responses.begun += 1;
        let mut generation =
            Generation::new(self.ids.next("resp"), self.ids.next("item"), source, self.config.output_format());
        generation.in_conversation = request.in_conversation();
        generation.conversation_id.clone_from(&self.conversation_id);
        generation.metadata = request.options["metadata"].clone();
        generation.text_only = match request.options.get("output_modalities") {
            Some(modalities) => *modalities == json!(["text"]),
            None => self.config.text_only(),
        };
        let (name, transcript) = generation.described();
        record.replies.push(ReplyRecord {
            response_id: generation.id.clone(),
            item_id: generation.item_id.clone(),
            name: name.to_owned(),
            transcript: transcript.to_owned(),
            pcm: Vec::new(),
            pieces: Vec::new(),
            status: "in_progress".to_owned(),
            reason: String::new(),
            tool: generation.call().map(|call| call.name.clone()),
            created_ms: now.as_millis() as u64,
            first_audio_ms: None,
            done_ms: None,
        });
        let delay = match (self.settings.mode, fault) {
            (Mode::Echo, _) => Duration::ZERO,
            (Mode::Converse, Some(ResponseFault::Slow(delay))) => self.settings.response_delay + delay,
            (Mode::Converse, _) => self.settings.response_delay,
        };
        let (reply, next_at) = (record.replies.len() - 1, now + delay);
        self.responses.active.push(Active { generation, fault, next_at, created: false, reply });
    }

    /// Everything due of every response, in the order in which it is due.
    pub(super) fn advance_responses(&mut self, now: Duration, record: &mut SessionRecord) {
        while let Some(index) = self.next_due(now) {
            let active = &mut self.responses.active[index];
            if !active.created {
                self.announce(now, index, record);
            } else if active.generation.is_exhausted() {
                self.finish(now, index, Ending::Completed, record);
            } else {
                self.send_piece(now, index, record);
            }
        }
    }

    fn next_due(&self, now: Duration) -> Option<usize> {
        let due = self.responses.active.iter().enumerate().filter(|(_, active)| active.next_at <= now);
        due.min_by_key(|(_, active)| active.next_at).map(|(index, _)| index)
    }

    fn announce(&mut self, now: Duration, index: usize, record: &mut SessionRecord) {
        let previous = self.conversation.last_id();
        let instructions = super::usage::text_tokens(self.config.instructions());
        let mut input = self.conversation.tokens();
        input.text += instructions + super::usage::text_tokens(&self.config.tools().to_string());
        let active = &mut self.responses.active[index];
        active.created = true;
        active.next_at = match active.generation.source {
            Source::Speech { .. } => now + self.settings.first_audio_delay,
            Source::Echo => Duration::MAX,
        };
        active.generation.input = input;
        let fault = active.fault;
        let generation = &active.generation;
        let (created, item, opened) = (generation.created(), generation.empty_item(), generation.opened());
        let (item_id, in_conversation) = (generation.item_id.clone(), generation.in_conversation);
        let has_audio = !generation.text_only;
        self.send(created);
        let limit = |name: &str, limit: u64, used: u64| {
            let remaining = limit.saturating_sub(used);
            json!({"name": name, "limit": limit, "remaining": remaining, "reset_seconds": 0.1})
        };
        let used = input.text + input.audio;
        self.send(json!({
            "type": "rate_limits.updated",
            "rate_limits": [limit("requests", 1_000, 1), limit("tokens", TOKENS_PER_MINUTE, used)],
        }));
        if fault == Some(ResponseFault::RateLimited) {
            return self.end_empty(now, index, Ending::Failed("rate_limit_exceeded"), record);
        }
        let [output_item, part] = opened;
        self.send(output_item);
        if in_conversation {
            self.conversation.push_model(&item_id, item.clone(), has_audio);
            self.send(json!({"type": "conversation.item.added", "previous_item_id": previous, "item": item}));
        }
        self.send(part);
    }

    fn send_piece(&mut self, now: Duration, index: usize, record: &mut SessionRecord) {
        let active = &mut self.responses.active[index];
        let sizes = &self.settings.chunk_samples;
        let (events, pcm) = active.generation.piece(sizes[active.generation.pieces % sizes.len()]);
        let play_s = pcm.len() as f64 / (SAMPLES_PER_MS * 1_000) as f64;
        active.next_at += Duration::from_secs_f64(play_s / self.settings.speed);
        let ending = match active.fault {
            Some(ResponseFault::ServerError) if active.generation.pieces >= PIECES_BEFORE_FAILURE => {
                Some(Ending::Failed("server_error"))
            }
            Some(ResponseFault::Incomplete) if active.generation.sent * 2 >= active.generation.audio().len() => {
                Some(Ending::Incomplete("max_output_tokens"))
            }
            _ => None,
        };
        let (item_id, reply, text_only) =
            (active.generation.item_id.clone(), active.reply, active.generation.text_only);
        for event in events {
            self.send(event);
        }
        if !text_only {
            self.note_said(now, &item_id, reply, pcm, record);
        }
        if let Some(ending) = ending {
            self.finish(now, index, ending, record);
        }
    }

    fn note_said(&mut self, now: Duration, item_id: &str, reply: usize, pcm: &[i16], record: &mut SessionRecord) {
        self.responses.audio_was_said = true;
        let reply = &mut record.replies[reply];
        reply.first_audio_ms.get_or_insert(now.as_millis() as u64);
        let room = MAX_RECORDED_SAMPLES.saturating_sub(reply.pcm.len()).min(pcm.len());
        reply.pcm.extend_from_slice(&pcm[..room]);
        note_piece(&mut reply.pieces, now, pcm.len());
        if let Some(samples) = self.conversation.get_mut(item_id).and_then(|entry| entry.said_samples.as_mut()) {
            *samples += pcm.len();
        }
    }

    /// Sends a chunk of the caller straight back, in the one response that never ends by itself.
    pub(super) fn echo(&mut self, now: Duration, base64: &str, pcm: &[i16], record: &mut SessionRecord) {
        if !self.responses.slot_is_taken() {
            let request = Request { options: Value::Null, by_server: true };
            self.start(now, &request, Source::Echo, record);
            self.advance_responses(now, record);
        }
        let Some(slot) = self.responses.slot() else { return };
        let active = &mut self.responses.active[slot];
        if !active.created || !matches!(active.generation.source, Source::Echo) {
            return;
        }
        active.generation.sent += pcm.len();
        let (event, item_id, reply) =
            (active.generation.audio_delta(base64), active.generation.item_id.clone(), active.reply);
        self.send(event);
        self.note_said(now, &item_id, reply, pcm, record);
    }

    pub(super) fn cancel_response(
        &mut self,
        now: Duration,
        event: &Value,
        record: &mut SessionRecord,
    ) -> Result<(), ProtocolError> {
        let wanted = event.get("response_id").and_then(Value::as_str);
        let index = match wanted {
            Some(id) => self.responses.active.iter().position(|active| active.generation.id == id),
            None => self.responses.slot(),
        };
        record.cancels.push(index.map(|index| self.responses.active[index].generation.id.clone()));
        let Some(index) = index else {
            let message = "Cancellation failed: no active response found";
            return Err(ProtocolError::new("response_cancel_not_active", message));
        };
        self.finish(now, index, Ending::Cancelled("client_cancelled"), record);
        Ok(())
    }

    /// Ends the response in the conversation's slot, if there is one.
    pub(super) fn end_active_response(&mut self, now: Duration, ending: Ending, record: &mut SessionRecord) {
        if let Some(slot) = self.responses.slot() {
            self.finish(now, slot, ending, record);
        }
    }

    fn finish(&mut self, now: Duration, index: usize, ending: Ending, record: &mut SessionRecord) {
        if !self.responses.active[index].created {
            let created = self.responses.active[index].generation.created();
            self.send(created);
            return self.end_empty(now, index, ending, record);
        }
        let Active { generation, reply, .. } = self.responses.active.remove(index);
        let late = self.late_deltas(&generation, ending);
        for event in generation.closed(ending) {
            self.send(event);
        }
        let item = generation.final_item(ending);
        let mut output = vec![item.clone()];
        if generation.in_conversation {
            let previous = self.conversation.previous_of(&generation.item_id);
            if let Some(entry) = self.conversation.get_mut(&generation.item_id) {
                entry.item.clone_from(&item);
            }
            self.send(json!({"type": "conversation.item.done", "previous_item_id": previous, "item": item}));
        }
        if let Some(call) = generation.call().filter(|_| ending == Ending::Completed) {
            let (events, item) = Generation::called(call, &generation.id, &generation.item_id);
            if generation.in_conversation {
                self.conversation.push_model(&call.item_id, item.clone(), false);
            }
            output.push(item);
            for event in events {
                self.send(event);
            }
        }
        self.done(now, &generation, ending, &output, reply, record);
        for (delay, event) in late {
            self.set_timer(now + delay, Timer::Late(event));
        }
    }

    /// Ends a response that has no item yet.
    fn end_empty(&mut self, now: Duration, index: usize, ending: Ending, record: &mut SessionRecord) {
        let Active { generation, reply, .. } = self.responses.active.remove(index);
        self.done(now, &generation, ending, &[], reply, record);
    }

    fn done(
        &mut self,
        now: Duration,
        generation: &Generation,
        ending: Ending,
        output: &[Value],
        reply: usize,
        record: &mut SessionRecord,
    ) {
        let usage = self.cache.usage(generation.input, generation.output_tokens());
        self.send(generation.done(ending, output, &usage));
        let reply = &mut record.replies[reply];
        ending.status().clone_into(&mut reply.status);
        ending.reason().clone_into(&mut reply.reason);
        reply.done_ms = Some(now.as_millis() as u64);
        if ending == Ending::Completed {
            let said = Duration::from_millis((generation.sent / SAMPLES_PER_MS) as u64);
            self.set_idle_timer(now + said);
        }
    }

    /// Pieces that come although the response was cancelled, when the faults say so.
    fn late_deltas(&self, generation: &Generation, ending: Ending) -> Vec<(Duration, Value)> {
        if !matches!(ending, Ending::Cancelled(_)) {
            return Vec::new();
        }
        let pieces = generation.unsent(self.settings.chunk_samples[0], self.faults.late_deltas);
        let delay = |index: usize| LATE_DELTA_INTERVAL * (index as u32 + 1);
        pieces.into_iter().enumerate().map(|(index, event)| (delay(index), event)).collect()
    }
}
