//! The conversation: items in order, with what is known of their audio.

use std::sync::Arc;

use serde_json::{Value, json};

use super::usage::{Tokens, assistant_audio_tokens, text_tokens, user_audio_tokens};
use crate::{
    ai::protocol::{ProtocolError, encode_audio},
    speech::SAMPLES_PER_MS,
};

/// Longest id a client may give an item.
const MAX_ID_CHARS: usize = 32;

/// One item.
pub(super) struct Entry {
    pub(super) id: String,
    /// As events show it.
    pub(super) item: Value,
    /// Audio of the assistant sent so far, samples; `None` when it has none.
    pub(super) said_samples: Option<usize>,
    /// Audio of the user.
    heard: Arc<Vec<i16>>,
}

impl Entry {
    pub(super) fn said_ms(&self) -> Option<u64> {
        self.said_samples.map(|samples| (samples / SAMPLES_PER_MS) as u64)
    }

    fn tokens(&self) -> Tokens {
        let content = self.item["content"].as_array();
        let texts =
            content.into_iter().flatten().filter_map(|part| part["text"].as_str().or(part["transcript"].as_str()));
        let arguments = self.item["arguments"].as_str().or(self.item["output"].as_str()).unwrap_or_default();
        let heard_ms = (self.heard.len() / SAMPLES_PER_MS) as u64;
        Tokens {
            text: texts.map(text_tokens).sum::<u64>() + text_tokens(arguments),
            audio: user_audio_tokens(heard_ms) + assistant_audio_tokens(self.said_ms().unwrap_or(0)),
        }
    }
}

/// Items in order.
#[derive(Default)]
pub(super) struct Conversation {
    entries: Vec<Entry>,
}

impl Conversation {
    pub(super) fn last_id(&self) -> Option<String> {
        self.entries.last().map(|entry| entry.id.clone())
    }

    /// The id before an item.
    pub(super) fn previous_of(&self, id: &str) -> Option<String> {
        let place = self.entries.iter().position(|entry| entry.id == id)?;
        self.entries.get(place.checked_sub(1)?).map(|entry| entry.id.clone())
    }

    pub(super) fn tokens(&self) -> Tokens {
        self.entries.iter().map(Entry::tokens).fold(Tokens::default(), Tokens::plus)
    }

