//! What an interrupted response still sends must not be heard: audio of it may be on its way for a round trip after we
//! cancelled, and leak into the next reply.

use std::collections::VecDeque;

/// Ids remembered of each kind. Late messages come within a round trip; the oldest ids are long past.
const REMEMBERED: usize = 64;

/// Responses and items that are over for the caller.
#[derive(Debug, Default)]
pub(super) struct StaleFilter {
    responses: VecDeque<String>,
    items: VecDeque<String>,
}

impl StaleFilter {
    pub(super) fn response(&mut self, id: &str) {
        remember(&mut self.responses, id);
    }

    pub(super) fn item(&mut self, id: &str) {
        remember(&mut self.items, id);
    }

    pub(super) fn blocks(&self, response_id: &str, item_id: &str) -> bool {
        self.blocks_response(response_id) || self.items.iter().any(|id| id == item_id)
    }

    pub(super) fn blocks_response(&self, response_id: &str) -> bool {
        self.responses.iter().any(|id| id == response_id)
    }
}

fn remember(ids: &mut VecDeque<String>, id: &str) {
    if ids.iter().any(|known| known == id) {
        return;
    }
    if ids.len() == REMEMBERED {
        ids.pop_front();
    }
    ids.push_back(id.to_owned());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_by_response_or_item_and_forgets_in_the_end() {
        let mut stale_filter = StaleFilter::default();
        stale_filter.response("R1");
        stale_filter.item("A2");
        assert!(stale_filter.blocks("R1", "A1"));
        assert!(stale_filter.blocks("R2", "A2"));
        assert!(!stale_filter.blocks("R2", "A3"));
        for index in 0..REMEMBERED {
            stale_filter.response(&format!("other{index}"));
        }
        assert!(!stale_filter.blocks_response("R1"));
        assert_eq!(stale_filter.responses.len(), REMEMBERED);
    }
}
