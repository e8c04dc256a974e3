//! What a call looked like from Meta's side, and questions tests ask about it. Plain data, filled in by `caller`.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use voicebridge_audio::{FRAME_SAMPLES, codec::Codec};

use super::{
    delivery::WebhookReport, graph_error::GraphError, network::NetworkReport, observe::ReceivedPacket, order::Action,
    utterance::Utterance,
};

/// A point in the life of a call. Of those that can happen again, the first counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Moment {
    /// The `connect` webhook left.
    ConnectSent,
    /// The business answered it with 200.
    ConnectAnswered,
    /// The business's first STUN check arrived.
    FirstCheck,
    /// A `pre_accept` arrived.
    PreAcceptReceived,
    /// It was answered with success.
    PreAcceptAnswered,
    /// The first DTLS packet that was let through.
    FirstDtls,
    /// ICE and DTLS are up.
    TransportConnected,
    /// An `accept` arrived.
    AcceptReceived,
    /// It was answered with success: the call is on.
    AcceptAnswered,
    /// The business's first RTP packet arrived.
    FirstRtp,
    /// The caller's first RTP packet left.
    MediaStarted,
    /// The caller heard speech for the first time.
    FirstSpeech,
    /// The caller hung up.
    CallerHungUp,
    /// A `reject` was answered with success.
    Rejected,
    /// A `terminate` was answered with success.
    Terminated,
    /// The `terminate` webhook left.
    TerminateSent,
    /// The business answered it with 200.
    TerminateAnswered,
}

/// When the moments of a call were.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timeline(BTreeMap<Moment, Instant>);

impl Timeline {
    pub(crate) fn mark(&mut self, moment: Moment, at: Instant) {
        self.0.entry(moment).or_insert(at);
    }

    /// When `moment` was, if it was.
    #[must_use]
    pub fn at(&self, moment: Moment) -> Option<Instant> {
        self.0.get(&moment).copied()
    }

    /// From `earlier` to `later`; none if either never was, or in another order.
    #[must_use]
    pub fn between(&self, earlier: Moment, later: Moment) -> Option<Duration> {
        self.at(later)?.checked_duration_since(self.at(earlier)?)
    }

    /// From sending the `connect` webhook to `moment`.
    #[must_use]
    pub fn since_webhook(&self, moment: Moment) -> Option<Duration> {
        self.between(Moment::ConnectSent, moment)
    }

    /// All moments in the order they happened.
    #[must_use]
    pub fn in_order(&self) -> Vec<(Moment, Instant)> {
        let mut all: Vec<_> = self.0.iter().map(|(&moment, &at)| (moment, at)).collect();
        all.sort_by_key(|&(_, at)| at);
        all
    }
}

/// Who or what ended a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndedBy {
    /// The caller hung up during the call.
    Caller,
    /// The caller hung up while it rang.
    CallerAbandoned,
    /// A step of the caller's script waited in vain; its name.
    ScriptStalled(&'static str),
    /// The business, by `terminate`.
    BusinessTerminated,
    /// The business, by `reject`.
    BusinessRejected,
    /// The client, for want of media: 138021.
    NoMedia,
    /// Nobody accepted it in time.
    NotAnswered,
    /// The caller's longest duration.
    DurationLimit,
    /// The relay's transport failed.
    TransportFailed,
}

/// A request of the business about the call, as the Graph API answered it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GraphExchange {
    /// What was asked for.
    pub action: Action,
    /// When the answer was decided.
    pub at: Instant,
    /// Success, or the refusal.
    pub result: Result<(), GraphError>,
}

/// A packet the caller sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SentPacket {
    /// When it was handed to the engine.
    pub at: Instant,
    /// When the engine gave it to the socket, encrypted; none if it never did.
    pub left: Option<Instant>,
    /// RTP sequence number.
    pub sequence: u16,
    /// RTP time stamp.
    pub timestamp: u32,
}

