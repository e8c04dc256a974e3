//! What is refused, and how: every HTTP error has one shape, gRPC its own, pages under foreign names, and what one connection may ask at once.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use support::{Graph, Node, PATIENCE, Plane, VERIFY_TOKEN, plane};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tonic::{Code, transport::Endpoint};
use voicebridge_proto::{
    control::v1::{ListCallsRequest, StreamEventsRequest, call_service_client::CallServiceClient},
    media::v1::{GetNodeRequest, media_plane_service_client::MediaPlaneServiceClient},
};
use voicebridge_telemetry::status::reason;

async fn system() -> (Graph, Plane) {
    let graph = Graph::start().await;
    let plane = Plane::start(&graph).await;
    (graph, plane)
}

/// An error in the one shape; its message.
async fn refused(response: reqwest::Response, code: u16, reason: &str) -> String {
    assert_eq!(response.status(), code, "{}", response.url());
    assert_eq!(response.headers()["content-type"], "application/json", "{}", response.url());
    let answer: Value = response.json().await.unwrap();
    assert!(answer["error"].as_str().is_some_and(|text| !text.is_empty()), "{answer}");
    assert_eq!(answer["reason"], reason, "{answer}");
    let message = answer["message"].as_str().unwrap().to_owned();
    assert!(!message.is_empty());
    message
}

/// A laptop that was shut, a network that went away: it asks for nothing and answers nothing.
#[tokio::test]
async fn a_connection_without_a_sign_of_life_is_closed() {
    let graph = Graph::start().await;
    let mut config = plane::config(&graph.url);
    config.limits.listener.probe = Duration::from_millis(50);
    config.limits.keepalive = Duration::from_millis(20);
    let plane = Plane::start_with(config).await;
    let mut lively = plane.client().await.stream_events(StreamEventsRequest::default()).await.unwrap().into_inner();
    // HTTP/2's preface and empty settings (RFC 9113, section 3.4), and no word more.
    let mut silent = TcpStream::connect(plane.url.strip_prefix("http://").unwrap()).await.unwrap();
    silent.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut sent = Vec::new();
    let closed = tokio::time::timeout(PATIENCE, silent.read_to_end(&mut sent)).await;
    closed.expect("it is closed").unwrap();
    let pinged = sent.windows(4).any(|bytes| bytes == [0, 8, 6, 0]);
    assert!(pinged, "it was asked first: {sent:?}");
    for _ in 0..20 {
        assert!(lively.message().await.unwrap().is_some(), "whoever answers stays");
    }
}

#[tokio::test]
async fn wrong_methods() {
    let (_, plane) = system().await;
    for (method, path, allowed) in [
        (Method::PUT, "/sessions", "GET"),
        (Method::DELETE, "/sessions/x", "GET"),
        (Method::GET, "/sessions/start", "POST"),
        (Method::GET, "/sessions/x/advance", "POST"),
        (Method::POST, "/health", "GET"),
        (Method::POST, "/metrics", "GET"),
        (Method::DELETE, "/webhooks/whatsapp", "POST"),
    ] {
        let response = plane.http.request(method, format!("{}{path}", plane.url)).send().await.unwrap();
        let allow = response.headers()["allow"].to_str().unwrap().to_owned();
        assert!(allow.contains(allowed), "{path}: {allow}");
        refused(response, 405, "METHOD_NOT_ALLOWED").await;
    }
}

#[tokio::test]
async fn paths_that_are_none() {
    let (_, plane) = system().await;
    let response = plane.http.get(format!("{}/sessions/%ff", plane.url)).send().await.unwrap();
    let message = refused(response, 400, "INVALID_ARGUMENT").await;
    assert!(message.starts_with("callId "), "{message}");
    for path in ["/sessions/%ff/stop", "/sessions/%ff/advance"] {
        let response = plane.http.post(format!("{}{path}", plane.url)).json(&json!({})).send().await.unwrap();
        refused(response, 400, "INVALID_ARGUMENT").await;
    }
    for path in ["/", "/sessions/x/y", "/sessions/", "/voicebridge.control.v1.CallService", "/favicon.ico"] {
        let response = plane.http.get(format!("{}{path}", plane.url)).send().await.unwrap();
        refused(response, 404, "PATH_NOT_FOUND").await;
    }
}

