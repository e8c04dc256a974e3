//! What the Graph API refuses, and how. The SDP rules have their own table beside the code.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use voicebridge_simulator::meta::{Action, CallerSettings, EndedBy, Faults, GraphFault, Meta, MetaSettings, Moment};

use crate::{answerer::Answerer, business::Business};

fn action(call_id: &str, action: &str) -> Value {
    json!({"messaging_product": "whatsapp", "call_id": call_id, "action": action})
}

#[tokio::test]
async fn requests_are_checked_before_the_call() {
    let business = Business::start(MetaSettings::default(), vec![]).await;
    let handle = business.meta.call(CallerSettings::default()).await.unwrap();
    let call_id = handle.id().to_owned();
    let token = business.meta.settings().access_token.clone();
    let path = format!("/v25.0/{}/calls", business.meta.settings().phone_number_id);

    let good = action(&call_id, "reject").to_string().into_bytes();
    let answer = business.post("wrong", &path, good.clone()).await;
    assert_eq!((answer.status, answer.code()), (401, 190));
    assert_eq!(answer.body["error"]["type"], "OAuthException");
    assert!(answer.body["error"]["fbtrace_id"].as_str().is_some_and(|trace| !trace.is_empty()));
    for (path, status) in [("/v25.0/1/calls", 400), ("/v9.0/106000000000001/calls", 400), ("/v25.0/calls", 404)] {
        let answer = business.post(&token, path, good.clone()).await;
        assert_eq!((answer.status, answer.code()), (status, 100), "{path}");
    }

    let sdp = |sdp_type: &str, sdp: &str| {
        let mut body = action(&call_id, "accept");
        body["session"] = json!({"sdp_type": sdp_type, "sdp": sdp});
        body
    };
    let mut long = sdp("answer", "v=0");
    long["biz_opaque_callback_data"] = json!("x".repeat(513));
    for (body, code, details) in [
        (json!({"call_id": call_id, "action": "reject"}), 100, "messaging_product"),
        (action(&call_id, "hold"), 100, "Param action"),
        (action("", "reject"), 100, "call_id is required"),
        (action("wacid.unknown", "reject"), 100, "Invalid call id"),
        (action(&call_id, "accept"), 100, "session is required"),
        (sdp("offer", "v=0"), 100, "sdp_type must be answer"),
        (sdp("answer", ""), 100, "session.sdp is required"),
        (sdp("answer", "v=0\n"), 100, "CRLF"),
        (long, 100, "512"),
        (json!({"messaging_product": "whatsapp", "action": "connect", "to": "1"}), 138_006, "permission"),
        (action(&call_id, "terminate"), 100, "use reject"),
    ] {
        let answer = business.graph(body.clone()).await;
        assert_eq!(answer.code(), code, "{body}");
        assert!(answer.details().contains(details), "{body}: {}", answer.body);
    }
    let answer = business.post(&token, &path, b"{".to_vec()).await;
    assert_eq!((answer.status, answer.details()), (400, "The body is not JSON"));

    business.act(&call_id, "reject").await.succeeds();
    let record = handle.finish().await;
    assert_eq!(record.ended_by, EndedBy::BusinessRejected);
    assert!(record.timeline.at(Moment::Rejected).is_some());
    let answer = business.act(&call_id, "reject").await;
    assert!(answer.details().contains("completed or failed"), "{}", answer.body);
}