/// An utterance the caller said.
#[derive(Clone, Debug)]
pub struct Spoken {
    /// What was said.
    pub utterance: Utterance,
    /// Index in [`CallRecord::sent`] of its first packet.
    pub first_packet: usize,
}

/// Packets that came further apart than they should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// When the packet before it came.
    pub from: Instant,
    /// How long nothing came.
    pub length: Duration,
    /// Sequence number of the packet before it.
    pub after_sequence: u16,
}

/// Whether a stream is one unbroken row of 20 ms packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Continuity {
    /// Packets received.
    pub received: usize,
    /// Sequence numbers skipped, never made up for by a later arrival.
    pub lost: usize,
    /// Packets that came after a later one.
    pub reordered: usize,
    /// Packets that came twice.
    pub duplicated: usize,
    /// Neighbours in sequence whose time stamps are not 20 ms apart.
    pub timestamp_breaks: usize,
}

/// Everything known of a call that is over.
#[derive(Clone, Debug)]
pub struct CallRecord {
    /// Meta's id.
    pub call_id: String,
    /// The caller's number, if shown.
    pub from: Option<String>,
    /// What the offer offers.
    pub codec: Codec,
    /// When what happened.
    pub timeline: Timeline,
    /// The offer in the `connect` webhook.
    pub sdp_offer: String,
    /// The answer of the last successful `pre_accept`.
    pub sdp_pre_accept: Option<String>,
    /// The answer of the successful `accept`.
    pub sdp_accept: Option<String>,
    /// Requests about this call in order of their answers.
    pub graph: Vec<GraphExchange>,
    /// What the caller heard, 24 kHz mono, aligned on RTP time from the business's first packet on.
    pub pcm_heard: Vec<i16>,
    /// Speech in it.
    pub speech_heard: Duration,
    /// RTP packets of the business in order of arrival.
    pub packets: Vec<ReceivedPacket>,
    /// SSRCs of the business's RTP.
    pub ssrcs: BTreeSet<u32>,
    /// RTCP sender reports received.
    pub sender_reports: u32,
    /// RTCP receiver reports received.
    pub receiver_reports: u32,
    /// STUN checks that came before the answer was delivered.
    pub checks_before_answer: u32,
    /// DTLS packets that came before it and were dropped.
    pub dtls_before_answer: u32,
    /// Packets the caller sent, one per 20 ms.
    pub sent: Vec<SentPacket>,
    /// What was said in them.
    pub spoken: Vec<Spoken>,
    /// The most the caller itself was late with a packet: the machine's doing, not the business's.
    pub worst_own_delay: Duration,
    /// How it ended.
    pub ended_by: EndedBy,
    /// `biz_opaque_callback_data` of the accept.
    pub biz_opaque_callback_data: Option<String>,
    /// The delivery of the `terminate` webhook.
    pub terminate: Option<WebhookReport>,
    /// What a bad network did to the call's media; [`Self::packets`] are those that came through.
    pub network: Option<NetworkReport>,
    /// Rules of Meta's that the business broke, in words.
    pub violations: Vec<String>,
}

impl CallRecord {
    /// From `accept`'s success to the business's first RTP packet.
    #[must_use]
    pub fn first_rtp_after_accept(&self) -> Option<Duration> {
        self.timeline.between(Moment::AcceptAnswered, Moment::FirstRtp)
    }

    /// Every pause longer than `limit` between packets of the business, by arrival.
    #[must_use]
    pub fn gaps_over(&self, limit: Duration) -> Vec<Gap> {
        self.packets
            .windows(2)
            .map(|pair| Gap {
                from: pair[0].at,
                length: pair[1].at.duration_since(pair[0].at),
                after_sequence: pair[0].sequence,
            })
            .filter(|gap| gap.length > limit)
            .collect()
    }

    /// Whether the business's stream is unbroken.
    #[must_use]
    pub fn continuity(&self) -> Continuity {
        continuity(&self.packets, self.codec.frame_rtp_units())
    }

