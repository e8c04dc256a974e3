//! API keys made, used, revoked; read tokens; and what becomes of streams whose right has ended.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::Instant;

use secrecy::SecretString;
use support::{Graph, Node, PATIENCE, Plane, connect, plane, until};
use tonic::{Code, Status, service::interceptor::InterceptedService, transport::Channel};
use voicebridge_proto::control::v1::{
    CallPhase, CreateKeyRequest, CreateReadTokenRequest, DrainNodeRequest, GetCallRequest, Key, ListCallsRequest,
    ListKeysRequest, ListNodesRequest, RevokeKeyRequest, Scope, StartSessionRequest, StreamEventsRequest,
    call_service_client::CallServiceClient, fleet_service_client::FleetServiceClient,
    key_service_client::KeyServiceClient,
};
use voicebridge_server::store::{KeyStore as _, Settings};
use voicebridge_telemetry::{
    auth::Bearer,
    status::{metadata, reason},
};

type Keys = KeyServiceClient<InterceptedService<Channel, Bearer>>;
type Calls = CallServiceClient<InterceptedService<Channel, Bearer>>;

fn bearer(key: &str) -> Bearer {
    Bearer::new(Some(&SecretString::from(key))).unwrap()
}

/// Without a key: with the local one.
async fn keys(plane: &Plane, key: Option<&str>) -> Keys {
    let local = plane.local_key();
    let bearer = key.map_or_else(|| Bearer::new(local.as_ref()).unwrap(), bearer);
    KeyServiceClient::with_interceptor(plane::channel(&plane.url).await.unwrap(), bearer)
}

async fn calls(plane: &Plane, key: &str) -> Calls {
    CallServiceClient::with_interceptor(plane::channel(&plane.url).await.unwrap(), bearer(key))
}

fn create(scopes: &[Scope]) -> CreateKeyRequest {
    CreateKeyRequest {
        name: "test".to_owned(),
        scopes: scopes.iter().map(|scope| (*scope).into()).collect(),
        lifetime_ms: None,
    }
}

/// The key, and what is known of it.
async fn made(keys: &mut Keys, scopes: &[Scope]) -> (String, Key) {
    let made = keys.create_key(create(scopes)).await.unwrap().into_inner();
    (made.secret, made.key.unwrap())
}

#[track_caller]
fn check<T: std::fmt::Debug>(answer: Result<T, Status>, code: Code, expect: &str) -> Status {
    let status = answer.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_deref()), (code, Some(expect)), "{}", status.message());
    status
}

fn seconds(seconds: u64) -> Option<u64> {
    Some(seconds * 1_000)
}

