//! Sequence numbers: extended beyond 16 bits, told apart into new, old, duplicate and foreign (RFC 3550, appendix A.1).
//!
//! Does not hold packets and knows nothing of timestamps.

use crate::Time;

/// A jump ahead of more is another stream.
const MAX_DROPOUT: i16 = 3_000;
/// A jump back of more is another stream. RFC 3550 suggests 100, which packets of 10 ms outrun when the network holds them
/// back for a second and then delivers them at once.
const MAX_MISORDER: i16 = 250;
/// The highest number is less than this ahead of the one whose turn it is; the caller gives up longer gaps at once.
pub(super) const MAX_GAP: u64 = 64;
/// Sequence numbers remembered below the highest: all that can be told from foreign ones and not be new.
const HISTORY: usize = 320;
const _: () = assert!(HISTORY > MAX_MISORDER as usize + MAX_GAP as usize);
/// Extended numbers begin here, so that there is room below for packets older than the first.
const FIRST_CYCLE: u64 = 1 << 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SequencePlace {
    /// Its turn is now or still to come.
    New(u64),
    /// Its turn is over without it.
    Old(u64),
    /// It came before.
    Duplicate,
    /// Too far from the stream to belong to it.
    Foreign,
}

#[derive(Debug)]
pub(super) struct SequenceOrder {
    /// Whose turn it is.
    next: u64,
    /// The first one; those before it were never expected.
    base: u64,
    /// The highest that came.
    highest: u64,
    /// When those up to the highest came, by number modulo its length.
    came: [Option<Time>; HISTORY],
}

impl Default for SequenceOrder {
    fn default() -> Self {
        Self { next: FIRST_CYCLE, base: FIRST_CYCLE, highest: FIRST_CYCLE - 1, came: [None; HISTORY] }
    }
}

impl SequenceOrder {
    /// A stream that begins with `sequence`. Returns its extended number, whose turn it is.
    pub(super) fn restart(&mut self, sequence: u16) -> u64 {
        let first = FIRST_CYCLE + u64::from(sequence);
        *self = Self { next: first, base: first, highest: first - 1, came: [None; HISTORY] };
        first
    }

    pub(super) const fn next(&self) -> u64 {
        self.next
    }

    pub(super) fn place(&self, sequence: u16) -> SequencePlace {
        let distance = sequence.wrapping_sub(self.next as u16) as i16;
        if !(-MAX_MISORDER..MAX_DROPOUT).contains(&distance) {
            return SequencePlace::Foreign;
        }
        let extended = self.next.wrapping_add_signed(i64::from(distance));
        if self.has_come(extended) {
            SequencePlace::Duplicate
        } else if distance < 0 {
            SequencePlace::Old(extended)
        } else {
            SequencePlace::New(extended)
        }
    }

    /// Notes that `extended` came. True if its turn had passed, so that it was taken for lost until now.
    pub(super) fn mark(&mut self, extended: u64, now: Time) -> bool {
        if extended > self.highest {
            for number in (self.highest + 1..=extended).rev().take(HISTORY) {
                self.came[slot(number)] = None;
            }
            self.highest = extended;
        }
        if self.highest - extended < HISTORY as u64 {
            self.came[slot(extended)] = Some(now);
        }
        (self.base..self.next).contains(&extended)
    }

    pub(super) const fn is_highest(&self, extended: u64) -> bool {
        extended == self.highest
    }

    /// When the first packet came that overtook `extended`; `None` if none did.
    pub(super) fn overtaken(&self, extended: u64) -> Option<Time> {
        let oldest = (self.highest + 1).saturating_sub(HISTORY as u64);
        ((extended + 1).max(oldest)..=self.highest).filter_map(|number| self.came[slot(number)]).min()
    }

    pub(super) fn advance(&mut self) {
        self.next += 1;
    }

    /// Passes over those before `extended`. Returns how many.
    pub(super) fn skip_to(&mut self, extended: u64) -> u64 {
        let skipped = extended.saturating_sub(self.next);
        self.next += skipped;
        skipped
    }

    fn has_come(&self, extended: u64) -> bool {
        extended <= self.highest && self.highest - extended < HISTORY as u64 && self.came[slot(extended)].is_some()
    }
}

const fn slot(extended: u64) -> usize {
    extended as usize % HISTORY
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        let check = |first: u16, came: &[u16], sequence: u16, expect: fn(SequencePlace) -> bool| {
            let mut order = SequenceOrder::default();
            order.restart(first);
            for &number in came {
                let SequencePlace::New(extended) = order.place(number) else { panic!("{number} is not new") };
                order.mark(extended, Time::ZERO);
                order.skip_to(extended);
                order.advance();
            }
            let place = order.place(sequence);
            assert!(expect(place), "{sequence} after {came:?} is {place:?}");
        };
        check(7, &[], 7, |place| place == SequencePlace::New(FIRST_CYCLE + 7));
        check(7, &[7], 7, |place| place == SequencePlace::Duplicate);
        check(7, &[7, 9], 8, |place| place == SequencePlace::Old(FIRST_CYCLE + 8));
        check(7, &[7], 6, |place| place == SequencePlace::Old(FIRST_CYCLE + 6));
        check(7, &[7], 8 + 2_999, |place| matches!(place, SequencePlace::New(_)));
        check(7, &[7], 8 + 3_000, |place| place == SequencePlace::Foreign);
        check(500, &[500], 251, |place| matches!(place, SequencePlace::Old(_)));
        check(500, &[500], 250, |place| place == SequencePlace::Foreign);
        check(65_535, &[65_535], 0, |place| place == SequencePlace::New(2 * FIRST_CYCLE));
        check(65_535, &[65_535, 0, 1], 65_535, |place| place == SequencePlace::Duplicate);
        check(0, &[0, 1, 2], 65_535, |place| place == SequencePlace::Old(FIRST_CYCLE - 1));
        check(0, &[0, 2_000], 1_950, |place| matches!(place, SequencePlace::Old(_)));
    }

    #[test]
    fn remembers_who_overtook() {
        let mut order = SequenceOrder::default();
        let first = order.restart(65_534);
        for (number, at) in [(0, 0), (2, 20), (3, 40)] {
            order.mark(first + number, Time::from_millis(at));
        }
        assert_eq!(order.overtaken(first + 1), Some(Time::from_millis(20)));
        assert_eq!(order.overtaken(first + 4), None);
        assert!(!order.mark(first + 1, Time::from_millis(50)), "its turn has not passed");
        order.skip_to(first + 6);
        assert!(order.mark(first + 5, Time::from_millis(60)));
    }
}
