//! What the relay sees of the business's packets before it decrypts any: kinds, arrival times, RTP headers.
//!
//! SRTP leaves the RTP header in the clear and SRTCP the first eight bytes, which is all this needs. It judges only what
//! a single packet shows; rules about absence (20 s, 30 s) are the caller's.

use std::{collections::BTreeSet, time::Instant};

/// RTP packets whose headers are kept per call, about two hours' worth.
const MAX_PACKETS: usize = 400_000;
/// Distinct streams told apart; more are counted as the last.
const MAX_STREAMS: usize = 16;
/// RTP header without extensions (RFC 3550, section 5.1).
const RTP_HEADER_BYTES: usize = 12;
/// RTCP packet type of a sender report.
const SENDER_REPORT: u8 = 200;
/// RTCP packet type of a receiver report.
const RECEIVER_REPORT: u8 = 201;

/// Kinds of datagram on one port (RFC 7983, RFC 5761).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Stun,
    Dtls,
    Rtp,
    Rtcp,
    Unknown,
}

impl Kind {
    pub(crate) fn of(datagram: &[u8]) -> Self {
        match (datagram.first(), datagram.get(1)) {
            (Some(0..=3), _) => Self::Stun,
            (Some(20..=63), _) => Self::Dtls,
            (Some(128..=191), Some(192..=223)) => Self::Rtcp,
            (Some(128..=191), Some(_)) => Self::Rtp,
            _ => Self::Unknown,
        }
    }
}

/// An RTP packet of the business.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceivedPacket {
    /// When it was read from the socket.
    pub at: Instant,
    /// RTP sequence number.
    pub sequence: u16,
    /// RTP time stamp, on the clock of the codec.
    pub timestamp: u32,
    /// Synchronisation source.
    pub ssrc: u32,
    /// RTP payload type.
    pub payload_type: u8,
    /// Size of the whole datagram, bytes.
    pub bytes: u16,
}

/// An RTP packet of the caller as it left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Departure {
    pub(crate) at: Instant,
    pub(crate) sequence: u16,
}

/// Everything seen of one call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Observed {
    pub(crate) packets: Vec<ReceivedPacket>,
    /// Of the caller's own packets, as many are kept.
    pub(crate) departures: Vec<Departure>,
    pub(crate) packets_dropped_from_log: u64,
    pub(crate) ssrcs: BTreeSet<u32>,
    pub(crate) payload_types: BTreeSet<u8>,
    pub(crate) rtp_before_accept: u32,
    pub(crate) first_check: Option<Instant>,
    pub(crate) checks_before_answer: u32,
    pub(crate) checks_as_controlled: u32,
    pub(crate) first_dtls: Option<Instant>,
    pub(crate) dtls_before_answer: u32,
    pub(crate) sender_reports: u32,
    pub(crate) receiver_reports: u32,
    /// RTP or RTCP: either keeps a call alive.
    pub(crate) last_media: Option<Instant>,
}

impl Observed {
    pub(crate) fn rtp(&mut self, now: Instant, datagram: &[u8], accepted: bool) {
        if datagram.len() < RTP_HEADER_BYTES {
            return;
        }
        let word = |at: usize| u32::from_be_bytes([datagram[at], datagram[at + 1], datagram[at + 2], datagram[at + 3]]);
        let packet = ReceivedPacket {
            at: now,
            sequence: u16::from_be_bytes([datagram[2], datagram[3]]),
            timestamp: word(4),
            ssrc: word(8),
            payload_type: datagram[1] & 0x7F,
            bytes: datagram.len().try_into().unwrap_or(u16::MAX),
        };
        if !accepted {
            self.rtp_before_accept += 1;
        }
        if self.ssrcs.len() < MAX_STREAMS {
            self.ssrcs.insert(packet.ssrc);
        }
        self.payload_types.insert(packet.payload_type);
        if self.packets.len() < MAX_PACKETS {
            self.packets.push(packet);
        } else {
            self.packets_dropped_from_log += 1;
        }
        self.last_media = Some(now);
    }

    /// A packet of the caller's leaves.
    pub(crate) fn leaves(&mut self, now: Instant, datagram: &[u8]) {
        if datagram.len() >= RTP_HEADER_BYTES && self.departures.len() < MAX_PACKETS {
            self.departures.push(Departure { at: now, sequence: u16::from_be_bytes([datagram[2], datagram[3]]) });
        }
    }

    pub(crate) fn rtcp(&mut self, now: Instant, datagram: &[u8]) {
        match datagram.get(1) {
            Some(&SENDER_REPORT) => self.sender_reports += 1,
            Some(&RECEIVER_REPORT) => self.receiver_reports += 1,
            _ => {}
        }
        self.last_media = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_are_told_apart_by_their_first_bytes() {
        let check = |bytes: &[u8], kind: Kind| assert_eq!(Kind::of(bytes), kind, "{bytes:?}");
        check(&[], Kind::Unknown);
        check(&[0, 1], Kind::Stun);
        check(&[22, 254], Kind::Dtls);
        check(&[128, 111], Kind::Rtp);
        check(&[128, 111 | 0x80], Kind::Rtp);
        check(&[128, 200], Kind::Rtcp);
        check(&[129, 201], Kind::Rtcp);
        check(&[128], Kind::Unknown);
        check(&[255, 0], Kind::Unknown);
    }

    #[test]
    fn headers_are_read_and_early_packets_counted() {
        let mut seen = Observed::default();
        let now = Instant::now();
        let packet = [0x80, 0xEF, 0x01, 0x02, 0, 0, 3, 0xC0, 0, 0, 0, 9, 0xAA];
        seen.rtp(now, &packet, false);
        seen.rtp(now, &packet[..11], true);
        assert_eq!(
            seen.packets,
            [ReceivedPacket { at: now, sequence: 0x0102, timestamp: 960, ssrc: 9, payload_type: 111, bytes: 13 }]
        );
        assert_eq!(seen.rtp_before_accept, 1);
        seen.rtcp(now, &[0x80, 200]);
        seen.rtcp(now, &[0x81, 201]);
        assert_eq!((seen.sender_reports, seen.receiver_reports), (1, 1));
    }
}
