//! The uplink behind a virtual network: whatever that does, no time is lost or invented, nothing grows, and once the
//! trouble is over every packet is forwarded at once again.

use crate::{
    common::{Recorder, cases, correlation, encode, speech},
    network::{Arrival, Conditions},
};
use proptest::prelude::*;
use std::sync::LazyLock;
use voicebridge_audio::{
    Time,
    opus::{Decoder, EncoderSettings, MAX_PACKET_SAMPLES},
    uplink::{FrameSource, MAX_REORDER_MS, Uplink, UplinkStatistics},
};

const POLL_MS: u64 = 5;
/// The steady time after the trouble.
const CALM_MS: u64 = 2_000;
/// Most that jitter may add before the wall clock takes over.
const MAX_JITTER_ALLOWANCE_MS: u64 = 100;

fn settings() -> EncoderSettings {
    EncoderSettings { fec: true, expected_loss_percent: 10, ..EncoderSettings::default() }
}

/// Six seconds for each packet time; the streams repeat them.
static STREAMS: LazyLock<Vec<(u64, Vec<Vec<u8>>)>> = LazyLock::new(|| {
    let pcm = speech(6_000);
    [10, 20, 40, 60].map(|ptime_ms| (ptime_ms, encode(&pcm, ptime_ms as usize, settings()))).to_vec()
});

fn payload(ptime_ms: u64, index: usize) -> &'static [u8] {
    let (_, packets) = STREAMS.iter().find(|(each, _)| *each == ptime_ms).expect("a stream for each packet time");
    &packets[index % packets.len()]
}

/// What a run showed.
struct Run {
    recorder: Recorder,
    statistics: UplinkStatistics,
    /// Samples forwarded when the first packet came: the clock begins there.
    anchored_at: usize,
}

/// Runs the conditions through an uplink; `after` sees every arrival and the media time forwarded by then.
fn run(conditions: &Conditions, mut after: impl FnMut(&Arrival, u64)) -> Run {
    let mut uplink = Uplink::new().unwrap();
    let mut recorder = Recorder::default();
    let mut anchored_at = None;
    let arrivals = conditions.arrivals();
    let mut pending = arrivals.iter().peekable();
    uplink.start(Time::ZERO);
    // What lies between a moment of the sender and the AI's having it, at most.
    let slack_ms = conditions.max_delay_ms()
        + 60.max(conditions.ptime_ms + 40)
        + conditions.ptime_ms
        + MAX_JITTER_ALLOWANCE_MS
        + MAX_REORDER_MS
        + POLL_MS;
    for now_ms in (0..=conditions.length_ms).step_by(POLL_MS as usize) {
        while let Some(arrival) = pending.next_if(|arrival| arrival.at_ms <= now_ms) {
            anchored_at.get_or_insert(recorder.samples());
            let now = Time::from_millis(arrival.at_ms.max(now_ms.saturating_sub(POLL_MS)));
            let payload = payload(conditions.ptime_ms, arrival.index);
            uplink.receive(now, arrival.sequence, arrival.timestamp, payload, &mut |frame| recorder.take(frame));
            after(arrival, media_ms(&recorder, anchored_at));
        }
        uplink.poll(Time::from_millis(now_ms), &mut |frame| recorder.take(frame));
        let deadline = uplink.deadline().expect("it was started");
        assert!(deadline > Time::from_millis(now_ms), "nothing due stays undone at {now_ms} ms");
        if anchored_at.is_some() {
            let media_ms = media_ms(&recorder, anchored_at);
            assert!(media_ms <= now_ms, "time was invented: {media_ms} ms forwarded at {now_ms} ms");
            assert!(media_ms + slack_ms >= now_ms, "time was lost: {media_ms} ms forwarded at {now_ms} ms");
        }
    }
    Run { recorder, statistics: uplink.statistics(), anchored_at: anchored_at.expect("the first packet always comes") }
}

fn media_ms(recorder: &Recorder, anchored_at: Option<usize>) -> u64 {
    ((recorder.samples() - anchored_at.unwrap_or_default()) / 24) as u64
}

