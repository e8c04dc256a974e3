//! What RTCP says about the two streams of a call (RFC 3550, section 6), as numbers.
//!
//! Flow: every packet sent and taken is told to [`Reports`]; [`Reports::due`] gives the next report when its time has
//! come, and [`Reports::deadline`] when that is. What the far side reports goes in by [`Reports::sender_report`] and
//! [`Reports::reception`], which works out what that means for our stream.
//!
//! It encodes nothing, reads no clock and draws no random numbers. It says nothing before the first packet of ours was
//! sent: WhatsApp counts what comes before it has accepted.

mod stream;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use voicebridge_session::ReceiverReport;

use stream::Stream;

/// Mean time between two reports. RFC 3550, section 6.2, would allow one in 5 s by default; a call is judged by the
/// second, and at this rate reports are under 2 % of its packets.
const MEAN_INTERVAL: Duration = Duration::from_secs(1);
/// The first one comes after half of it (RFC 3550, section 6.2).
const FIRST_INTERVAL: Duration = Duration::from_millis(500);
/// An interval is up to this much longer or shorter, so that calls begun together do not report together (section 6.3.1).
const SPREAD_MS: u64 = 200;

/// Both streams of one call.
#[derive(Debug)]
pub(super) struct Reports {
    began: Instant,
    /// NTP time of `began`, 32.32 fixed point.
    began_ntp: u64,
    ssrc: u32,
    /// Of both streams.
    clock_hz: u32,
    sent: Option<Sent>,
    /// Something was sent since the last report but one (RFC 3550, section 6.4).
    spoke: [bool; 2],
    stream: Option<Stream>,
    next: Option<Instant>,
    dice: u64,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    /// When the last packet left that was sent in the slot its timestamp names, and that.
    clock: Option<(Instant, u32)>,
    packets: u32,
    octets: u32,
}

/// What a packet's timestamp names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timestamp {
    /// The moment it was sent in.
    OfItsSlot(u32),
    /// The beginning of a key that has been held since (RFC 4733, section 2.3.1).
    OfAKey,
}

/// One report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RtcpReport {
    /// About our stream; none when nothing was sent lately, which makes it a receiver report.
    pub(super) sender: Option<SenderInfo>,
    /// About the caller's stream, if something came of it since the last report.
    pub(super) reception: Option<Reception>,
}

/// The sender's part of an SR (RFC 3550, section 6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SenderInfo {
    /// 32.32 fixed point.
    pub(super) ntp: u64,
    /// The same moment on our stream's clock.
    pub(super) rtp: u32,
    pub(super) packets: u32,
    /// Payload alone.
    pub(super) octets: u32,
}

/// A report block (RFC 3550, section 6.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Reception {
    pub(super) ssrc: u32,
    /// Lost since the last report, of 256.
    pub(super) fraction_lost: u8,
    /// 24 bits, two's complement: duplicates can make it negative.
    pub(super) lost: u32,
    /// Highest sequence number, extended by its cycles.
    pub(super) highest: u32,
    /// RTP clock units.
    pub(super) jitter: u32,
    /// Middle 32 bits of the NTP time of the last SR from there; 0 if none came.
    pub(super) last_sender_report: u32,
    /// Since that, 1/65536 s.
    pub(super) delay: u32,
}

impl Reports {
    /// Reports of the sender `ssrc`, whose timestamps count at `clock_hz` like the caller's; `ntp` is the NTP time of `now`
    /// (32.32 fixed point, RFC 5905, section 6).
    pub(super) fn new(now: Instant, ntp: u64, ssrc: u32, clock_hz: u32) -> Self {
        Self {
            began: now,
            began_ntp: ntp,
            ssrc,
            clock_hz,
            sent: None,
            spoke: [false; 2],
            stream: None,
            next: None,
            dice: u64::from(ssrc) | 1 << 32,
        }
    }

    /// A packet of ours left.
    pub(super) fn sent(&mut self, now: Instant, timestamp: Timestamp, payload_bytes: usize) {
        let sent = self.sent.get_or_insert(Sent { clock: None, packets: 0, octets: 0 });
        if let Timestamp::OfItsSlot(timestamp) = timestamp {
            sent.clock = Some((now, timestamp));
        }
        sent.packets = sent.packets.wrapping_add(1);
        sent.octets = sent.octets.wrapping_add(payload_bytes as u32);
        self.spoke[0] = true;
        self.next.get_or_insert(now + FIRST_INTERVAL);
    }

