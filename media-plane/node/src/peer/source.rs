//! The caller's voice as one stream, even when its SSRC changes.
//!
//! A relay that restarts its side of a call, or a handset that changes networks, may go on under another SSRC with other
//! sequence numbers and timestamps (RFC 3550, section 8.2). The first source is taken; another one takes over once the
//! one before has been quiet, and its numbers are continued where that ended, so that whoever listens hears a gap and no
//! new world. Two sources at once stay apart: the one that speaks is kept, and packets of the other are not taken.
//!
//! Every packet was authenticated before, so a stranger cannot take the stream over.

use std::time::{Duration, Instant};

/// A source silent for this long may be replaced: three packets of 20 ms, which is also what the listener conceals well.
pub(super) const QUIET: Duration = Duration::from_millis(60);

/// Which source is listened to.
#[derive(Debug)]
pub(super) struct Source {
    clock_hz: u32,
    current: Option<CurrentSource>,
}

#[derive(Clone, Copy, Debug)]
struct CurrentSource {
    ssrc: u32,
    /// Added to its numbers.
    sequence_shift: u16,
    timestamp_shift: u32,
    /// Highest given out, and when.
    sequence: u16,
    timestamp: u32,
    at: Instant,
}

/// What to do with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// Take it under these numbers.
    Take { sequence: u16, timestamp: u32 },
    /// Take it; its source has just replaced the one before.
    TakeOver { sequence: u16, timestamp: u32 },
    /// Another source is being listened to.
    Discard,
}

impl Source {
    /// A source whose timestamps count at `clock_hz`.
    pub(super) const fn new(clock_hz: u32) -> Self {
        Self { clock_hz, current: None }
    }

    /// A packet came. Only one that is `media`, of a payload type that was agreed to and not empty, may begin or take over
    /// the stream.
    pub(super) fn admit(&mut self, now: Instant, ssrc: u32, sequence: u16, timestamp: u32, media: bool) -> Admission {
        match &mut self.current {
            Some(current) if current.ssrc == ssrc => {
                let sequence = sequence.wrapping_add(current.sequence_shift);
                let timestamp = timestamp.wrapping_add(current.timestamp_shift);
                current.at = now;
                if sequence.wrapping_sub(current.sequence) < 1 << 15 {
                    (current.sequence, current.timestamp) = (sequence, timestamp);
                }
                Admission::Take { sequence, timestamp }
            }
            _ if !media => Admission::Discard,
            None => {
                self.current =
                    Some(CurrentSource { ssrc, sequence_shift: 0, timestamp_shift: 0, sequence, timestamp, at: now });
                Admission::Take { sequence, timestamp }
            }
            Some(before) => {
                let quiet = now.saturating_duration_since(before.at);
                if quiet < QUIET {
                    return Admission::Discard;
                }
                let missed = quiet.as_micros() * u128::from(self.clock_hz) / 1_000_000;
                let out = (before.sequence.wrapping_add(1), before.timestamp.wrapping_add(missed as u32));
                self.current = Some(CurrentSource {
                    ssrc,
                    sequence_shift: out.0.wrapping_sub(sequence),
                    timestamp_shift: out.1.wrapping_sub(timestamp),
                    sequence: out.0,
                    timestamp: out.1,
                    at: now,
                });
                Admission::TakeOver { sequence: out.0, timestamp: out.1 }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn the_first_source_keeps_its_numbers_and_is_kept_while_it_speaks() {
        let start = Instant::now();
        let mut source = Source::new(48_000);
        assert_eq!(source.admit(start, 9, 500, 7, false), Admission::Discard, "of no payload type we know");
        for step in 0..10_u32 {
            let now = start + ms(20) * step;
            let (sequence, timestamp) = (65_530_u16.wrapping_add(step as u16), step * 960);
            assert_eq!(source.admit(now, 1, sequence, timestamp, true), Admission::Take { sequence, timestamp });
            assert_eq!(source.admit(now + ms(10), 2, 1, 1, true), Admission::Discard);
        }
    }

    #[test]
    fn another_source_goes_on_where_the_quiet_one_ended() {
        let start = Instant::now();
        let mut source = Source::new(48_000);
        source.admit(start, 1, 65_535, 48_000, true);
        // A late packet is not the end of the stream.
        source.admit(start, 1, 65_530, 43_200, true);
        assert_eq!(source.admit(start + QUIET - ms(1), 2, 7_000, 5, true), Admission::Discard);
        assert_eq!(source.admit(start + ms(100), 2, 7_001, 965, false), Admission::Discard);
        let admission = source.admit(start + ms(100), 2, 7_002, 1_925, true);
        assert_eq!(admission, Admission::TakeOver { sequence: 0, timestamp: 52_800 });
        let admission = source.admit(start + ms(120), 2, 7_003, 2_885, true);
        assert_eq!(admission, Admission::Take { sequence: 1, timestamp: 53_760 });
        // What is left of the old one.
        assert_eq!(source.admit(start + ms(121), 1, 0, 48_960, true), Admission::Discard);
        // Back again.
        let admission = source.admit(start + ms(220), 1, 5, 60_000, true);
        assert_eq!(admission, Admission::TakeOver { sequence: 2, timestamp: 58_560 });
    }
}
