//! Offers that nobody could answer are rejected, and the record names the rule.

use voicebridge_proto::types::v1::TerminationResult;
use voicebridge_simulator::meta::{CallerSettings, ConnectDelivery, EndedBy, Signing};
use voicebridge_system_tests::{Setup, termination};

use crate::talk::{assert_ended, hangs_up_at_once, sensible_ai};

/// What is done to the offer, and the rule it breaks then.
type Fault = (fn(&str) -> String, &'static str);

const FATAL: [Fault; 7] = [
    (|sdp| sdp.replace("m=audio", "m=video"), "no-audio-line"),
    (|sdp| without(sdp, "a=ice-ufrag:"), "no-ice-ufrag"),
    (|sdp| without(sdp, "a=ice-pwd:"), "no-ice-pwd"),
    (|sdp| sdp.replace("a=fingerprint:sha-256", "a=fingerprint:sha-384"), "no-sha256-fingerprint"),
    (|sdp| sdp.replace("opus/48000/2", "speex/16000"), "no-known-codec"),
    (|sdp| sdp.replace("a=sendrecv", "a=recvonly"), "not-sendrecv"),
    (|_| "no session description at all".to_owned(), "not-sdp"),
];

fn without(sdp: &str, prefix: &str) -> String {
    sdp.split_inclusive("\r\n").filter(|line| !line.starts_with(prefix)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fatal_offer_is_rejected_with_the_name_of_its_rule() {
    let world = Setup { ai: Some(sensible_ai()), ..Setup::default() }.start().await;
    for (spoil, rule) in FATAL {
        let settings = CallerSettings { connect: ConnectDelivery::Withheld, ..hangs_up_at_once() };
        let handle = world.meta.call(settings).await.unwrap();
        let mut connect = handle.connect_webhook().clone();
        let sdp = connect["calls"][0]["session"]["sdp"].as_str().unwrap();
        connect["calls"][0]["session"]["sdp"] = spoil(sdp).into();
        assert!(world.meta.deliver(vec![connect], Signing::Valid).await.accepted());

        let record = handle.finish().await;
        let call = world.calls.ended(&record.call_id).await;
        assert_eq!(record.ended_by, EndedBy::BusinessRejected, "{rule}");
        assert_ended(&call, "SDP_INVALID", rule);
        assert_eq!(termination(&call).result(), TerminationResult::Rejected, "{rule}");
        assert!(termination(&call).message.contains(rule), "{rule}: {}", termination(&call).message);
    }
    assert_eq!(world.ai().inspect(|sessions| sessions.len()), 0, "no AI was asked");
    world.stop().await;
}
