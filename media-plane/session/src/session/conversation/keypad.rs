//! Keys the caller pressed: the AI is told of them in groups, as a text of the caller's.
//!
//! A group is over with `#`, as people end numbers, when no key followed for [`Limits::keypad_ms`], or when it is full.
//!
//! Does not act on keys itself: what `1` means is for the agent's instructions.
//!
//! [`Limits::keypad_ms`]: crate::Limits::keypad_ms

use std::time::Duration;

use voicebridge_audio::Time;

/// Keys of a group; longer than any number people type.
const MAX_GROUP: usize = 64;

/// See the module.
#[derive(Debug)]
pub(crate) struct Keypad {
    /// Pressed, and not told to the AI yet.
    group: String,
    last: Time,
    patience: Duration,
}

impl Keypad {
    pub(crate) const fn new(patience_ms: u64) -> Self {
        Self { group: String::new(), last: Time::ZERO, patience: Duration::from_millis(patience_ms) }
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        (!self.group.is_empty()).then(|| self.last + self.patience)
    }

    pub(crate) fn add(&mut self, now: Time, key: char) {
        self.group.push(key);
        self.last = now;
    }

    /// The group, if it is over.
    pub(crate) fn take(&mut self, now: Time) -> Option<String> {
        let full = self.group.ends_with('#') || self.group.len() >= MAX_GROUP;
        let over = !self.group.is_empty() && (full || self.last + self.patience <= now);
        over.then(|| std::mem::take(&mut self.group))
    }
}
