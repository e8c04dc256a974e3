//! The life of a node: who may call, registration, drain, force.

#![allow(clippy::unwrap_used)]

mod support;

use std::{pin::Pin, time::Duration};

use futures_util::Stream;
use sha2::{Digest as _, Sha256};
use support::{Phone, TestNode, caller::Kind, start_request, wait_for};
use tokio::{net::TcpListener, sync::mpsc, time::timeout};
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};
use tonic::{
    Code, Request, Response, Status, Streaming,
    transport::{Channel, Server, server::TcpIncoming},
};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use voicebridge_proto::{
    media::v1::{
        ConnectRequest, ConnectResponse, DrainRequest, GetNodeRequest,
        media_plane_service_client::MediaPlaneServiceClient,
        node_service_server::{NodeService, NodeServiceServer},
    },
    options::v1::Access,
    types::v1::event::Kind as Event,
};
use voicebridge_telemetry::status::reason;

const SOON: Duration = Duration::from_secs(10);

/// A beat, and the token it came with.
type Heard = (ConnectRequest, Option<String>);

/// A control plane that only takes registrations. Every beat is passed on; dropping `hang_up` ends the streams.
struct Registry {
    beats: mpsc::Sender<Heard>,
    limit: usize,
}

#[tonic::async_trait]
impl NodeService for Registry {
    type ConnectStream = Pin<Box<dyn Stream<Item = Result<ConnectResponse, Status>> + Send>>;

