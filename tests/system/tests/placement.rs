//! Which node gets a call, and what happens when none can.

use std::collections::BTreeMap;

use voicebridge_proto::types::v1::TerminationResult;
use voicebridge_simulator::meta::{CallerSettings, EndedBy};
use voicebridge_system_tests::{Setup, termination};

use crate::talk::{assert_ended, hangs_up_at_once, sensible_ai, stays};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_node_a_call_is_rejected_at_once() {
    let world = Setup { nodes: 0, ..Setup::default() }.start().await;
    let record = world.meta.call(hangs_up_at_once()).await.unwrap().finish().await;
    let call = world.calls.ended(&record.call_id).await;
    assert_eq!(record.ended_by, EndedBy::BusinessRejected);
    assert_ended(&call, "NO_NODE_AVAILABLE", "");
    assert_eq!(termination(&call).result(), TerminationResult::Rejected);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_nodes_are_passed_over_and_a_slot_is_given_back() {
    let node: BTreeMap<_, _> = [("VOICEBRIDGE_MAX_SESSIONS".to_owned(), "1".to_owned())].into();
    let world = Setup { nodes: 2, ai: Some(sensible_ai()), node, ..Setup::default() }.start().await;
    let first = world.meta.call(stays()).await.unwrap();
    let second = world.meta.call(stays()).await.unwrap();
    let first_call = world.calls.active(first.id()).await;
    let second_call = world.calls.active(second.id()).await;
    assert_ne!(first_call.node_id, second_call.node_id);

    let third = world.meta.call(hangs_up_at_once()).await.unwrap().finish().await;
    assert_eq!(third.ended_by, EndedBy::BusinessRejected);
    assert_ended(&world.calls.ended(&third.call_id).await, "NO_NODE_AVAILABLE", "");

    first.hang_up().await;
    let first = first.finish().await;
    world.calls.ended(&first.call_id).await;
    // At once: the node decides, not what its last beat said.
    let fourth = world.meta.call(hangs_up_at_once()).await.unwrap().finish().await;
    assert_eq!(fourth.ended_by, EndedBy::Caller);
    assert_eq!(world.calls.ended(&fourth.call_id).await.region, first_call.region);
    second.hang_up().await;
    second.finish().await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_is_placed_in_the_region_named_for_the_country() {
    let control = [("VOICEBRIDGE_PLACEMENT".to_owned(), "BR=region-1;*=region-0".to_owned())].into();
    let world = Setup { nodes: 2, ai: Some(sensible_ai()), control, ..Setup::default() }.start().await;
    // The second hides the number; the business-scoped id tells the country.
    for (from, country, region) in
        [(Some("5511900000001"), "BR", "region-1"), (None, "BR", "region-1"), (Some("4930123456"), "DE", "region-0")]
    {
        let settings =
            CallerSettings { from: from.map(str::to_owned), country: country.to_owned(), ..hangs_up_at_once() };
        let record = world.meta.call(settings).await.unwrap().finish().await;
        assert_eq!(record.ended_by, EndedBy::Caller);
        assert_eq!(world.calls.ended(&record.call_id).await.region, region, "{from:?} {country}");
    }
    world.stop().await;
}
