//! A call in G.711: agreed to when there is no Opus, on its own clock, and with all that a call in Opus can do.

use voicebridge_audio::g711::Law;
use voicebridge_session::{Command, EventKind};

use crate::harness::{DTMF, OFFER, Start, World, speech_started};

const LAWS: [(Law, u8, &str); 2] = [(Law::Mu, 0, "PCMU/8000"), (Law::A, 8, "PCMA/8000")];

/// The usual offer with this one codec in place of Opus.
pub(crate) fn offer(payload_type: u8, encoding: &str) -> String {
    let kept: Vec<&str> = OFFER.lines().filter(|line| !line.starts_with("a=fmtp:111")).collect();
    (kept.join("\r\n") + "\r\n")
        .replace("SAVPF 111", &format!("SAVPF {payload_type}"))
        .replace("a=rtpmap:111 opus/48000/2", &format!("a=rtpmap:{payload_type} {encoding}"))
}

fn start(payload_type: u8, encoding: &str) -> Start {
    Start { offer: offer(payload_type, encoding), ..Start::default() }
}

#[test]
fn both_laws_carry_both_ways_at_8_khz() {
    for (law, payload_type, encoding) in LAWS {
        let mut world = World::active_with(start(payload_type, encoding));
        let answered = world.kinds().find_map(|kind| match kind {
            EventKind::OfferAnswered { codec, .. } => Some(codec.clone()),
            _ => None,
        });
        assert_eq!(answered.as_deref(), Some(encoding));
        let before = world.ports.appends.len();
        world.caller_speaks_ms(1_000);
        let appended: usize = world.ports.appends[before..].iter().map(|(_, samples)| samples).sum();
        assert_eq!(appended, 24_000, "{law:?}: the AI gets 24 kHz, to the sample");
        let skip = world.ports.rtp.len();
        world.reply("R1", "A1", "Fine.", 1_000);
        world.run_ms(1_500);
        let packets = &world.ports.rtp[skip..];
        for pair in packets.windows(2) {
            assert_eq!(pair[1].timestamp.wrapping_sub(pair[0].timestamp), 160);
            assert_eq!(pair[1].at_ms, pair[0].at_ms + 20);
        }
        assert!(packets.iter().all(|packet| packet.payload_type == payload_type && packet.payload.len() == 160));
        assert!(packets.last().unwrap().payload.iter().all(|&byte| byte == law.silence()), "silence is silence");
        assert!((960..=1_040).contains(&world.voice_ms(skip)), "{} ms of voice", world.voice_ms(skip));
        let statistics = world.session.statistics();
        assert_eq!((statistics.received_ms, statistics.played_ms), (1_000, 1_000));
        assert_eq!((statistics.packets_lost, statistics.packets_discarded, statistics.jitter_ms), (0, 0, 0));
    }
}

#[test]
fn what_was_heard_is_counted_and_cut_as_ever() {
    let mut world = World::active_with(start(8, "PCMA/8000"));
    world.reply("R1", "A1", "One two three four.", 4_000);
    let playing = world.ports.now_ms;
    world.run_ms(1_000);
    world.server(&speech_started(100));
    let (heard_ms, received_ms) = world.barge_ins()[0];
    assert_eq!(received_ms, 4_000);
    assert!((900..=1_020).contains(&heard_ms), "{heard_ms} ms of the {} since", world.ports.now_ms - playing);
    assert_eq!(world.requests("conversation.item.truncate")[0]["audio_end_ms"], heard_ms);
    let skip = world.ports.rtp.len();
    world.run_ms(200);
    assert!(world.voice_ms(skip) <= 20, "silent at once");
}

#[test]
fn keys_go_both_ways_on_the_one_clock() {
    let mut world = World::active_with(start(0, "PCMU/8000"));
    world.caller_speaks_ms(200);
    for event in [1, 2] {
        world.caller_presses(event);
        world.caller_speaks_ms(200);
    }
    let pressed: Vec<(char, u32)> = world
        .kinds()
        .filter_map(|kind| match kind {
            EventKind::DtmfReceived { digit, duration_ms } => Some((*digit, *duration_ms)),
            _ => None,
        })
        .collect();
    assert_eq!(pressed, [('1', 100), ('2', 100)]);
    let sent = world.ports.rtp.len();
    world.command(Command::SendDtmf("1#".into()));
    world.run_ms(1_000);
    let events: Vec<_> = world.ports.rtp[sent..].iter().filter(|packet| packet.payload_type == DTMF).collect();
    assert_eq!(events.len(), 14);
    let durations: Vec<u16> =
        events[..7].iter().map(|packet| u16::from_be_bytes([packet.payload[2], packet.payload[3]])).collect();
    assert_eq!(durations, [160, 320, 480, 640, 800, 800, 800]);
    assert_eq!(events[7].timestamp.wrapping_sub(events[0].timestamp), 1_600, "200 ms at 8 kHz");
}

