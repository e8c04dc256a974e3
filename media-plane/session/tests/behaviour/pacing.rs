//! One packet for every 20 ms slot, one numbering, and silence that costs nothing.

use voicebridge_session::{EventKind, Limits};

use crate::harness::{Start, World, audio_delta, response_created, speech_started};

fn check_numbering(world: &World) {
    for pair in world.ports.rtp.windows(2) {
        assert_eq!(pair[1].sequence, pair[0].sequence.wrapping_add(1));
        assert_eq!(pair[1].timestamp, pair[0].timestamp.wrapping_add(960));
    }
}

#[test]
fn a_minute_of_packets_without_a_gap() {
    let mut world = World::active();
    for second in 0..60 {
        if second % 7 == 0 {
            let id = second.to_string();
            world.reply(&format!("R{id}"), &format!("A{id}"), "words", 3_000);
        }
        world.caller_speaks_ms(1_000);
    }
    assert_eq!(world.ports.rtp.len(), 3_001);
    check_numbering(&world);
    assert!(world.ports.rtp.windows(2).all(|pair| pair[1].at_ms - pair[0].at_ms == 20));
    assert_eq!(world.session.statistics().longest_send_gap_ms, 20);
    assert_eq!(world.session.statistics().packets_sent, 3_001);
    assert_eq!(world.session.statistics().underruns, 0);
}

#[test]
fn a_short_stall_is_made_up_for() {
    let mut world = World::active();
    world.run_ms(100);
    let sent = world.ports.rtp.len();
    world.stall_ms(60);
    assert_eq!(world.ports.rtp.len() - sent, 3);
    world.run_ms(100);
    check_numbering(&world);
    assert_eq!(world.session.statistics().longest_send_gap_ms, 60);
}

/// RFC 3550, section 5.1: the timestamp reflects the sampling instant. Numbers name what was sent, and nothing was.
#[test]
fn after_a_long_stall_timestamps_are_on_the_wall_clock_and_numbers_go_on() {
    let mut world = World::active();
    world.reply("R1", "A1", "words", 5_000);
    world.run_ms(100);
    let before = world.ports.rtp.len();
    world.stall_ms(2_000);
    let after = &world.ports.rtp[before..];
    assert_eq!(after.len(), 5, "no burst");
    assert_eq!(after.iter().map(|packet| packet.marker).collect::<Vec<_>>(), [true, false, false, false, false]);
    world.run_ms(1_000);
    let packets = &world.ports.rtp;
    assert!(packets.windows(2).all(|pair| pair[1].sequence == pair[0].sequence.wrapping_add(1)));
    let first = &packets[0];
    for packet in packets.iter().filter(|packet| packet.at_ms != packets[before].at_ms) {
        let (rtp_ms, wall_ms) = (packet.timestamp.wrapping_sub(first.timestamp) / 48, packet.at_ms - first.at_ms);
        assert_eq!(u64::from(rtp_ms), wall_ms, "at {} ms", packet.at_ms);
    }
    let statistics = world.session.statistics();
    assert_eq!((statistics.longest_send_gap_ms, statistics.played_ms), (2_000, 1_200), "nothing of the reply is lost");
}

#[test]
fn an_interruption_after_a_stall_counts_what_was_sent() {
    let mut world = World::active();
    world.reply("R1", "A1", "one two three four", 5_000);
    world.run_ms(480);
    world.stall_ms(3_000);
    world.run_ms(200);
    let played_ms = world.session.statistics().played_ms;
    world.server(&speech_started(3_000));
    world.run_ms(100);
    assert_eq!(world.barge_ins(), [(played_ms, 5_000)]);
    assert!((700..=800).contains(&played_ms), "{played_ms} ms: what the stall swallowed was not heard");
    let packets = &world.ports.rtp;
    let (first, last) = (&packets[0], packets.last().unwrap());
    assert_eq!(u64::from(last.timestamp.wrapping_sub(first.timestamp) / 48), last.at_ms - first.at_ms);
}

#[test]
fn silence_is_one_packet_repeated_and_is_silent() {
    let mut world = World::active();
    world.run_ms(5_000);
    let first = &world.ports.rtp[0].payload;
    assert!(world.ports.rtp.iter().all(|packet| packet.payload == *first));
    assert!(first.len() < 40, "{} bytes", first.len());
    let heard = world.heard(0);
    assert!(heard.iter().all(|sample| sample.unsigned_abs() < 40), "a click");
}

#[test]
fn speech_fades_into_silence_and_begins_with_a_marker() {
    let mut world = World::active();
    world.run_ms(200);
    let silence = world.ports.rtp[0].payload.clone();
    world.reply("R1", "A1", "word", 400);
    world.run_ms(2_000);
    world.reply("R2", "A2", "word", 400);
    world.run_ms(1_000);
    let markers = world.ports.rtp.iter().filter(|packet| packet.marker).count();
    assert_eq!(markers, 3, "the first packet and each talk spurt");
    assert_eq!(world.ports.rtp.last().unwrap().payload, silence);
    let tail = world.heard(0);
    assert!(voicebridge_audio::level::rms_dbfs(&tail[tail.len() - 4_800..]) < -60.0);
}

#[test]
fn a_reply_that_comes_slowly_is_played_with_pauses_and_no_gap_in_packets() {
    let mut world = World::active();
    world.server(&response_created("R1"));
    for _ in 0..10 {
        world.server(&audio_delta("R1", "A1", 60));
        world.run_ms(120);
    }
    check_numbering(&world);
    assert_eq!(world.session.statistics().played_ms, 600);
    assert!(world.session.statistics().underruns >= 5);
    assert_eq!(world.session.statistics().longest_send_gap_ms, 20);
}

#[test]
fn more_audio_than_fits_is_refused_once_and_reported_once() {
    let limits = Limits { playout_bytes: 48_000, ..Limits::default() };
    let mut world = World::active_with(Start { limits, ..Start::default() });
    world.server(&response_created("R1"));
    for _ in 0..5 {
        world.server(&audio_delta("R1", "A1", 900));
    }
    assert_eq!(world.incidents(), [("PLAYOUT_FULL", String::new())]);
    world.run_ms(2_000);
    assert_eq!(world.session.statistics().played_ms, 900, "what was queued is played");
}

#[test]
fn statistics_come_every_five_seconds_and_are_transient() {
    let mut world = World::active();
    world.caller_speaks_ms(16_000);
    let reports: Vec<_> =
        world.ports.events.iter().filter(|event| matches!(event.kind, EventKind::Statistics(_))).collect();
    assert_eq!(reports.len(), 3);
    assert!(reports.iter().all(|event| event.sequence == 0));
}
