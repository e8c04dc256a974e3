//! The node's one listener: who keeps it waiting, and what it counts.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use support::TestNode;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tonic::transport::Channel;
use voicebridge_proto::media::v1::{GetNodeRequest, GetNodeResponse};

const SOON: Duration = Duration::from_secs(10);

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
    let mut grpc = tonic::client::Grpc::new(Channel::from_shared(node.url.clone()).unwrap().connect().await.unwrap());
    grpc.ready().await.unwrap();
    let path = "/voicebridge.media.v1.MediaPlaneService/GetNode".parse().unwrap();
    let codec = tonic_prost::ProstCodec::<GetNodeRequest, GetNodeResponse>::default();
    let never = tonic::Request::new(tokio_stream::pending::<GetNodeRequest>());
    let late = timeout(SOON, grpc.client_streaming(never, path, codec)).await.expect("it is answered").unwrap_err();
    assert_eq!(late.code(), tonic::Code::DeadlineExceeded, "{late:?}");
    node.client.get_node(GetNodeRequest {}).await.unwrap();
}