#[tokio::test]
async fn grpc_paths_and_other_content() {
    let (_, plane) = system().await;
    for method in ["Nope", "GetCall", "HandleWebhook"] {
        let url = format!("{}/voicebridge.control.v1.CallService/{method}", plane.url);
        refused(plane.http.get(&url).send().await.unwrap(), 404, "PATH_NOT_FOUND").await;
        refused(plane.http.post(&url).send().await.unwrap(), 404, "PATH_NOT_FOUND").await;
        refused(plane.http.post(&url).json(&json!({})).send().await.unwrap(), 404, "PATH_NOT_FOUND").await;
        let web = plane.http.put(&url).header("content-type", "application/grpc-web");
        refused(web.send().await.unwrap(), 405, "METHOD_NOT_ALLOWED").await;
        // gRPC itself needs HTTP/2; a client that tries learns it in its own terms.
        let grpc = plane.http.post(&url).header("content-type", "application/grpc").send().await.unwrap();
        assert_eq!((grpc.status().as_u16(), &grpc.headers()["grpc-status"]), (200, &"12".parse().unwrap()));
        assert_eq!(grpc.headers()["content-type"], "application/grpc");
    }
    let url = format!("{}/voicebridge.control.v1.CallService/Nope", plane.url);
    let web = plane.http.post(&url).header("content-type", "application/grpc-web").body(vec![0; 5]);
    let web = web.send().await.unwrap();
    assert_eq!((web.status().as_u16(), &web.headers()["grpc-status"]), (200, &"12".parse().unwrap()));
    let mut stranger = MediaPlaneServiceClient::new(plane::channel(&plane.url).await.unwrap());
    assert_eq!(stranger.get_node(GetNodeRequest {}).await.unwrap_err().code(), Code::Unimplemented);
}

