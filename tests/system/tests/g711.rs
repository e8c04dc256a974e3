//! A call in G.711, which comes about when the caller offers no Opus: in both laws, through the AI's 24 kHz and, if the
//! agent file says so, passed through to the AI as it is.

use std::{collections::BTreeMap, path::Path, time::Duration};

use serde_json::json;
use voicebridge_proto::{
    control::v1::{Command, SendCommandRequest, SendDtmf, command},
    types::v1::{Event, TerminationResult, event::Kind},
};
use voicebridge_simulator::{
    ai::{AiSettings, Faults, UpdateFault},
    meta::{CallRecord, CallerSettings, Codec, EndedBy, Law, Step},
};
use voicebridge_system_tests::{Setup, World, termination};

use crate::talk::{
    asks_one_question, assert_ended, assert_heard, assert_no_violations, assert_understood, caller, hangs_up_at_once,
    line, sensible_ai,
};

const PASSTHROUGH: &str = "g711:\n  passthrough: true\n";

fn agent(folder: &Path, text: &str) -> BTreeMap<String, String> {
    let path = folder.join("agent.yaml");
    std::fs::write(&path, text).unwrap();
    [("VOICEBRIDGE_AGENT".to_owned(), path.display().to_string())].into()
}

/// Both sides hear each other over a call in this law, and every packet is where it belongs.
async fn talk(world: &World, law: Law) -> CallRecord {
    let (payload_type, encoding) = match law {
        Law::Mu => (0, "PCMU/8000"),
        Law::A => (8, "PCMA/8000"),
    };
    let settings = CallerSettings { codec: Codec::G711(law), ..asks_one_question() };
    let record = world.meta.call(settings).await.unwrap().finish().await;
    let call = world.calls.ended(&record.call_id).await;
    let session = world.ai().sessions().pop().unwrap();

    assert_eq!(record.ended_by, EndedBy::Caller, "{law:?}");
    assert_ended(&call, "USER_HANGUP", "");
    assert_heard(&record, &["welcome", "open-from-nine"]);
    assert_understood(&session, &["opening-hours"]);
    assert_no_violations(&record, &session);

    let answer = record.sdp_accept.as_ref().unwrap();
    assert!(line(answer, "m=audio ").ends_with(&format!("UDP/TLS/RTP/SAVPF {payload_type} 126")), "{answer}");
    assert_eq!(line(answer, &format!("a=rtpmap:{payload_type} ")), encoding);
    assert_eq!(codec(&world.calls.events(&record.call_id).await), encoding);

    // Header, 160 bytes, and the tag of SRTP: nothing else is sent, at 8 kHz, without a gap.
    assert!(record.packets.iter().all(|packet| packet.payload_type == payload_type));
    assert!(record.packets.iter().all(|packet| (172 + 10..=172 + 16).contains(&packet.bytes)));
    let continuity = record.continuity();
    assert_eq!((continuity.lost, continuity.duplicated, continuity.timestamp_breaks), (0, 0, 0), "{continuity:?}");
    let statistics = call.statistics.unwrap();
    assert_eq!((statistics.packets_lost, statistics.packets_discarded), (0, 0), "{statistics:?}");
    record
}

fn codec(events: &[Event]) -> &str {
    let answered = events.iter().find_map(|event| match &event.kind {
        Some(Kind::OfferAnswered(answered)) => Some(answered.codec.as_str()),
        _ => None,
    });
    answered.expect("the offer was answered")
}