/// Everything that must hold whatever the conditions.
fn check(conditions: &Conditions) {
    let calm_from_ms = conditions.trouble_ms + conditions.max_delay_ms() + 1_000;
    let mut highest_ms = 0;
    let result = run(conditions, |arrival, media_ms| {
        // Begins at 0 with the first packet, so a packet's place in the audio is a media time.
        let end_ms = arrival.sent_ms;
        highest_ms = highest_ms.max(end_ms);
        if arrival.at_ms >= calm_from_ms {
            assert_eq!(media_ms, end_ms, "at {} ms a packet was not forwarded at once", arrival.at_ms);
        }
    });
    let Run { recorder, statistics, anchored_at } = result;
    let of = |source| recorder.of(source) as u64 / 24;
    assert_eq!(statistics.received_ms, of(FrameSource::Received));
    assert_eq!(statistics.concealed_ms, of(FrameSource::Concealed));
    assert_eq!(statistics.silence_ms, of(FrameSource::Silence));
    assert!(statistics.recovered_ms <= statistics.received_ms);
    assert!(statistics.reorder_window_ms <= MAX_REORDER_MS as u32);
    assert_eq!(statistics.reanchored, 0);
    assert_eq!(statistics.packets_discarded, 0);
    assert!(recorder.samples() as u64 / 24 - anchored_at as u64 / 24 >= highest_ms);

    let mut sequences: Vec<u16> = conditions
        .arrivals()
        .iter()
        .filter(|arrival| arrival.at_ms <= conditions.length_ms)
        .map(|each| each.sequence)
        .collect();
    let arrived = sequences.len() as u64;
    sequences.sort_by_key(|sequence| sequence.wrapping_sub(conditions.first_sequence));
    sequences.dedup();
    let span = sequences.last().expect("some came").wrapping_sub(conditions.first_sequence) as u64 + 1;
    let UplinkStatistics { packets_received, packets_late, packets_lost, packets_duplicate, .. } = statistics;
    assert_eq!(packets_received + packets_late, sequences.len() as u64);
    assert_eq!(packets_received + packets_late + packets_duplicate, arrived);
    assert_eq!(packets_received + packets_late + packets_lost, span);
}

fn span(from: std::ops::Range<u64>, long: std::ops::Range<u64>) -> impl Strategy<Value = Option<(u64, u64)>> {
    prop::option::of((from, long))
}

prop_compose! {
    fn conditions()(
        seed in any::<u64>(),
        ptime_ms in prop::sample::select(vec![10u64, 20, 40, 60]),
        first_sequence in any::<u16>(),
        first_timestamp in any::<u32>(),
        delay_ms in 0u64..150,
        jitter_ms in prop_oneof![Just(0u64), 0u64..20, 0u64..120],
        loss_percent in prop_oneof![Just(0u64), 0u64..10, 0u64..60],
        duplicate_percent in 0u64..10,
        freeze in span(0..2_000, 20..1_000),
        outage in span(0..2_000, 20..1_500),
        pause in span(0..2_000, 20..1_500),
        step in span(0..2_000, 1..300),
        trouble_ms in 500u64..3_000,
    ) -> Conditions {
        let trouble_ms = [freeze, outage, pause, step].iter().flatten().map(|(from, long)| from + long).chain([trouble_ms])
            .max().unwrap_or(trouble_ms);
        let length_ms = (trouble_ms + 3_000 + CALM_MS).next_multiple_of(POLL_MS);
        Conditions {
            seed, ptime_ms, first_sequence, first_timestamp, delay_ms, jitter_ms, loss_percent, duplicate_percent,
            freeze, outage, pause, step, trouble_ms, length_ms,
        }
    }
}

proptest! {
    #![proptest_config(cases(96, "proptest-regressions/uplink_network.txt"))]

    #[test]
    fn no_network_bends_time(conditions in conditions()) {
        check(&conditions);
    }
}

/// One packet nobody should send, and how long after the one before.
#[derive(Clone, Debug)]
struct Hostile {
    after_ms: u64,
    sequence: u16,
    timestamp: u32,
    index: usize,
    payload: Option<Vec<u8>>,
}

fn hostile() -> impl Strategy<Value = Hostile> {
    let sequence = prop_oneof![6 => 0u16..40, 2 => 0u16..4_000, 1 => any::<u16>()];
    let timestamp = prop_oneof![6 => 0u32..40_000, 2 => 0u32..2_000_000, 1 => any::<u32>()];
    let payload = prop_oneof![4 => Just(None), 1 => prop::collection::vec(any::<u8>(), 0..60).prop_map(Some)];
    let after_ms = prop_oneof![6 => 0u64..30, 1 => 0u64..14_000];
    (after_ms, sequence, timestamp, 0usize..100, payload).prop_map(|(after_ms, sequence, timestamp, index, payload)| {
        Hostile { after_ms, sequence, timestamp, index, payload }
    })
}

