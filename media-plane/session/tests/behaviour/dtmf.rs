//! Keys, both ways.

use voicebridge_session::{Agent, Command, EventKind};

use crate::harness::{DTMF, OPUS, Start, World, audio_delta, response_created, tool_call};

fn keys(world: &World) -> Vec<(char, u32)> {
    world
        .kinds()
        .filter_map(|kind| match kind {
            EventKind::DtmfReceived { digit, duration_ms } => Some((*digit, *duration_ms)),
            _ => None,
        })
        .collect()
}

/// What the AI was told, in order.
fn told(world: &World) -> Vec<String> {
    let items = world.requests("conversation.item.create");
    items.iter().map(|item| item["item"]["content"][0]["text"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn keys_are_reported_once_each_and_told_to_the_ai_together() {
    let mut world = World::active();
    world.caller_speaks_ms(200);
    for event in [1, 2, 3] {
        world.caller_presses(event);
        world.caller_speaks_ms(200);
    }
    assert_eq!(keys(&world), [('1', 100), ('2', 100), ('3', 100)]);
    assert!(told(&world).is_empty(), "more may follow");
    world.caller_speaks_ms(1_500);
    assert_eq!(told(&world), ["[caller pressed 123]"]);
    assert_eq!(world.requests("response.create").len(), 1);
    let statistics = world.session.statistics();
    assert_eq!((statistics.packets_lost, statistics.packets_discarded), (0, 0));
}

#[test]
fn a_key_interrupts_what_is_being_said_unless_the_agent_says_otherwise() {
    for (yaml, interrupts) in [("", true), ("dtmf:\n  interrupts: false\n", false)] {
        for barge_in in ["", "barge_in:\n  type: reversible\n"] {
            let agent = Agent::parse(&format!("{yaml}{barge_in}")).unwrap();
            let mut world = World::active_with(Start { agent, ..Start::default() });
            world.reply("R1", "A1", "Press one for orders, two for everything else.", 4_000);
            world.caller_speaks_ms(1_000);
            world.caller_presses(1);
            world.caller_speaks_ms(1_000);
            world.caller_presses(11);
            world.caller_speaks_ms(3_000);
            if interrupts {
                let [(heard_ms, 4_000)] = world.barge_ins()[..] else { panic!("{:?}", world.barge_ins()) };
                assert!((1_040..=1_120).contains(&heard_ms), "{heard_ms}");
                assert_eq!(world.requests("conversation.item.truncate")[0]["audio_end_ms"], heard_ms);
            } else {
                assert!(world.barge_ins().is_empty());
                assert!(!world.transcripts()[0].2, "said to its end");
            }
            assert_eq!(told(&world), ["[caller pressed 1#]"]);
        }
    }
}

#[test]
fn a_key_does_not_cut_the_last_words() {
    let mut world = World::active();
    world.server(&response_created("R1"));
    world.server(&audio_delta("R1", "A1", 2_000));
    world.server(&tool_call("R1", "end_call"));
    world.finish_reply("R1", "A1", "Goodbye.");
    world.run_ms(500);
    world.caller_presses(1);
    world.run_ms(3_000);
    assert_eq!(world.ending().1, "AGENT_HANGUP");
    assert_eq!(world.session.statistics().played_ms, 2_000);
}

#[test]
fn a_number_ends_with_its_hash() {
    let mut world = World::active();
    world.caller_presses(4);
    world.caller_presses(11);
    assert_eq!(told(&world), ["[caller pressed 4#]"]);
    world.caller_presses(10);
    world.run_ms(1_600);
    assert_eq!(told(&world), ["[caller pressed 4#]", "[caller pressed *]"]);
}

#[test]
fn a_key_whose_end_was_lost_is_given_after_a_while() {
    let mut world = World::active();
    world.rtp(DTMF, &[5, 10, 1, 64]);
    world.run_ms(199);
    assert!(keys(&world).is_empty());
    world.run_ms(1);
    assert_eq!(keys(&world), [('5', 40)]);
}

#[test]
fn what_is_no_report_on_a_key_is_counted() {
    let mut world = World::active();
    for payload in [&[][..], &[1, 2, 3], &[32, 0x8a, 1, 64], &[255; 200]] {
        world.rtp(DTMF, payload);
    }
    world.run_ms(1_000);
    assert!(keys(&world).is_empty());
    assert_eq!(world.session.statistics().packets_discarded, 4);
}

#[test]
fn keys_are_sent_in_the_slots_of_the_audio() {
    let mut world = World::active();
    world.run_ms(100);
    let sent = world.ports.rtp.len();
    world.command(Command::SendDtmf("1#".into()));
    world.run_ms(1_000);
    let packets = &world.ports.rtp[sent - 1..];
    for pair in packets.windows(2) {
        assert_eq!(pair[1].sequence, pair[0].sequence.wrapping_add(1), "one sequence");
        assert_eq!(pair[1].at_ms, pair[0].at_ms + 20, "one packet a slot");
    }
    let events: Vec<_> = packets.iter().filter(|packet| packet.payload_type == DTMF).collect();
    assert_eq!(events.len(), 14, "two keys of five reports and two repeated ends");
    let (one, hash) = events.split_at(7);
    for (event, code) in [(one, 1), (hash, 11)] {
        assert!(event.iter().all(|packet| packet.timestamp == event[0].timestamp && packet.payload[0] == code));
        let ends: Vec<bool> = event.iter().map(|packet| packet.payload[1] & 0x80 != 0).collect();
        assert_eq!(ends, [false, false, false, false, true, true, true]);
        let durations: Vec<u16> =
            event.iter().map(|packet| u16::from_be_bytes([packet.payload[2], packet.payload[3]])).collect();
        assert_eq!(durations, [160, 320, 480, 640, 800, 800, 800], "at 8 kHz");
        assert!(event[0].marker && !event[1].marker);
    }
    // 100 ms of key and 100 ms of pause, at 48 kHz.
    assert_eq!(hash[0].timestamp.wrapping_sub(one[0].timestamp), 9_600);
    let audio: Vec<_> = packets.iter().filter(|packet| packet.payload_type == OPUS).collect();
    assert_eq!(audio.last().unwrap().timestamp.wrapping_sub(packets[0].timestamp), 50 * 960, "one clock");
}

/// Of each key sent: its reports as `(duration, end)`, and its timestamp.
fn events_sent(world: &World) -> Vec<(u32, Vec<(u16, bool)>)> {
    let mut events: Vec<(u32, Vec<(u16, bool)>)> = Vec::new();
    for packet in world.ports.rtp.iter().filter(|packet| packet.payload_type == DTMF) {
        let report = (u16::from_be_bytes([packet.payload[2], packet.payload[3]]), packet.payload[1] & 0x80 != 0);
        match events.last_mut() {
            Some((timestamp, reports)) if *timestamp == packet.timestamp => reports.push(report),
            _ => events.push((packet.timestamp, vec![report])),
        }
    }
    events
}

/// RFC 4733, sections 2.3.5 and 2.5.1.4: a duration counts from the event's timestamp; its end is reported three times.
#[test]
fn a_stall_in_the_midst_of_a_key_neither_stretches_it_nor_shifts_the_clock() {
    for key_ms in [20, 60, 100, 160] {
        let mut world = World::active();
        world.run_ms(100);
        world.command(Command::SendDtmf("5#".into()));
        world.run_ms(key_ms);
        world.stall_ms(1_000);
        world.run_ms(1_000);
        let events = events_sent(&world);
        assert_eq!(events.len(), 2, "after {key_ms} ms: {events:?}");
        for (_, reports) in &events {
            assert!(reports.is_sorted(), "after {key_ms} ms: {events:?}");
            let ends: Vec<u16> = reports.iter().filter(|(_, end)| *end).map(|(duration, _)| *duration).collect();
            assert_eq!(ends, [800; 3], "after {key_ms} ms: {events:?}");
        }
        let markers = world.ports.rtp.iter().filter(|packet| packet.payload_type == DTMF && packet.marker).count();
        assert_eq!(markers, 2, "a marker is the beginning of a key (section 2.3.1)");
        let between = events[1].0.wrapping_sub(events[0].0) / 48;
        assert!(between >= 200, "after {key_ms} ms: {between} ms between the beginnings of two keys");
        let audio = |packet: &&crate::harness::Sent| packet.payload_type == OPUS;
        let (first, last) = (&world.ports.rtp[0], world.ports.rtp.iter().rfind(audio).unwrap());
        assert_eq!(u64::from(last.timestamp.wrapping_sub(first.timestamp) / 48), last.at_ms - first.at_ms);
        let gap = world.ports.rtp.windows(2).position(|pair| pair[1].at_ms - pair[0].at_ms > 900).unwrap();
        assert!(world.ports.rtp[gap + 1..].iter().find(audio).unwrap().marker, "the first audio after the gap");
    }
}

#[test]
fn a_reply_waits_while_keys_are_sent() {
    let mut world = World::active();
    world.reply("R1", "A1", "Fine.", 1_000);
    world.run_ms(300);
    world.command(Command::SendDtmf("12".into()));
    world.run_ms(2_000);
    assert_eq!(world.session.statistics().played_ms, 1_000);
    assert_eq!(world.session.statistics().underruns, 0);
}

#[test]
fn keys_that_cannot_be_sent_are_refused() {
    let mut world = World::ready();
    world.command(Command::SendDtmf("1".into()));
    world.accept();
    world.command(Command::SendDtmf("1x".into()));
    world.command(Command::SendDtmf("1".repeat(65)));
    world.run_ms(1_000);
    assert_eq!(world.incidents(), vec![("COMMAND_REFUSED", String::new()); 3]);
    assert!(world.ports.rtp.iter().all(|packet| packet.payload_type == OPUS));
}
