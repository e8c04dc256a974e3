//! Digits to send: the payloads of their events, slot by slot.
//!
//! A digit takes [`DIGIT_MS`], reported every slot under the timestamp of its first one; its end is reported three times
//! (RFC 4733, section 2.5.1.4), then there is a pause. Audio of those slots is not sent: the far side plays the tone.
//!
//! What is reported follows the timestamps, not the count of slots: a digit whose end fell into slots that were never sent
//! is ended by the next one, with the length it was to have. Its end is reported three times all the same, and the pause
//! counts from the first of those.

use super::{Digit, EVENT_CLOCK_HZ, UNITS_PER_MS, payload::EventReport};
use crate::FRAME_MS;
use std::collections::VecDeque;

/// Length of a digit: what telephone exchanges need at least is 40 ms.
pub const DIGIT_MS: u64 = 100;
/// From the end of a digit to the next, the repeated end reports included.
pub const PAUSE_MS: u64 = 100;
/// Digits that may wait at a time.
pub const MAX_DIGITS: usize = 64;

/// Reports on the end.
const END_REPORTS: u32 = 3;
const _: () = assert!(END_REPORTS as u64 * FRAME_MS <= PAUSE_MS);

/// Why digits were not taken; none of them was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeysRefused {
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
pub struct KeyPacket {
    /// The event's payload.
    pub payload: [u8; 4],
    /// RTP timestamp: that of the slot the digit began in.
    pub timestamp: u32,
    /// Set on the first report of a digit (RFC 4733, section 2.3.1).
    pub marker: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Sender {
    rtp_clock_hz: u32,
    waiting: VecDeque<Digit>,
    current: Option<SendingKey>,
}

#[derive(Clone, Copy, Debug)]
struct SendingKey {
    digit: Digit,
    timestamp: u32,
    reported: bool,
    /// Timestamp of the slot its end was first reported in.
    ended: Option<u32>,
    end_reports: u32,
}

impl Sender {
    /// A sender for events whose timestamps count at `rtp_clock_hz`, that of the call's audio.
    #[must_use]
    pub const fn new(rtp_clock_hz: u32) -> Self {
        Self { rtp_clock_hz, waiting: VecDeque::new(), current: None }
    }

    /// Takes digits to send after those that wait.
    ///
    /// # Errors
    /// [`KeysRefused`]; none is taken then.
    pub fn push(&mut self, digits: &str) -> Result<(), KeysRefused> {
        if let Some(other) = digits.chars().find(|&key| Digit::from_char(key).is_none()) {
            return Err(KeysRefused::NotAKey(other));
        }
        let (waiting, offered) = (self.waiting.len(), digits.chars().count());
        if waiting + offered > MAX_DIGITS {
            return Err(KeysRefused::Full { waiting, offered });
        }
        self.waiting.extend(digits.chars().filter_map(Digit::from_char));
        Ok(())
    }

    /// Called once a slot with the slot's own timestamp. `None`: send audio.
    pub fn next(&mut self, timestamp: u32) -> Option<KeyPacket> {
        if self.current.is_none_or(|current| self.is_over(&current, timestamp)) {
            let begin = |digit| SendingKey { digit, timestamp, reported: false, ended: None, end_reports: 0 };
            self.current = self.waiting.pop_front().map(begin);
        }
        let per_unit = self.rtp_clock_hz / EVENT_CLOCK_HZ;
        let current = self.current.as_mut()?;
        if current.end_reports == END_REPORTS {
            return None;
        }
        let elapsed = timestamp.wrapping_sub(current.timestamp) / per_unit + units(FRAME_MS);
        let end = elapsed >= units(DIGIT_MS);
        if end {
            current.ended.get_or_insert(timestamp);
            current.end_reports += 1;
        }
        let report = EventReport { digit: current.digit, end, duration: elapsed.min(units(DIGIT_MS)) as u16 };
        let marker = !std::mem::replace(&mut current.reported, true);
        Some(KeyPacket { payload: report.to_payload(), timestamp: current.timestamp, marker })
    }

    /// Whether nothing waits and no digit is under way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.current.is_none()
    }

    /// Its end was reported as often as needed, and the pause after it is over.
    fn is_over(&self, current: &SendingKey, timestamp: u32) -> bool {
        let pause = (FRAME_MS + PAUSE_MS) as u32 * (self.rtp_clock_hz / 1_000);
        let paused = |ended: u32| timestamp.wrapping_sub(ended) >= pause;
        current.end_reports == END_REPORTS && current.ended.is_some_and(paused)
    }

    /// Drops what waits; a digit under way is ended properly.
    pub fn clear(&mut self) {
        self.waiting.clear();
    }
}

/// At the event's clock.
const fn units(ms: u64) -> u32 {
    ms as u32 * UNITS_PER_MS
}
