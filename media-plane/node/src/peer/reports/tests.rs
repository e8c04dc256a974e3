//! The numbers of our RTCP reports, and what is read of the far side's, against RFC 3550.

#![allow(clippy::unwrap_used)]

use super::*;

const OURS: u32 = 0xfeed_5eed;
const THEIRS: u32 = 0x0ca1_1e40;
const NTP: u64 = 0xe9a1_0000 << 32;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A block about the packets with these sequence numbers, one every 20 ms.
fn block(sequences: &[u16]) -> Reception {
    let start = Instant::now();
    let mut reports = Reports::new(start, NTP, OURS, 48_000);
    for (step, sequence) in sequences.iter().enumerate() {
        reports.received(start + ms(20) * step as u32, THEIRS, *sequence, step as u32 * 960);
    }
    reports.sent(start, Timestamp::OfItsSlot(0), 1);
    reports.due(start + ms(20_000)).unwrap().reception.unwrap()
}

#[test]
fn losses_are_counted_as_the_rfc_does() {
    let check = |sequences: &[u16], lost: i32, fraction_lost: u8, highest: u32| {
        let block = block(sequences);
        assert_eq!((block.lost << 8) as i32 >> 8, lost, "{sequences:?}");
        assert_eq!((block.fraction_lost, block.highest, block.jitter), (fraction_lost, highest, 0), "{sequences:?}");
    };
    check(&[7], 0, 0, 7);
    check(&[7, 8, 9, 10], 0, 0, 10);
    check(&[7, 8, 10], 1, 64, 10);
    check(&[7, 10, 8, 9], 0, 0, 10);
    check(&[7, 8, 8, 8], -2, 0, 8);
    check(&[65_534, 65_535, 0, 1], 0, 0, 65_537);
    check(&[65_534, 1], 2, 128, 65_537);
    // A restart of the stream is no loss of thirty thousand.
    check(&[7, 8, 30_000, 30_001], 0, 0, 30_001);
}

#[test]
fn the_fraction_is_of_the_last_interval_and_silence_is_no_block() {
    let start = Instant::now();
    let mut reports = Reports::new(start, NTP, OURS, 48_000);
    reports.sent(start, Timestamp::OfItsSlot(0), 1);
    for sequence in [1, 3] {
        reports.received(start, THEIRS, sequence, 0);
    }
    let mut now = reports.deadline().unwrap();
    let first = reports.due(now).unwrap().reception.unwrap();
    assert_eq!((first.fraction_lost, first.lost), (85, 1));
    for sequence in [4, 5] {
        reports.received(now, THEIRS, sequence, 0);
    }
    now = reports.deadline().unwrap();
    let second = reports.due(now).unwrap().reception.unwrap();
    assert_eq!((second.fraction_lost, second.lost), (0, 1));
    now = reports.deadline().unwrap();
    assert_eq!(reports.due(now).unwrap().reception, None);
}

#[test]
fn jitter_follows_the_deviation() {
    let start = Instant::now();
    let mut reports = Reports::new(start, NTP, OURS, 48_000);
    reports.sent(start, Timestamp::OfItsSlot(0), 1);
    // Every second packet is 5 ms late: a deviation of 240 units each time.
    for step in 0..500_u32 {
        let late = ms(if step % 2 == 0 { 0 } else { 5 });
        reports.received(start + ms(20) * step + late, THEIRS, step as u16, step * 960);
    }
    let block = reports.due(start + ms(10_000)).unwrap().reception.unwrap();
    assert!((230..=240).contains(&block.jitter), "{block:?}");
}

#[test]
fn the_senders_numbers_are_exact() {
    let start = Instant::now();
    let mut reports = Reports::new(start, NTP, OURS, 48_000);
    assert_eq!(reports.deadline(), None, "nothing before the first packet");
    assert_eq!(reports.last(start), None);
    for step in 0..10_u32 {
        reports.sent(start + ms(20) * step, Timestamp::OfItsSlot((u32::MAX - 960).wrapping_add(step * 960)), 80);
    }
    assert_eq!(reports.due(start + ms(499)), None);
    let report = reports.due(start + ms(500)).unwrap();
    let sender = report.sender.unwrap();
    assert_eq!((sender.packets, sender.octets), (10, 800));
    assert_eq!(sender.ntp, NTP + (1 << 31));
    // 320 ms after the tenth packet.
    assert_eq!(sender.rtp, (u32::MAX - 960).wrapping_add(9 * 960 + 320 * 48));
    assert_eq!(report.reception, None);
}

