//! Which nodes are known: who may register under which id and address, and what it takes to lose one with its calls.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::{Duration, Instant};

use support::{Graph, NODE_TOKEN, Node, Plane, connect, plane, system, until};
use tonic::{Code, Request, Status};
use voicebridge_proto::{
    control::v1::{CallPhase, ListNodesRequest, fleet_service_client::FleetServiceClient},
    media::v1::{self as media, ConnectRequest, node_service_client::NodeServiceClient},
    types::v1::{StatisticsReported, TerminationResult, event::Kind},
};
use voicebridge_server::nodes::NodeAddresses;
use voicebridge_telemetry::status::reason;

/// Three times what loses a node in these tests.
const LONG: Duration = Duration::from_secs(3);
/// Between two events of a call.
const OFTEN: Duration = Duration::from_millis(100);

fn lost() -> (TerminationResult, String, String) {
    (TerminationResult::Failed, "NODE_LOST".to_owned(), String::new())
}

/// What a registration is made of.
#[derive(Clone, Copy)]
struct Claim<'a> {
    id: &'a str,
    url: &'a str,
    secret: &'a [u8],
    /// Besides the node's token.
    header: Option<(&'static str, &'a str)>,
}

impl Default for Claim<'_> {
    fn default() -> Self {
        Self { id: "claimed", url: "http://127.0.0.1:9", secret: &[7; 32], header: None }
    }
}

/// The first thing a registration of this node is answered.
async fn register(plane: &Plane, claim: Claim<'_>) -> Result<(), Status> {
    let node = media::Node {
        node_id: claim.id.to_owned(),
        region: "local".to_owned(),
        advertise_url: claim.url.to_owned(),
        max_sessions: 10,
        ..media::Node::default()
    };
    let beats = tokio_stream::iter([ConnectRequest { node: Some(node), node_secret: claim.secret.to_vec() }]);
    let mut request = Request::new(beats);
    request.metadata_mut().insert("authorization", format!("Bearer {NODE_TOKEN}").parse().unwrap());
    if let Some((name, value)) = claim.header {
        request.metadata_mut().insert(name, value.parse().unwrap());
    }
    let mut nodes = NodeServiceClient::new(plane::channel(&plane.url).await.unwrap());
    let acknowledged = nodes.connect(request).await?.into_inner().message().await?;
    assert!(acknowledged.is_some(), "neither acknowledged nor refused");
    Ok(())
}

#[track_caller]
fn check(answer: Result<(), Status>, code: Code, word: &str) {
    let refused = answer.expect_err("it was let through");
    assert_eq!((refused.code(), reason(&refused).as_deref()), (code, Some(word)), "{}", refused.message());
}

/// With a node token, which does away with the rule that nodes are on this machine.
async fn plane_with_token(addresses: &str) -> Plane {
    let mut config = plane::config(&Graph::start().await.url);
    config.node_token = Some(NODE_TOKEN.into());
    config.node_addresses = NodeAddresses::parse(addresses).unwrap();
    Plane::start_with(config).await
}

/// Id and address of every node known.
async fn known(plane: &Plane) -> Vec<(String, String)> {
    let mut fleet = FleetServiceClient::new(plane.wire().await);
    let nodes = fleet.list_nodes(ListNodesRequest {}).await.unwrap().into_inner().nodes;
    nodes.into_iter().map(|node| (node.node_id, node.advertise_url)).collect()
}

#[tokio::test]
async fn a_node_whose_registration_is_dead_keeps_its_calls_while_their_events_come() {
    let (_graph, plane, node) = system().await;
    plane.deliver(&[connect("kept")]).await;
    let session = plane.phase("kept", CallPhase::Active).await.session_id;
    // Nothing but the events says that it is there.
    node.deaf(true);
    node.fall_silent();
    let begun = Instant::now();
    while begun.elapsed() < LONG {
        node.emit(&session, Kind::StatisticsReported(StatisticsReported::default()));
        tokio::time::sleep(OFTEN).await;
    }
    assert_eq!(plane.call("kept").await.unwrap().phase(), CallPhase::Active);
    // Without them it is lost.
    assert_eq!(plane.ended("kept").await, lost());
}

#[tokio::test]
async fn a_node_that_answers_when_it_is_asked_keeps_its_calls_without_a_registration() {
    let (graph, plane, node) = system().await;
    plane.deliver(&[connect("asked")]).await;
    plane.phase("asked", CallPhase::Active).await;
    node.fall_silent();
    tokio::time::sleep(LONG).await;
    assert_eq!(plane.call("asked").await.unwrap().phase(), CallPhase::Active);
    node.vanish();
    assert_eq!(plane.ended("asked").await, lost());
    assert_eq!(graph.actions("asked"), ["pre_accept", "accept", "terminate"]);
}

