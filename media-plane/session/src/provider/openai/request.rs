//! Client events other than the append and the configuration.

use serde_json::{Value, json};

use crate::provider::Purpose;

/// Key of `response.metadata` by which a response of ours is known.
pub(super) const METADATA_KEY: &str = "voicebridge_event_id";

/// Ids of client events: errors echo them.
#[derive(Debug, Default)]
pub(super) struct Ids(u64);

impl Ids {
    pub(super) fn next(&mut self, kind: &str) -> String {
        self.0 += 1;
        format!("vb_{kind}_{}", self.0)
    }
}

/// A response to ask for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Create {
    /// What the caller's turn calls for.
    Answer,
    /// What a text given calls for.
    Reply,
    /// What the outcomes of tools call for.
    AfterTools,
    /// These words first.
    Greeting(String),
    /// These words.
    Say(String),
    /// A goodbye.
    Farewell,
}

impl Create {
    pub(super) const fn purpose(&self) -> Purpose {
        match self {
            Self::Answer | Self::Reply | Self::AfterTools => Purpose::Reply,
            Self::Greeting(_) => Purpose::Greeting,
            Self::Say(_) => Purpose::Say,
            Self::Farewell => Purpose::Farewell,
        }
    }

    /// Whether it is left to the model what is said: one such response answers all there is.
    pub(super) const fn is_plain(&self) -> bool {
        matches!(self, Self::Answer | Self::Reply | Self::AfterTools)
    }

    /// Whether a caller who interrupts does not want it any more.
    pub(super) const fn is_dropped_by_interruption(&self) -> bool {
        matches!(self, Self::Answer | Self::Reply)
    }
}

/// `response.create`. Its own instructions replace the session's, so those are repeated.
pub(super) fn response_create(event_id: &str, create: &Create, instructions: &str) -> String {
    let told = |what: String| json!({"instructions": format!("{instructions}\n\n{what}"), "tool_choice": "none"});
    let mut response = match create {
        Create::Answer | Create::Reply | Create::AfterTools => json!({}),
        Create::Greeting(words) => told(format!("The call has just begun. Say exactly this and nothing else: {words}")),
        Create::Say(words) => told(format!("Say exactly this and nothing else: {words}")),
        Create::Farewell => told(
            "The call ends now. Say goodbye in one short sentence, in the language of the conversation.".to_owned(),
        ),
    };
    response["metadata"] = json!({METADATA_KEY: event_id});
    json!({"type": "response.create", "event_id": event_id, "response": response}).to_string()
}

/// `response.cancel`; without an id of the response that is active.
pub(super) fn response_cancel(event_id: &str, response_id: Option<&str>) -> String {
    let mut cancel = json!({"type": "response.cancel", "event_id": event_id});
    if let Some(response_id) = response_id {
        cancel["response_id"] = response_id.into();
    }
    cancel.to_string()
}

/// `conversation.item.truncate`: the item ends after this much of its audio.
pub(super) fn item_truncate(event_id: &str, item_id: &str, audio_end_ms: u64) -> String {
    json!({
        "type": "conversation.item.truncate",
        "event_id": event_id,
        "item_id": item_id,
        "content_index": 0,
        "audio_end_ms": audio_end_ms,
    })
    .to_string()
}

/// `conversation.item.delete`.
pub(super) fn item_delete(event_id: &str, item_id: &str) -> String {
    json!({"type": "conversation.item.delete", "event_id": event_id, "item_id": item_id}).to_string()
}

/// A user message of text.
pub(super) fn user_text(event_id: &str, text: &str) -> String {
    let content = json!([{"type": "input_text", "text": text}]);
    item_create(event_id, &json!({"type": "message", "role": "user", "content": content}))
}

/// The outcome of a function call.
pub(super) fn tool_output(event_id: &str, call_id: &str, output: &str) -> String {
    item_create(event_id, &json!({"type": "function_call_output", "call_id": call_id, "output": output}))
}

fn item_create(event_id: &str, item: &Value) -> String {
    json!({"type": "conversation.item.create", "event_id": event_id, "item": item}).to_string()
}
