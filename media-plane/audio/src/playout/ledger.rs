//! What became of items that are over. Bounded: the oldest are forgotten.

use super::{EndedItem, Heard};
use std::collections::VecDeque;

/// Items remembered after their end, and completed items waiting to be taken.
const MAX_REMEMBERED: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Ledger {
    ended: VecDeque<EndedItem>,
    completed: VecDeque<EndedItem>,
}

impl Ledger {
    /// The item ended, played or not.
    pub(super) fn remember(&mut self, item: EndedItem) {
        push_bounded(&mut self.ended, item);
    }

    /// The item was played to its end.
    pub(super) fn complete(&mut self, item: EndedItem) {
        push_bounded(&mut self.completed, item.clone());
        self.remember(item);
    }

    pub(super) fn take_completed(&mut self) -> Vec<EndedItem> {
        // Asked for with every frame, and most of them complete nothing.
        if self.completed.is_empty() { Vec::new() } else { self.completed.drain(..).collect() }
    }

    pub(super) fn heard(&self, item: &str) -> Option<Heard> {
        let ended = self.ended.iter().rev().find(|ended| ended.item == item)?;
        Some(Heard { heard_samples: ended.heard_samples, received_samples: ended.received_samples, finished: true })
    }
}

fn push_bounded(queue: &mut VecDeque<EndedItem>, item: EndedItem) {
    if queue.len() == MAX_REMEMBERED {
        queue.pop_front();
    }
    queue.push_back(item);
}
