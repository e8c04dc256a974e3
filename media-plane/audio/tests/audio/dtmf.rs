//! Keypad tones in and out.

use crate::common::{Numbers, cases};
use proptest::prelude::*;
use voicebridge_audio::{
    Time,
    dtmf::{BadEvent, KeysRefused, Pressed, Receiver, Sender},
};

/// A receiver, and what it gave so far.
struct Bench {
    receiver: Receiver,
    pressed: Vec<(char, u32)>,
}

impl Bench {
    fn new(rtp_clock_hz: u32) -> Self {
        Self { receiver: Receiver::new(rtp_clock_hz), pressed: Vec::new() }
    }

    fn report(&mut self, at_ms: u64, timestamp: u32, payload: [u8; 4]) {
        let mut sink = |pressed: Pressed| self.pressed.push((pressed.digit.as_char(), pressed.duration_ms));
        self.receiver.receive(Time::from_millis(at_ms), timestamp, &payload, &mut sink).unwrap();
    }

    fn event(&mut self, at_ms: u64, timestamp: u32, code: u8, end: bool, duration: u16) {
        let [high, low] = duration.to_be_bytes();
        self.report(at_ms, timestamp, [code, if end { 0x8A } else { 0x0A }, high, low]);
    }

    fn poll(&mut self, at_ms: u64) {
        let mut sink = |pressed: Pressed| self.pressed.push((pressed.digit.as_char(), pressed.duration_ms));
        self.receiver.poll(Time::from_millis(at_ms), &mut sink);
    }
}

#[test]
fn a_digit_is_given_once_with_its_duration() {
    // As WhatsApp sends it: timestamps at 48 kHz, durations at 8 kHz, the end three times.
    let mut bench = Bench::new(48_000);
    for (at_ms, duration) in [(0, 160), (20, 320), (40, 480), (60, 640)] {
        bench.event(at_ms, 960_000, 5, false, duration);
        assert_eq!(bench.pressed, []);
    }
    for at_ms in [80, 100, 120] {
        bench.event(at_ms, 960_000, 5, true, 800);
        assert_eq!(bench.pressed, [('5', 100)]);
    }
    bench.poll(10_000);
    assert_eq!(bench.pressed, [('5', 100)]);
    let statistics = bench.receiver.statistics();
    assert_eq!((statistics.digits, statistics.packets, statistics.bad, statistics.unended), (1, 7, 0, 0));
    assert_eq!(bench.receiver.deadline(), None);
}

#[test]
fn the_same_key_twice_is_two_digits() {
    let mut bench = Bench::new(48_000);
    bench.event(0, u32::MAX - 500, 7, false, 160);
    bench.event(80, u32::MAX - 500, 7, true, 800);
    bench.event(200, 9_100, 7, false, 160);
    bench.event(280, 9_100, 7, true, 800);
    // Late copies of either, and of one before both.
    bench.event(300, u32::MAX - 500, 7, true, 800);
    bench.event(310, 9_100, 7, true, 800);
    bench.event(320, u32::MAX - 50_000, 3, true, 800);
    assert_eq!(bench.pressed, [('7', 100), ('7', 100)], "across the wrap of the timestamp");
}

#[test]
fn one_report_is_enough() {
    let check = |feed: fn(&mut Bench), expect: &[(char, u32)]| {
        let mut bench = Bench::new(48_000);
        feed(&mut bench);
        assert_eq!(bench.pressed, expect);
    };
    check(|bench| bench.event(0, 1_000, 11, true, 800), &[('#', 100)]);
    check(
        |bench| {
            bench.event(0, 1_000, 1, false, 320);
            assert_eq!(bench.receiver.deadline(), Some(Time::from_millis(200)));
            bench.poll(199);
            assert_eq!(bench.pressed, []);
            bench.poll(200);
            // It does go on after all: late, and not another digit.
            bench.event(210, 1_000, 1, true, 800);
            assert_eq!(bench.receiver.statistics().unended, 1);
        },
        &[('1', 40)],
    );
    check(
        |bench| {
            bench.event(0, 1_000, 1, false, 320);
            bench.event(150, 9_000, 2, true, 480);
        },
        &[('1', 40), ('2', 60)],
    );
}