#[tokio::test]
async fn a_node_whose_address_refuses_is_lost_at_once() {
    let mut config = plane::config(&Graph::start().await.url);
    // Silence alone would take 20 s.
    config.limits.node_lost_beats = 400;
    let plane = Plane::start_with(config).await;
    let node = Node::start("node-1").await;
    node.register(&plane.url, "local", 10);
    plane.nodes(1).await;
    plane.deliver(&[connect("crashed")]).await;
    plane.phase("crashed", CallPhase::Active).await;
    let begun = Instant::now();
    node.vanish();
    assert_eq!(plane.ended("crashed").await, lost());
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn an_id_belongs_to_the_node_that_registered_it() {
    let (_graph, plane, node) = system().await;
    let other = Node::start("elsewhere").await;
    let claim = Claim { id: "node-1", url: &other.url, ..Claim::default() };
    check(register(&plane, claim).await, Code::AlreadyExists, "NODE_ID_TAKEN");
    assert_eq!(known(&plane).await, [("node-1".to_owned(), node.url.clone())]);
    plane.deliver(&[connect("rightly")]).await;
    plane.phase("rightly", CallPhase::Active).await;
    assert_eq!((node.sessions().len(), other.sessions().len()), (1, 0));
    // Its own secret opens a second stream.
    let claim = Claim { id: "node-2", url: &other.url, ..Claim::default() };
    register(&plane, claim).await.unwrap();
    register(&plane, claim).await.unwrap();
    check(register(&plane, Claim { secret: &[8; 32], ..claim }).await, Code::AlreadyExists, "NODE_ID_TAKEN");
}

#[tokio::test]
async fn a_registration_without_a_secret_is_refused() {
    let (_graph, plane, _node) = system().await;
    for secret in [&[][..], &[7; 15][..], &[7; 65][..]] {
        let claim = Claim { secret, ..Claim::default() };
        check(register(&plane, claim).await, Code::InvalidArgument, "INVALID_ARGUMENT");
    }
    for secret in [&[7; 16][..], &[7; 64][..]] {
        let id = format!("with-{}", secret.len());
        register(&plane, Claim { id: &id, secret, ..Claim::default() }).await.unwrap();
    }
}

#[tokio::test]
async fn a_node_started_again_under_its_id_has_it_and_its_old_calls_are_lost() {
    let (_graph, plane, node) = system().await;
    plane.deliver(&[connect("old")]).await;
    plane.phase("old", CallPhase::Active).await;
    let address = node.vanish_and_free().await;
    let again = Node::start_at("node-1", address).await;
    again.register(&plane.url, "local", 10);
    assert_eq!(plane.ended("old").await, lost());
    until("the node is registered again", || async {
        (known(&plane).await == [("node-1".to_owned(), again.url.clone())]).then_some(())
    })
    .await;
    plane.deliver(&[connect("new")]).await;
    plane.phase("new", CallPhase::Active).await;
    assert_eq!(again.sessions().len(), 1);
}

#[tokio::test]
async fn after_our_restart_an_id_of_a_call_is_still_its_nodes() {
    let (_graph, mut plane, node) = system().await;
    plane.deliver(&[connect("held")]).await;
    plane.phase("held", CallPhase::Active).await;
    let other = Node::start("elsewhere").await;
    node.fall_silent();
    plane.terminate().await.unwrap();
    plane.restart().await;
    // The node has not registered again; somebody else tries to.
    let claim = Claim { id: "node-1", url: &other.url, ..Claim::default() };
    check(register(&plane, claim).await, Code::AlreadyExists, "NODE_ID_TAKEN");
    let claim = Claim { url: &node.url, ..claim };
    check(register(&plane, claim).await, Code::AlreadyExists, "NODE_ID_TAKEN");
    node.register(&plane.url, "local", 10);
    plane.nodes(1).await;
    assert_eq!(known(&plane).await, [("node-1".to_owned(), node.url.clone())]);
    assert_eq!(plane.call("held").await.unwrap().phase(), CallPhase::Active);
}

#[tokio::test]
async fn no_node_leads_requests_to_another_host() {
    let plane = plane_with_token("").await;
    for url in ["http://192.0.2.7:3200", "http://node.example:3200", "http://169.254.169.254"] {
        let claim = Claim { url, ..Claim::default() };
        check(register(&plane, claim).await, Code::PermissionDenied, "NODE_ADDRESS_REFUSED");
    }
    // What comes through a proxy comes from anywhere.
    let claim = Claim { header: Some(("x-forwarded-for", "192.0.2.7")), ..Claim::default() };
    check(register(&plane, claim).await, Code::PermissionDenied, "NODE_ADDRESS_REFUSED");
    assert_eq!(plane.get("/health").await.1["nodes"], 0);
    for (id, url) in [("a", "http://127.0.0.1:9"), ("b", "http://[::1]:9"), ("c", "http://localhost:9")] {
        register(&plane, Claim { id, url, ..Claim::default() }).await.unwrap();
    }
}

#[tokio::test]
async fn listed_addresses_are_announced_from_anywhere() {
    let plane = plane_with_token("127.1.0.0/16, node.localhost").await;
    for url in ["http://127.0.0.1:9", "http://192.0.2.7:3200", "http://localhost:9"] {
        let claim = Claim { url, ..Claim::default() };
        check(register(&plane, claim).await, Code::PermissionDenied, "NODE_ADDRESS_REFUSED");
    }
    for (id, url) in [("a", "http://127.1.2.3:9"), ("b", "http://node.localhost:9")] {
        let claim = Claim { id, url, header: Some(("x-forwarded-for", "192.0.2.7")), ..Claim::default() };
        register(&plane, claim).await.unwrap();
    }
}
