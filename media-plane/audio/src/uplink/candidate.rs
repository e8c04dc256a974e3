//! A clock that might have to be followed: packets that do not fit the present one but fit each other.
//!
//! Does not judge whether a packet fits the present clock; any that does clears the candidate.

use crate::{RTP_CLOCK_HZ, Time};

/// Packets that must agree.
pub(super) const CONSISTENT_PACKETS: u32 = 3;
/// Two packets in sequence are no further apart than this.
const MAX_STEP_UNITS: u32 = RTP_CLOCK_HZ;

/// How fast packets must come to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RequiredPace {
    /// At any pace.
    Any,
    /// Not much faster than they play: not a burst of old ones.
    Speech,
}

#[derive(Debug, Default)]
pub(super) struct Candidate {
    run: u32,
    sequence: u16,
    timestamp: u32,
    since: Time,
    units: u32,
}

impl Candidate {
    pub(super) fn clear(&mut self) {
        self.run = 0;
    }

    /// Takes a packet that does not fit. True if it is to be followed.
    pub(super) fn observe(&mut self, now: Time, sequence: u16, timestamp: u32, pace: RequiredPace) -> bool {
        let step = timestamp.wrapping_sub(self.timestamp);
        let follows = sequence == self.sequence.wrapping_add(1) && (1..=MAX_STEP_UNITS).contains(&step);
        if self.run > 0 && follows {
            self.run = self.run.saturating_add(1);
            self.units = self.units.saturating_add(step);
        } else {
            (self.run, self.units, self.since) = (1, 0, now);
        }
        (self.sequence, self.timestamp) = (sequence, timestamp);
        self.run >= CONSISTENT_PACKETS && (pace == RequiredPace::Any || self.is_paced(now))
    }

    fn is_paced(&self, now: Time) -> bool {
        let media_us = u64::from(self.units) * 1_000_000 / u64::from(RTP_CLOCK_HZ);
        now.since(self.since).as_micros() as u64 * 2 >= media_us
    }
}
