//! The AI refuses, comes late or goes away.

use std::{collections::BTreeMap, time::Duration};

use voicebridge_proto::{
    control::v1::Call,
    types::v1::{Stage, TerminationResult},
};
use voicebridge_simulator::{
    ai::{AiSettings, CloseFault, Disruption, Faults, UnknownModel, UpdateFault},
    meta::{Action, CallRecord, EndedBy, Moment},
    speech::{Fixture, Role, read_wav, recognise_among},
};
use voicebridge_system_tests::{SOON, Setup, World, incidents, reached, termination};

use crate::talk::{
    INTACT, asks_one_question, assert_ended, assert_heard, granted, hangs_up_at_once, sensible_ai, stays,
};

/// A call that is turned down before it is answered.
async fn turned_down(world: &World) -> (CallRecord, Call) {
    let record = world.meta.call(hangs_up_at_once()).await.unwrap().finish().await;
    let call = world.calls.ended(&record.call_id).await;
    assert_eq!(record.ended_by, EndedBy::BusinessRejected);
    assert!(!granted(&record).contains(&Action::Accept));
    assert_eq!(termination(&call).result(), TerminationResult::Failed, "{call:?}");
    (record, call)
}

async fn check_unknown_model(unknown_model: UnknownModel) {
    let node: BTreeMap<_, _> = [("OPENAI_REALTIME_MODEL".to_owned(), "gpt-5-realtime".to_owned())].into();
    // The AI answers within milliseconds; a busy machine must not have the call accepted before.
    let control = [("VOICEBRIDGE_ACCEPT_PATIENCE_MS".to_owned(), "20000".to_owned())].into();
    let world = Setup { ai: Some(AiSettings { unknown_model, ..sensible_ai() }), node, control, ..Setup::default() };
    let world = world.start().await;
    let (_, call) = turned_down(&world).await;
    assert_ended(&call, "PROVIDER_SESSION_FAILED", "model_not_found");
    let message = &termination(&call).message;
    assert!(message.contains("gpt-realtime-2.1"), "names what does exist: {message}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_that_does_not_exist_turns_the_call_down() {
    check_unknown_model(UnknownModel::ErrorEvent).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_refused_at_the_upgrade_turns_the_call_down() {
    check_unknown_model(UnknownModel::Http).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_refused_turns_the_call_down() {
    let faults = Faults { refuse_upgrade: Some(401), ..Faults::default() };
    let control = [("VOICEBRIDGE_ACCEPT_PATIENCE_MS".to_owned(), "20000".to_owned())].into();
    let world = Setup { ai: Some(AiSettings { faults, ..sensible_ai() }), control, ..Setup::default() }.start().await;
    let (_, call) = turned_down(&world).await;
    assert_eq!(termination(&call).reason, "PROVIDER_SESSION_FAILED");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_ai_is_not_waited_for_and_greets_when_it_is_there() {
    let faults = Faults { update: UpdateFault::Slow(Duration::from_secs(4)), ..Faults::default() };
    let world = Setup { ai: Some(AiSettings { faults, ..sensible_ai() }), ..Setup::default() }.start().await;
    let record = world.meta.call(asks_one_question()).await.unwrap().finish().await;
    let call = world.calls.ended(&record.call_id).await;

    let reached = reached(&call);
    assert!(reached[&Stage::WaCallAccepted] < reached[&Stage::AiReady], "{reached:?}");
    assert!(reached[&Stage::WaCallAccepted] >= 1_500, "patience with the AI is 1500 ms: {reached:?}");
    let wait = record.timeline.between(Moment::FirstRtp, Moment::FirstSpeech).unwrap();
    assert!(wait > Duration::from_secs(1), "silence was sent meanwhile: {wait:?}");
    assert_heard(&record, &["welcome", "open-from-nine"]);
    assert!(record.violations.is_empty(), "{:?}", record.violations);
    world.stop().await;
}

async fn check_lost(disruption: Disruption) {
    let world = Setup { ai: Some(sensible_ai()), ..Setup::default() }.start().await;
    let handle = world.meta.call(stays()).await.unwrap();
    handle.reached(Moment::FirstSpeech).await.expect("the greeting begins");
    assert!(world.ai().disrupt(0, disruption).await);
    let record = handle.finish().await;
    let call = world.calls.ended(&record.call_id).await;

    assert_eq!(record.ended_by, EndedBy::BusinessTerminated);
    assert_eq!(termination(&call).reason, "PROVIDER_LOST");
    assert_eq!(termination(&call).result(), TerminationResult::Failed);
    let events = world.calls.events(&record.call_id).await;
    assert!(incidents(&events).contains(&"PROVIDER_LOST"), "{events:?}");

    let apology = include_bytes!("../../../media-plane/session/assets/embedded/en/apology.wav");
    let apology = Fixture::new("apology", "en", Role::Agent, "", read_wav(apology).unwrap());
    let found = recognise_among(&record.pcm_heard, std::slice::from_ref(&apology)).expect("the caller is told");
    assert!(found.correlation >= INTACT && found.portion >= 1.0, "{found:?}");
    assert!(record.violations.is_empty(), "{:?}", record.violations);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ai_that_breaks_off_is_apologised_for() {
    check_lost(Disruption::Close(CloseFault::Abort)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ai_that_goes_away_is_apologised_for() {
    check_lost(Disruption::Close(CloseFault::Code(1011))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_node_is_there_for_the_next_call() {
    let world = Setup { ai: Some(sensible_ai()), ..Setup::default() }.start().await;
    let handle = world.meta.call(stays()).await.unwrap();
    handle.reached(Moment::FirstSpeech).await.expect("the greeting begins");
    world.ai().disrupt(0, Disruption::Close(CloseFault::Abort)).await;
    handle.finish().await;
    let record = world.meta.call(hangs_up_at_once()).await.unwrap().finish().await;
    assert_eq!(record.ended_by, EndedBy::Caller);
    assert!(world.ai().until(SOON, |sessions| sessions.iter().all(|session| session.closed.is_some())).await);
    world.stop().await;
}