#[tokio::test]
async fn from_the_first_key_to_the_last() {
    let mut plane = Plane::start(&Graph::start().await).await;
    let mut local = keys(&plane, None).await;
    for (request, field) in [
        (create(&[]), "scopes"),
        (create(&[Scope::Admin, Scope::Unspecified]), "scopes"),
        (CreateKeyRequest { scopes: vec![99], ..create(&[]) }, "scopes"),
        (CreateKeyRequest { name: "x".repeat(65), ..create(&[Scope::Admin]) }, "name"),
        (CreateKeyRequest { name: "a\nb".to_owned(), ..create(&[Scope::Admin]) }, "name"),
        (CreateKeyRequest { lifetime_ms: seconds(59), ..create(&[Scope::Admin]) }, "lifetime_ms"),
        (CreateKeyRequest { lifetime_ms: Some(0), ..create(&[Scope::Admin]) }, "lifetime_ms"),
        (CreateKeyRequest { lifetime_ms: Some(u64::MAX), ..create(&[Scope::Admin]) }, "lifetime_ms"),
    ] {
        let status = check(local.create_key(request).await, Code::InvalidArgument, "INVALID_ARGUMENT");
        assert_eq!(metadata(&status, "field").as_deref(), Some(field));
    }
    let reader = create(&[Scope::CallsRead, Scope::CallsWrite, Scope::Nodes]);
    check(local.create_key(reader).await, Code::FailedPrecondition, "FIRST_KEY_NEEDS_ADMIN");

    let (secret, key) = made(&mut local, &[Scope::Admin]).await;
    assert!(secret.starts_with("vb_") && secret.len() == 67, "{secret}");
    // From now on the local key is none.
    let over = check(local.list_keys(ListKeysRequest {}).await, Code::Unauthenticated, "UNAUTHENTICATED");
    assert!(over.message().contains("only while no key is configured"), "{}", over.message());
    assert_eq!(plane.get("/sessions").await.0, 401);
    let mut admin = keys(&plane, Some(&secret)).await;
    let (reader_secret, reader) = made(&mut admin, &[Scope::CallsRead]).await;
    assert_eq!((reader.name.as_str(), reader.scopes().collect::<Vec<_>>()), ("test", vec![Scope::CallsRead]));
    let listed = admin.list_keys(ListKeysRequest {}).await.unwrap().into_inner().keys;
    assert_eq!(listed.iter().map(|key| &key.key_id).collect::<Vec<_>>(), [&key.key_id, &reader.key_id]);
    let mut as_reader = keys(&plane, Some(&reader_secret)).await;
    let status = check(as_reader.list_keys(ListKeysRequest {}).await, Code::PermissionDenied, "SCOPE_MISSING");
    assert_eq!(metadata(&status, "scope").as_deref(), Some("admin"));
    let mut events = calls(&plane, &reader_secret).await;
    events.list_calls(ListCallsRequest::default()).await.unwrap();

    let revoke = |key_id: &str| RevokeKeyRequest { key_id: key_id.to_owned() };
    check(admin.revoke_key(revoke("nobody")).await, Code::NotFound, "KEY_NOT_FOUND");
    check(admin.revoke_key(revoke(&key.key_id)).await, Code::FailedPrecondition, "LAST_ADMIN_KEY");
    let first = admin.revoke_key(revoke(&reader.key_id)).await.unwrap().into_inner().key.unwrap();
    let again = admin.revoke_key(revoke(&reader.key_id)).await.unwrap().into_inner().key.unwrap();
    assert!(first.revoked_at.is_some() && first == again);
    check(events.list_calls(ListCallsRequest::default()).await, Code::Unauthenticated, "KEY_REVOKED");

    let used = until("the use is noted", || async {
        let listed = admin.clone().list_keys(ListKeysRequest {}).await.unwrap().into_inner().keys;
        listed[0].last_used_at
    })
    .await;
    assert_eq!((used.seconds % 60, used.nanos), (0, 0), "to the minute");

    // Hashes only, and nothing is forgotten.
    let stored = plane.stored_bytes();
    for secret in [&secret, &reader_secret] {
        assert!(!stored.windows(64).any(|window| window == &secret.as_bytes()[3..]), "a key is stored");
    }
    plane.terminate().await.unwrap();
    plane.restart().await;
    keys(&plane, Some(&secret)).await.list_keys(ListKeysRequest {}).await.unwrap();
    assert_eq!(plane.get("/sessions").await.0, 401);
}

