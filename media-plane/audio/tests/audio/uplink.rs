//! The uplink's rules one by one.

use crate::common::{Recorder, encode, speech};
use voicebridge_audio::{
    Time,
    opus::EncoderSettings,
    uplink::{FrameSource, MAX_SPANS, SpanKind, Uplink, UplinkStatistics},
};

const FIRST_SEQUENCE: u16 = 65_530;
const FIRST_TIMESTAMP: u32 = u32::MAX - 4_000;

/// An uplink fed with packet `index` of a 20 ms stream, sent at `index * 20` ms.
struct Bench {
    uplink: Uplink,
    packets: Vec<Vec<u8>>,
    recorder: Recorder,
    now_ms: u64,
}

impl Bench {
    fn new() -> Self {
        Self::with(EncoderSettings::default())
    }

    fn with(settings: EncoderSettings) -> Self {
        let mut uplink = Uplink::new().unwrap();
        uplink.start(Time::ZERO);
        Self { uplink, packets: encode(&speech(4_000), 20, settings), recorder: Recorder::default(), now_ms: 0 }
    }

    /// Feeds packets at their own time: the first at 20 ms.
    fn in_time(&mut self, range: std::ops::Range<u64>) -> &mut Self {
        for index in range {
            self.at(index * 20 + 20).packet(index);
        }
        self
    }

    /// Lets time pass, polling every 5 ms.
    fn at(&mut self, ms: u64) -> &mut Self {
        while self.now_ms < ms {
            self.now_ms = (self.now_ms + 5).min(ms);
            let now = Time::from_millis(self.now_ms);
            self.uplink.poll(now, &mut |frame| self.recorder.take(frame));
        }
        self
    }

    fn packet(&mut self, index: u64) -> &mut Self {
        self.shifted(index, 0, 0)
    }

    fn shifted(&mut self, index: u64, sequences: i64, units: i64) -> &mut Self {
        let payload = self.packets[index as usize % self.packets.len()].clone();
        self.raw(index, sequences, units, &payload)
    }

    fn raw(&mut self, index: u64, sequences: i64, units: i64, payload: &[u8]) -> &mut Self {
        let sequence = FIRST_SEQUENCE.wrapping_add((index as i64 + sequences) as u16);
        let timestamp = FIRST_TIMESTAMP.wrapping_add((index as i64 * 960 + units) as u32);
        let now = Time::from_millis(self.now_ms);
        self.uplink.receive(now, sequence, timestamp, payload, &mut |frame| self.recorder.take(frame));
        self
    }

    fn skip(&mut self, index: u64, sequences: i64) -> &mut Self {
        let sequence = FIRST_SEQUENCE.wrapping_add((index as i64 + sequences) as u16);
        let now = Time::from_millis(self.now_ms);
        self.uplink.skip(now, sequence, &mut |frame| self.recorder.take(frame));
        self
    }

    /// Milliseconds forwarded: received, concealed, silence.
    fn expect(&mut self, received: usize, concealed: usize, silence: usize) -> &mut Self {
        let of = |source| self.recorder.of(source) as f64 / 24.0;
        let got = (of(FrameSource::Received), of(FrameSource::Concealed), of(FrameSource::Silence));
        assert_eq!(
            got,
            (received as f64, concealed as f64, silence as f64),
            "received, concealed, silence at {} ms",
            self.now_ms
        );
        let statistics = self.statistics();
        assert_eq!(statistics.received_ms, received as u64);
        assert_eq!(statistics.concealed_ms, concealed as u64);
        assert_eq!(statistics.silence_ms, silence as u64);
        self
    }

    fn statistics(&self) -> UplinkStatistics {
        self.uplink.statistics()
    }

    /// Packets: received, lost, late, duplicate, discarded.
    fn expect_packets(&mut self, expect: [u64; 5]) -> &mut Self {
        let statistics = self.statistics();
        let got = [
            statistics.packets_received,
            statistics.packets_lost,
            statistics.packets_late,
            statistics.packets_duplicate,
            statistics.packets_discarded,
        ];
        assert_eq!(got, expect, "received, lost, late, duplicate, discarded at {} ms", self.now_ms);
        self
    }
}

