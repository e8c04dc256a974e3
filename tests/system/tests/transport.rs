//! The way for the media does not come up.

use voicebridge_proto::types::v1::TerminationResult;
use voicebridge_simulator::meta::{Action, CallerSettings, ConnectDelivery, EndedBy, Signing};
use voicebridge_system_tests::{Setup, termination};

use crate::talk::{assert_ended, granted, hangs_up_at_once, line, sensible_ai};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_who_cannot_be_reached_is_turned_down_in_time() {
    let node = [("VOICEBRIDGE_TRANSPORT_TIMEOUT_S".to_owned(), "2".to_owned())].into();
    let world = Setup { ai: Some(sensible_ai()), node, ..Setup::default() }.start().await;
    let settings = CallerSettings { connect: ConnectDelivery::Withheld, ..hangs_up_at_once() };
    let handle = world.meta.call(settings).await.unwrap();
    let mut connect = handle.connect_webhook().clone();
    let sdp = connect["calls"][0]["session"]["sdp"].as_str().unwrap();
    // Checks with another password are not answered.
    let password: String = line(sdp, "a=ice-pwd:").chars().rev().collect();
    let other = sdp.replace(line(sdp, "a=ice-pwd:"), &format!("x{password}"));
    connect["calls"][0]["session"]["sdp"] = other.into();
    assert!(world.meta.deliver(vec![connect], Signing::Valid).await.accepted());

    let record = handle.finish().await;
    let call = world.calls.ended(&record.call_id).await;
    assert_eq!(record.ended_by, EndedBy::BusinessRejected);
    assert_eq!(granted(&record), [Action::PreAccept, Action::Reject]);
    assert_ended(&call, "MEDIA_CONNECTION_TIMEOUT", "");
    assert_eq!(termination(&call).result(), TerminationResult::Failed);
    world.stop().await;
}