    /// A packet of the caller's stream came. Another SSRC begins a new stream.
    pub(super) fn received(&mut self, now: Instant, ssrc: u32, sequence: u16, timestamp: u32) {
        let arrival = self.rtp_units(now);
        match &mut self.stream {
            Some(stream) if stream.ssrc == ssrc => stream.received(arrival, sequence, timestamp),
            stream => *stream = Some(Stream::new(ssrc, arrival, sequence, timestamp)),
        }
    }

    /// The far side reported what it sends; `ntp` is its clock.
    pub(super) fn sender_report(&mut self, now: Instant, ssrc: u32, ntp: u64) {
        if let Some(stream) = self.stream.as_mut().filter(|stream| stream.ssrc == ssrc) {
            stream.last_sender_report = Some((middle(ntp), now));
        }
    }

    /// The far side reported what it gets. Blocks about others say nothing.
    pub(super) fn reception(&self, now: Instant, block: &Reception) -> Option<ReceiverReport> {
        if block.ssrc != self.ssrc {
            return None;
        }
        // RFC 3550, section 6.4.1: A - LSR - DLSR, 1/65536 s. A far side that errs may make it negative.
        let round_trip = middle(self.ntp(now)).wrapping_sub(block.last_sender_report).wrapping_sub(block.delay) as i32;
        let round_trip_ms = (u64::from(round_trip.max(0).unsigned_abs()) * 1_000 + (1 << 15)) >> 16;
        Some(ReceiverReport {
            fraction_lost: block.fraction_lost,
            jitter_ms: (u64::from(block.jitter) * 1_000 / u64::from(self.clock_hz)) as u32,
            round_trip_ms: (block.last_sender_report != 0).then_some(round_trip_ms as u32),
        })
    }

    /// The next report, if it is time.
    pub(super) fn due(&mut self, now: Instant) -> Option<RtcpReport> {
        self.next.filter(|next| *next <= now)?;
        self.next = Some(now + self.interval());
        Some(self.report(now))
    }

    /// The last report, with which a goodbye is sent; none if nothing was ever sent (RFC 3550, section 6.3.7).
    pub(super) fn last(&mut self, now: Instant) -> Option<RtcpReport> {
        self.next.take()?;
        Some(self.report(now))
    }

    /// When [`Reports::due`] has something.
    pub(super) const fn deadline(&self) -> Option<Instant> {
        self.next
    }

    fn report(&mut self, now: Instant) -> RtcpReport {
        let [lately, before] = self.spoke;
        self.spoke = [false, lately];
        let ntp = self.ntp(now);
        let sender = self.sent.filter(|_| lately || before).and_then(|Sent { clock, packets, octets }| {
            let (at, timestamp) = clock?;
            let rtp = timestamp.wrapping_add(units(now.saturating_duration_since(at), self.clock_hz));
            Some(SenderInfo { ntp, rtp, packets, octets })
        });
        RtcpReport { sender, reception: self.stream.as_mut().and_then(|stream| stream.report(now)) }
    }

    fn interval(&mut self) -> Duration {
        // xorshift64: as good as any for this, and the same every time.
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        MEAN_INTERVAL + Duration::from_millis(self.dice % (2 * SPREAD_MS + 1)) - Duration::from_millis(SPREAD_MS)
    }

    fn ntp(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.began);
        let fraction = (u64::from(since.subsec_nanos()) << 32) / 1_000_000_000;
        self.began_ntp.wrapping_add((since.as_secs() << 32) + fraction)
    }

    fn rtp_units(&self, now: Instant) -> u32 {
        units(now.saturating_duration_since(self.began), self.clock_hz)
    }
}

/// The middle 32 bits, by which reports refer to one another.
const fn middle(ntp: u64) -> u32 {
    (ntp >> 16) as u32
}

/// A time on the clock of RTP, wrapping as timestamps do.
fn units(time: Duration, clock_hz: u32) -> u32 {
    (time.as_micros() * u128::from(clock_hz) / 1_000_000) as u32
}
