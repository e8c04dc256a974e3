//! What became of items that are over. Bounded: the oldest are forgotten.

use super::{Cut, Heard};
use std::collections::VecDeque;

/// Items remembered after their end, and completed items waiting to be taken.
const MAX_REMEMBERED: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Ledger {
    over: VecDeque<Cut>,
    completed: VecDeque<Cut>,
}

impl Ledger {
    /// The item ended, played or not.
    pub(super) fn remember(&mut self, cut: Cut) {
        push_bounded(&mut self.over, cut);
    }

    /// The item was played to its end.
    pub(super) fn complete(&mut self, cut: Cut) {
        push_bounded(&mut self.completed, cut.clone());
        self.remember(cut);
    }

    pub(super) fn take_completed(&mut self) -> Vec<Cut> {
        // Asked for with every frame, and most of them complete nothing.
        if self.completed.is_empty() { Vec::new() } else { self.completed.drain(..).collect() }
    }

    pub(super) fn heard(&self, item: &str) -> Option<Heard> {
        let cut = self.over.iter().rev().find(|cut| cut.item == item)?;
        Some(Heard { heard_samples: cut.heard_samples, received_samples: cut.received_samples, finished: true })
    }
}

fn push_bounded(queue: &mut VecDeque<Cut>, cut: Cut) {
    if queue.len() == MAX_REMEMBERED {
        queue.pop_front();
    }
    queue.push_back(cut);
}
