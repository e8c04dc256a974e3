//! Webhooks as a business receives them: signed, repeated, batched, out of order, forged.

use std::time::Duration;

use axum::http::StatusCode;
use voicebridge_simulator::meta::{
    CallerSettings, ConnectDelivery, EndedBy, Limits, MetaSettings, Moment, Signing, WebhookPolicy,
};

use crate::business::Business;

fn abandoning() -> CallerSettings {
    CallerSettings { hang_up_while_ringing: Some(Duration::from_millis(100)), ..Default::default() }
}

#[tokio::test]
async fn the_url_is_verified_as_meta_does() {
    let business = Business::start(MetaSettings::default(), vec![]).await;
    let (answer, challenge) = business.meta.verify_webhook(None).await.unwrap();
    assert_eq!((answer.status, answer.body), (200, challenge));
    let (answer, _) = business.meta.verify_webhook(Some("guess")).await.unwrap();
    assert_eq!(answer.status, 403);
}

#[tokio::test]
async fn an_abandoned_call_has_a_connect_and_a_terminate() {
    let mut business = Business::start(MetaSettings::default(), vec![]).await;
    let handle = business.meta.call(abandoning()).await.unwrap();
    let connect = business.next_event().await;
    assert_eq!((&connect["event"], &connect["id"]), (&"connect".into(), &handle.id().into()));
    let terminate = business.next_event().await;
    assert_eq!((&terminate["event"], &terminate["status"]), (&"terminate".into(), &"COMPLETED".into()));
    assert!(terminate.get("duration").is_none());
    let record = handle.finish().await;
    assert_eq!(record.ended_by, EndedBy::CallerAbandoned);
    assert!(record.terminate.unwrap().accepted());
    let order: Vec<Moment> = record.timeline.in_order().into_iter().map(|(moment, _)| moment).collect();
    assert_eq!(
        order,
        [
            Moment::ConnectSent,
            Moment::ConnectAnswered,
            Moment::CallerHungUp,
            Moment::TerminateSent,
            Moment::TerminateAnswered
        ]
    );
}

#[tokio::test]
async fn an_unanswered_call_ends_by_itself() {
    let limits = Limits { ring: Duration::from_millis(200), ..Limits::default() };
    let business = Business::start(MetaSettings { limits, ..Default::default() }, vec![]).await;
    let handle = business.meta.call(CallerSettings::default()).await.unwrap();
    assert_eq!(handle.finish().await.ended_by, EndedBy::NotAnswered);
}

#[tokio::test]
async fn what_is_not_answered_200_comes_again() {
    let webhooks = WebhookPolicy { attempts: 3, pause: Duration::from_millis(10), ..Default::default() };
    let statuses = vec![StatusCode::SERVICE_UNAVAILABLE, StatusCode::INTERNAL_SERVER_ERROR, StatusCode::OK];
    let mut business = Business::start(MetaSettings { webhooks, ..Default::default() }, statuses).await;
    let handle = business.meta.call(CallerSettings::default()).await.unwrap();
    assert_eq!(business.next_event().await["event"], "connect");
    handle.reached(Moment::ConnectAnswered).await.unwrap();
    let outcomes: Vec<_> = business.meta.webhooks().into_iter().map(|r| (r.attempt, r.outcome)).collect();
    assert_eq!(outcomes, [(1, Ok(503)), (2, Ok(500)), (3, Ok(200))]);
    handle.hang_up().await;
    handle.finish().await;
}

#[tokio::test]
async fn copies_batches_and_late_connects_arrive() {
    let mut business = Business::start(MetaSettings::default(), vec![]).await;
    let copies = CallerSettings { connect: ConnectDelivery::Copies(3), ..Default::default() };
    let handle = business.meta.call(copies).await.unwrap();
    for _ in 0..3 {
        let event = business.next_event().await;
        assert_eq!((&event["event"], &event["id"]), (&"connect".into(), &handle.id().into()));
    }
    handle.hang_up().await;
    handle.finish().await;
    assert_eq!(business.next_event().await["event"], "terminate");

    let handles = business.meta.call_batch(vec![CallerSettings::default(), CallerSettings::default()]).await.unwrap();
    let body = business.bodies.recv().await.unwrap();
    let ids: Vec<&str> = body["entry"][0]["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| change["value"]["calls"][0]["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, [handles[0].id(), handles[1].id()]);
    for handle in handles {
        assert!(handle.reached(Moment::ConnectAnswered).await.is_some());
        handle.hang_up().await;
        handle.finish().await;
        assert_eq!(business.next_event().await["event"], "terminate");
    }

    let reordered = CallerSettings { connect: ConnectDelivery::AfterTerminate, ..Default::default() };
    let handle = business.meta.call(reordered).await.unwrap();
    let call_id = handle.id().to_owned();
    handle.finish().await;
    let (first, second) = (business.next_event().await, business.next_event().await);
    assert_eq!((&first["event"], &second["event"]), (&"terminate".into(), &"connect".into()));
    assert!(first["id"] == call_id && second["id"] == call_id);
}

#[tokio::test]
async fn stale_forged_and_unknown_deliveries() {
    let mut business = Business::start(MetaSettings::default(), vec![]).await;
    let stale = CallerSettings { connect: ConnectDelivery::Stale(Duration::from_secs(3_600)), ..abandoning() };
    let handle = business.meta.call(stale).await.unwrap();
    let connect = business.next_event().await;
    let terminate = business.next_event().await;
    let seconds = |event: &serde_json::Value| event["timestamp"].as_str().unwrap().parse::<u64>().unwrap();
    assert!(seconds(&terminate) - seconds(&connect) >= 3_600);
    handle.finish().await;

    for signing in [Signing::WrongSecret, Signing::Missing] {
        let forged = CallerSettings { connect: ConnectDelivery::Forged(signing), ..abandoning() };
        let handle = business.meta.call(forged).await.unwrap();
        let record = handle.finish().await;
        assert_eq!(record.timeline.at(Moment::ConnectAnswered), None);
        assert_eq!(business.next_event().await["event"], "terminate");
    }
    let refused = business.meta.webhooks().into_iter().filter(|report| report.outcome == Ok(401)).count();
    assert_eq!(refused, 2);

    assert!(business.meta.deliver_unknown_event("wacid.X", "call_hologram").await.accepted());
    assert_eq!(business.next_event().await["event"], "call_hologram");
    assert_eq!(business.meta.deliver_raw(b"{".to_vec(), Signing::Valid).await.outcome, Ok(400));
}
