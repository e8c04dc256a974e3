//! Without a configured key: the local key of this machine and user is wanted, and nothing else will do. Asked directly, and
//! through a real nginx whose requests look like those of this machine.

#![allow(clippy::unwrap_used)]

mod support;

use http::HeaderMap;
use reqwest::Method;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use support::{
    Graph, NODE_TOKEN, Node, Plane,
    asking::{methods, over_grpc, over_grpc_web, over_http, paths},
    connect,
    nginx::Nginx,
    plane, system,
};
use tonic::Status;
use voicebridge_proto::{
    control::v1::CallPhase,
    media::v1::{self as media, ConnectRequest, node_service_client::NodeServiceClient},
};
use voicebridge_server::{Config, access::Access};
use voicebridge_telemetry::{auth::Bearer, local::LocalSecret, status::reason};

#[tokio::test]
async fn without_configured_keys_the_local_one_is_wanted() {
    let graph = Graph::start().await;
    let config = Config { node_token: None, ..plane::config(&graph.url) };
    let plane = Plane::start_with(config).await;
    let local = plane.local_key().unwrap();
    let local = local.expose_secret();
    let ask = async |headers: &[(&str, &str)]| {
        let mut request = reqwest::Client::new().get(format!("{}/sessions", plane.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    // That somebody asks from loopback, for a loopback address, is nothing to go by.
    let (status, refused) = ask(&[]).await;
    assert_eq!((status, &refused["reason"]), (401, &json!("UNAUTHENTICATED")));
    let message = refused["message"].as_str().unwrap();
    for says in ["/local-key", "authorization: Bearer", "x-api-key", "VOICEBRIDGE_API_KEYS"] {
        assert!(message.contains(says), "{message}");
    }
    for wrong in ["", "vb_local_", &local[..local.len() - 1], &format!("{local}0")] {
        let (status, refused) = ask(&[("x-api-key", wrong)]).await;
        assert_eq!((status, &refused["reason"]), (401, &json!("UNAUTHENTICATED")), "{wrong}");
        assert!(refused["message"].as_str().unwrap().contains("/local-key"), "{refused}");
    }
    assert_eq!(ask(&[("authorization", &format!("Bearer {local}"))]).await.0, 200);
    // It is the key that counts, not the way it came.
    assert_eq!(ask(&[("x-api-key", local), ("x-forwarded-for", "203.0.113.9"), ("host", "any.example")]).await.0, 200);
    let in_url = reqwest::Client::new().get(format!("{}/events?access_token={local}", plane.url)).send().await.unwrap();
    assert_eq!(in_url.json::<Value>().await.unwrap()["reason"], "KEY_IN_URL");

    // Nodes without a configured token: the local one, which is another secret, and a loopback address.
    let state = plane.config.state_dir.clone().unwrap();
    let token = state.read(LocalSecret::NodeToken).unwrap().unwrap();
    let node = media::Node {
        node_id: "far".to_owned(),
        region: "eu".to_owned(),
        advertise_url: "http://192.0.2.7:3200".to_owned(),
        ..media::Node::default()
    };
    let register = async |token: Option<&SecretString>| {
        let channel = plane::channel(&plane.url).await.unwrap();
        let bearer = Bearer::new(token).unwrap();
        let mut nodes = NodeServiceClient::with_interceptor(channel, bearer);
        let beats = tokio_stream::iter([ConnectRequest { node: Some(node.clone()), node_secret: vec![7; 32] }]);
        nodes.connect(beats).await?.into_inner().message().await
    };
    for nobody in [None, plane.local_key(), Some("vb_node_0".into())] {
        let status = register(nobody.as_ref()).await.unwrap_err();
        assert_eq!(reason(&status).as_deref(), Some("UNAUTHENTICATED"));
        assert!(status.message().contains("/local-node-token"), "{}", status.message());
    }
    let status = register(Some(&token)).await.unwrap_err();
    assert_eq!(reason(&status).as_deref(), Some("INVALID_ARGUMENT"));
    assert!(status.message().contains("VOICEBRIDGE_NODE_TOKEN"), "{}", status.message());
    let refused = reqwest::Client::new().get(format!("{}/sessions", plane.url)).bearer_auth(token.expose_secret());
    assert_eq!(refused.send().await.unwrap().status(), 401, "a node's token is no key");
}

#[tokio::test]
async fn the_local_key_is_kept_and_known_to_its_owner_only() {
    let mut plane = Plane::start(&Graph::start().await).await;
    let first = plane.local_key().unwrap();
    assert_eq!(plane.get("/sessions").await.0, 200);
    plane.terminate().await.unwrap();
    plane.restart().await;
    assert_eq!(plane.local_key().unwrap().expose_secret(), first.expose_secret());
    assert_eq!(plane.get("/sessions").await.0, 200);
    let bytes = plane.stored_bytes();
    let key = first.expose_secret().as_bytes();
    assert!(!bytes.windows(key.len()).any(|window| window == key), "the database holds it");
}

/// Streams, whose head nginx holds back over HTTP until there is enough to send (`postpone_output`).
const STREAMS: [&str; 3] = ["StreamEvents", "Connect", "ServerReflectionInfo"];

/// A keyless control plane with a live call, behind nginx.
async fn behind_nginx() -> (Plane, Nginx, (Graph, Node)) {
    let (graph, plane, node) = system().await;
    plane.deliver(&[connect("x")]).await;
    plane.phase("x", CallPhase::Active).await;
    let nginx = Nginx::before(&plane.url).await;
    (plane, nginx, (graph, node))
}

/// Turned away, or not, as who asks is (not) known.
fn is_refused(answer: &Result<(), Status>) -> bool {
    answer.as_ref().is_err_and(|status| reason(status).as_deref() == Some("UNAUTHENTICATED"))
}

#[tokio::test]
async fn a_bare_proxy_pass_shows_nobody_anything() {
    let (plane, nginx, _others) = behind_nginx().await;
    for (url, version) in nginx.http.iter().zip(["1.0", "1.1"]) {
        let answer = reqwest::get(format!("{url}/sessions")).await.unwrap();
        let (status, body) = (answer.status().as_u16(), answer.text().await.unwrap());
        assert_eq!(status, 401, "HTTP/{version} shows {body}");
        assert!(!body.contains("count"), "{body}");
        let key = plane.local_key().unwrap();
        let with_key = reqwest::Client::new().get(format!("{url}/sessions")).bearer_auth(key.expose_secret());
        let answer: Value = with_key.send().await.unwrap().json().await.unwrap();
        assert_eq!(answer["count"], 1, "HTTP/{version}: {answer}");
    }
    // Which writes its log once an answer is out.
    support::until("all to be in nginx's log", || async { (nginx.logged("GET /sessions") == 4).then_some(()) }).await;
}

#[tokio::test]
async fn every_path_behind_a_bare_proxy_pass_wants_the_key() {
    let (plane, nginx, _others) = behind_nginx().await;
    let key = plane.local_key().unwrap();
    let with_key: HeaderMap =
        [("x-api-key".parse().unwrap(), key.expose_secret().parse().unwrap())].into_iter().collect();
    for url in &nginx.http {
        for (path, access) in paths() {
            let open = access == Access::Open;
            let mut served = 0;
            for method in [Method::GET, Method::POST] {
                let Some(stranger) = over_http(url, &method, &path, HeaderMap::new()).await else { continue };
                assert_eq!(is_refused(&stranger), !open, "{method} {path} without the key");
                // None: only who is known learns that the path has no such method.
                if let Some(owner) = over_http(url, &method, &path, with_key.clone()).await {
                    assert!(!is_refused(&owner), "{method} {path} with the key");
                    served += 1;
                }
            }
            assert!(served > 0, "{path}");
        }
    }
}

#[tokio::test]
async fn every_method_behind_a_bare_proxy_wants_the_key() {
    let (plane, nginx, _others) = behind_nginx().await;
    let key = plane.local_key().unwrap();
    let token = SecretString::from(NODE_TOKEN);
    for (path, access) in methods() {
        let open = access == Access::Open;
        let shown = if access == Access::NodeToken { &token } else { &key };
        assert_eq!(is_refused(&over_grpc(&nginx.grpc, &path, None).await), !open, "{path} without the key");
        let answer = over_grpc(&nginx.grpc, &path, Some(shown.expose_secret())).await;
        assert!(!is_refused(&answer), "{path} with the key: {answer:?}");
        for url in &nginx.http {
            assert_eq!(is_refused(&over_grpc_web(url, &path, None).await), !open, "{path} over gRPC-web");
            if STREAMS.iter().any(|stream| path.ends_with(stream)) {
                continue;
            }
            let answer = over_grpc_web(url, &path, Some(shown.expose_secret())).await;
            assert!(!is_refused(&answer), "{path} over gRPC-web with the key: {answer:?}");
        }
    }
}

#[tokio::test]
async fn no_node_registers_through_a_bare_grpc_pass() {
    let plane = Plane::start_with(Config { node_token: None, ..plane::config(&Graph::start().await.url) }).await;
    let nginx = Nginx::before(&plane.url).await;
    let token = plane.config.state_dir.clone().unwrap().read(LocalSecret::NodeToken).unwrap();
    let register = async |token: Option<&SecretString>| {
        let channel = plane::channel(&nginx.grpc).await.unwrap();
        let mut nodes = NodeServiceClient::with_interceptor(channel, Bearer::new(token).unwrap());
        let node = media::Node {
            node_id: "thief".to_owned(),
            region: "local".to_owned(),
            advertise_url: "http://127.0.0.1:1".to_owned(),
            max_sessions: 1,
            ..media::Node::default()
        };
        let beats = tokio_stream::iter([ConnectRequest { node: Some(node), node_secret: vec![7; 32] }]);
        nodes.connect(beats).await?.into_inner().message().await.map(|ack| ack.map(|ack| ack.beats))
    };
    let stranger = register(None).await;
    assert!(is_refused(&stranger.as_ref().map(|_| ()).map_err(Clone::clone)), "{stranger:?}");
    assert_eq!(register(token.as_ref()).await.unwrap(), Some(1));
}
