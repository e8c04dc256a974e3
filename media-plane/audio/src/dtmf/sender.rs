//! Digits to send: the payloads of their events, slot by slot.
//!
//! A digit takes [`DIGIT_MS`], reported every slot under the timestamp of its first one; its end is reported three times
//! (RFC 4733, section 2.5.1.4), then there is a pause. Audio of those slots is not sent: the far side plays the tone.

use super::{Digit, UNITS_PER_MS, payload::Report};
use crate::FRAME_MS;
use std::collections::VecDeque;

/// Length of a digit: what telephone exchanges need at least is 40 ms.
pub const DIGIT_MS: u64 = 100;
/// From the end of a digit to the next, the repeated end reports included.
pub const PAUSE_MS: u64 = 100;
/// Digits that may wait at a time.
pub const MAX_DIGITS: usize = 64;

const DIGIT_SLOTS: u64 = DIGIT_MS / FRAME_MS;
/// Reports on the end.
const END_REPORTS: u64 = 3;
const SLOTS: u64 = DIGIT_SLOTS + PAUSE_MS / FRAME_MS;
const _: () = assert!(DIGIT_SLOTS + END_REPORTS - 1 < SLOTS);

/// Why digits were not taken; none of them was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A character that is no key.
    #[error("{0:?} is no key")]
    NotAKey(char),
    /// More than [`MAX_DIGITS`] would wait.
    #[error("{waiting} digits wait already; {offered} more exceed {MAX_DIGITS}")]
    Full {
        /// Waiting already.
        waiting: usize,
        /// Offered now.
        offered: usize,
    },
}

/// What to send in a slot instead of audio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// The event's payload.
    pub payload: [u8; 4],
    /// RTP timestamp: that of the slot the digit began in.
    pub timestamp: u32,
    /// Set on the first report of a digit (RFC 4733, section 2.3.1).
    pub marker: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Sender {
    waiting: VecDeque<Digit>,
    current: Option<Current>,
}

#[derive(Clone, Copy, Debug)]
struct Current {
    digit: Digit,
    timestamp: u32,
    /// Slots since it began.
    slot: u64,
}

impl Sender {
    /// Takes digits to send after those that wait.
    ///
    /// # Errors
    /// [`Refused`]; none is taken then.
    pub fn push(&mut self, digits: &str) -> Result<(), Refused> {
        if let Some(other) = digits.chars().find(|&key| Digit::from_char(key).is_none()) {
            return Err(Refused::NotAKey(other));
        }
        let (waiting, offered) = (self.waiting.len(), digits.chars().count());
        if waiting + offered > MAX_DIGITS {
            return Err(Refused::Full { waiting, offered });
        }
        self.waiting.extend(digits.chars().filter_map(Digit::from_char));
        Ok(())
    }

    /// Called once a slot with the slot's own timestamp. `None`: send audio.
    pub fn next(&mut self, timestamp: u32) -> Option<Outgoing> {
        if self.current.is_none_or(|current| current.slot == SLOTS) {
            self.current = self.waiting.pop_front().map(|digit| Current { digit, timestamp, slot: 0 });
        }
        let current = self.current.as_mut()?;
        let slot = current.slot;
        current.slot += 1;
        if slot >= DIGIT_SLOTS + END_REPORTS - 1 {
            return None;
        }
        let reported = (slot + 1).min(DIGIT_SLOTS);
        let report = Report {
            digit: current.digit,
            end: slot + 1 >= DIGIT_SLOTS,
            duration: (reported * FRAME_MS) as u16 * UNITS_PER_MS as u16,
        };
        Some(Outgoing { payload: report.to_payload(), timestamp: current.timestamp, marker: slot == 0 })
    }

    /// Whether nothing waits and no digit is under way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.current.is_none_or(|current| current.slot == SLOTS)
    }

    /// Drops what waits; a digit under way is ended properly.
    pub fn clear(&mut self) {
        self.waiting.clear();
    }
}