#[tokio::test]
async fn actions_have_an_order_and_accept_repeats_the_sdp() {
    let business = Business::start(MetaSettings::default(), vec![]).await;
    let handle = business.meta.call(CallerSettings::default()).await.unwrap();
    let call_id = handle.id().to_owned();
    let peer = Answerer::new(handle.connect_webhook()["calls"][0]["session"]["sdp"].as_str().unwrap()).await;

    business.answer(&call_id, "pre_accept", &peer.sdp).await.succeeds();
    business.answer(&call_id, "pre_accept", &peer.sdp).await.succeeds();
    let other = peer.sdp.replace("a=sendrecv", "a=sendrecv\r\na=ptime:20");
    let answer = business.answer(&call_id, "accept", &other).await;
    assert!(answer.details().contains("differs from the one given in pre_accept"), "{}", answer.body);
    business.answer(&call_id, "accept", &peer.sdp).await.succeeds();
    for late in ["accept", "pre_accept"] {
        let answer = business.answer(&call_id, late, &peer.sdp).await;
        assert!(answer.details().contains("already in progress"), "{}", answer.body);
    }
    assert_eq!(business.act(&call_id, "reject").await.code(), 100);
    business.act(&call_id, "terminate").await.succeeds();
    assert_eq!(business.act(&call_id, "terminate").await.code(), 100);

    let record = handle.finish().await;
    assert_eq!(record.ended_by, EndedBy::BusinessTerminated);
    assert_eq!(record.sdp_accept, record.sdp_pre_accept);
    assert_eq!(record.sdp_accept.as_deref(), Some(peer.sdp.as_str()));
    assert_eq!(record.biz_opaque_callback_data.as_deref(), Some("job-9"));
    peer.close().await;
}

#[tokio::test]
async fn faults_happen_on_demand() {
    let faults = Faults::none()
        .times(Action::PreAccept, GraphFault::Refuse(2), 1)
        .always(Action::Accept, GraphFault::Delay(Duration::from_millis(150)));
    let business = Business::start(MetaSettings::default(), vec![]).await;
    let handle = business.meta.call(CallerSettings { faults, ..Default::default() }).await.unwrap();
    let call_id = handle.id().to_owned();
    let peer = Answerer::new(handle.connect_webhook()["calls"][0]["session"]["sdp"].as_str().unwrap()).await;

    let answer = business.answer(&call_id, "pre_accept", &peer.sdp).await;
    assert_eq!((answer.status, answer.code()), (500, 2));
    assert_eq!(answer.body["error"]["is_transient"], true);
    business.answer(&call_id, "pre_accept", &peer.sdp).await.succeeds();
    let asked = Instant::now();
    business.answer(&call_id, "accept", &peer.sdp).await.succeeds();
    assert!(asked.elapsed() >= Duration::from_millis(150));

    // For all calls: an answer that gets lost is applied, a hanging request is not.
    business.meta.set_faults(Faults::none().times(Action::Terminate, GraphFault::LoseAnswer, 1));
    let lost = tokio::time::timeout(Duration::from_millis(300), business.act(&call_id, "terminate")).await;
    assert!(lost.is_err());
    assert_eq!(handle.finish().await.ended_by, EndedBy::BusinessTerminated);

    let faults = Faults::none()
        .times(Action::Reject, GraphFault::Hang, 1)
        .always(Action::PreAccept, GraphFault::Refuse(138_008));
    let handle = business.meta.call(CallerSettings { faults, ..Default::default() }).await.unwrap();
    let call_id = handle.id().to_owned();
    assert_eq!(business.answer(&call_id, "pre_accept", &peer.sdp).await.code(), 138_008);
    let hung = tokio::time::timeout(Duration::from_millis(300), business.act(&call_id, "reject")).await;
    assert!(hung.is_err());
    business.act(&call_id, "reject").await.succeeds();
    assert_eq!(handle.finish().await.graph.len(), 1);
    peer.close().await;
}

#[tokio::test]
async fn a_dropped_meta_stops_listening() {
    let meta = Meta::start(MetaSettings::default()).await.unwrap();
    let address = meta.graph_url().trim_start_matches("http://").trim_end_matches("/v25.0").to_owned();
    tokio::net::TcpStream::connect(&address).await.unwrap();
    drop(meta);
    let refused = async { while tokio::net::TcpStream::connect(&address).await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(5), refused).await.expect("the port is closed");
}