    pub(super) fn get_mut(&mut self, id: &str) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| entry.id == id)
    }

    /// Appends what the caller said; the transcript comes later.
    pub(super) fn push_user_audio(&mut self, id: &str, heard: Arc<Vec<i16>>) -> Value {
        let item = json!({
            "id": id, "object": "realtime.item", "type": "message", "status": "completed", "role": "user",
            "content": [{"type": "input_audio", "transcript": null}],
        });
        self.entries.push(Entry { id: id.to_owned(), item: item.clone(), said_samples: None, heard });
        item
    }

    /// Appends an item the model began.
    pub(super) fn push_model(&mut self, id: &str, item: Value, has_audio: bool) {
        let said_samples = has_audio.then_some(0);
        self.entries.push(Entry { id: id.to_owned(), item, said_samples, heard: Arc::default() });
    }

    pub(super) fn set_user_transcript(&mut self, id: &str, transcript: &str) {
        if let Some(entry) = self.get_mut(id) {
            entry.item["content"][0]["transcript"] = json!(transcript);
        }
    }

    /// Inserts what a client made after checking it. Returns the id before it and the item as events show it.
    pub(super) fn create(
        &mut self,
        previous: Option<&str>,
        id: String,
        item: &Value,
    ) -> Result<(Option<String>, Value), ProtocolError> {
        self.check_created(&id, item)?;
        let place = match previous {
            None => self.entries.len(),
            Some("root") => 0,
            Some(previous) => {
                let found = self.entries.iter().position(|entry| entry.id == previous);
                1 + found.ok_or_else(|| {
                    let message = format!("Error adding item: previous item with id '{previous}' does not exist.");
                    ProtocolError::new("item_create_invalid_previous_item_id", message).at("previous_item_id")
                })?
            }
        };
        let mut item = item.clone();
        item["id"] = json!(id);
        item["object"] = json!("realtime.item");
        item["status"] = json!("completed");
        self.entries.insert(place, Entry { id, item: item.clone(), said_samples: None, heard: Arc::default() });
        Ok((place.checked_sub(1).map(|before| self.entries[before].id.clone()), item))
    }

    fn check_created(&self, id: &str, item: &Value) -> Result<(), ProtocolError> {
        if id.chars().count() > MAX_ID_CHARS {
            let message =
                format!("Invalid 'item.id': string too long. Expected a string with maximum length {MAX_ID_CHARS}.");
            return Err(ProtocolError::new("string_above_max_length", message).at("item.id"));
        }
        if self.entries.iter().any(|entry| entry.id == id) {
            let message = format!("Error adding item: an item with id '{id}' already exists.");
            return Err(ProtocolError::new("item_create_duplicate_item_id", message).at("item.id"));
        }
        match item["type"].as_str() {
            Some("message") => check_message(item),
            Some("function_call") => required(item, &["call_id", "name", "arguments"]),
            Some("function_call_output") => {
                required(item, &["call_id", "output"])?;
                let calls =
                    |entry: &Entry| entry.item["type"] == "function_call" && entry.item["call_id"] == item["call_id"];
                if self.entries.iter().any(calls) {
                    return Ok(());
                }
                let message = format!("Tool call ID {} not found in conversation.", item["call_id"]);
                Err(ProtocolError::new("invalid_tool_call_id", message).at("item.call_id"))
            }
            Some(other) => Err(ProtocolError::invalid_value(
                "item.type",
                format!(
                    "Invalid value: '{other}'. Supported values are: 'message', 'function_call' and \
                     'function_call_output'."
                ),
            )),
            None => Err(ProtocolError::missing("item.type")),
        }
    }

    pub(super) fn delete(&mut self, id: &str) -> Result<(), ProtocolError> {
        let found = self.entries.iter().position(|entry| entry.id == id);
        let place = found.ok_or_else(|| unknown_item("item_delete_invalid_item_id", "deleting", id))?;
        self.entries.remove(place);
        Ok(())
    }

    /// The item with the audio of the user.
    pub(super) fn retrieve(&self, id: &str) -> Result<Value, ProtocolError> {
        let entry = self.entries.iter().find(|entry| entry.id == id);
        let entry = entry.ok_or_else(|| unknown_item("item_retrieve_invalid_item_id", "retrieving", id))?;
        let mut item = entry.item.clone();
        if !entry.heard.is_empty() {
            item["content"][0]["audio"] = json!(encode_audio(&entry.heard));
        }
        Ok(item)
    }

    /// Cuts an item of the assistant to what was heard. Returns how much of it had been sent, milliseconds.
    pub(super) fn truncate(&mut self, id: &str, audio_end_ms: u64) -> Result<u64, ProtocolError> {
        let entry = self.get_mut(id).ok_or_else(|| unknown_item("item_truncate_invalid_item_id", "truncating", id))?;
        let said_ms = entry.said_ms().filter(|_| audio_end_ms > 0).ok_or_else(|| {
            ProtocolError::new("unsupported_content_type", "Only model output audio messages can be truncated.")
        })?;
        if audio_end_ms > said_ms {
            let message = format!("Audio content of {said_ms}ms is already shorter than {audio_end_ms}ms");
            return Err(ProtocolError::without_code(message));
        }
        entry.said_samples = Some(audio_end_ms as usize * SAMPLES_PER_MS);
        if let Some(content) = entry.item["content"].as_array_mut() {
            content.iter_mut().for_each(|part| part["transcript"] = Value::Null);
        }
        Ok(said_ms)
    }
}

fn unknown_item(code: &'static str, doing: &str, id: &str) -> ProtocolError {
    ProtocolError::new(code, format!("Error {doing} item: the item with id '{id}' does not exist.")).at("item_id")
}

fn required(item: &Value, members: &[&str]) -> Result<(), ProtocolError> {
    let missing = members.iter().find(|member| !item[**member].is_string());
    missing.map_or(Ok(()), |member| Err(ProtocolError::missing(&format!("item.{member}"))))
}

