//! How unevenly packets come: the span between the quickest and the slowest of the last seconds. A packet can be
//! overtaken by the next only if the span is longer than a packet, and by no more than the difference; that is how long a
//! gap may still be filled by the network itself.

use super::{jitter::transit, reorder::MAX_REORDER_MS};
use crate::{RTP_CLOCK_HZ, Time};
use std::time::Duration;

/// What was seen is forgotten after one to two of these.
const PERIOD: Duration = Duration::from_secs(10);
/// Until so many packets were seen, nothing is known ...
const LEARNING_PACKETS: u32 = 40;
/// ... and a gap is given this long: overtaking on usual mobile networks.
const UNKNOWN: Duration = Duration::from_millis(20);
/// Added to what was seen: a driver looks at its sockets once in this time.
const MARGIN: Duration = Duration::from_millis(5);
/// So many packets in a row that do not fit what was seen mean that the route has changed.
const CHANGED_PACKETS: u32 = 10;

/// Transit times, RTP units relative to a first packet's.
#[derive(Clone, Copy, Debug)]
struct Range {
    least: i32,
    most: i32,
}

#[derive(Debug, Default)]
pub(super) struct Spread {
    reference: Option<u32>,
    period_began: Time,
    current: Option<Range>,
    previous: Option<Range>,
    packets: u32,
    outliers: u32,
}

impl Spread {
    /// Takes a packet as it arrives.
    pub(super) fn observe(&mut self, now: Time, timestamp: u32, packet_ms: u64) {
        let transit = transit(now, timestamp);
        let transit = transit.wrapping_sub(*self.reference.get_or_insert(transit)) as i32;
        self.packets = self.packets.saturating_add(1);
        self.forget(now);
        let limit = units(packet_ms + MAX_REORDER_MS);
        let known = self.range().unwrap_or(Range { least: transit, most: transit });
        let (ahead, behind) = (known.most.saturating_sub(transit), transit.saturating_sub(known.least));
        if ahead > limit || behind > limit {
            // A stall or a longer way: nothing a gap is worth waiting for. Unless it stays so.
            self.outliers += 1;
            if ahead > limit || self.outliers >= CHANGED_PACKETS {
                (self.previous, self.current) = (None, Some(Range { least: transit, most: transit }));
                self.outliers = 0;
            }
            return;
        }
        self.outliers = 0;
        let current = self.current.get_or_insert(Range { least: transit, most: transit });
        current.least = current.least.min(transit);
        current.most = current.most.max(transit);
    }

    /// Another clock follows; how uneven the way is stays known.
    pub(super) fn restart(&mut self) {
        self.reference = None;
        (self.previous, self.current, self.outliers) = (None, None, 0);
    }

    /// How long the network may take to fill a gap before a packet of this length.
    pub(super) fn window(&self, packet_ms: u64) -> Duration {
        if self.packets < LEARNING_PACKETS {
            return UNKNOWN;
        }
        let spread = self.range().map_or(0, |range| range.most.saturating_sub(range.least));
        let overtaken = spread.saturating_sub(units(packet_ms));
        if overtaken <= 0 {
            return Duration::ZERO;
        }
        let overtaken = Duration::from_micros(overtaken as u64 * 1_000_000 / u64::from(RTP_CLOCK_HZ));
        (overtaken + MARGIN).min(Duration::from_millis(MAX_REORDER_MS))
    }

    fn range(&self) -> Option<Range> {
        match (self.current, self.previous) {
            (Some(a), Some(b)) => Some(Range { least: a.least.min(b.least), most: a.most.max(b.most) }),
            (a, b) => a.or(b),
        }
    }

    fn forget(&mut self, now: Time) {
        let elapsed = now.since(self.period_began);
        if elapsed >= PERIOD {
            self.previous = if elapsed < PERIOD * 2 { self.current } else { None };
            self.current = None;
            self.period_began = now;
        }
    }
}

const fn units(ms: u64) -> i32 {
    (ms * RTP_CLOCK_HZ as u64 / 1_000) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds 20 ms packets with these delays; returns the window in milliseconds after the last.
    fn window_ms(delays_ms: impl IntoIterator<Item = u64>) -> u128 {
        let mut spread = Spread::default();
        for (index, delay_ms) in delays_ms.into_iter().enumerate() {
            let timestamp = (u32::MAX - 9_000).wrapping_add(index as u32 * 960);
            spread.observe(Time::from_millis(1_000 + index as u64 * 20 + delay_ms), timestamp, 20);
        }
        spread.window(20).as_millis()
    }

    #[test]
    fn is_what_can_still_come() {
        let jitter = |most: u64, packets: u64| (0..packets).map(move |index| index * 7 % (most + 1));
        assert_eq!(window_ms(jitter(0, 10)), 20, "nothing known yet");
        assert_eq!(window_ms(jitter(0, 100)), 0);
        assert_eq!(window_ms(jitter(20, 200)), 0, "no packet can be overtaken");
        assert_eq!(window_ms(jitter(30, 200)), 15);
        assert_eq!(window_ms(jitter(60, 200)), 40, "bounded");
        assert_eq!(window_ms(jitter(30, 200).chain([20; 1_100])), 0, "forgotten");
    }

    #[test]
    fn stalls_and_other_routes_are_no_jitter() {
        let stall = |index: u64| if index == 100 { 400 } else { index * 7 % 31 };
        assert_eq!(window_ms((0..200).map(stall)), 15);
        assert_eq!(window_ms((0..200).map(|index| if index < 100 { 10 } else { 300 })), 0, "a longer way");
        assert_eq!(window_ms((0..200).map(|index| if index < 100 { 300 } else { 10 })), 0, "a shorter way");
        assert_eq!(window_ms((0..300).map(|index| index * 7 % 31 + if index < 100 { 0 } else { 200 })), 15);
    }
}
