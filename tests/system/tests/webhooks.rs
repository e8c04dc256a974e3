//! Webhooks as they come: repeated, batched, out of order, late, forged and broken.

use std::time::Duration;

use voicebridge_proto::control::v1::{CallPhase, HandleWebhookRequest, NoticeOutcome};
use voicebridge_simulator::meta::{Action, CallerSettings, ConnectDelivery, EndedBy, Moment, Signing, signature};
use voicebridge_system_tests::{Setup, World};

use crate::talk::{asks_one_question, assert_ended, assert_understood, granted, hangs_up_at_once, sensible_ai};

async fn world() -> World {
    Setup { ai: Some(sensible_ai()), ..Setup::default() }.start().await
}

fn delivered(connect: ConnectDelivery, settings: CallerSettings) -> CallerSettings {
    CallerSettings { connect, ..settings }
}

/// A caller who would be heard of if the connect webhook did anything.
fn unwanted(connect: ConnectDelivery) -> CallerSettings {
    let patience = Some(Duration::from_secs(3));
    CallerSettings { connect, hang_up_while_ringing: patience, ..hangs_up_at_once() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_address_is_verified_with_the_right_token_only() {
    let world = world().await;
    let (answer, challenge) = world.meta.verify_webhook(None).await.unwrap();
    assert_eq!((answer.status, answer.body), (200, challenge.clone()));
    let (answer, challenge) = world.meta.verify_webhook(Some("another-token")).await.unwrap();
    assert_eq!(answer.status, 403);
    assert!(!answer.body.contains(&challenge));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connect_delivered_three_times_is_one_call() {
    let world = world().await;
    let handle = world.meta.call(delivered(ConnectDelivery::Copies(3), hangs_up_at_once())).await.unwrap();
    let connect = handle.connect_webhook().clone();
    let record = handle.finish().await;
    world.calls.ended(&record.call_id).await;
    assert_eq!(granted(&record), [Action::PreAccept, Action::Accept]);

    // And once more when it is over.
    assert!(world.meta.deliver(vec![connect], Signing::Valid).await.accepted());
    assert_eq!(world.calls.count().await, 1);
    let record = world.meta.call(hangs_up_at_once()).await.unwrap().finish().await;
    assert_eq!(record.ended_by, EndedBy::Caller);
    assert_eq!(world.ai().inspect(|sessions| sessions.len()), 2, "one AI session for each call");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_calls_in_one_delivery_are_two_calls() {
    let world = world().await;
    let handles = world.meta.call_batch(vec![asks_one_question(), hangs_up_at_once()]).await.unwrap();
    for handle in handles {
        let record = handle.finish().await;
        assert_eq!(record.ended_by, EndedBy::Caller);
        assert_eq!(granted(&record), [Action::PreAccept, Action::Accept]);
        assert_ended(&world.calls.ended(&record.call_id).await, "USER_HANGUP", "");
    }
    assert_eq!(world.meta.webhooks().iter().filter(|report| report.events == "connect+connect").count(), 1);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminate_that_comes_first_keeps_the_call_from_being_answered() {
    let world = world().await;
    let early = world.meta.call(delivered(ConnectDelivery::AfterTerminate, hangs_up_at_once())).await.unwrap();
    let early = early.finish().await;
    assert_eq!(early.ended_by, EndedBy::CallerAbandoned);
    assert!(world.meta.webhooks().iter().all(|report| report.accepted()), "{:?}", world.meta.webhooks());

    // A call made later is answered, so the early one would have been by now.
    let later = world.meta.call(hangs_up_at_once()).await.unwrap().finish().await;
    assert_eq!(later.ended_by, EndedBy::Caller);
    assert!(early.graph.is_empty(), "{:?}", early.graph);
    assert_eq!(world.ai().inspect(|sessions| sessions.len()), 1);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_who_gives_up_while_it_rings_is_let_go() {
    // The AI takes so long that the call still rings when the caller gives up.
    let control = [("VOICEBRIDGE_ACCEPT_PATIENCE_MS".to_owned(), "20000".to_owned())].into();
    let mut ai = sensible_ai();
    ai.faults.update = voicebridge_simulator::ai::UpdateFault::Never;
    let world = Setup { ai: Some(ai), control, ..Setup::default() }.start().await;
    let settings = CallerSettings { hang_up_while_ringing: Some(Duration::from_secs(2)), ..hangs_up_at_once() };
    let record = world.meta.call(settings).await.unwrap().finish().await;
    let call = world.calls.ended(&record.call_id).await;
    assert_eq!(record.ended_by, EndedBy::CallerAbandoned);
    assert_eq!(granted(&record), [Action::PreAccept]);
    assert_ended(&call, "CALLER_ABANDONED", "");
    assert!(world.ai().until(Duration::from_secs(10), |sessions| sessions[0].closed.is_some()).await);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connect_of_two_minutes_ago_is_dropped() {
    let world = world().await;
    let stale = world.meta.call(unwanted(ConnectDelivery::Stale(Duration::from_secs(120)))).await.unwrap();
    stale.reached(Moment::ConnectAnswered).await.expect("it is answered 200 all the same");
    let later = world.meta.call(hangs_up_at_once()).await.unwrap().finish().await;
    assert_eq!(later.ended_by, EndedBy::Caller);
    let stale = stale.finish().await;
    assert!(stale.graph.is_empty(), "{:?}", stale.graph);
    assert_eq!(world.ai().inspect(|sessions| sessions.len()), 1);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forged_connect_changes_nothing() {
    let world = world().await;
    let mut forged = Vec::new();
    for signing in [Signing::WrongSecret, Signing::Missing] {
        forged.push(world.meta.call(unwanted(ConnectDelivery::Forged(signing))).await.unwrap());
    }
    for handle in forged {
        let record = handle.finish().await;
        assert!(record.graph.is_empty(), "{:?}", record.graph);
        let connect = |report: &&_| {
            let report: &voicebridge_simulator::meta::WebhookReport = report;
            report.events == "connect" && report.call_ids.contains(&record.call_id)
        };
        let reports = world.meta.webhooks();
        assert_eq!(reports.iter().find(connect).unwrap().outcome, Ok(401));
    }
    assert_eq!(world.ai().inspect(|sessions| sessions.len()), 0);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forged_terminate_does_not_end_a_call() {
    let world = world().await;
    let handle = world.meta.call(asks_one_question()).await.unwrap();
    world.calls.active(handle.id()).await;
    let mut terminate = handle.connect_webhook().clone();
    terminate["calls"][0]["event"] = "terminate".into();
    for signing in [Signing::WrongSecret, Signing::Missing] {
        let report = world.meta.deliver(vec![terminate.clone()], signing).await;
        assert_eq!(report.outcome, Ok(401));
    }
    let record = handle.finish().await;
    assert_eq!(record.ended_by, EndedBy::Caller, "the conversation went on to its end");
    assert_understood(&world.ai().sessions()[0], &["opening-hours"]);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_read_is_refused_and_what_is_unknown_is_not() {
    let world = world().await;
    for body in ["", "{", "[1,2", "\u{fffd}", "null garbage"] {
        let report = world.meta.deliver_raw(body.as_bytes().to_vec(), Signing::Valid).await;
        assert_eq!(report.outcome, Ok(400), "{body:?}");
        let report = world.meta.deliver_raw(body.as_bytes().to_vec(), Signing::Missing).await;
        assert_eq!(report.outcome, Ok(401), "{body:?}");
    }
    for event in ["call_recording_available", "call_transcription_available", "an_event_of_tomorrow"] {
        assert!(world.meta.deliver_unknown_event("wacid.unknown", event).await.accepted(), "{event}");
    }
    let other =
        br#"{"object":"whatsapp_business_account","entry":[{"id":"1","changes":[{"field":"messages","value":{}}]}]}"#;
    assert!(world.meta.deliver_raw(other.to_vec(), Signing::Valid).await.accepted());
    assert_eq!(world.calls.count().await, 0);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_handed_over_by_grpc_is_held_to_the_same_rules() {
    let world = world().await;
    let handle = world.meta.call(delivered(ConnectDelivery::Withheld, hangs_up_at_once())).await.unwrap();
    let body = serde_json::json!({
        "object": "whatsapp_business_account",
        "entry": [{"id": "1", "changes": [{"field": "calls", "value": handle.connect_webhook()}]}],
    });
    let body = body.to_string().into_bytes();

    let forged = HandleWebhookRequest {
        body: body.clone(),
        signature: signature("another secret", &body),
        ..Default::default()
    };
    let status = world.calls.client().handle_webhook(forged).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unauthenticated);
    assert!(world.calls.get(handle.id()).await.unwrap().is_none());

    let signed = signature(&world.meta.settings().app_secret, &body);
    let genuine = HandleWebhookRequest { body, signature: signed, ..Default::default() };
    let outcomes = world.calls.client().handle_webhook(genuine.clone()).await.unwrap().into_inner().outcomes;
    assert_eq!((outcomes[0].wacid.as_str(), outcomes[0].outcome()), (handle.id(), NoticeOutcome::Claimed));
    let outcomes = world.calls.client().handle_webhook(genuine).await.unwrap().into_inner().outcomes;
    assert_eq!(outcomes[0].outcome(), NoticeOutcome::Duplicate);
    let record = handle.finish().await;
    assert_eq!(record.ended_by, EndedBy::Caller);
    assert_eq!(world.calls.ended(&record.call_id).await.phase(), CallPhase::Ended);
    world.stop().await;
}