#[test]
fn reordered_reports_do_not_shorten_a_digit() {
    let mut bench = Bench::new(8_000);
    bench.event(0, 5_000, 4, false, 480);
    bench.event(5, 5_000, 4, false, 160);
    bench.event(10, 5_000, 4, false, 640);
    bench.event(100, 5_000, 4, true, 640);
    // The next digit's first report overtakes the last end of this one.
    bench.event(200, 6_600, 9, false, 160);
    bench.event(201, 5_000, 4, true, 640);
    bench.event(220, 6_600, 9, true, 320);
    assert_eq!(bench.pressed, [('4', 80), ('9', 40)]);
}

#[test]
fn a_long_press_in_segments_is_one_digit() {
    let mut bench = Bench::new(48_000);
    let segment = 0xFFFF * 6;
    let first = u32::MAX - 20_000u32;
    for step in 1..=409u16 {
        bench.event(u64::from(step) * 20, first, 0, false, step * 160);
    }
    bench.event(8_200, first, 0, false, u16::MAX);
    for step in 1..=39u16 {
        bench.event(8_200 + u64::from(step) * 20, first.wrapping_add(segment), 0, false, step * 160);
    }
    bench.event(9_000, first.wrapping_add(segment), 0, true, 6_400);
    bench.event(9_020, first.wrapping_add(segment), 0, true, 6_400);
    assert_eq!(bench.pressed, [('0', 8_991)]);
}

#[test]
fn another_clock_is_followed() {
    let mut bench = Bench::new(48_000);
    bench.event(0, 3_000_000_000, 1, true, 800);
    bench.event(5_000, 1_000_000_000, 2, true, 800);
    assert_eq!(bench.pressed, [('1', 100), ('2', 100)]);
}

#[test]
fn bad_payloads_are_counted() {
    let mut receiver = Receiver::new(48_000);
    let mut check = |payload: &[u8], expect: BadEvent| {
        assert_eq!(receiver.receive(Time::ZERO, 1, payload, &mut |_| panic!("no digit")), Err(expect));
    };
    check(&[], BadEvent::Length { bytes: 0 });
    check(&[1, 2, 3], BadEvent::Length { bytes: 3 });
    check(&[1; 8], BadEvent::Length { bytes: 8 });
    check(&[36, 0x80, 0, 0], BadEvent::NotAKey { code: 36 });
    assert_eq!(receiver.statistics().bad, 4);
    assert_eq!(receiver.statistics().packets, 0);
}

#[test]
fn digits_out_are_as_the_rfc_has_them() {
    let mut sender = Sender::new(48_000);
    assert!(sender.is_idle() && sender.next(0).is_none());
    sender.push("1#").unwrap();
    let slots: Vec<_> = (0..25u32).map(|slot| sender.next((u32::MAX - 959).wrapping_add(slot * 960))).collect();
    let first: Vec<_> = slots[..7].iter().map(|slot| slot.unwrap()).collect();
    for (index, packet) in first.iter().enumerate() {
        assert_eq!(packet.timestamp, u32::MAX - 959, "all under the first slot's timestamp");
        assert_eq!(packet.marker, index == 0);
        let units = (index as u16 + 1).min(5) * 160;
        let end = if index >= 4 { 0x80 } else { 0 };
        assert_eq!(packet.payload, [1, end | 10, (units >> 8) as u8, units as u8], "slot {index}");
    }
    assert!(slots[7..10].iter().all(Option::is_none), "a pause");
    let second = slots[10].unwrap();
    assert!(second.marker && second.payload[0] == 11 && second.timestamp == (u32::MAX - 959).wrapping_add(9_600));
    assert!(slots[17..].iter().all(Option::is_none));
    assert!(sender.is_idle());
}