#[tokio::test]
async fn bodies_name_the_field_and_the_rule() {
    let (_, plane) = system().await;
    for (path, body, field) in [
        ("/sessions/start", "", "body"),
        ("/sessions/start", "{", "body"),
        ("/sessions/start", "[]", "body"),
        ("/sessions/start", "\"x\"", "body"),
        ("/sessions/start", "{}", "callId"),
        ("/sessions/start", r#"{"callId":7,"sdpOffer":"v=0"}"#, "callId"),
        ("/sessions/start", r#"{"callId":"","sdpOffer":"v=0"}"#, "callId"),
        ("/sessions/start", r#"{"callId":"x"}"#, "sdpOffer"),
        ("/sessions/start", r#"{"callId":"x","sdpOffer":null}"#, "sdpOffer"),
        ("/sessions/start", r#"{"callId":"x","sdpOffer":""}"#, "sdpOffer"),
        ("/sessions/start", r#"{"callId":"x","sdpOffer":"v=0","fromNumber":55}"#, "fromNumber"),
        ("/sessions/x/advance", "[1]", "body"),
        ("/sessions/x/advance", "{}", "stage"),
        ("/sessions/x/advance", r#"{"stage":"PICKED_UP"}"#, "stage"),
    ] {
        let response = plane.http.post(format!("{}{path}", plane.url)).body(body).send().await.unwrap();
        let message = refused(response, 400, "INVALID_ARGUMENT").await;
        assert!(message.starts_with(&format!("{field} must ")), "{path} {body}: {message}");
        assert!(!message.contains("struct"), "{message}");
    }
}

#[tokio::test]
async fn verification_needs_its_parameters() {
    let (_, plane) = system().await;
    let ask =
        async |query: &str| plane.http.get(format!("{}/webhooks/whatsapp?{query}", plane.url)).send().await.unwrap();
    let known = format!("hub.mode=subscribe&hub.verify_token={VERIFY_TOKEN}");
    for query in [known.clone(), format!("{known}&hub.challenge=")] {
        let message = refused(ask(&query).await, 400, "WEBHOOK_MALFORMED").await;
        assert!(message.contains("hub.challenge"), "{message}");
    }
    refused(ask(&format!("{known}&hub.mode=subscribe")).await, 400, "WEBHOOK_MALFORMED").await;
    let stranger = ask("hub.mode=subscribe&hub.verify_token=guess").await;
    refused(stranger, 403, "UNAUTHENTICATED").await;
}

#[tokio::test]
async fn a_page_rebound_to_this_machine_is_refused_under_every_name() {
    let (_, plane) = system().await;
    // It asks its own origin, and so without an Origin, and has no key.
    let page = reqwest::Client::new();
    let ask = |path: &str, host: &str| page.get(format!("{}{path}", plane.url)).header("host", host).send();
    for host in ["evil.example", "localhost.evil.example:3100", "localhost", "127.0.0.1:1", "[::1]:3100"] {
        for path in ["/sessions", "/sessions/x", "/metrics"] {
            let message = refused(ask(path, host).await.unwrap(), 401, "UNAUTHENTICATED").await;
            assert!(message.contains("VOICEBRIDGE_API_KEYS"), "{message}");
        }
        let verify = format!("/webhooks/whatsapp?hub.mode=subscribe&hub.challenge=7&hub.verify_token={VERIFY_TOKEN}");
        for path in ["/health", &verify] {
            assert_eq!(ask(path, host).await.unwrap().status(), 200, "{path}");
        }
        // The key's owner may call the control plane what they like.
        let owner = plane.http.get(format!("{}/sessions", plane.url)).header("host", host);
        assert_eq!(owner.send().await.unwrap().status(), 200, "{host}");
        for method in ["control.v1.CallService/ListCalls", "media.v1.NodeService/Connect"] {
            let url = format!("{}/voicebridge.{method}", plane.url);
            let web = page.post(url).header("content-type", "application/grpc-web").header("host", host);
            assert_eq!(web.body(vec![0; 5]).send().await.unwrap().headers()["grpc-status"], "16");
        }
    }
    for origin in ["http://evil.example", "http://localhost:3100", &plane.url] {
        let endpoint = Endpoint::from_shared(plane.url.clone()).unwrap().origin(origin.parse().unwrap());
        let mut stranger = CallServiceClient::new(endpoint.connect().await.unwrap());
        let status = stranger.list_calls(ListCallsRequest::default()).await.unwrap_err();
        assert_eq!((status.code(), reason(&status).as_deref()), (Code::Unauthenticated, Some("UNAUTHENTICATED")));
    }
}

#[tokio::test]
async fn with_keys_any_name() {
    let graph = Graph::start().await;
    let mut config = plane::config(&graph.url);
    config.api_keys = vec!["key-1".into()];
    let plane = Plane::start_with(config).await;
    let request = plane.http.get(format!("{}/sessions", plane.url)).header("host", "voice.example");
    assert_eq!(request.header("x-api-key", "key-1").send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn one_connection_follows_many_calls() {
    use voicebridge_proto::control::v1::{StartSessionRequest, StreamEventsRequest};
    let (_, plane) = system().await;
    let node = Node::start("node-1").await;
    node.register(&plane.url, "local", 100);
    plane.nodes(1).await;
    let mut client = plane.client().await;
    let start = StartSessionRequest { call_id: "one".to_owned(), sdp_offer: "v=0".to_owned(), ..Default::default() };
    client.start_session(start).await.unwrap();
    let opening = (0..500).map(|_| {
        let mut client = client.clone();
        async move {
            let request = StreamEventsRequest { call_id: "one".to_owned(), ..Default::default() };
            let mut stream = client.stream_events(request).await.unwrap().into_inner();
            stream.message().await.unwrap().unwrap();
            stream
        }
    });
    let streams = tokio::time::timeout(support::PATIENCE, futures_util::future::join_all(opening)).await;
    let streams = streams.unwrap_or_else(|_| panic!("not all streams were served on one connection"));
    // And there is room for a request beside them.
    let listed = tokio::time::timeout(support::PATIENCE, client.list_calls(ListCallsRequest::default())).await;
    assert_eq!(listed.unwrap().unwrap().into_inner().calls.len(), 1);
    drop(streams);
}
