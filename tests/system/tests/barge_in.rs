//! The caller interrupts: the AI falls silent at once, and the AI and the transcript know how much of it was heard.

use std::time::Duration;

use voicebridge_proto::types::v1::{BargedIn, Speaker, event::Kind};
use voicebridge_simulator::{
    ai::{AiSettings, Replies, SessionRecord},
    meta::{CallRecord, Step},
    speech::{fixture, recognise_all},
};
use voicebridge_system_tests::{Setup, World};

use crate::talk::{INTACT, assert_no_violations, assert_understood, caller, heard, say};

/// Greets with its longest sentence.
fn long_winded(speed: f64) -> AiSettings {
    let replies = Replies { greeting: Some("three-steps".to_owned()), ..Replies::fitting() };
    AiSettings { replies, speed, ..AiSettings::default() }
}

/// Interrupts the greeting with a question, listens to the answer, hangs up.
async fn interrupt(world: &World) -> (CallRecord, SessionRecord, BargedIn) {
    let script = vec![Step::BargeInAfter(Duration::from_millis(1_500)), say("opening-hours"), heard(), Step::HangUp];
    let record = world.meta.call(caller(script)).await.unwrap().finish().await;
    world.calls.ended(&record.call_id).await;
    let said = world.calls.transcripts(&record.call_id).await;
    let session = world.ai().sessions().remove(0);
    let events = world.calls.events(&record.call_id).await;
    let barged_in: Vec<_> = events
        .into_iter()
        .filter_map(|event| if let Some(Kind::BargedIn(one)) = event.kind { Some(one) } else { None })
        .collect();
    assert_eq!(barged_in.len(), 1, "{barged_in:?}");

    let greeting = &fixture("three-steps").unwrap().text;
    let cut = said.iter().find(|entry| entry.speaker() == Speaker::Agent).unwrap();
    assert!(cut.interrupted, "{cut:?}");
    assert!(
        cut.text.len() < greeting.len() && greeting.starts_with(cut.text.trim_end_matches(['.', '…', ' '])),
        "{cut:?}"
    );
    (record, session, barged_in.into_iter().next().unwrap())
}

/// A part of the greeting was heard, then the whole answer.
fn assert_cut_short(record: &CallRecord, barged_in: &BargedIn) {
    let found = recognise_all(&record.pcm_heard);
    let names: Vec<_> = found.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["three-steps", "open-from-nine"]);
    assert!(found[0].portion < 0.8, "{:?}", found[0]);
    assert!(found[1].portion >= 1.0 && found[1].correlation >= INTACT, "{:?}", found[1]);
    let heard_ms = found[0].end_ms - found[0].start_ms.max(0);
    let reported_ms = barged_in.heard_ms.cast_signed();
    // Recognition cuts at a pause of speech; the ledger counts to the sample.
    assert!((heard_ms - reported_ms).abs() < 700, "heard {heard_ms} ms, reported {reported_ms} ms");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_already_generated_is_truncated_where_it_was_heard() {
    let world = Setup { ai: Some(long_winded(20.0)), ..Setup::default() }.start().await;
    let (record, session, barged_in) = interrupt(&world).await;

    assert_cut_short(&record, &barged_in);
    assert_eq!(session.replies[0].status, "completed");
    assert!(session.cancels.is_empty(), "nothing was active: {:?}", session.cancels);
    let [truncation] = &session.truncates[..] else { panic!("{:?}", session.truncates) };
    assert_eq!(truncation.item_id, barged_in.item_id);
    assert_eq!(truncation.audio_end_ms, barged_in.heard_ms);
    assert!(barged_in.received_ms > barged_in.heard_ms, "{barged_in:?}");
    assert_understood(&session, &["opening-hours"]);
    assert_no_violations(&record, &session);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_still_being_generated_is_stopped_too() {
    let world = Setup { ai: Some(long_winded(1.3)), ..Setup::default() }.start().await;
    let (record, session, barged_in) = interrupt(&world).await;

    assert_cut_short(&record, &barged_in);
    assert_eq!(session.replies[0].status, "cancelled");
    assert_eq!(session.truncates.len(), 1, "{:?}", session.truncates);
    assert_understood(&session, &["opening-hours"]);
    assert_no_violations(&record, &session);
    world.stop().await;
}
