//! Who hears whom is a matrix: a recorder is a row more, and changes nothing for the others.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use voicebridge_audio::{
    level,
    opus::Decoder,
    playout::EndedItem,
    uplink::{Span, SpanKind},
};
use voicebridge_session::{CALLER, Gain, Input, LegId, LegPacket, MAX_ROWS, PacketSink, Party, Row, RowError};

use crate::harness::{World, audio_delta, response_created, speech_started};

/// A third leg: somebody who keeps the packets of both directions.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Tape>>);

#[derive(Default)]
struct Tape {
    /// Time of the call, payload.
    received: Vec<(u64, Vec<u8>)>,
    sent: Vec<(u64, Vec<u8>)>,
    heard: Vec<(u64, EndedItem)>,
    filled: Vec<Span>,
}

impl PacketSink for Recorder {
    fn packet(&mut self, at: Duration, packet: LegPacket<'_>) {
        let mut tape = self.0.lock().unwrap();
        let at_ms = at.as_millis() as u64;
        match packet {
            LegPacket::Received(packet) => tape.received.push((at_ms, packet.payload.to_vec())),
            LegPacket::Sent(packet) => tape.sent.push((at_ms, packet.payload.to_vec())),
        }
    }

    fn heard(&mut self, at: Duration, item: &EndedItem) {
        self.0.lock().unwrap().heard.push((at.as_millis() as u64, item.clone()));
    }

    fn filled(&mut self, span: &Span) {
        self.0.lock().unwrap().filled.push(*span);
    }
}

fn recorded(world: &mut World) -> Recorder {
    let recorder = Recorder::default();
    world.session.routing_mut().add(Row::Packets { leg: CALLER, sink: Box::new(recorder.clone()) }).unwrap();
    recorder
}

/// What a listener of these packets hears.
fn played(packets: &[(u64, Vec<u8>)]) -> Vec<i16> {
    let mut decoder = Decoder::new().unwrap();
    let mut frame = [0; 5_760];
    let decode = |(_, payload): &(u64, Vec<u8>)| {
        let samples = decoder.decode(payload, &mut frame).unwrap();
        frame[..samples].to_vec()
    };
    packets.iter().flat_map(decode).collect()
}

fn talk(world: &mut World) {
    world.run_ms(200);
    world.caller_speaks_ms(1_000);
    world.reply("R1", "A1", "Fine.", 1_000);
    world.caller_is_quiet_ms(1_000);
    world.server(&response_created("R2"));
    world.server(&audio_delta("R2", "A2", 3_000));
    world.caller_speaks_ms(1_000);
    world.server(&speech_started(3_200));
    world.caller_speaks_ms(500);
}

#[test]
fn a_recorder_gets_the_packets_of_both_directions_with_the_time_of_the_call() {
    let mut world = World::active();
    let recorder = recorded(&mut world);
    talk(&mut world);

    let tape = recorder.0.lock().unwrap();
    assert_eq!(tape.received.len(), 125, "2.5 s of voice");
    assert_eq!(tape.received[0].0, 200);
    assert!(level::rms_dbfs(&played(&tape.received)) > -30.0);
    let sent: Vec<_> = world.ports.rtp[1..].iter().map(|packet| (packet.at_ms, packet.payload.clone())).collect();
    assert_eq!(tape.sent, sent, "each packet as it left; the first had left before the row was there");
    let items: Vec<_> = tape.heard.iter().map(|(at, cut)| (*at, &*cut.item, cut.heard_samples / 24)).collect();
    let [(first_at, "A1", 1_000), (cut_at, "A2", heard_ms)] = items[..] else { panic!("{items:?}") };
    assert!((2_180..=2_240).contains(&first_at) && cut_at == 3_200, "{items:?}");
    assert!((900..=1_000).contains(&heard_ms), "no more than was heard: {heard_ms}");
    assert!(tape.filled.iter().any(|span| span.kind == SpanKind::Quiet && span.samples > 15_000), "{:?}", tape.filled);
}