    async fn connect(
        &self,
        request: Request<Streaming<ConnectRequest>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let token = request.metadata().get("authorization").map(|value| value.to_str().unwrap().to_owned());
        let mut incoming = request.into_inner();
        let (acks, outgoing) = mpsc::channel(4);
        let (beats, limit) = (self.beats.clone(), self.limit);
        tokio::spawn(async move {
            let mut count = 0;
            while let Some(Ok(beat)) = incoming.next().await {
                count += 1;
                if beats.send((beat, token.clone())).await.is_err()
                    || acks.send(Ok(ConnectResponse { beats: count })).await.is_err()
                    || count == limit as u64
                {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(outgoing))))
    }
}

/// Where it is, and the beats it gets. After `limit` beats it closes a stream.
async fn registry(limit: usize) -> (String, mpsc::Receiver<Heard>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (beats, heard) = mpsc::channel(16);
    let service = NodeServiceServer::new(Registry { beats, limit });
    tokio::spawn(Server::builder().add_service(service).serve_with_incoming(TcpIncoming::from(listener)));
    (url, heard)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_registers_again_and_again_and_says_when_it_drains() {
    let (url, mut beats) = registry(2).await;
    let mut node = TestNode::start(|raw| {
        raw.control_url = Some(url);
        raw.node_token = Some("s3cret".into());
        raw.listen = Some("127.0.0.1:0".into());
        raw.region = Some("eu-west".into());
        raw.max_sessions = Some("5".into());
    })
    .await;
    let (ConnectRequest { node: first, node_secret }, token) = timeout(SOON, beats.recv()).await.unwrap().unwrap();
    let first = first.unwrap();
    assert_eq!(token.as_deref(), Some("Bearer s3cret"));
    assert_eq!(node_secret.len(), 32);
    assert_eq!((first.region.as_str(), first.max_sessions, first.draining), ("eu-west", 5, false));
    assert_eq!(first.advertise_url, node.url);
    assert!(!first.node_id.is_empty());
    // The stream is closed after two beats; the node comes back under the same id and with the same secret, which it says
    // once a stream.
    for secret in [&[][..], &node_secret[..], &[][..]] {
        let (again, _) = timeout(SOON, beats.recv()).await.unwrap().unwrap();
        assert_eq!(again.node.unwrap().node_id, first.node_id);
        assert_eq!(again.node_secret, secret);
    }
    // Whoever asks can tell that it is the one who registered, and learns no secret.
    let mut ask = Request::new(GetNodeRequest {});
    ask.metadata_mut().insert("authorization", "Bearer s3cret".parse().unwrap());
    let told = node.client.get_node(ask).await.unwrap().into_inner();
    assert_eq!(told.node_secret_sha256, Sha256::digest(&node_secret).to_vec());
    assert!(!format!("{told:?}").contains(&format!("{node_secret:?}")));
    let mut drain = Request::new(DrainRequest {});
    drain.metadata_mut().insert("authorization", "Bearer s3cret".parse().unwrap());
    node.client.drain(drain).await.unwrap();
    let drained = async {
        while let Some((beat, _)) = beats.recv().await {
            if beat.node.unwrap().draining {
                return;
            }
        }
    };
    timeout(SOON, drained).await.expect("a beat says so");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_token_nothing_is_answered() {
    let mut node = TestNode::start(|raw| raw.node_token = Some("s3cret".into())).await;
    let denied = node.client.get_node(GetNodeRequest {}).await.unwrap_err();
    assert_eq!((denied.code(), reason(&denied).as_deref()), (Code::Unauthenticated, Some("UNAUTHENTICATED")));
    let mut wrong = Request::new(GetNodeRequest {});
    wrong.metadata_mut().insert("authorization", "Bearer other".parse().unwrap());
    assert_eq!(node.client.get_node(wrong).await.unwrap_err().code(), Code::Unauthenticated);
    let mut right = Request::new(GetNodeRequest {});
    right.metadata_mut().insert("authorization", "Bearer s3cret".parse().unwrap());
    assert!(node.client.get_node(right).await.is_ok());
    // Health needs none.
    assert_eq!(health(&node.url).await, ServingStatus::Serving);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_configured_token_the_local_one_is_wanted_both_ways() {
    let (url, mut beats) = registry(2).await;
    let mut node = TestNode::start(|raw| raw.control_url = Some(url)).await;
    // As a proxy on this machine would ask: from loopback, for a loopback address, with nothing else.
    let channel = Channel::from_shared(node.url.clone()).unwrap().connect().await.unwrap();
    let mut stranger = MediaPlaneServiceClient::new(channel);
    let denied = stranger.get_node(GetNodeRequest {}).await.unwrap_err();
    assert_eq!((denied.code(), reason(&denied).as_deref()), (Code::Unauthenticated, Some("UNAUTHENTICATED")));
    assert!(denied.message().contains("/local-node-token"), "{}", denied.message());
    assert!(node.client.get_node(GetNodeRequest {}).await.is_ok());
    let (_, token) = timeout(SOON, beats.recv()).await.unwrap().unwrap();
    assert!(token.as_deref().is_some_and(|token| token.starts_with("Bearer vb_node_")), "{token:?}");
}

/// Methods of the node's service, with the number of what the contract says each wants.
fn methods() -> Vec<(String, Option<i32>)> {
    let pool = prost_reflect::DescriptorPool::decode(voicebridge_proto::FILE_DESCRIPTOR_SET).unwrap();
    let access = pool.get_extension_by_name("voicebridge.options.v1.access").unwrap();
    let service = pool.get_service_by_name("voicebridge.media.v1.MediaPlaneService").unwrap();
    let wants = |method: &prost_reflect::MethodDescriptor| method.options().get_extension(&access).as_enum_number();
    let path = |name: &str| format!("/{}/{name}", service.full_name());
    service.methods().map(|method| (path(method.name()), wants(&method))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_method_wants_the_token() {
    let node = TestNode::start(|raw| raw.node_token = Some("s3cret".into())).await;
    let methods = methods();
    assert!(methods.len() >= 9, "{methods:?}");
    for (path, wants) in methods {
        assert_eq!(wants, Some(Access::NodeToken.into()), "{path}");
        for (key, expect) in [
            (None, false),
            (Some("Bearer other"), false),
            (Some("Bearer s3cre"), false),
            (Some("Bearer s3crets"), false),
            (Some("Basic s3cret"), false),
            (Some("Bearer s3cret"), true),
        ] {
            let channel = Channel::from_shared(node.url.clone()).unwrap().connect().await.unwrap();
            let mut grpc = tonic::client::Grpc::new(channel);
            grpc.ready().await.unwrap();
            let mut request = Request::new(tokio_stream::iter([()]));
            if let Some(key) = key {
                request.metadata_mut().insert("authorization", key.parse().unwrap());
            }
            // An empty message: whatever the method makes of it, the guard stands before it.
            let codec = tonic_prost::ProstCodec::<(), ()>::default();
            let answer = timeout(SOON, grpc.streaming(request, path.parse().unwrap(), codec)).await.unwrap();
            let reason = answer.map(|_| ()).err().and_then(|status| reason(&status));
            assert_eq!(reason.as_deref() != Some("UNAUTHENTICATED"), expect, "{path} with {key:?}: {reason:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn draining_waits_for_the_last_call() {
    let mut node = TestNode::start(|_| {}).await;
    let phone = Phone::ring(Kind::Relay);
    node.client.start_session(start_request("s1", &phone.offer)).await.unwrap();
    assert_eq!(health(&node.url).await, ServingStatus::Serving);
    assert!(http_get(&node.url, "/health").await.starts_with("HTTP/1.1 200"));

    node.drain.take().unwrap().send(()).unwrap();
    let refused = async {
        loop {
            match node.client.clone().start_session(start_request("s2", &phone.offer)).await {
                Err(status) => return status,
                Ok(_) => tokio::task::yield_now().await,
            }
        }
    };
    let status = timeout(SOON, refused).await.unwrap();
    assert_eq!((status.code(), reason(&status).as_deref()), (Code::Unavailable, Some("NODE_DRAINING")));
    assert_eq!(health(&node.url).await, ServingStatus::NotServing);
    assert!(http_get(&node.url, "/health").await.starts_with("HTTP/1.1 503"));
    assert!(!node.ended.is_finished(), "one call is left");
    // A repeated start of a session that exists still gets its answer.
    node.client.start_session(start_request("s1", &phone.offer)).await.unwrap();

    let end = voicebridge_proto::media::v1::EndSessionRequest { session_id: "s1".into(), termination: None };
    node.client.end_session(end).await.unwrap();
    drop(node.client);
    timeout(SOON, node.ended).await.expect("it ends by itself").unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_what_is_left() {
    let mut node = TestNode::start(|_| {}).await;
    let phone = Phone::ring(Kind::Relay);
    node.client.start_session(start_request("s1", &phone.offer)).await.unwrap();
    let mut events = node.events("s1", 0).await;
    node.drain.take().unwrap().send(()).unwrap();
    node.force.take().unwrap().send(()).unwrap();
    let ended = wait_for(&mut events, |kind| matches!(kind, Event::SessionEnded(_))).await;
    let Some(Event::SessionEnded(ended)) = ended.kind else { unreachable!() };
    assert_eq!(ended.termination.unwrap().reason, "NODE_DRAINING");
    drop((events, node.client));
    timeout(SOON, node.ended).await.expect("it ends").unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_calls_can_be_followed_on_one_connection() {
    let mut node = TestNode::start(|_| {}).await;
    let phone = Phone::ring(Kind::Relay);
    node.client.start_session(start_request("s1", &phone.offer)).await.unwrap();
    let mut streams = Vec::new();
    for _ in 0..300 {
        streams.push(timeout(SOON, node.events("s1", 0)).await.expect("no stream waits for another"));
    }
    timeout(SOON, node.client.get_node(GetNodeRequest {})).await.expect("nor does a request").unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_are_served() {
    let node = TestNode::start(|_| {}).await;
    let text = http_get(&node.url, "/metrics").await;
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    assert!(text.contains("voicebridge_media_sessions"), "{text}");
    assert!(http_get(&node.url, "/nothing").await.starts_with("HTTP/1.1 404"));
}

async fn health(url: &str) -> ServingStatus {
    let channel = Channel::from_shared(url.to_owned()).unwrap().connect().await.unwrap();
    let service = "voicebridge.media.v1.MediaPlaneService".to_owned();
    let request = HealthCheckRequest { service };
    HealthClient::new(channel).check(request).await.unwrap().into_inner().status()
}

async fn http_get(url: &str, path: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let address = url.strip_prefix("http://").unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn both_versions_of_reflection_name_the_service() {
    use tonic_reflection::pb::{v1, v1alpha};

    let node = TestNode::start(|_| {}).await;
    let channel = Channel::from_shared(node.url.clone()).unwrap().connect().await.unwrap();
    let service = "voicebridge.media.v1.MediaPlaneService";

    let question = v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(v1::server_reflection_request::MessageRequest::ListServices(String::new())),
    };
    let mut client = v1::server_reflection_client::ServerReflectionClient::new(channel.clone());
    let mut answers = client.server_reflection_info(tokio_stream::once(question)).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response;
    let Some(v1::server_reflection_response::MessageResponse::ListServicesResponse(list)) = answer else {
        panic!("{answer:?}")
    };
    assert!(list.service.iter().any(|found| found.name == service), "{list:?}");

    let question = v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(v1alpha::server_reflection_request::MessageRequest::ListServices(String::new())),
    };
    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(channel);
    let mut answers = client.server_reflection_info(tokio_stream::once(question)).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response;
    let Some(v1alpha::server_reflection_response::MessageResponse::ListServicesResponse(list)) = answer else {
        panic!("{answer:?}")
    };
    assert!(list.service.iter().any(|found| found.name == service), "{list:?}");
}