#[tokio::test]
async fn read_tokens() {
    let graph = Graph::start().await;
    let mut config = plane::config(&graph.url);
    config.api_keys = vec!["key-1".into()];
    let plane = Plane::start_with(config).await;
    let mut keys_api = keys(&plane, Some("key-1")).await;
    for (call_id, lifetime_ms, field) in
        [("", seconds(0), "lifetime_ms"), ("", seconds(3_601), "lifetime_ms"), (&*"x".repeat(513), None, "call_id")]
    {
        let request = CreateReadTokenRequest { call_id: call_id.to_owned(), lifetime_ms };
        let status = check(keys_api.create_read_token(request).await, Code::InvalidArgument, "INVALID_ARGUMENT");
        assert_eq!(metadata(&status, "field").as_deref(), Some(field));
    }
    let unknown = CreateReadTokenRequest { call_id: "nobody's".to_owned(), lifetime_ms: None };
    check(keys_api.create_read_token(unknown).await, Code::NotFound, "CALL_NOT_FOUND");
    for call_id in ["mine", "other"] {
        assert_eq!(plane.deliver(&[connect(call_id)]).await, 200);
    }
    let request = CreateReadTokenRequest { call_id: "mine".to_owned(), lifetime_ms: seconds(60) };
    let before = support::now_s();
    let made = keys_api.create_read_token(request).await.unwrap().into_inner();
    let expires = made.expires_at.unwrap().seconds as u64;
    assert!((before + 59..=support::now_s() + 60).contains(&expires));

    let mut with_token = calls(&plane, &made.token).await;
    let get = |call_id: &str| GetCallRequest { call_id: call_id.to_owned() };
    assert!(with_token.get_call(get("mine")).await.is_ok());
    for call_id in ["other", "nobody's"] {
        check(with_token.get_call(get(call_id)).await, Code::PermissionDenied, "READ_TOKEN_LIMITED");
    }
    let stream = |call_id: &str| StreamEventsRequest { call_id: call_id.to_owned(), ..Default::default() };
    for call_id in ["other", "nobody's", ""] {
        let answer = with_token.stream_events(stream(call_id)).await;
        check(answer.map(|_| ()), Code::PermissionDenied, "READ_TOKEN_LIMITED");
    }
    let all = with_token.list_calls(ListCallsRequest::default()).await;
    check(all, Code::PermissionDenied, "READ_TOKEN_LIMITED");
    let start =
        with_token.start_session(StartSessionRequest { call_id: "mine".to_owned(), ..Default::default() }).await;
    check(start, Code::PermissionDenied, "SCOPE_MISSING");
    let another = keys(&plane, Some(&made.token)).await.create_read_token(CreateReadTokenRequest::default()).await;
    check(another, Code::PermissionDenied, "READ_TOKEN_LIMITED");

    // In a query it is taken where a page cannot send a header, and nowhere else.
    let ask = async |path: &str| plane.http.get(format!("{}{path}", plane.url)).send().await.unwrap();
    let refused = ask(&format!("/sessions/mine?access_token={}", made.token)).await;
    assert_eq!(refused.status(), 401);
    for (query, status, expect) in [
        (format!("call_id=other&access_token={}", made.token), 403, "READ_TOKEN_LIMITED"),
        (format!("access_token={}", made.token), 403, "READ_TOKEN_LIMITED"),
        (format!("call_id=mine&access_token={}x", made.token), 401, "UNAUTHENTICATED"),
        // A key is for longer than a log should be.
        ("call_id=mine&access_token=key-1".to_owned(), 401, "KEY_IN_URL"),
        ("call_id=mine&access_token=".to_owned(), 401, "UNAUTHENTICATED"),
        ("call_id=mine".to_owned(), 401, "UNAUTHENTICATED"),
    ] {
        let answer = ask(&format!("/events?{query}")).await;
        assert_eq!(answer.status(), status, "{query}");
        let answer: serde_json::Value = answer.json().await.unwrap();
        assert_eq!(answer["reason"], expect, "{query}");
    }
}