proptest! {
    #![proptest_config(cases(60, "proptest-regressions/uplink_hostile.txt"))]

    /// Whatever arrives: no panic, no more audio at once than the bounds say, every packet counted once, and the clock
    /// of the listener runs on.
    #[test]
    fn hostile_packets_are_survived(packets in prop::collection::vec(hostile(), 1..150), start in any::<u16>()) {
        let mut uplink = Uplink::new().unwrap();
        let mut recorder = Recorder::default();
        let mut now_ms = 0;
        uplink.start(Time::ZERO);
        for packet in &packets {
            now_ms += packet.after_ms;
            let now = Time::from_millis(now_ms);
            let before = recorder.samples();
            let payload = packet.payload.as_deref().unwrap_or_else(|| payload(20, packet.index));
            let sequence = packet.sequence.wrapping_add(start);
            uplink.receive(now, sequence, packet.timestamp, payload, &mut |frame| recorder.take(frame));
            // Up to 17 packets can be waiting, and all of them together are ahead by no more than the bound.
            let most = 10_000 + 18 * 120;
            prop_assert!(recorder.samples() - before <= most * 24);
            for _ in 0..3 {
                uplink.poll(now, &mut |frame| recorder.take(frame));
            }
            prop_assert!(uplink.deadline().is_some_and(|deadline| deadline > now));
        }
        let statistics = uplink.statistics();
        let counted = statistics.packets_received
            + statistics.packets_late
            + statistics.packets_duplicate
            + statistics.packets_discarded;
        let waiting = packets.len() as u64 - counted.min(packets.len() as u64);
        prop_assert!(counted <= packets.len() as u64 && waiting <= 16, "{counted} of {}", packets.len());
        // Twenty seconds later the listener has had them, less what a timestamp ahead had given it before.
        let before = recorder.samples();
        let from_ms = now_ms + 500;
        for later_ms in (from_ms..from_ms + 20_000).step_by(POLL_MS as usize) {
            uplink.poll(Time::from_millis(later_ms), &mut |frame| recorder.take(frame));
        }
        let heard_ms = (recorder.samples() - before) as u64 / 24;
        prop_assert!(heard_ms >= 20_000 - 10_000, "{heard_ms} ms");
    }
}

/// Audio that was received is where it belongs: it agrees with the undisturbed stream at the same place.
#[test]
fn received_audio_is_in_its_place() {
    let conditions = Conditions {
        seed: 7,
        delay_ms: 30,
        jitter_ms: 45,
        loss_percent: 8,
        duplicate_percent: 5,
        freeze: Some((1_500, 400)),
        pause: Some((3_000, 300)),
        step: Some((4_000, 80)),
        ..Conditions::steady(20, 6_000)
    };
    let mut decoder = Decoder::new().unwrap();
    let mut out = [0; MAX_PACKET_SAMPLES];
    let mut truth = Vec::new();
    for index in 0..300 {
        let samples = decoder.decode(payload(20, index), &mut out).unwrap();
        truth.extend_from_slice(&out[..samples]);
    }
    let Run { recorder, anchored_at, statistics } = run(&conditions, |_, _| ());
    let heard = &recorder.pcm[anchored_at..];
    let sources = &recorder.sources[anchored_at..];
    // The decoder needs a little to recover from what is missing: judge what follows 60 ms of received audio.
    let (mut judged, mut agreed) = (0, 0);
    for begin in (0..heard.len().min(truth.len()) - 480).step_by(480) {
        let settled =
            sources[begin.saturating_sub(1_440)..begin + 480].iter().all(|&each| each == FrameSource::Received);
        if settled && truth[begin..begin + 480].iter().any(|sample| sample.abs() > 500) {
            judged += 1;
            agreed += u32::from(correlation(&heard[begin..begin + 480], &truth[begin..begin + 480]) > 0.9);
        }
    }
    assert!(judged > 80, "{judged} frames to judge");
    assert!(agreed * 100 >= judged * 98, "{agreed} of {judged} frames agree");
    assert!(statistics.packets_late > 0 && statistics.packets_lost > 0 && statistics.packets_duplicate > 0);
}

/// Jitter below the packet time is bridged without a gap, and costs no delay of its own.
#[test]
fn ordinary_jitter_loses_nothing() {
    for seed in 0..10 {
        let conditions = Conditions { seed, jitter_ms: 19, ..Conditions::steady(20, 6_000) };
        let Run { statistics, .. } = run(&conditions, |arrival, media_ms| assert_eq!(media_ms, arrival.sent_ms));
        assert_eq!(statistics.received_ms, statistics.packets_received * 20);
        assert_eq!((statistics.concealed_ms, statistics.packets_late, statistics.packets_lost), (0, 0, 0));
        assert!((3..=10).contains(&statistics.jitter_ms), "{} ms", statistics.jitter_ms);
    }
}

/// Reordering within the bounds of the window costs a few packets until it is learned, and none later.
#[test]
fn ordinary_reordering_loses_nothing_once_learned() {
    for seed in 0..10 {
        let conditions = Conditions { seed, jitter_ms: 34, ..Conditions::steady(20, 12_000) };
        let Run { statistics, .. } = run(&conditions, |_, _| ());
        assert_eq!(statistics.packets_lost, 0);
        assert!(statistics.packets_late <= 3, "{} late with seed {seed}", statistics.packets_late);
    }
}