#[test]
fn in_order_is_forwarded_at_once() {
    let mut bench = Bench::new();
    for index in 0..150 {
        bench.at(index * 20 + 20).packet(index).expect(index as usize * 20 + 20, 0, 0);
    }
    bench.expect_packets([150, 0, 0, 0, 0]);
    assert_eq!(bench.statistics().jitter_ms, 0);
}

#[test]
fn nothing_is_forwarded_before_the_start() {
    let mut uplink = Uplink::new().unwrap();
    let packets = encode(&speech(200), 20, EncoderSettings::default());
    for (index, packet) in packets.iter().enumerate() {
        let now = Time::from_millis(index as u64 * 20);
        uplink.receive(now, index as u16, index as u32 * 960, packet, &mut |_| panic!("not started"));
        uplink.poll(now, &mut |_| panic!("not started"));
        assert_eq!(uplink.deadline(), None);
    }
    assert_eq!(uplink.statistics().packets_received, 10);
    uplink.start(Time::from_millis(200));
    let mut forwarded = 0;
    uplink.receive(Time::from_millis(200), 10, 9_600, &packets[0], &mut |frame| forwarded += frame.pcm.len());
    assert_eq!(forwarded, 480);
}

#[test]
fn silence_runs_by_the_wall_clock_before_the_first_packet() {
    let mut bench = Bench::new();
    bench.at(55).expect(0, 0, 0);
    assert_eq!(bench.uplink.deadline(), Some(Time::from_millis(60)));
    bench.at(60).expect(0, 0, 20).at(1_000).expect(0, 0, 960);
    bench.packet(0).expect(20, 0, 960);
}

#[test]
fn a_stream_that_stops_is_concealed_then_silent() {
    let mut bench = Bench::new();
    bench.in_time(0..50).expect(1_000, 0, 0);
    // The last one came at 1000 ms.
    bench.at(1_055).expect(1_000, 0, 0).at(1_060).expect(1_000, 20, 0);
    bench.at(1_140).expect(1_000, 100, 0).at(1_160).expect(1_000, 100, 20).at(3_000).expect(1_000, 100, 1_860);
    let concealed = &bench.recorder.pcm[24_000..26_400];
    let level = |pcm: &[i16]| voicebridge_audio::level::rms_dbfs(pcm);
    assert!(level(&concealed[..480]) > level(&concealed[1_920..]) + 10.0, "fades");
    let step = bench.recorder.pcm[26_395..26_405].windows(2).map(|pair| (pair[0] - pair[1]).abs()).max();
    assert!(step < Some(200), "ends without a click: {step:?}");
}

#[test]
fn a_sender_that_resumes_on_its_clock_loses_nothing() {
    // Quiet from 1000 ms on, by DTX: timestamps go on, sequence numbers do not.
    for pause in [1, 2, 3, 4, 7, 20, 50, 500] {
        let mut bench = Bench::new();
        bench.in_time(0..50);
        let index = 50 + pause;
        bench.at(index * 20 + 20).shifted(index, -(pause as i64), 0);
        let total = bench.recorder.samples() / 24;
        assert_eq!(total as u64, index * 20 + 20, "after {pause} packets");
        assert_eq!(bench.statistics().received_ms, 1_020);
        bench.expect_packets([51, 0, 0, 0, 0]);
        // A short pause is over before the wall clock takes over, and nothing is taken for lost.
        if pause < 2 {
            bench.expect(1_020, 0, pause as usize * 20);
        }
        // And back without delay.
        bench.at(index * 20 + 40).shifted(index + 1, -(pause as i64), 0);
        assert_eq!(bench.recorder.samples() as u64 / 24, index * 20 + 40);
    }
}

#[test]
fn loss_is_concealed_at_once_while_nothing_is_reordered() {
    let mut bench = Bench::new();
    bench.in_time(0..50).in_time(51..52).expect(1_020, 20, 0);
    bench.in_time(54..60).expect(1_140, 60, 0).expect_packets([57, 3, 0, 0, 0]);
}

#[test]
fn a_long_loss_fades_to_silence() {
    let mut bench = Bench::new();
    bench.in_time(0..50).in_time(65..70);
    bench.expect(1_100, 100, 200).expect_packets([55, 15, 0, 0, 0]);
}