    /// What the caller said, 24 kHz mono; frame `i` of it went out in `sent[i]`.
    #[must_use]
    pub fn pcm_said(&self) -> Vec<i16> {
        let mut pcm = vec![0; self.sent.len() * FRAME_SAMPLES];
        for spoken in &self.spoken {
            let from = (spoken.first_packet * FRAME_SAMPLES).min(pcm.len());
            let length = spoken.utterance.pcm().len().min(pcm.len() - from);
            pcm[from..from + length].copy_from_slice(&spoken.utterance.pcm()[..length]);
        }
        pcm
    }
}

/// One packet is expected for every `units` of the RTP clock.
fn continuity(packets: &[ReceivedPacket], units: u32) -> Continuity {
    let mut result = Continuity { received: packets.len(), ..Continuity::default() };
    let Some(first) = packets.first() else {
        return result;
    };
    // Sequence numbers without their wrap, from the first packet on.
    let mut seen: BTreeMap<i64, u32> = BTreeMap::new();
    let mut highest = 0;
    for packet in packets {
        let expected = first.sequence.wrapping_add(highest as u16);
        let index = highest + i64::from(packet.sequence.wrapping_sub(expected).cast_signed());
        if seen.insert(index, packet.timestamp).is_some() {
            result.duplicated += 1;
        } else if index < highest {
            result.reordered += 1;
        }
        highest = highest.max(index);
    }
    for ((a, at), (b, bt)) in seen.iter().zip(seen.iter().skip(1)) {
        let steps = b - a;
        result.lost += usize::try_from(steps - 1).unwrap_or(0);
        if i64::from(bt.wrapping_sub(*at)) != steps * i64::from(units) {
            result.timestamp_breaks += 1;
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packets(list: &[(u16, u32)]) -> Vec<ReceivedPacket> {
        let at = Instant::now();
        list.iter()
            .map(|&(sequence, timestamp)| ReceivedPacket {
                at,
                sequence,
                timestamp,
                ssrc: 1,
                payload_type: 111,
                bytes: 1,
            })
            .collect()
    }

    #[test]
    fn an_unbroken_stream_may_wrap() {
        let stream: Vec<_> =
            (0..10u32).map(|i| (65_530u16.wrapping_add(i as u16), (u32::MAX - 2_000).wrapping_add(i * 960))).collect();
        assert_eq!(continuity(&packets(&stream), 960), Continuity { received: 10, ..Default::default() });
    }

    #[test]
    fn breaks_are_told_apart() {
        let check = |list: &[(u16, u32)], expected: Continuity| {
            let received = list.len();
            assert_eq!(continuity(&packets(list), 960), Continuity { received, ..expected }, "{list:?}");
        };
        check(&[], Continuity::default());
        check(&[(1, 0), (2, 960), (4, 2_880)], Continuity { lost: 1, ..Default::default() });
        check(&[(1, 0), (3, 1_920), (2, 960)], Continuity { reordered: 1, ..Default::default() });
        check(&[(1, 0), (1, 0), (2, 960)], Continuity { duplicated: 1, ..Default::default() });
        check(&[(1, 0), (2, 1_920)], Continuity { timestamp_breaks: 1, ..Default::default() });
    }

    #[test]
    fn the_first_of_a_moment_counts() {
        let (mut timeline, start) = (Timeline::default(), Instant::now());
        timeline.mark(Moment::ConnectSent, start);
        timeline.mark(Moment::ConnectSent, start + Duration::from_secs(1));
        timeline.mark(Moment::FirstRtp, start + Duration::from_millis(150));
        assert_eq!(timeline.since_webhook(Moment::FirstRtp), Some(Duration::from_millis(150)));
        assert_eq!(timeline.between(Moment::FirstRtp, Moment::ConnectSent), None);
        assert_eq!(timeline.since_webhook(Moment::AcceptAnswered), None);
        assert_eq!(timeline.in_order().len(), 2);
    }
}