async fn check_24_khz(law: Law) {
    let world = Setup { ai: Some(sensible_ai()), ..Setup::default() }.start().await;
    talk(&world, law).await;
    let session = world.ai().sessions().remove(0);
    for side in ["input", "output"] {
        assert_eq!(session.config["audio"][side]["format"], json!({"type": "audio/pcm", "rate": 24_000}));
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_sides_hear_each_other_in_pcmu() {
    check_24_khz(Law::Mu).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_sides_hear_each_other_in_pcma() {
    check_24_khz(Law::A).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g711_passes_through_to_the_ai() {
    let folder = tempfile::tempdir().unwrap();
    let node = agent(folder.path(), PASSTHROUGH);
    let world = Setup { ai: Some(sensible_ai()), node, ..Setup::default() }.start().await;
    for (law, format) in [(Law::A, "audio/pcma"), (Law::Mu, "audio/pcmu")] {
        talk(&world, law).await;
        let session = world.ai().sessions().pop().unwrap();
        for side in ["input", "output"] {
            assert_eq!(session.config["audio"][side]["format"], json!({"type": format}));
        }
        assert!(session.appends.sizes.keys().all(|bytes| *bytes <= 160), "{:?}", session.appends.sizes);
    }
    // The same agent over Opus.
    let record = world.meta.call(asks_one_question()).await.unwrap().finish().await;
    world.calls.ended(&record.call_id).await;
    assert_heard(&record, &["welcome", "open-from-nine"]);
    let session = world.ai().sessions().pop().unwrap();
    assert_eq!(session.config["audio"]["output"]["format"]["type"], "audio/pcm");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ai_that_keeps_another_format_is_hung_up_on_before_anybody_hears_static() {
    let folder = tempfile::tempdir().unwrap();
    let node = agent(folder.path(), PASSTHROUGH);
    let faults = Faults { update: UpdateFault::KeepsFormats, ..Faults::default() };
    // The AI answers within milliseconds; a busy machine must not have the call accepted before.
    let control = [("VOICEBRIDGE_ACCEPT_PATIENCE_MS".to_owned(), "20000".to_owned())].into();
    let ai = Some(AiSettings { faults, ..sensible_ai() });
    let world = Setup { ai, node, control, ..Setup::default() }.start().await;
    let settings = CallerSettings { codec: Codec::G711(Law::Mu), ..hangs_up_at_once() };
    let record = world.meta.call(settings).await.unwrap().finish().await;
    let call = world.calls.ended(&record.call_id).await;
    assert_eq!(record.ended_by, EndedBy::BusinessRejected);
    assert_ended(&call, "PROVIDER_SESSION_FAILED", "format_mismatch");
    assert_eq!(termination(&call).result(), TerminationResult::Failed);
    assert!(termination(&call).message.contains("audio/pcmu"), "{}", termination(&call).message);
    assert!(record.packets.is_empty());
    world.stop().await;
}

/// The operator's keys reach the caller's relay as events in one stream with the audio, whatever its clock.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_sent_on_the_clock_of_the_codec() {
    let world = Setup { ai: Some(sensible_ai()), ..Setup::default() }.start().await;
    for codec in [Codec::G711(Law::A), Codec::Opus] {
        // Three keys take 600 ms.
        let script = vec![Step::Silence(Duration::from_secs(5)), Step::HangUp];
        let handle = world.meta.call(CallerSettings { codec, ..caller(script) }).await.unwrap();
        world.calls.active(handle.id()).await;
        let kind = Some(command::Kind::SendDtmf(SendDtmf { digits: "15#".to_owned() }));
        let request = SendCommandRequest {
            call_id: handle.id().to_owned(),
            command: Some(Command { kind }),
            ..Default::default()
        };
        world.calls.client().send_command(request).await.unwrap();
        let record = handle.finish().await;
        let reports: Vec<_> = record.packets.iter().filter(|packet| packet.payload_type == 126).collect();
        assert_eq!(reports.len(), 21, "five reports and two more of the end for each key");
        let begins: Vec<u32> = reports.chunks(7).map(|key| key[0].timestamp).collect();
        let step = codec.rtp_clock_hz() / 5;
        assert!(begins.windows(2).all(|pair| pair[1].wrapping_sub(pair[0]) == step), "{begins:?}");
        assert_eq!(record.continuity().lost, 0, "one sequence with the audio");
        assert!(record.violations.is_empty(), "{:?}", record.violations);
    }
    world.stop().await;
}