#[tokio::test]
async fn a_stream_ends_with_the_right_to_it() {
    let plane = Plane::start(&Graph::start().await).await;
    let node = Node::start("node-1").await;
    node.register(&plane.url, "local", 100);
    plane.nodes(1).await;
    plane.deliver(&[connect("watched")]).await;
    plane.phase("watched", CallPhase::Active).await;

    let watching = StreamEventsRequest { call_id: "watched".to_owned(), ..Default::default() };
    let mut with_local = plane.client().await.stream_events(watching).await.unwrap().into_inner();
    let mut local = keys(&plane, None).await;
    let (admin_secret, _) = made(&mut local, &[Scope::Admin]).await;
    // The local key has ended with that, and so has what it opened.
    let to_its_end = async { while with_local.message().await.is_ok_and(|message| message.is_some()) {} };
    tokio::time::timeout(PATIENCE, to_its_end).await.unwrap();
    let mut admin = keys(&plane, Some(&admin_secret)).await;
    // Revoked by this process, and by another on the same database.
    for elsewhere in [false, true] {
        let (secret, key) = made(&mut admin, &[Scope::CallsRead]).await;
        let mut client = calls(&plane, &secret).await;
        let request = StreamEventsRequest { call_id: "watched".to_owned(), ..Default::default() };
        let mut stream = client.stream_events(request.clone()).await.unwrap().into_inner();
        stream.message().await.unwrap().unwrap();
        let revoked = Instant::now();
        if elsewhere {
            let store = plane.store().await;
            store.revoke_key(&key.key_id, 1_000, Settings::NoKey).await.unwrap();
            store.shut().await;
        } else {
            admin.revoke_key(RevokeKeyRequest { key_id: key.key_id }).await.unwrap();
        }
        let broken = async {
            loop {
                match stream.message().await {
                    Ok(Some(_)) => {}
                    Ok(None) => panic!("the stream ended as if the call had"),
                    Err(status) => return status,
                }
            }
        };
        let status = tokio::time::timeout(PATIENCE, broken).await.unwrap();
        println!("broken {:?} after the key was revoked, elsewhere: {elsewhere}", revoked.elapsed());
        assert_eq!(reason(&status), None, "a broken connection, which clients take up again: {status:?}");
        check(client.stream_events(request).await.map(|_| ()), Code::Unauthenticated, "KEY_REVOKED");
    }
    // Other streams go on.
    let mut client = calls(&plane, &admin_secret).await;
    let request = CreateReadTokenRequest { call_id: "watched".to_owned(), lifetime_ms: seconds(2) };
    let token = admin.create_read_token(request).await.unwrap().into_inner().token;
    let stream = StreamEventsRequest { call_id: "watched".to_owned(), ..Default::default() };
    let mut lasting = client.stream_events(stream.clone()).await.unwrap().into_inner();
    let mut short = calls(&plane, &token).await.stream_events(stream).await.unwrap().into_inner();
    let over = async { while short.message().await.is_ok_and(|message| message.is_some()) {} };
    tokio::time::timeout(PATIENCE, over).await.unwrap();
    plane.deliver(&[support::terminate("watched")]).await;
    let to_its_end = async { while lasting.message().await.unwrap().is_some() {} };
    tokio::time::timeout(PATIENCE, to_its_end).await.unwrap();
}

#[tokio::test]
async fn nodes_are_listed_and_drained() {
    let mut config = plane::config(&Graph::start().await.url);
    // The one that vanishes is asked before it is lost.
    config.limits.node_lost_beats = 400;
    let plane = Plane::start_with(config).await;
    let mut fleet = FleetServiceClient::new(plane.wire().await);
    assert!(fleet.list_nodes(ListNodesRequest {}).await.unwrap().into_inner().nodes.is_empty());
    let nodes = [Node::start("b").await, Node::start("a").await, Node::start("c").await];
    for (node, region) in nodes.iter().zip(["sa", "sa", "eu"]) {
        node.register(&plane.url, region, 10);
    }
    plane.nodes(3).await;
    let listed = fleet.list_nodes(ListNodesRequest {}).await.unwrap().into_inner().nodes;
    let named: Vec<_> = listed.iter().map(|node| (node.region.as_str(), node.node_id.as_str())).collect();
    assert_eq!(named, [("eu", "c"), ("sa", "a"), ("sa", "b")]);
    assert_eq!((listed[0].provider.as_str(), listed[0].version.as_str()), ("embedded", "1.2.3"));

    let drain = |node_id: &str| DrainNodeRequest { node_id: node_id.to_owned() };
    check(fleet.drain_node(drain("nobody")).await, Code::NotFound, "NODE_NOT_FOUND");
    for _ in 0..2 {
        let drained = fleet.drain_node(drain("a")).await.unwrap().into_inner().node.unwrap();
        assert!(drained.draining && drained.node_id == "a", "{drained:?}");
    }
    let listed = fleet.list_nodes(ListNodesRequest {}).await.unwrap().into_inner().nodes;
    assert_eq!(listed.iter().map(|node| node.draining).collect::<Vec<_>>(), [false, true, false]);
    // No call goes there any more.
    fleet.drain_node(drain("c")).await.unwrap();
    for call in ["one", "two", "three"] {
        plane.deliver(&[connect(call)]).await;
        plane.phase(call, CallPhase::Active).await;
    }
    assert_eq!(nodes[0].sessions().len(), 3);
    nodes[2].deaf(true);
    let lost = check(fleet.drain_node(drain("c")).await, Code::Unavailable, "NODE_LOST");
    assert!(lost.message().contains("did not answer"));
}
