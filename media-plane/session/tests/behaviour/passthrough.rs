//! G.711 passed through to the AI: byte by byte both ways, counted and cut as exactly as ever, and never a guess at the
//! format.

use serde_json::{Value, json};
use voicebridge_audio::g711::Law;
use voicebridge_session::{
    Agent, BargeIn, ProviderClosed, Reversible, SignallingMode,
    provider::{Provider, embedded::Embedded},
};

use crate::{
    g711::offer,
    harness::{
        Start, World, audio_done, g711_delta, response_created, response_done, session_created, session_updated_with,
        speech_started, tone,
    },
};

const LAWS: [(Law, u8, &str, &str); 2] =
    [(Law::Mu, 0, "PCMU/8000", "audio/pcmu"), (Law::A, 8, "PCMA/8000", "audio/pcma")];

fn agent() -> Agent {
    Agent::parse("g711: {passthrough: true}\n").unwrap()
}

fn start(payload_type: u8, encoding: &str) -> Start {
    Start { agent: agent(), offer: offer(payload_type, encoding), ..Start::default() }
}

fn formats(world: &World) -> [Value; 2] {
    let update = world.requests("session.update")[0].clone();
    ["input", "output"].map(|side| update["session"]["audio"][side]["format"].clone())
}

/// Voice in a law, without the negative zero of the mu-law, which becomes the other one.
fn voice(law: Law, ms: usize) -> Vec<u8> {
    (0..ms * 8).map(|index| law.encode(law.decode(law.encode(tone(index * 3))))).collect()
}

fn sent_payloads(world: &World, skip: usize) -> Vec<u8> {
    world.ports.rtp[skip..].iter().flat_map(|packet| packet.payload.clone()).collect()
}

#[test]
fn the_caller_reaches_the_ai_byte_by_byte() {
    for (law, payload_type, encoding, format) in LAWS {
        let mut world = World::active_with(start(payload_type, encoding));
        assert_eq!(formats(&world), [json!({"type": format}), json!({"type": format})]);
        // The first packet rises from silence.
        world.caller_speaks_ms(20);
        assert_eq!(world.ports.appended.len(), 160);
        let mut sent = Vec::new();
        for _ in 0..50 {
            let payload = world.caller_frame();
            world.caller_sends(&payload);
            sent.extend(payload.into_iter().map(|byte| law.encode(law.decode(byte))));
            assert_eq!(world.ports.appended.len(), 160 + sent.len(), "in the very call that brought the packet");
            world.run_ms(20);
        }
        assert!(world.ports.appended[160..] == sent[..], "{law:?}");
    }
}

#[test]
fn what_is_lost_is_concealed_and_takes_its_time() {
    let mut world = World::active_with(start(8, "PCMA/8000"));
    world.caller_speaks_ms(500);
    world.caller_loses_a_packet();
    world.run_ms(20);
    world.caller_speaks_ms(500);
    assert_eq!(world.ports.appended.len(), 51 * 160, "to the byte");
    let filled = &world.ports.appended[25 * 160..26 * 160];
    let loud = filled.iter().filter(|&&byte| Law::A.decode(byte).unsigned_abs() > 500).count();
    assert!(loud > 80, "not silence: {loud} of 160");
    let statistics = world.session.statistics();
    assert_eq!((statistics.packets_lost, statistics.concealed_ms, statistics.received_ms), (1, 20, 1_000));
    // A caller who sends nothing is silence, on a clock without a gap.
    world.caller_is_quiet_ms(1_000);
    world.caller_speaks_ms(100);
    assert_eq!(world.ports.appended.len(), (51 + 50 + 5) * 160);
}

#[test]
fn the_ai_reaches_the_caller_byte_by_byte() {
    for (law, payload_type, encoding, _) in LAWS {
        let mut world = World::active_with(start(payload_type, encoding));
        world.run_ms(100);
        let said = voice(law, 1_010);
        world.server(&response_created("R1"));
        // In pieces that are no frames.
        for piece in said.chunks(1_237) {
            world.server(&g711_delta("R1", "A1", piece));
        }
        world.server(&audio_done("R1", "A1"));
        world.server(&response_done("R1", "completed"));
        let skip = world.ports.rtp.len();
        world.run_ms(1_500);
        let out = sent_payloads(&world, skip);
        let began = out.chunks(160).position(|frame| *frame == said[..160]).expect("the first frame as it came") * 160;
        assert!(out[began..began + said.len()] == said[..], "{law:?}");
        let rest = &out[began + said.len()..];
        assert!(rest.iter().all(|&byte| byte == law.silence()), "{law:?}: then silence, the last frame filled up");
        assert!(world.ports.rtp[skip..].iter().all(|packet| packet.payload.len() == 160));
        assert_eq!(world.session.statistics().played_ms, 1_010);
        assert_eq!(world.session.statistics().underruns, 0);
    }
}