/// All reports on a key carry the timestamp of its beginning (RFC 4733, section 2.3.1), whenever they are sent.
#[test]
fn a_key_being_sent_does_not_shift_the_senders_clock() {
    let start = Instant::now();
    let mut reports = Reports::new(start, NTP, OURS, 48_000);
    reports.sent(start, Timestamp::OfItsSlot(1_000), 80);
    for step in 1..8_u32 {
        reports.sent(start + ms(20) * step, Timestamp::OfAKey, 4);
    }
    let sender = reports.due(start + ms(500)).unwrap().sender.unwrap();
    assert_eq!((sender.packets, sender.octets), (8, 108));
    assert_eq!(sender.rtp, 1_000 + 500 * 48);
}

#[test]
fn reports_come_about_once_a_second_and_become_receiver_reports_in_silence() {
    let start = Instant::now();
    let mut reports = Reports::new(start, NTP, OURS, 48_000);
    reports.sent(start, Timestamp::OfItsSlot(0), 1);
    let mut times = vec![];
    let mut kinds = vec![];
    for _ in 0..100 {
        let now = reports.deadline().unwrap();
        times.push(now - start);
        kinds.push(reports.due(now).unwrap().sender.is_some());
    }
    assert_eq!(times[0], FIRST_INTERVAL);
    let gaps: Vec<u128> = times.windows(2).map(|pair| (pair[1] - pair[0]).as_millis()).collect();
    assert!(gaps.iter().all(|gap| (800..=1_200).contains(gap)), "{gaps:?}");
    assert!(gaps.windows(2).any(|pair| pair[0] != pair[1]), "spread");
    let mean = gaps.iter().sum::<u128>() / gaps.len() as u128;
    assert!((950..=1_050).contains(&mean), "{mean}");
    assert_eq!(kinds[..4], [true, true, false, false], "of a sender that sent nothing for two intervals");
}

#[test]
fn the_far_sides_reports_give_loss_and_round_trip() {
    let start = Instant::now();
    let mut reports = Reports::new(start, NTP, OURS, 48_000);
    reports.sent(start, Timestamp::OfItsSlot(0), 1);
    let sender = reports.due(start + ms(500)).unwrap().sender.unwrap();
    let block = Reception {
        ssrc: OURS,
        fraction_lost: 51,
        lost: 0xff_fffe,
        highest: 9,
        jitter: 96,
        last_sender_report: (sender.ntp >> 16) as u32,
        delay: 65_536 / 4,
    };
    let back = |block: Reception| reports.reception(start + ms(900), &block);
    assert_eq!(back(Reception { ssrc: 1, ..block }), None, "about somebody else");
    // Sent at 500, held for 250, back at 900.
    let seen = ReceiverReport { fraction_lost: 51, jitter_ms: 2, round_trip_ms: Some(150) };
    assert_eq!(back(block), Some(seen));
    let unseen = back(Reception { last_sender_report: 0, ..block });
    assert_eq!(unseen, Some(ReceiverReport { round_trip_ms: None, ..seen }));
    // Nonsense is no time travel.
    let nonsense = back(Reception { delay: u32::MAX / 3, ..block });
    assert_eq!(nonsense, Some(ReceiverReport { round_trip_ms: Some(0), ..seen }));
}

#[test]
fn their_sender_report_is_echoed_with_its_age() {
    let start = Instant::now();
    let mut reports = Reports::new(start, NTP, OURS, 48_000);
    reports.sent(start, Timestamp::OfItsSlot(0), 1);
    reports.received(start, THEIRS, 1, 0);
    reports.sender_report(start + ms(100), THEIRS + 1, u64::MAX);
    reports.sender_report(start + ms(250), THEIRS, 0x1234_5678_9abc_def0);
    let block = reports.due(start + ms(500)).unwrap().reception.unwrap();
    assert_eq!((block.last_sender_report, block.delay), (0x5678_9abc, 65_536 / 4));
}

#[test]
fn another_source_is_another_stream() {
    let start = Instant::now();
    let mut reports = Reports::new(start, NTP, OURS, 48_000);
    reports.sent(start, Timestamp::OfItsSlot(0), 1);
    reports.received(start, THEIRS, 1, 0);
    reports.received(start, THEIRS + 1, 40_000, 77);
    let block = reports.due(start + ms(500)).unwrap().reception.unwrap();
    assert_eq!((block.ssrc, block.lost, block.highest), (THEIRS + 1, 0, 40_000));
}