#[test]
fn a_recorder_is_told_of_what_was_heard_when_the_call_ends_in_the_middle_of_it() {
    let mut world = World::active();
    let recorder = recorded(&mut world);
    world.reply("R1", "A1", "Fine.", 3_000);
    world.run_ms(1_000);
    world.input(Input::TransportFailed("consent expired"));
    let tape = recorder.0.lock().unwrap();
    let [(1_000, cut)] = &tape.heard[..] else { panic!("{:?}", tape.heard) };
    assert_eq!((&*cut.item, cut.received_samples), ("A1", 72_000));
    assert!((22_000..=24_500).contains(&cut.heard_samples), "{cut:?}");
}

#[test]
fn a_recorder_changes_nothing_for_the_others() {
    let mut plain = World::active();
    talk(&mut plain);
    let mut world = World::active();
    let _recorder = recorded(&mut world);
    talk(&mut world);
    let payloads = |world: &World| world.ports.rtp.iter().map(|packet| packet.payload.clone()).collect::<Vec<_>>();
    assert!(payloads(&plain) == payloads(&world) && plain.ports.appended == world.ports.appended);
    assert_eq!(plain.ports.events, world.ports.events);
}

#[test]
fn who_is_muted_is_not_heard_and_time_goes_on() {
    let mut world = World::active();
    let caller = |gain| Row::Samples { from: Party::Leg(CALLER), to: Party::Ai, gain };
    let muted = world.session.routing_mut().add(caller(Gain::MUTE)).unwrap();
    world.caller_speaks_ms(500);
    assert_eq!(world.ports.appends.len(), 25, "the AI's clock goes on");
    assert!(world.ports.appended.iter().all(|&byte| byte == 0));
    world.session.routing_mut().add(caller(Gain::factor(0.5))).unwrap();
    let skip = world.ports.appended.len();
    world.caller_speaks_ms(500);
    let half = level::rms_dbfs(&samples(&world.ports.appended[skip..]));
    world.session.routing_mut().add(caller(Gain::UNITY)).unwrap();
    let skip = world.ports.appended.len();
    world.caller_speaks_ms(500);
    let whole = level::rms_dbfs(&samples(&world.ports.appended[skip..]));
    assert!((5.5..=6.5).contains(&(whole - half)), "{whole} and {half} dBFS");
    assert!(world.session.routing_mut().remove(muted).is_none(), "another row took its place");

    let ai = Row::Samples { from: Party::Ai, to: Party::Leg(CALLER), gain: Gain::MUTE };
    let muted = world.session.routing_mut().add(ai).unwrap();
    let sent = world.ports.rtp.len();
    world.reply("R1", "A1", "Fine.", 500);
    world.run_ms(1_000);
    assert!(world.voice_ms(sent) == 0 && world.session.statistics().played_ms == 500);
    world.session.routing_mut().remove(muted).unwrap();
    world.reply("R2", "A2", "Fine.", 500);
    world.run_ms(1_000);
    assert_eq!(world.voice_ms(sent), 0, "without a row nothing is heard");
}

fn samples(bytes: &[u8]) -> Vec<i16> {
    bytes.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect()
}

#[test]
fn rows_that_lead_nowhere_and_too_many_are_refused() {
    let mut world = World::active();
    let routing = world.session.routing_mut();
    let nobody = LegId(7);
    let sink = || Box::new(Recorder::default());
    assert_eq!(routing.add(Row::Packets { leg: nobody, sink: sink() }), Err(RowError::NoSuchLeg(nobody)));
    let row = Row::Samples { from: Party::Ai, to: Party::Ai, gain: Gain::UNITY };
    assert_eq!(routing.add(row), Err(RowError::NoSuchPath(Party::Ai, Party::Ai)));
    for _ in 2..MAX_ROWS {
        routing.add(Row::Packets { leg: CALLER, sink: sink() }).unwrap();
    }
    assert_eq!(routing.add(Row::Packets { leg: CALLER, sink: sink() }), Err(RowError::Full));
}
