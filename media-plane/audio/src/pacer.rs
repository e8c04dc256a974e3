//! The clock of the sending side: one slot every 20 ms, never two for one slot.
//!
//! A driver that comes late gets the slots it missed at once, but no more than [`MAX_CATCH_UP`], so that a stalled machine
//! does not burst; slots beyond that are skipped and reported. Given and skipped together are the time that passed: a
//! sender that counts both keeps its timestamps on the wall clock. Does not know what is sent.

use crate::{FRAME_MS, Time};
use std::time::Duration;

/// Most slots given for one moment, the due one included.
pub const MAX_CATCH_UP: u64 = 5;

const SLOT: Duration = Duration::from_millis(FRAME_MS);

/// A 20 ms clock, running from its creation on.
#[derive(Clone, Copy, Debug)]
pub struct Pacer {
    next: Time,
}

/// What is due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PacerDue {
    /// Slots to send now.
    pub slots: u64,
    /// Slots given up before them: time passed, but nothing is to be sent for it.
    pub skipped: u64,
}

impl Pacer {
    /// The first slot is due at `first`.
    #[must_use]
    pub const fn new(first: Time) -> Self {
        Self { next: first }
    }

    /// When the next slot is due.
    #[must_use]
    pub const fn deadline(&self) -> Time {
        self.next
    }

    /// Takes the slots due up to and including `now`.
    pub fn take(&mut self, now: Time) -> PacerDue {
        if now < self.next {
            return PacerDue::default();
        }
        let due = (now - self.next).as_micros() as u64 / SLOT.as_micros() as u64 + 1;
        self.next += SLOT * due as u32;
        let slots = due.min(MAX_CATCH_UP);
        PacerDue { slots, skipped: due - slots }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_follow_the_clock() {
        let mut pacer = Pacer::new(Time::from_millis(100));
        let mut check = |now_ms: u64, slots: u64, skipped: u64| {
            assert_eq!(pacer.take(Time::from_millis(now_ms)), PacerDue { slots, skipped }, "at {now_ms} ms");
        };
        check(99, 0, 0);
        check(100, 1, 0);
        check(100, 0, 0);
        check(119, 0, 0);
        check(124, 1, 0);
        check(140, 1, 0);
        check(200, 3, 0);
        check(1_000, 5, 35);
        check(1_000, 0, 0);
        check(1_020, 1, 0);
    }

    #[test]
    fn a_late_driver_loses_no_phase() {
        let mut pacer = Pacer::new(Time::ZERO);
        for slot in 0..500 {
            let late_by = slot * 7 % 19;
            assert_eq!(pacer.take(Time::from_millis(slot * 20 + late_by)).slots, 1);
        }
        assert_eq!(pacer.deadline(), Time::from_millis(10_000));
    }
}
