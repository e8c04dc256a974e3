//! Telephone-events that arrive: each is given once.
//!
//! All reports on one event carry the timestamp of its beginning, so that is what tells events apart; the end is sent
//! three times, and all but one report may be lost. A digit is given with its first end report; when all of those are
//! lost, with the next digit or after [`PATIENCE_MS`] of quiet. An event longer than its 16 bits of duration goes on
//! under a new timestamp (RFC 4733, section 2.5.1.3) and is still one digit.

use super::{
    BadEvent, Digit, EVENT_CLOCK_HZ,
    payload::{EventReport, millis},
};
use crate::Time;
use std::time::Duration;

/// Reports come every 20 to 50 ms: without any for this long, an event is over.
pub const PATIENCE_MS: u64 = 200;
/// A report on an event that began up to this long before the last one is old; one from further away is another clock.
const MAX_BEHIND_MS: u32 = 10_000;
/// Clock ticks by which a segment may miss the end of the one before: one packet.
const SEGMENT_TOLERANCE_MS: u32 = 50;

/// A key was pressed and let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pressed {
    /// Which.
    pub digit: Digit,
    /// For how long, milliseconds, as far as it was reported.
    pub duration_ms: u32,
    /// RTP timestamp of its beginning.
    pub timestamp: u32,
}

/// Counters since the beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReceiverStatistics {
    /// Digits given.
    pub digits: u64,
    /// Well-formed reports on them, all of each.
    pub packets: u64,
    /// Payloads that are no report on a key.
    pub bad: u64,
    /// Digits whose end was never reported.
    pub unended: u64,
}

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct Receiver {
    rtp_clock_hz: u32,
    current: Option<ReceivedKey>,
    /// Beginning of the last event given.
    over: Option<u32>,
    statistics: ReceiverStatistics,
}

#[derive(Clone, Copy, Debug)]
struct ReceivedKey {
    digit: Digit,
    /// Of the first segment.
    began: u32,
    /// Of this segment.
    timestamp: u32,
    /// Of all segments before this one, at the event's clock.
    before: u32,
    duration: u16,
    heard: Time,
}

impl ReceivedKey {
    const fn duration_ms(&self) -> u32 {
        millis(self.before + self.duration as u32)
    }
}

impl Receiver {
    /// A receiver for events whose timestamps count at `rtp_clock_hz`, that of the call's audio.
    #[must_use]
    pub fn new(rtp_clock_hz: u32) -> Self {
        Self { rtp_clock_hz, current: None, over: None, statistics: ReceiverStatistics::default() }
    }

    /// Takes a payload. Digits that are over with it go to `sink`.
    ///
    /// # Errors
    /// [`BadEvent`], counted; nothing else changes.
    pub fn receive(
        &mut self,
        now: Time,
        timestamp: u32,
        payload: &[u8],
        sink: &mut dyn FnMut(Pressed),
    ) -> Result<(), BadEvent> {
        let report = EventReport::parse(payload).inspect_err(|_| self.statistics.bad += 1)?;
        self.statistics.packets += 1;
        self.poll(now, sink);
        let clock = self.rtp_clock_hz;
        if self.over.is_some_and(|over| timestamp == over || is_behind(timestamp, over, clock)) {
            return Ok(());
        }
        match &mut self.current {
            Some(current) if current.timestamp == timestamp => {
                current.duration = current.duration.max(report.duration);
                current.heard = now;
            }
            Some(current) if is_segment(current, &report, timestamp, clock) => {
                current.before += u32::from(current.duration);
                (current.timestamp, current.duration, current.heard) = (timestamp, report.duration, now);
            }
            Some(current) if is_behind(timestamp, current.timestamp, clock) => return Ok(()),
            _ => {
                self.give_up(sink);
                let EventReport { digit, duration, .. } = report;
                self.current =
                    Some(ReceivedKey { digit, began: timestamp, timestamp, before: 0, duration, heard: now });
            }
        }
        if report.end {
            self.give(sink);
        }
        Ok(())
    }

    /// Gives a digit whose end was lost.
    pub fn poll(&mut self, now: Time, sink: &mut dyn FnMut(Pressed)) {
        if self.deadline().is_some_and(|due| due <= now) {
            self.give_up(sink);
        }
    }

    /// When to poll next even if nothing arrives.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        self.current.map(|current| current.heard + Duration::from_millis(PATIENCE_MS))
    }

    /// Counters so far.
    #[must_use]
    pub const fn statistics(&self) -> ReceiverStatistics {
        self.statistics
    }

    fn give_up(&mut self, sink: &mut dyn FnMut(Pressed)) {
        self.statistics.unended += u64::from(self.current.is_some());
        self.give(sink);
    }

    fn give(&mut self, sink: &mut dyn FnMut(Pressed)) {
        let Some(current) = self.current.take() else { return };
        self.over = Some(current.timestamp);
        self.statistics.digits += 1;
        sink(Pressed { digit: current.digit, duration_ms: current.duration_ms(), timestamp: current.began });
    }
}

/// Whether an event began before another, and not so long before that it is of another clock.
const fn is_behind(timestamp: u32, newer: u32, rtp_clock_hz: u32) -> bool {
    let behind = newer.wrapping_sub(timestamp);
    behind != 0 && behind <= rtp_clock_hz / 1_000 * MAX_BEHIND_MS
}

/// Whether the report goes on where the current segment's duration ran out.
fn is_segment(current: &ReceivedKey, report: &EventReport, timestamp: u32, rtp_clock_hz: u32) -> bool {
    let per_unit = rtp_clock_hz / EVENT_CLOCK_HZ;
    let tolerance = rtp_clock_hz / 1_000 * SEGMENT_TOLERANCE_MS;
    let end = current.timestamp.wrapping_add(u32::from(u16::MAX) * per_unit);
    let distance = timestamp.wrapping_sub(end) as i32;
    report.digit == current.digit && distance.unsigned_abs() <= tolerance
}
