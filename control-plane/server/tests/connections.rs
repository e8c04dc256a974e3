//! What the listener grants to whoever connects, on the whole of it: gRPC, gRPC-web, HTTP.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use prost::Message as _;
use support::{Graph, Node, PATIENCE, Plane, connect, plane, until};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tonic::{Code, Request, Status, client::Grpc};
use voicebridge_proto::control::v1::{
    CallPhase, ListCallsRequest, ListCallsResponse, StreamEventsRequest, StreamStart,
};

async fn dial(plane: &Plane) -> TcpStream {
    TcpStream::connect(plane.url.strip_prefix("http://").unwrap()).await.unwrap()
}

/// Waits for the other side to close; what came.
async fn until_closed(stream: &mut TcpStream) -> String {
    let mut came = Vec::new();
    // Reset or ended is the same to us.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut came)).await.expect("it is closed");
    String::from_utf8_lossy(&came).into_owned()
}

/// The value of a sample in /metrics.
async fn counted(plane: &Plane, sample: &str) -> u64 {
    let metrics = plane.http.get(format!("{}/metrics", plane.url)).send().await.unwrap().text().await.unwrap();
    let line = metrics.lines().find_map(|line| line.strip_prefix(sample));
    line.map_or(0, |value| value.trim().parse().unwrap())
}

async fn with(change: impl FnOnce(&mut voicebridge_server::config::Limits)) -> Plane {
    let graph = Graph::start().await;
    let mut config = plane::config(&graph.url);
    change(&mut config.limits);
    Plane::start_with(config).await
}

#[tokio::test]
async fn bodies_that_are_announced_and_do_not_come_end_within_the_deadline_on_every_path() {
    const CONNECTIONS: usize = 40;
    let plane = with(|limits| limits.listener.body = Duration::from_millis(300)).await;
    let heads = [
        "POST /webhooks/whatsapp HTTP/1.1\r\ncontent-type: application/json\r\n",
        "POST /sessions/start HTTP/1.1\r\ncontent-type: application/json\r\n",
        "POST /sessions/x/stop HTTP/1.1\r\n",
        "POST /nowhere HTTP/1.1\r\n",
        "GET /health HTTP/1.1\r\n",
        "POST /voicebridge.control.v1.CallService/ListCalls HTTP/1.1\r\ncontent-type: application/grpc-web+proto\r\n",
        "POST /voicebridge.control.v1.CallService/HandleWebhook HTTP/1.1\r\ncontent-type: application/grpc-web-text\r\n",
        "POST /voicebridge.control.v1.CallService/ListCalls HTTP/1.1\r\ncontent-type: application/grpc\r\n",
    ];
    let open = async |head: &str| {
        let mut stream = dial(&plane).await;
        let rest = "host: 127.0.0.1\r\ncontent-length: 1000000\r\n\r\n";
        stream.write_all(format!("{head}{rest}").as_bytes()).await.unwrap();
        let came = until_closed(&mut stream).await;
        assert!(came.starts_with("HTTP/1.1 "), "{head}: {came:?}");
        came
    };
    futures_util::future::join_all((0..CONNECTIONS).map(|n| open(heads[n % heads.len()]))).await;
    let said = open(heads[0]).await;
    assert!(said.starts_with("HTTP/1.1 408") && said.contains("must arrive within 0.3 s"), "{said}");
}

/// One gRPC call whose message never comes, over HTTP/2.
#[tokio::test]
async fn a_message_that_does_not_come_ends_its_call_and_not_the_connection() {
    let plane = with(|limits| limits.listener.body = Duration::from_millis(300)).await;
    let channel = plane.wire().await;
    let slow = async |channel: plane::Wire| -> Status {
        let mut grpc = Grpc::new(channel);
        grpc.ready().await.unwrap();
        let path = "/voicebridge.control.v1.CallService/ListCalls".parse().unwrap();
        let codec = tonic_prost::ProstCodec::<ListCallsRequest, ListCallsResponse>::default();
        let never = tokio_stream::pending::<ListCallsRequest>();
        let asked = grpc.client_streaming(Request::new(never), path, codec);
        timeout(PATIENCE, asked).await.expect("it is answered").unwrap_err()
    };
    let statuses = futures_util::future::join_all((0..20).map(|_| slow(channel.clone()))).await;
    for status in statuses {
        assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
    }
    let mut client = voicebridge_proto::control::v1::call_service_client::CallServiceClient::new(channel);
    client.list_calls(ListCallsRequest::default()).await.unwrap();
}

#[tokio::test]
async fn connections_beyond_the_bound_are_closed_at_once_counted_and_cost_the_others_nothing() {
    const BOUND: usize = 8;
    const SAMPLE: &str = r#"voicebridge_connections_refused_total{listener="control",bound="address"}"#;
    let plane = with(|limits| limits.listener.connections_per_address = BOUND).await;
    let before = counted(&plane, SAMPLE).await;
    // One is the test's own client.
    let mut held = Vec::new();
    for _ in 0..BOUND - 1 {
        held.push(dial(&plane).await);
    }
    let mut more = dial(&plane).await;
    assert_eq!(until_closed(&mut more).await, "");
    assert_eq!(plane.get("/health").await.0, 200);
    assert!(counted(&plane, SAMPLE).await > before);
    // A place is given back.
    drop(held.pop());
    until("there is a place again", || async {
        let mut stream = dial(&plane).await;
        stream.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.ok()?;
        until_closed(&mut stream).await.starts_with("HTTP/1.1 200").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed() {
    let plane = with(|limits| limits.listener.opening = Duration::from_millis(200)).await;
    let mut silent = dial(&plane).await;
    assert_eq!(until_closed(&mut silent).await, "");
}

#[tokio::test]
async fn event_streams_and_registrations_outlive_every_deadline_of_the_listener() {
    let plane = with(|limits| {
        limits.listener.body = Duration::from_millis(100);
        limits.listener.opening = Duration::from_millis(100);
        limits.listener.age = Duration::from_millis(200);
        limits.keepalive = Duration::from_millis(100);
    })
    .await;
    let node = Node::start("node-1").await;
    node.register(&plane.url, "local", 100);
    plane.nodes(1).await;
    let request = StreamEventsRequest { start: StreamStart::Now.into(), ..Default::default() };
    let mut events = plane.client().await.stream_events(request).await.unwrap().into_inner();
    let mut sse = plane.http.get(format!("{}/events?start=now", plane.url)).send().await.unwrap();
    // Ten times the longest of them.
    for _ in 0..20 {
        timeout(PATIENCE, events.message()).await.unwrap().unwrap().expect("it goes on");
        assert!(timeout(PATIENCE, sse.chunk()).await.unwrap().unwrap().is_some(), "it goes on");
    }
    assert_eq!(plane.get("/health").await.1["nodes"], 1);
    plane.deliver(&[connect("late")]).await;
    plane.phase("late", CallPhase::Active).await;
    let late = plane.id("late").await;
    let told = async {
        loop {
            let response = events.message().await.unwrap().expect("it goes on");
            if response.encoded_len() > 0 && response.event.is_some_and(|event| event.call_id == late) {
                return;
            }
        }
    };
    timeout(PATIENCE, told).await.expect("the stream tells of it");
}
