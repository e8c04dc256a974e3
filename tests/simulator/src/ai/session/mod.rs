//! The protocol of one session, pure: time is an argument, what is to be sent comes out of a queue.
//!
//! [`Session::handle`] takes a message of the client, [`Session::recognised`] what its shell found out about a turn,
//! [`Session::poll`] does what is due at [`Session::deadline`]. After each, [`Session::take_output`] until it is empty.
//! Handlers are beside this file by topic: [`audio`], [`items`], [`responses`].

mod audio;
mod config;
mod conversation;
mod detector;
mod generation;
mod ids;
mod input;
mod items;
mod replies;
mod responses;
mod schema;
mod usage;

use std::{
    borrow::Cow,
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use serde::Deserialize;
use serde_json::{Value, json};

use self::{config::Config, conversation::Conversation, ids::Ids, input::Input, responses::Responses, usage::Cache};
use super::{
    protocol::ProtocolError,
    record::{SessionRecord, Violation},
    settings::{AiSettings, CloseFault, Faults, UpdateFault},
    wire::{Format, Intake},
};
use crate::speech::Fixture;

/// Longest `event_id` of a client, characters.
const MAX_EVENT_ID_CHARS: usize = 512;
/// Close code after an error that ends the session.
const CLOSE_AFTER_ERROR: u16 = 4_000;
/// Close code at the end of the longest session (RFC 6455, section 7.4.1: going away).
const CLOSE_GOING_AWAY: u16 = 1_001;

/// What the shell is to do.
#[derive(Debug, PartialEq)]
pub(super) enum Output {
    /// Send this JSON.
    Event(String),
    /// Send a close frame and end.
    Close {
        /// Code of the frame.
        code: u16,
        /// Reason of the frame.
        reason: String,
    },
    /// End without a close frame.
    Abort,
    /// Send nothing any more, but keep the socket.
    Silence,
    /// Find out which fixture this is and call [`Session::recognised`].
    Recognise {
        /// The user item.
        item_id: String,
        /// Its audio.
        pcm: Arc<Vec<i16>>,
    },
}

/// What happens later.
enum Timer {
    /// Apply and confirm a `session.update` that was held back.
    Update {
        update: Value,
        event_id: Option<String>,
    },
    Close(CloseFault),
    Stall,
    /// Send an event of a response that is over.
    Late(Value),
    /// Nobody has spoken for the session's idle timeout.
    Idle,
    /// The longest session is over.
    Expire,
}

/// One session.
pub(super) struct Session {
    settings: Arc<AiSettings>,
    faults: Faults,
    index: usize,
    ids: Ids,
    conversation_id: String,
    config: Config,
    updates_seen: usize,
    updates_confirmed: usize,
    intake: Intake,
    input: Input,
    /// Id reserved for the turn in progress.
    turn_item: Option<String>,
    conversation: Conversation,
    responses: Responses,
    cache: Cache,
    /// What the caller said last and nobody has replied to.
    heard: Option<&'static Fixture>,
    /// Language of what was recognised last.
    language: Option<&'static str>,
    caller_spoke: bool,
    timers: BTreeMap<(Duration, u64), Timer>,
    timers_set: u64,
    outputs: VecDeque<Output>,
    closed: bool,
}

/// What every client event may carry; the audio of an append is not copied.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    event_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    audio: Cow<'a, str>,
}

impl Session {
    /// Begins a session: `session.created` is the first output. `unix_s` is only shown, in `expires_at`.
    pub(super) fn new(
        settings: Arc<AiSettings>,
        index: usize,
        model: &str,
        unix_s: u64,
        record: &mut SessionRecord,
    ) -> Self {
        let mut ids = Ids::new(index);
        let id = ids.next("sess");
        let expires_at = unix_s + settings.max_session.as_secs();
        let faults = settings.faults_of.get(&index).unwrap_or(&settings.faults).clone();
        record.id.clone_from(&id);
        let mut session = Self {
            faults,
            index,
            conversation_id: ids.next("conv"),
            config: Config::new(model, &id, expires_at),
            ids,
            updates_seen: 0,
            updates_confirmed: 0,
            intake: Intake::new(Format::Pcm),
            input: Input::new(),
            turn_item: None,
            conversation: Conversation::default(),
            responses: Responses::default(),
            cache: Cache::default(),
            heard: None,
            language: None,
            caller_spoke: false,
            timers: BTreeMap::new(),
            timers_set: 0,
            outputs: VecDeque::new(),
            closed: false,
            settings,
        };
        let created = json!({"type": "session.created", "session": session.config.effective()});
        session.send(created);
        let conversation = json!({"id": session.conversation_id, "object": "realtime.conversation"});
        session.send(json!({"type": "conversation.created", "conversation": conversation}));
        session.set_timer(session.settings.max_session, Timer::Expire);
        record.config = session.config.effective().clone();
        session
    }