#[test]
fn fec_fills_the_last_lost_packet() {
    let mut bench = Bench::with(EncoderSettings {
        fec: true,
        expected_loss_percent: 25,
        bitrate_bps: 24_000,
        ..Default::default()
    });
    let carries = |bench: &Bench, index: usize| {
        voicebridge_audio::opus::Packet::parse(&bench.packets[index]).unwrap().carries_fec()
    };
    let next = (52..150).find(|&index| carries(&bench, index)).unwrap() as u64;
    bench.in_time(0..next - 2).in_time(next..next + 1);
    bench.expect(next as usize * 20, 20, 0);
    assert_eq!(bench.statistics().recovered_ms, 20);
    bench.expect_packets([next - 1, 2, 0, 0, 0]);
}

#[test]
fn the_wait_for_reordered_packets_is_learned_and_forgotten() {
    let mut bench = Bench::new();
    bench.in_time(0..50);
    // 51 overtakes 50 by 10 ms: too late this once, but remembered.
    bench.at(1_030).packet(51).expect(1_020, 20, 0).at(1_040).packet(50);
    bench.expect_packets([51, 0, 1, 0, 0]);
    assert_eq!(bench.statistics().reorder_window_ms, 15);
    bench.in_time(52..60);
    // Again: this time it is waited for, and forwarded in order.
    bench.at(1_230).packet(61).expect(1_180, 20, 0);
    assert_eq!(bench.uplink.deadline(), Some(Time::from_millis(1_245)));
    bench.at(1_240).packet(60).expect(1_220, 20, 0).expect_packets([61, 0, 1, 0, 0]);
    // A packet that does not come at all costs the wait once, and no delay stays.
    bench.at(1_280).packet(63).at(1_290).expect(1_220, 20, 0);
    bench.at(1_295).expect(1_240, 40, 0).at(1_300).packet(64).expect(1_260, 40, 0);
    bench.in_time(65..1_165);
    assert_eq!(bench.statistics().reorder_window_ms, 0, "forgotten after 20 s");
    bench.expect(1_260 + 1_100 * 20, 40, 0);
}

#[test]
fn overtaking_by_long_is_not_waited_for() {
    let mut bench = Bench::new();
    bench.in_time(0..50).in_time(51..60).packet(50);
    bench.expect_packets([59, 0, 1, 0, 0]);
    assert_eq!(bench.statistics().reorder_window_ms, 0, "200 ms are not worth it");
}

#[test]
fn duplicates_are_dropped() {
    let mut bench = Bench::new();
    bench.in_time(0..50).packet(49).packet(48).packet(10).in_time(50..51).packet(49);
    bench.expect(1_020, 0, 0).expect_packets([51, 0, 0, 4, 0]);
}

#[test]
fn a_frozen_network_leaves_no_delay() {
    let mut bench = Bench::new();
    bench.in_time(0..50);
    // Packets 50 to 74 all come at 1500 ms, when the wall clock had already filled up to 440 ms.
    bench.at(1_495).expect(1_000, 100, 340).at(1_500).expect(1_000, 100, 360);
    (50..75).for_each(|index| {
        bench.packet(index);
    });
    bench.expect(1_040, 100, 360).expect_packets([52, 0, 23, 0, 0]);
    bench.in_time(75..80).expect(1_140, 100, 360);
}

#[test]
fn a_route_that_becomes_longer_costs_its_difference_once() {
    let mut bench = Bench::new();
    bench.in_time(0..50);
    // From here on everything takes 200 ms more.
    for index in 50..100 {
        bench.at(index * 20 + 220).packet(index);
    }
    // Filled from 1060 to 1220 ms: 180 ms. Packets 50 to 58 are late, and from then on none is.
    bench.expect(1_000 + 41 * 20, 100, 80).expect_packets([91, 0, 9, 0, 0]);
}

#[test]
fn of_a_packet_whose_time_is_partly_gone_the_rest_is_forwarded() {
    let mut uplink = Uplink::new().unwrap();
    let mut recorder = Recorder::default();
    let packets = encode(&speech(1_200), 60, EncoderSettings::default());
    uplink.start(Time::ZERO);
    uplink.receive(Time::from_millis(60), 0, 0, &packets[0], &mut |frame| recorder.take(frame));
    assert_eq!(recorder.samples(), 1_440);
    // With packets of 60 ms the next is due at 120 ms; nothing is made up before it is 40 ms overdue.
    assert_eq!(uplink.deadline(), Some(Time::from_millis(160)));
    uplink.poll(Time::from_millis(160), &mut |frame| recorder.take(frame));
    assert_eq!(recorder.samples(), 1_920);
    uplink.receive(Time::from_millis(165), 1, 2_880, &packets[1], &mut |frame| recorder.take(frame));
    assert_eq!(recorder.samples(), 2_880);
    assert_eq!((recorder.of(FrameSource::Concealed), recorder.of(FrameSource::Received)), (480, 2_400));
}

