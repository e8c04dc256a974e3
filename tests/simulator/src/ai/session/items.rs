//! Events about conversation items.

use serde_json::{Value, json};

use super::Session;
use crate::ai::{
    protocol::ProtocolError,
    record::{SessionRecord, Truncation},
};

impl Session {
    pub(super) fn create_item(&mut self, event: &Value, record: &mut SessionRecord) -> Result<(), ProtocolError> {
        let item = event.get("item").filter(|item| item.is_object()).ok_or_else(|| ProtocolError::missing("item"))?;
        let id = item["id"].as_str().map_or_else(|| self.ids.next("item"), str::to_owned);
        let (previous, created) = self.conversation.create(event["previous_item_id"].as_str(), id, item)?;
        record.created_items.push(item.clone());
        self.send(json!({"type": "conversation.item.added", "previous_item_id": previous, "item": created}));
        self.send(json!({"type": "conversation.item.done", "previous_item_id": previous, "item": created}));
        Ok(())
    }

    pub(super) fn truncate_item(&mut self, event: &Value, record: &mut SessionRecord) -> Result<(), ProtocolError> {
        let item_id = text(event, "item_id")?;
        if number(event, "content_index")? != 0 {
            return Err(ProtocolError::invalid_value("content_index", "Invalid 'content_index': expected 0."));
        }
        let audio_end_ms = number(event, "audio_end_ms")?;
        let item_ms = self.conversation.truncate(item_id, audio_end_ms)?;
        record.truncates.push(Truncation { item_id: item_id.to_owned(), audio_end_ms, item_ms });
        self.send(json!({
            "type": "conversation.item.truncated", "item_id": item_id, "content_index": 0, "audio_end_ms": audio_end_ms,
        }));
        Ok(())
    }

    pub(super) fn delete_item(&mut self, event: &Value, record: &mut SessionRecord) -> Result<(), ProtocolError> {
        let item_id = text(event, "item_id")?;
        self.conversation.delete(item_id)?;
        self.cache.bust();
        record.deletes.push(item_id.to_owned());
        self.send(json!({"type": "conversation.item.deleted", "item_id": item_id}));
        Ok(())
    }

    pub(super) fn retrieve_item(&mut self, event: &Value) -> Result<(), ProtocolError> {
        let item = self.conversation.retrieve(text(event, "item_id")?)?;
        self.send(json!({"type": "conversation.item.retrieved", "item": item}));
        Ok(())
    }
}

fn text<'a>(event: &'a Value, name: &str) -> Result<&'a str, ProtocolError> {
    let value = event.get(name).ok_or_else(|| ProtocolError::missing(name))?;
    value.as_str().ok_or_else(|| ProtocolError::invalid_type(name, "a string", value))
}

fn number(event: &Value, name: &str) -> Result<u64, ProtocolError> {
    let value = event.get(name).ok_or_else(|| ProtocolError::missing(name))?;
    value.as_u64().ok_or_else(|| ProtocolError::invalid_type(name, "a non-negative integer", value))
}