fn check_message(item: &Value) -> Result<(), ProtocolError> {
    let allowed: &[&str] = match item["role"].as_str() {
        Some("system") => &["input_text"],
        Some("user") => &["input_text", "input_audio", "input_image"],
        Some("assistant") => &["output_text"],
        Some(other) => {
            return Err(ProtocolError::invalid_value(
                "item.role",
                format!("Invalid value: '{other}'. Supported values are: 'system', 'user' and 'assistant'."),
            ));
        }
        None => return Err(ProtocolError::missing("item.role")),
    };
    let content = item["content"].as_array().ok_or_else(|| ProtocolError::missing("item.content"))?;
    for (index, part) in content.iter().enumerate() {
        let path = format!("item.content[{index}].type");
        let kind = part["type"].as_str().ok_or_else(|| ProtocolError::missing(&path))?;
        if !allowed.contains(&kind) {
            let supported: Vec<String> = allowed.iter().map(|kind| format!("'{kind}'")).collect();
            let message = format!("Invalid value: '{kind}'. Supported values are: {}.", supported.join(", "));
            return Err(ProtocolError::invalid_value(&path, message));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_audio(samples: usize) -> Conversation {
        let mut conversation = Conversation::default();
        let item =
            json!({"type": "message", "role": "assistant", "content": [{"type": "output_audio", "transcript": "Hi"}]});
        conversation.push_model("item_a", item, true);
        conversation.get_mut("item_a").expect("pushed").said_samples = Some(samples);
        conversation.push_user_audio("item_u", Arc::new(vec![0; 24_000]));
        conversation
    }

    #[track_caller]
    fn check_truncate(id: &str, audio_end_ms: u64, expected: Result<u64, (Option<&str>, &str)>) {
        let outcome = with_audio(48_000).truncate(id, audio_end_ms);
        let outcome = outcome.as_ref().map(|ms| *ms).map_err(|error| (error.code, error.message.as_str()));
        assert_eq!(outcome, expected);
    }

    #[test]
    fn truncation_refuses_what_the_real_one_refuses() {
        check_truncate("item_a", 1_500, Ok(2_000));
        check_truncate("item_a", 2_000, Ok(2_000));
        check_truncate("item_a", 2_001, Err((None, "Audio content of 2000ms is already shorter than 2001ms")));
        let not_audio = (Some("unsupported_content_type"), "Only model output audio messages can be truncated.");
        check_truncate("item_a", 0, Err(not_audio));
        check_truncate("item_u", 500, Err(not_audio));
        let unknown = "Error truncating item: the item with id 'item_x' does not exist.";
        check_truncate("item_x", 500, Err((Some("item_truncate_invalid_item_id"), unknown)));
    }

    #[test]
    fn a_truncated_item_is_as_short_as_that_and_has_no_words() {
        let mut conversation = with_audio(48_000);
        conversation.truncate("item_a", 1_500).expect("granted");
        assert!(conversation.truncate("item_a", 1_600).is_err());
        assert_eq!(conversation.retrieve("item_a").expect("known")["content"][0]["transcript"], Value::Null);
        assert_eq!(conversation.tokens(), Tokens { text: 0, audio: 30 + 10 });
    }

    #[test]
    fn items_are_inserted_where_the_client_says() {
        let mut conversation = with_audio(0);
        let text = json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]});
        let mut create =
            |previous, id: &str| conversation.create(previous, id.to_owned(), &text).map(|(before, _)| before);
        assert_eq!(create(None, "c1"), Ok(Some("item_u".to_owned())));
        assert_eq!(create(Some("root"), "c2"), Ok(None));
        assert_eq!(create(Some("item_a"), "c3"), Ok(Some("item_a".to_owned())));
        assert_eq!(
            create(Some("nowhere"), "c4").expect_err("refused").code,
            Some("item_create_invalid_previous_item_id")
        );
        assert_eq!(create(None, "c1").expect_err("refused").code, Some("item_create_duplicate_item_id"));
    }

    #[test]
    fn items_of_impossible_shape_are_refused() {
        let refused =
            |item: Value| Conversation::default().create(None, "c".to_owned(), &item).expect_err("refused").code;
        let part = |role: &str, kind: &str| json!({"type": "message", "role": role, "content": [{"type": kind}]});
        assert_eq!(refused(part("assistant", "output_audio")), Some("invalid_value"));
        assert_eq!(refused(part("system", "input_audio")), Some("invalid_value"));
        assert_eq!(refused(part("robot", "input_text")), Some("invalid_value"));
        assert_eq!(
            refused(json!({"type": "function_call_output", "call_id": "x", "output": "1"})),
            Some("invalid_tool_call_id")
        );
        assert_eq!(refused(json!({"type": "function_call_output", "output": "1"})), Some("missing_required_parameter"));
        assert_eq!(refused(json!({"role": "user"})), Some("missing_required_parameter"));
    }

    #[test]
    fn a_users_item_is_retrieved_with_its_audio() {
        let conversation = with_audio(0);
        assert_eq!(
            conversation.retrieve("item_u").expect("known")["content"][0]["audio"].as_str().map(str::len),
            Some(64_000)
        );
        assert_eq!(conversation.retrieve("item_x").expect_err("refused").code, Some("item_retrieve_invalid_item_id"));
    }
}