    /// Refuses a connection that was upgraded, as the real server refuses some: an error event, then the close.
    pub(super) fn refused(index: usize, error: &ProtocolError, record: &mut SessionRecord) -> [Output; 2] {
        let mut event = error.event(None);
        event["event_id"] = json!(Ids::new(index).next("event"));
        record.violations.push(violation(error, None));
        [Output::Event(event.to_string()), close_after(error)]
    }

    /// Takes a text message of the client.
    pub(super) fn handle(&mut self, now: Duration, text: &str, record: &mut SessionRecord) {
        if self.closed {
            return;
        }
        match serde_json::from_str::<Head<'_>>(text) {
            Ok(head) => {
                let event_id = head.event_id.as_deref();
                if let Err(error) = self.dispatch(now, &head, text, record) {
                    self.complain(&error, event_id, record);
                }
            }
            Err(error) => {
                let message = format!("The message is not a JSON object of an event: {error}.");
                self.complain(&ProtocolError::new("invalid_json", message), None, record);
            }
        }
        self.poll(now, record);
    }

    fn dispatch(
        &mut self,
        now: Duration,
        head: &Head<'_>,
        text: &str,
        record: &mut SessionRecord,
    ) -> Result<(), ProtocolError> {
        let kind = head.kind.as_deref().ok_or_else(|| ProtocolError::missing("type"))?;
        let event_id = head.event_id.as_deref();
        if event_id.is_some_and(|id| id.chars().count() > MAX_EVENT_ID_CHARS) {
            let message = format!(
                "Invalid 'event_id': string too long. Expected a string with maximum length {MAX_EVENT_ID_CHARS}."
            );
            return Err(ProtocolError::new("string_above_max_length", message).at("event_id"));
        }
        if kind == "input_audio_buffer.append" {
            return self.append(now, &head.audio, record);
        }
        record.events.push(kind.to_owned());
        let event: Value = serde_json::from_str(text).expect("it was JSON a moment ago");
        match kind {
            "session.update" => self.update(now, &event, event_id, record),
            "input_audio_buffer.commit" => self.commit(record),
            "input_audio_buffer.clear" => {
                self.clear();
                Ok(())
            }
            "conversation.item.create" => self.create_item(&event, record),
            "conversation.item.truncate" => self.truncate_item(&event, record),
            "conversation.item.delete" => self.delete_item(&event, record),
            "conversation.item.retrieve" => self.retrieve_item(&event),
            "response.create" => self.create_response(now, &event, record),
            "response.cancel" => self.cancel_response(now, &event, record),
            other => {
                let message = format!(
                    "Invalid value: '{other}'. Supported values are: 'session.update', 'input_audio_buffer.append', \
                     'input_audio_buffer.commit', 'input_audio_buffer.clear', 'conversation.item.create', \
                     'conversation.item.truncate', 'conversation.item.delete', 'conversation.item.retrieve', \
                     'response.create' and 'response.cancel'."
                );
                Err(ProtocolError::invalid_value("type", message))
            }
        }
    }

    fn update(
        &mut self,
        now: Duration,
        event: &Value,
        event_id: Option<&str>,
        record: &mut SessionRecord,
    ) -> Result<(), ProtocolError> {
        let update = event.get("session").ok_or_else(|| ProtocolError::missing("session"))?;
        self.updates_seen += 1;
        match self.faults.update {
            UpdateFault::Never if self.updates_seen == 1 => Ok(()),
            UpdateFault::Slow(delay) if self.updates_seen == 1 => {
                let event_id = event_id.map(str::to_owned);
                self.set_timer(now + delay, Timer::Update { update: update.clone(), event_id });
                Ok(())
            }
            UpdateFault::KeepsFormats => {
                let mut update = update.clone();
                for side in ["input", "output"] {
                    if let Some(side) = update.pointer_mut(&format!("/audio/{side}")).and_then(Value::as_object_mut) {
                        side.remove("format");
                    }
                }
                self.apply_update(now, &update, record)
            }
            _ => self.apply_update(now, update, record),
        }
    }

    fn apply_update(&mut self, now: Duration, update: &Value, record: &mut SessionRecord) -> Result<(), ProtocolError> {
        self.config.update(update, self.responses.audio_was_said)?;
        self.cache.bust();
        let effective = self.config.effective().clone();
        self.config.instructions().clone_into(&mut record.instructions);
        record.config.clone_from(&effective);
        self.send(json!({"type": "session.updated", "session": effective}));
        self.updates_confirmed += 1;
        if self.updates_confirmed == 1 {
            if let Some((delay, fault)) = self.faults.close_after {
                self.set_timer(now + delay, Timer::Close(fault));
            }
            if let Some(delay) = self.faults.stall_after {
                self.set_timer(now + delay, Timer::Stall);
            }
        }
        Ok(())
    }

    /// Does what is due.
    pub(super) fn poll(&mut self, now: Duration, record: &mut SessionRecord) {
        while let Some(entry) = self.timers.first_entry().filter(|entry| entry.key().0 <= now) {
            let timer = entry.remove();
            self.fire(now, timer, record);
        }
        self.advance_responses(now, record);
    }

    fn fire(&mut self, now: Duration, timer: Timer, record: &mut SessionRecord) {
        match timer {
            Timer::Update { update, event_id } => {
                if let Err(error) = self.apply_update(now, &update, record) {
                    self.complain(&error, event_id.as_deref(), record);
                }
            }
            Timer::Close(CloseFault::Code(code)) => self.close(code, "fault on demand"),
            Timer::Close(CloseFault::Abort) => self.output(Output::Abort),
            Timer::Stall => self.output(Output::Silence),
            Timer::Late(event) => self.send(event),
            Timer::Idle => self.idle(now, record),
            Timer::Expire => {
                let minutes = self.settings.max_session.as_secs() / 60;
                let message = format!("Your session hit the maximum duration of {minutes} minutes.");
                self.complain(&ProtocolError::new("session_expired", message.clone()), None, record);
                self.close(CLOSE_GOING_AWAY, &message);
            }
        }
    }

    /// When [`Session::poll`] has something to do.
    pub(super) fn deadline(&self) -> Option<Duration> {
        if self.closed {
            return None;
        }
        let timer = self.timers.first_key_value().map(|(key, _)| key.0);
        timer.into_iter().chain(self.responses.deadline()).min()
    }

    /// What is to be done, in order.
    pub(super) fn take_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn set_timer(&mut self, at: Duration, timer: Timer) {
        self.timers_set += 1;
        self.timers.insert((at, self.timers_set), timer);
    }

    fn send(&mut self, mut event: Value) {
        event["event_id"] = json!(self.ids.next("event"));
        self.output(Output::Event(event.to_string()));
    }

    fn complain(&mut self, error: &ProtocolError, event_id: Option<&str>, record: &mut SessionRecord) {
        record.violations.push(violation(error, event_id));
        self.send(error.event(event_id));
        if error.fatal {
            self.output(close_after(error));
        }
    }

    fn close(&mut self, code: u16, reason: &str) {
        self.output(Output::Close { code, reason: reason.to_owned() });
    }

    /// Nothing follows the end of the socket.
    fn output(&mut self, output: Output) {
        if self.closed {
            return;
        }
        self.closed = matches!(output, Output::Close { .. } | Output::Abort);
        self.outputs.push_back(output);
    }
}

fn close_after(error: &ProtocolError) -> Output {
    let reason = format!("invalid_request_error.{}", error.code.unwrap_or_default());
    Output::Close { code: CLOSE_AFTER_ERROR, reason }
}

fn violation(error: &ProtocolError, event_id: Option<&str>) -> Violation {
    Violation {
        kind: "invalid_request_error".to_owned(),
        code: error.code.map(str::to_owned),
        message: error.message.clone(),
        param: error.param.clone(),
        event_id: event_id.map(str::to_owned),
    }
}

#[cfg(test)]
mod tests;