#[test]
fn an_interruption_is_counted_and_cut_to_the_frame() {
    let mut world = World::active_with(start(0, "PCMU/8000"));
    let said = voice(Law::Mu, 4_000);
    world.server(&response_created("R1"));
    world.server(&g711_delta("R1", "A1", &said));
    let skip = world.ports.rtp.len();
    world.run_ms(1_000);
    let sent = world.ports.rtp[skip..].iter().filter(|packet| packet.payload[..] != [0xff; 160]).count() as u64;
    world.server(&speech_started(100));
    assert_eq!(world.barge_ins(), [(sent * 20, 4_000)]);
    assert_eq!(world.requests("conversation.item.truncate")[0]["audio_end_ms"], sent * 20);
    let skip = world.ports.rtp.len();
    world.run_ms(100);
    let out = sent_payloads(&world, skip);
    assert!(out[..40] != [0xff; 40], "fades within 5 ms");
    assert!(out[40..].iter().all(|&byte| byte == 0xff), "and is silent");
}

#[test]
fn the_hold_hears_the_caller_as_well() {
    let mut start = start(8, "PCMA/8000");
    start.agent.barge_in = BargeIn::Reversible(Reversible::default());
    let mut world = World::active_with(start);
    world.server(&response_created("R1"));
    world.server(&g711_delta("R1", "A1", &voice(Law::A, 5_000)));
    world.run_ms(1_000);
    world.caller_speaks_ms(100);
    world.server(&speech_started(0));
    assert!(world.barge_ins().is_empty(), "it may be a cough");
    world.caller_speaks_ms(240);
    assert_eq!(world.barge_ins().len(), 1, "it is not");
}

#[test]
fn another_format_than_was_asked_for_fails_the_session() {
    let pcm = json!({"type": "audio/pcm", "rate": 24_000});
    let law = json!({"type": "audio/pcma"});
    for (input, output) in [
        (&pcm, &pcm),
        (&law, &pcm),
        (&pcm, &law),
        (&json!({"type": "audio/pcmu"}), &law),
        (&law, &json!({"type": "audio/pcma", "rate": 16_000})),
        (&Value::Null, &law),
        (&law, &Value::Null),
    ] {
        let mut world = World::new(start(8, "PCMA/8000"));
        world.opened();
        world.server(&session_created());
        world.server(&session_updated_with(input, output));
        let (_, reason, code) = world.ending();
        assert_eq!(
            (reason.as_str(), code.as_str()),
            ("PROVIDER_SESSION_FAILED", "format_mismatch"),
            "{input} {output}"
        );
        assert!(world.ports.rtp.is_empty() && world.ports.appends.is_empty());
    }
    let mut world = World::new(start(8, "PCMA/8000"));
    world.opened();
    let event_id = world.requests("session.update")[0]["event_id"].as_str().unwrap().to_owned();
    world.server(&crate::harness::server_error("invalid_value", "unsupported format", Some(&event_id)));
    let (_, reason, code) = world.ending();
    assert_eq!((reason.as_str(), code.as_str()), ("PROVIDER_SESSION_FAILED", "invalid_value"));
}

#[test]
fn everything_else_is_24_khz_as_ever() {
    let pcm = || json!({"type": "audio/pcm", "rate": 24_000});
    let opus = World::active_with(Start { agent: agent(), ..Start::default() });
    assert_eq!(formats(&opus), [pcm(), pcm()], "Opus, and the setting on");
    let off = World::active_with(Start { offer: offer(0, "PCMU/8000"), ..Start::default() });
    assert_eq!(formats(&off), [pcm(), pcm()], "G.711, and the setting off");
    // An AI that speaks 24 kHz only.
    let provider: Box<dyn Provider> = Box::new(Embedded::new());
    let mut embedded = World::new(Start { provider, mode: SignallingMode::Staged, ..start(0, "PCMU/8000") });
    embedded.accept();
    embedded.run_ms(3_000);
    let heard = embedded.voice_ms(0);
    assert!(heard > 1_000, "its greeting: {heard} ms");
}

#[test]
fn the_apology_is_heard_at_its_own_pace() {
    let heard_ms = |passthrough: bool| {
        let mut start = start(8, "PCMA/8000");
        start.agent.g711.passthrough = passthrough;
        let mut world = World::active_with(start);
        world.run_ms(500);
        let skip = world.ports.rtp.len();
        world.closed(ProviderClosed::Closed { code: 1_011, reason: "" });
        world.run_ms(10_000);
        assert_eq!(world.ending().1, "PROVIDER_LOST");
        world.voice_ms(skip)
    };
    let (through, converted) = (heard_ms(true), heard_ms(false));
    assert!(converted > 1_000 && through.abs_diff(converted) <= 40, "{through} ms, {converted} ms");
}
