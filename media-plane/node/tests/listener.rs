//! The node's one listener: who keeps it waiting, and what it counts.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use support::{Phone, TestNode, caller::Kind, start_request};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tonic::{service::interceptor::InterceptedService, transport::Channel};
use voicebridge_proto::{
    media::v1::{EndSessionRequest, GetNodeRequest, GetNodeResponse},
    types::v1::Termination,
};

const SOON: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reasons_of_others_make_no_series_of_metrics() {
    let mut node = TestNode::start(|_| {}).await;
    // No more than the test's node has ports.
    for n in 0..8 {
        let (phone, id) = (Phone::ring(Kind::Relay), format!("s{n}"));
        node.client.start_session(start_request(&id, &phone.offer)).await.unwrap();
        let reason = if n == 0 { "USER_HANGUP".to_owned() } else { format!("WORD_{n}") };
        let termination = Some(Termination { reason, ..Termination::default() });
        node.client.end_session(EndSessionRequest { session_id: id, termination }).await.unwrap();
    }
    let ended = async {
        loop {
            let text = http_get(&node.url, "/metrics").await;
            let ended: Vec<_> =
                text.lines().filter(|line| line.starts_with("voicebridge_media_sessions_ended_total")).collect();
            assert!(!text.contains("WORD_"), "{ended:?}");
            if ended.iter().any(|line| line.contains(r#"reason="other""#)) {
                return;
            }
        }
    };
    timeout(SOON, ended).await.expect("they are counted");
}

/// Who keeps the node's listener waiting.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_say_nothing_and_bodies_that_do_not_come_are_closed() {
    let mut node = TestNode::start_with(
        |_| {},
        |config| {
            config.listener.opening = Duration::from_millis(200);
            config.listener.body = Duration::from_millis(200);
        },
    )
    .await;
    let address = node.url.strip_prefix("http://").unwrap().to_owned();
    let posted =
        "POST /voicebridge.media.v1.MediaPlaneService/GetNode HTTP/1.1\r\nhost: x\r\ncontent-length: 9999\r\n\r\n";
    for said in ["", "PRI", posted] {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        stream.write_all(said.as_bytes()).await.unwrap();
        let mut came = Vec::new();
        let _ = timeout(SOON, stream.read_to_end(&mut came)).await.expect("it is closed");
    }
    // Over HTTP/2 the call ends, and the connection lives.
    let channel = Channel::from_shared(node.url.clone()).unwrap().connect().await.unwrap();
    let mut grpc = tonic::client::Grpc::new(InterceptedService::new(channel, node.bearer.clone()));
    grpc.ready().await.unwrap();
    let path = "/voicebridge.media.v1.MediaPlaneService/GetNode".parse().unwrap();
    let codec = tonic_prost::ProstCodec::<GetNodeRequest, GetNodeResponse>::default();
    let never = tonic::Request::new(tokio_stream::pending::<GetNodeRequest>());
    let late = timeout(SOON, grpc.client_streaming(never, path, codec)).await.expect("it is answered").unwrap_err();
    assert_eq!(late.code(), tonic::Code::DeadlineExceeded, "{late:?}");
    node.client.get_node(GetNodeRequest {}).await.unwrap();
}

async fn http_get(url: &str, path: &str) -> String {
    let address = url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}