#[test]
fn slots_that_were_never_sent_are_part_of_a_digits_length() {
    // Reports as (milliseconds since the digit began, their duration, whether they end it), with slots left out.
    let check = |clock: u32, left_out: std::ops::Range<u32>, expect: &[(u32, u16, bool)]| {
        let mut sender = Sender::new(clock);
        sender.push("5").unwrap();
        let sent = (0..60u32).filter(|slot| !left_out.contains(slot));
        let reports: Vec<_> = sent
            .filter_map(|slot| {
                let packet = sender.next(7 + slot * clock / 50)?;
                assert_eq!((packet.timestamp, packet.marker), (7, slot == 0));
                let [_, flags, high, low] = packet.payload;
                Some((slot * 20, u16::from_be_bytes([high, low]), flags & 0x80 != 0))
            })
            .collect();
        assert_eq!(reports, expect, "without {left_out:?}");
        assert!(sender.is_idle());
    };
    let ends = |at: [u32; 3]| at.map(|ms| (ms, 800, true));
    for clock in [8_000, 48_000] {
        check(clock, 1..3, &[&[(0, 160, false), (60, 640, false)][..], &ends([80, 100, 120])].concat());
        check(clock, 2..40, &[&[(0, 160, false), (20, 320, false)][..], &ends([800, 820, 840])].concat());
        let whole = [(0, 160, false), (20, 320, false), (40, 480, false), (60, 640, false)];
        check(clock, 5..30, &[&whole[..], &ends([80, 600, 620])].concat());
    }
}

#[test]
fn what_cannot_be_sent_is_refused_whole() {
    let mut sender = Sender::new(48_000);
    assert_eq!(sender.push("12x"), Err(KeysRefused::NotAKey('x')));
    assert!(sender.is_idle());
    sender.push(&"1".repeat(60)).unwrap();
    assert_eq!(sender.push("12345"), Err(KeysRefused::Full { waiting: 60, offered: 5 }));
    sender.push("").unwrap();
    sender.clear();
    assert!(sender.is_idle());
}

proptest! {
    #![proptest_config(cases(200, "proptest-regressions/dtmf.txt"))]

    /// What one side sends the other side gives, if of every digit one report comes through, whatever happens to the
    /// others.
    #[test]
    fn digits_survive_a_bad_network(digits in "[0-9*#A-D]{1,20}", seed in any::<u64>(), first in any::<u32>(), clock in prop::sample::select(vec![8_000u32, 48_000])) {
        let mut numbers = Numbers::new(seed);
        let mut sender = Sender::new(clock);
        sender.push(&digits).unwrap();
        let mut arrivals = Vec::new();
        for slot in 0..digits.len() as u32 * 10 {
            let Some(packet) = sender.next(first.wrapping_add(slot * clock / 50)) else { continue };
            let last = slot % 10 == 6;
            let sent_ms = u64::from(slot) * 20;
            // Jitter below the pause, so that digits stay apart; the last end report always comes.
            if last || !numbers.chance(60) {
                arrivals.push((sent_ms + numbers.below(30), packet));
            }
            if numbers.chance(10) {
                arrivals.push((sent_ms + numbers.below(30), packet));
            }
        }
        arrivals.sort_by_key(|(at_ms, _)| *at_ms);
        let mut bench = Bench::new(clock);
        for (at_ms, packet) in arrivals {
            bench.report(at_ms, packet.timestamp, packet.payload);
        }
        let given: String = bench.pressed.iter().map(|(digit, _)| *digit).collect();
        prop_assert_eq!(given, digits);
        prop_assert!(bench.pressed.iter().all(|&(_, duration_ms)| (20..=100).contains(&duration_ms)));
    }

    #[test]
    fn hostile_reports_are_survived(packets in prop::collection::vec((0u64..300, any::<u32>(), prop::collection::vec(any::<u8>(), 0..6)), 0..100)) {
        let mut receiver = Receiver::new(48_000);
        let (mut now_ms, mut given) = (0, 0);
        for (after_ms, timestamp, payload) in packets {
            now_ms += after_ms;
            let _ = receiver.receive(Time::from_millis(now_ms), timestamp, &payload, &mut |_| given += 1);
        }
        receiver.poll(Time::from_millis(now_ms + 1_000), &mut |_| given += 1);
        prop_assert_eq!(receiver.statistics().digits, given);
        prop_assert!(given <= receiver.statistics().packets);
    }
}