#[test]
fn a_timestamp_ahead_is_filled_up_to_ten_seconds() {
    let mut bench = Bench::new();
    bench.in_time(0..50).at(1_020).shifted(50, 0, 10_000 * 48);
    bench.expect(1_020, 0, 10_000).expect_packets([51, 0, 0, 0, 0]);
    assert_eq!(bench.statistics().reanchored, 0);
}

#[test]
fn a_timestamp_far_ahead_is_another_clock() {
    let mut bench = Bench::new();
    let far = 10_001 * 48;
    bench.in_time(0..50).at(1_020).shifted(50, 0, far).expect(1_000, 0, 0);
    bench.at(1_040).shifted(51, 0, far).expect(1_000, 0, 0);
    bench.at(1_060).shifted(52, 0, far).expect(1_020, 20, 0).expect_packets([51, 0, 0, 0, 2]);
    assert_eq!(bench.statistics().reanchored, 1);
    bench.at(1_080).shifted(53, 0, far).expect(1_040, 20, 0);
}

#[test]
fn another_stream_is_followed_when_it_agrees_with_itself() {
    for (sequences, units) in [(30_000, 5_000_000), (-20_000, 0), (0, -3_000 * 48), (5_000, -1 << 30), (-50, 1 << 29)] {
        let mut bench = Bench::new();
        bench.in_time(0..80);
        for index in 80..83 {
            bench.at(index * 20 + 20).shifted(index, sequences, units);
        }
        assert_eq!(bench.statistics().reanchored, 1, "{sequences} {units}");
        let before = bench.recorder.samples();
        for index in 83..100 {
            bench.at(index * 20 + 20).shifted(index, sequences, units);
        }
        assert_eq!(bench.recorder.samples() - before, 17 * 480, "{sequences} {units}: at once from here on");
        assert_eq!(bench.statistics().packets_received, 98, "{sequences} {units}");
    }
}

#[test]
fn stray_packets_do_not_steal_the_clock() {
    let strays: [fn(&mut Bench, u64); 4] = [
        |bench, index| {
            bench.shifted(index, 20_000, 1 << 30);
        },
        |bench, index| {
            bench.shifted(index, 20_000, 0);
        },
        |bench, index| {
            bench.shifted(index, -10_000, -(1 << 30));
        },
        |bench, index| {
            bench.shifted(index, -40, 1 << 30);
        },
    ];
    for (which, stray) in strays.into_iter().enumerate() {
        let mut bench = Bench::new();
        bench.in_time(0..50);
        for index in 50..100 {
            bench.at(index * 20 + 20).packet(index);
            stray(&mut bench, index);
        }
        bench.expect(2_000, 0, 0);
        assert_eq!(bench.statistics().reanchored, 0, "stray {which}");
        assert_eq!(bench.statistics().packets_received, 100, "stray {which}");
    }
}

#[test]
fn a_burst_after_a_long_outage_is_not_another_clock() {
    let mut bench = Bench::new();
    bench.in_time(0..50).at(6_000);
    // Five seconds of packets at once: all but the last few are more than two seconds late.
    for index in 50..300 {
        bench.packet(index);
    }
    assert_eq!(bench.statistics().reanchored, 0);
    assert_eq!(bench.recorder.samples() / 24, 6_000);
    bench.in_time(300..310);
    assert_eq!(bench.recorder.samples() / 24, 6_200);
    assert_eq!(bench.statistics().packets_lost, 0);
}

#[test]
fn packets_without_audio_are_no_loss() {
    let mut bench = Bench::new();
    bench.in_time(0..50);
    // Padding, then telephone-events, share the sequence numbers and take no time.
    bench.at(1_010).raw(50, 0, -960, &[]).skip(51, 0).skip(52, 0);
    bench.at(1_020).shifted(50, 3, 0).expect(1_020, 0, 0);
    bench.at(1_040).shifted(51, 3, 0).expect(1_040, 0, 0).expect_packets([52, 0, 0, 0, 1]);
}

