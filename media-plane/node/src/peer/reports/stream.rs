//! One received stream: what came, what is missing, how regularly (RFC 3550, appendices A.1, A.3 and A.8).
//!
//! There is no probation: a packet here was authenticated, so its source is real.

use std::time::Instant;

use super::Reception;

/// A sequence number this far ahead, or nearer, follows after losses (appendix A.1).
const MAX_DROPOUT: u16 = 3_000;
/// One this far behind, or nearer, came late or twice.
const MAX_MISORDER: u16 = 100;
/// What 24 bits of two's complement hold.
const MOST_LOST: i64 = 0x7f_ffff;

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) ssrc: u32,
    /// Middle of its NTP time, and when it came.
    pub(super) last_sender_report: Option<(u32, Instant)>,
    base: u32,
    /// Highest sequence number, extended.
    highest: u32,
    received: u32,
    /// Expected and received at the last report.
    reported: (u32, u32),
    transit: u32,
    /// In sixteenths of a unit.
    jitter: u32,
}

impl Stream {
    pub(super) fn new(ssrc: u32, arrival: u32, sequence: u16, timestamp: u32) -> Self {
        let base = u32::from(sequence);
        Self {
            ssrc,
            last_sender_report: None,
            base,
            highest: base,
            received: 1,
            reported: (0, 0),
            transit: arrival.wrapping_sub(timestamp),
            jitter: 0,
        }
    }

    /// A further packet; `arrival` is on the clock of its timestamps.
    pub(super) fn received(&mut self, arrival: u32, sequence: u16, timestamp: u32) {
        let ahead = sequence.wrapping_sub(self.highest as u16);
        if ahead < MAX_DROPOUT {
            self.highest = self.highest.wrapping_add(u32::from(ahead));
        } else if ahead <= u16::MAX - MAX_MISORDER {
            // It began anew.
            *self = Self {
                last_sender_report: self.last_sender_report,
                jitter: self.jitter,
                ..Self::new(self.ssrc, arrival, sequence, timestamp)
            };
            return;
        }
        self.received = self.received.wrapping_add(1);
        let transit = arrival.wrapping_sub(timestamp);
        let deviation = (transit.wrapping_sub(self.transit) as i32).unsigned_abs();
        self.transit = transit;
        self.jitter = self.jitter.saturating_add(deviation) - ((self.jitter.saturating_add(8)) >> 4);
    }

    /// The block about this stream, if something came since the last one.
    pub(super) fn report(&mut self, now: Instant) -> Option<Reception> {
        let expected = self.highest.wrapping_sub(self.base).wrapping_add(1);
        let (expected_before, received_before) = self.reported;
        if self.received == received_before {
            return None;
        }
        self.reported = (expected, self.received);
        let expected_lately = i64::from(expected.wrapping_sub(expected_before));
        let lost_lately = expected_lately - i64::from(self.received.wrapping_sub(received_before));
        let fraction_lost =
            if expected_lately == 0 || lost_lately <= 0 { 0 } else { ((lost_lately << 8) / expected_lately).min(255) };
        let lost = (i64::from(expected) - i64::from(self.received)).clamp(-MOST_LOST - 1, MOST_LOST);
        let (last_sender_report, delay) = self.last_sender_report.map_or((0, 0), |(ntp, at)| {
            let delay = (now.saturating_duration_since(at).as_micros() << 16) / 1_000_000;
            (ntp, u32::try_from(delay).unwrap_or(u32::MAX))
        });
        Some(Reception {
            ssrc: self.ssrc,
            fraction_lost: fraction_lost as u8,
            lost: lost as u32 & 0xff_ffff,
            highest: self.highest,
            jitter: self.jitter >> 4,
            last_sender_report,
            delay,
        })
    }
}
