//! A whole call: both sides hear each other, every stage is there, and either side may end it.

use voicebridge_proto::{
    control::v1::{Call, EndCallRequest},
    types::v1::{Event, Speaker, Stage, TerminationResult, event::Kind},
};
use voicebridge_simulator::{
    meta::{Action, CallRecord, EndedBy, Step},
    speech::fixture,
};
use voicebridge_system_tests::{Setup, World, reached, said, termination};

use crate::talk::{
    NOTICEABLE, asks_one_question, assert_ended, assert_heard, assert_no_violations, assert_understood, caller,
    granted, hangs_up_at_once, heard, line, say, sensible_ai, stays,
};

const STAGES: [Stage; 6] = [
    Stage::WaCallConnect,
    Stage::VoiceBridgeSessionCreated,
    Stage::WaCallPreAccepted,
    Stage::WaCallAccepted,
    Stage::AiReady,
    Stage::MediaBridgeActive,
];

/// How far the two planes may disagree about the same moment, milliseconds.
const PLANES_APART_MS: u64 = 50;

async fn sensible_world() -> World {
    Setup { ai: Some(sensible_ai()), ..Setup::default() }.start().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_sides_hear_each_other_until_the_caller_hangs_up() {
    let world = sensible_world().await;
    let handle = world.meta.call(asks_one_question()).await.unwrap();
    let record = handle.finish().await;
    let call = world.calls.ended(&record.call_id).await;
    let session = world.ai().sessions().remove(0);

    assert_heard(&record, &["welcome", "open-from-nine"]);
    assert_understood(&session, &["opening-hours"]);
    assert_no_violations(&record, &session);
    assert_eq!(record.ended_by, EndedBy::Caller);
    assert_ended(&call, "USER_HANGUP", "");
    assert_eq!(termination(&call).result(), TerminationResult::Completed);
    assert_signalling(&record);
    assert_timeline(&call);
    let transcripts = world.calls.transcripts(&record.call_id).await;
    assert_eq!(
        said(&transcripts, Speaker::Agent),
        [fixture("welcome").unwrap().text.as_str(), fixture("open-from-nine").unwrap().text.as_str()]
    );
    assert_eq!(said(&transcripts, Speaker::Caller).len(), 1);
    assert_eq!(call.caller.as_ref().unwrap().phone_number, record.from.clone().unwrap());
    assert!(call.usage.unwrap().output_audio_tokens > 0);
    assert_events(&world.calls.events(&record.call_id).await);
    world.stop().await;
}

/// pre_accept and accept carry the same SDP, RTP waits for accept's 200 and then comes at once; a call the caller ends
/// is not terminated by us.
fn assert_signalling(record: &CallRecord) {
    assert_eq!(granted(record), [Action::PreAccept, Action::Accept]);
    assert!(record.sdp_accept.is_some());
    assert_eq!(record.sdp_pre_accept, record.sdp_accept);
    let first_rtp = record.first_rtp_after_accept().expect("the first RTP packet comes after accept's 200");
    assert!(first_rtp <= NOTICEABLE, "first RTP {first_rtp:?} after accept");
}

fn assert_timeline(call: &Call) {
    let reached = reached(call);
    let missing: Vec<_> = STAGES.iter().filter(|stage| !reached.contains_key(stage)).collect();
    assert!(missing.is_empty(), "{missing:?} missing in {reached:?}");
    // The AI's stage is not among these: its socket opens beside the signalling. The planes' clocks agree but for the
    // way of a request between them.
    let signalling: Vec<u64> =
        STAGES.iter().filter(|stage| **stage != Stage::AiReady).map(|stage| reached[stage]).collect();
    assert!(signalling.windows(2).all(|pair| pair[1] + PLANES_APART_MS >= pair[0]), "{reached:?}");
    // The zero of the timeline is the arrival of the request; the claim is committed a moment later.
    assert!(reached[&Stage::WaCallConnect] <= NOTICEABLE.as_millis() as u64, "{reached:?}");
}

/// Gapless from 1, the webhook first, the closing of the record last.
fn assert_events(events: &[Event]) {
    let sequences: Vec<u64> = events.iter().map(|event| event.sequence).collect();
    assert_eq!(sequences, (1..=events.len() as u64).collect::<Vec<_>>());
    let first = events.first().and_then(|event| event.kind.clone());
    assert!(matches!(first, Some(Kind::StageReached(one)) if one.stage() == Stage::WaCallConnect), "{:?}", events[0]);
    assert!(matches!(events.last().unwrap().kind, Some(Kind::CallEnded(_))), "{:?}", events.last());
    let ends = events.iter().filter(|event| matches!(event.kind, Some(Kind::SessionEnded(_)))).count();
    assert_eq!(ends, 1, "one session, one end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_call_reuses_nothing_of_the_first() {
    let world = sensible_world().await;
    let mut seen = Vec::new();
    for _ in 0..2 {
        let record = world.meta.call(hangs_up_at_once()).await.unwrap().finish().await;
        let call = world.calls.ended(&record.call_id).await;
        seen.push((record, call));
    }
    let [(first, first_call), (second, second_call)] = &seen[..] else { unreachable!("two calls were made") };
    let (first_sdp, second_sdp) = (first.sdp_accept.as_ref().unwrap(), second.sdp_accept.as_ref().unwrap());
    for prefix in ["m=audio ", "a=ice-ufrag:", "a=ice-pwd:", "a=ssrc:", "o="] {
        assert_ne!(line(first_sdp, prefix), line(second_sdp, prefix), "{prefix}");
    }
    assert!(first.ssrcs.is_disjoint(&second.ssrcs));
    assert_ne!(first_call.session_id, second_call.session_id);
    let (one, two) = (first.packets[0], second.packets[0]);
    assert_ne!((one.sequence, one.timestamp), (two.sequence, two.timestamp), "RTP begins at random");
    assert_eq!(world.ai().inspect(|sessions| sessions.len()), 2);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ai_says_goodbye_and_ends_the_call() {
    let world = sensible_world().await;
    let script = vec![heard(), say("goodbye-en"), Step::Listen];
    let record = world.meta.call(caller(script)).await.unwrap().finish().await;
    let call = world.calls.ended(&record.call_id).await;

    assert_heard(&record, &["welcome", "farewell-en"]);
    assert_eq!(record.ended_by, EndedBy::BusinessTerminated);
    assert_ended(&call, "AGENT_HANGUP", "");
    assert_eq!(termination(&call).result(), TerminationResult::Completed);
    assert_no_violations(&record, &world.ai().sessions()[0]);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_ends_the_call() {
    let world = sensible_world().await;
    let handle = world.meta.call(stays()).await.unwrap();
    world.calls.active(handle.id()).await;
    let end = EndCallRequest { call_id: handle.id().to_owned(), ..Default::default() };
    let first = world.calls.client().end_call(end.clone()).await.unwrap().into_inner().termination.unwrap();
    let record = handle.finish().await;
    world.calls.ended(&record.call_id).await;
    let again = world.calls.client().end_call(end).await.unwrap().into_inner().termination.unwrap();

    assert_eq!(first.reason, "API_HANGUP");
    assert_eq!(first, again, "the first ending stands");
    assert_eq!(record.ended_by, EndedBy::BusinessTerminated);
    world.stop().await;
}