#[test]
fn spoilt_packets_are_loss() {
    let mut bench = Bench::new();
    bench.in_time(0..50).at(1_020).raw(50, 0, 0, &[0xFF; 1_600]).at(1_040).packet(51);
    bench.expect(1_020, 20, 0).at(1_060).raw(52, 0, 0, &[0b11]).at(1_080).packet(53);
    bench.expect(1_040, 40, 0).expect_packets([52, 0, 0, 0, 2]);
}

#[test]
fn a_gap_waits_for_a_bounded_number_of_packets() {
    let mut bench = Bench::new();
    bench.in_time(0..50);
    bench.at(1_020).packet(51).at(1_058).packet(50);
    assert_eq!(bench.statistics().reorder_window_ms, 40);
    // 52 is missing and nine seconds of packets come at once.
    for index in 53..500 {
        bench.packet(index);
    }
    let total = bench.recorder.samples() / 24;
    assert_eq!(total, 10_000);
    bench.expect_packets([498, 1, 1, 0, 0]);
}

#[test]
fn quiet_packets_of_a_dtx_sender_are_audio() {
    let mut bench = Bench::with(EncoderSettings { dtx: true, ..EncoderSettings::default() });
    bench.in_time(0..50);
    // One byte: the frame is not transmitted (RFC 6716, section 3.2.1). It lasts as long as the others.
    let toc = bench.packets[50][..1].to_vec();
    bench.at(1_020).raw(50, 0, 0, &toc).expect(1_020, 0, 0).at(1_040).packet(51).expect(1_040, 0, 0);
}

/// Spans taken: kind, start and length in milliseconds.
fn spans(bench: &mut Bench) -> Vec<(SpanKind, u64, u64)> {
    std::iter::from_fn(|| bench.uplink.next_span())
        .map(|span| (span.kind, span.start_samples / 24, span.samples / 24))
        .collect()
}

#[test]
fn what_is_not_the_senders_audio_is_marked() {
    use SpanKind::{Concealed, Missing, Quiet};
    let mut bench = Bench::new();
    // Two packets lost, at 1000 ms of audio.
    bench.in_time(0..50).in_time(52..60);
    assert_eq!(spans(&mut bench), [(Concealed, 1_000, 40)]);
    // Twelve lost: 100 ms made up, 140 ms silent.
    bench.in_time(72..80);
    assert_eq!(spans(&mut bench), [(Concealed, 1_200, 100), (Missing, 1_300, 140)]);
    // The sender is quiet for 600 ms: the wall clock makes up 100 ms before it can know.
    bench.at(110 * 20 + 20);
    assert_eq!(spans(&mut bench), [(Concealed, 1_600, 100)], "silence goes on and is not decided");
    bench.shifted(110, -30, 0);
    assert_eq!(spans(&mut bench), [(Quiet, 1_700, 500)]);
    assert_eq!(bench.statistics().missing_ms, 40 + 240, "a quiet sender's audio is not missing");
    // Thirty packets are held back: their time was given away to silence.
    for index in 111..120 {
        bench.at(index * 20 + 20).shifted(index, -30, 0);
    }
    bench.at(150 * 20 + 20);
    (120..151).for_each(|index| {
        bench.shifted(index, -30, 0);
    });
    let found = spans(&mut bench);
    assert_eq!(found[0], (Concealed, 2_400, 100));
    assert!(matches!(found[1], (Missing, 2_500, 440..=500)), "{found:?}");
    assert_eq!(bench.statistics().missing_ms, 40 + 240 + 100 + found[1].2);
    let of: fn(&UplinkStatistics) -> u64 = |statistics| statistics.concealed_ms + statistics.silence_ms;
    assert_eq!(of(&bench.statistics()), 40 + 240 + 600 + 100 + found[1].2);
}

#[test]
fn spans_nobody_takes_are_bounded() {
    let mut bench = Bench::new();
    bench.in_time(0..50);
    for index in (50..650).step_by(2) {
        bench.in_time(index + 1..index + 2);
    }
    assert_eq!(spans(&mut bench).len(), MAX_SPANS);
}