#[test]
fn packets_of_any_usual_length_are_taken() {
    for packet_ms in [10, 20, 30, 40, 60] {
        let mut world = World::active_with(start(8, "PCMA/8000"));
        let before: usize = world.ports.appends.iter().map(|(_, samples)| samples).sum();
        for _ in 0..1_200 / packet_ms {
            world.caller_sends_g711_ms(packet_ms);
        }
        let appended: usize = world.ports.appends.iter().map(|(_, samples)| samples).sum();
        assert_eq!(appended - before, 1_200 * 24, "{packet_ms} ms");
        let statistics = world.session.statistics();
        assert_eq!((statistics.packets_lost, statistics.packets_discarded), (0, 0), "{packet_ms} ms");
        assert_eq!((statistics.concealed_ms, statistics.silence_ms), (0, 0), "{packet_ms} ms");
    }
}

#[test]
fn what_is_not_the_codec_agreed_to_is_counted_and_skipped() {
    for (_, payload_type, encoding) in LAWS {
        let mut world = World::active_with(start(payload_type, encoding));
        world.caller_speaks_ms(200);
        let other_law = 8 - payload_type;
        let opus = [0x78; 60];
        for (strange, payload) in [(111, &opus[..]), (other_law, &[0x55; 160]), (13, &[60]), (9, &[0; 160])] {
            world.rtp(strange, payload);
        }
        // Of the codec, and yet none: nothing, and more than 120 ms.
        world.rtp(payload_type, &[]);
        world.rtp(payload_type, &[0x55; 1_400]);
        let statistics = world.session.statistics();
        assert_eq!(statistics.packets_discarded, 6, "{statistics:?}");
        assert_eq!(statistics.packets_lost, 0, "{statistics:?}");
        world.caller_speaks_ms(200);
        let after = world.session.statistics();
        assert_eq!((after.packets_discarded, after.packets_lost), (6, 0), "{after:?}");
        assert!(after.received_ms >= 380, "{after:?}");
        assert!(world.incidents().is_empty());
    }
}

#[test]
fn quality_is_that_of_a_telephone() {
    let mut world = World::active_with(start(8, "PCMA/8000"));
    for _ in 0..6 {
        world.caller_speaks_ms(1_000);
    }
    let quality = world.kinds().find_map(|kind| match kind {
        EventKind::Quality(quality) => Some(quality.clone()),
        _ => None,
    });
    let quality = quality.expect("a rating every 5 s");
    // ITU-T G.107.1: narrow band at its best is some 30 points of 129 below wide band.
    assert!((3.3..4.2).contains(&quality.uplink.mos), "{quality:?}");
    assert!((3.3..4.2).contains(&quality.downlink.mos), "{quality:?}");
}

#[test]
fn jumps_of_the_callers_numbers_are_followed_and_cost_no_time() {
    for start in [start(0, "PCMU/8000"), start(8, "PCMA/8000"), Start::default()] {
        let opus = start.offer == OFFER;
        let mut world = World::active_with(start);
        world.caller_speaks_ms(1_000);
        // A sequence number far off is another stream, and so is a timestamp an hour ahead or behind.
        for (sequence, seconds) in [(20_000, 0), (0, 3_600), (0, -3_600), (40_000, 60)] {
            world.caller_jumps(sequence, seconds);
            world.caller_speaks_ms(1_000);
        }
        let statistics = world.session.statistics();
        let appended: usize = world.ports.appends.iter().map(|(_, samples)| samples).sum();
        let passed_ms = world.ports.now_ms;
        let given_ms = appended as u64 / 24;
        assert!(given_ms.abs_diff(passed_ms) <= 400, "opus {opus}: {given_ms} of {passed_ms} ms");
        assert!(statistics.received_ms >= 4_400, "opus {opus}: {statistics:?}");
        let strays = statistics.packets_discarded + statistics.packets_late;
        assert!((1..=12).contains(&strays), "opus {opus}: until three agree: {statistics:?}");
        assert!(world.incidents().is_empty());
    }
}
