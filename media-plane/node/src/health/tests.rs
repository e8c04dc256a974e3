//! A node whose media threads die or hang, as it looks from outside.

#![allow(clippy::unwrap_used)]

use std::{net::SocketAddr, time::Instant};

use secrecy::SecretString;
use tokio::{net::TcpListener, sync::mpsc};
use tonic::{Code, Status, service::interceptor::InterceptedService, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus as Serving, health_client::HealthClient,
};
use voicebridge_proto::{
    media::v1::{self as media, media_plane_service_client::MediaPlaneServiceClient},
    types::v1::event::Kind,
};
use voicebridge_telemetry::{
    auth::{Bearer, Guard},
    status::reason,
};

use super::*;
use crate::{
    Config, RawConfig,
    caller::{self, Caller},
    registration, server,
};

/// What is to happen happens within it, on any machine; a thread counts as stalled after a quarter of it.
const PATIENCE: Duration = Duration::from_secs(20);

struct Bench {
    node: Arc<Node>,
    address: SocketAddr,
    channel: Channel,
    client: MediaPlaneServiceClient<InterceptedService<Channel, Bearer>>,
    /// Of every call.
    offer: String,
}

impl Bench {
    /// A node of two media threads that serves.
    async fn new() -> Self {
        let free = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = Config::resolve(RawConfig {
            public_ip: Some("127.0.0.1".into()),
            udp_ports: Some(format!("{free}-{}", free.saturating_add(20))),
            threads: Some("2".into()),
            ..RawConfig::default()
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let node = Arc::new(Node::new(config.unwrap(), format!("http://{address}")).unwrap());
        let token = SecretString::from("s3cret");
        let bearer = Bearer::new(Some(&token)).unwrap();
        let guard = Guard::new("VOICEBRIDGE_NODE_TOKEN", [token]);
        tokio::spawn(server::serve(node.clone(), guard, listener, CancellationToken::new()));
        let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
        let client = MediaPlaneServiceClient::with_interceptor(channel.clone(), bearer);
        let (_, offer) = Caller::new(Instant::now(), SocketAddr::from(([127, 0, 0, 1], 9)), caller::Kind::Relay);
        Self { node, address, channel, client, offer }
    }

    async fn start(&self, session_id: &str) -> Result<media::StartSessionResponse, Status> {
        let request = media::StartSessionRequest {
            session_id: session_id.into(),
            call_id: format!("wacid.{session_id}"),
            sdp_offer: self.offer.clone(),
            ..media::StartSessionRequest::default()
        };
        Ok(self.client.clone().start_session(request).await?.into_inner())
    }

    /// The reason with which a session ends.
    async fn ending(&self, session_id: &str) -> String {
        let request = media::StreamEventsRequest { session_id: session_id.into(), after_sequence: 0 };
        let mut events = self.client.clone().stream_events(request).await.unwrap().into_inner();
        let reading = async {
            while let Some(response) = events.message().await.unwrap() {
                if let Some(Kind::SessionEnded(ended)) = response.event.unwrap().kind {
                    return ended.termination.unwrap().reason;
                }
            }
            panic!("the stream ends without an ending");
        };
        tokio::time::timeout(PATIENCE, reading).await.expect("it ends")
    }

    /// For the service and for the server as a whole.
    async fn serving(&self) -> [Serving; 2] {
        let mut health = HealthClient::new(self.channel.clone());
        let mut said = Vec::new();
        for service in ["voicebridge.media.v1.MediaPlaneService", ""] {
            let request = HealthCheckRequest { service: service.to_owned() };
            said.push(health.check(request).await.unwrap().into_inner().status());
        }
        said.try_into().unwrap()
    }

    async fn wait_for(&self, status: Serving) {
        let looking = async {
            while self.serving().await != [status; 2] {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, looking).await.unwrap_or_else(|_| panic!("health never says {status:?}"));
    }

    /// Status line and body.
    async fn http(&self) -> String {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut stream = tokio::net::TcpStream::connect(self.address).await.unwrap();
        stream.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    /// `(media_threads, media_threads_lost)` as `GetNode` and as the next beat have it.
    async fn threads(&self) -> (u32, u32) {
        let of = |node: &media::Node| (node.media_threads, node.media_threads_lost);
        let asked = self.client.clone().get_node(media::GetNodeRequest {}).await.unwrap().into_inner().node.unwrap();
        let (beats, mut heard) = mpsc::channel(1);
        let beat = tokio::select! {
            () = registration::beat(&self.node, beats) => panic!("beats do not end"),
            beat = heard.recv() => beat.unwrap().node.unwrap(),
        };
        assert_eq!(of(&asked), of(&beat));
        of(&asked)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_media_thread_is_told_to_everybody_and_the_others_go_on() {
    let bench = Bench::new().await;
    bench.wait_for(Serving::Serving).await;
    assert_eq!(bench.threads().await, (2, 0));
    assert!(bench.http().await.starts_with("HTTP/1.1 200"));
    // One on each.
    bench.start("s1").await.unwrap();
    bench.start("s2").await.unwrap();

    bench.node.shards().kill(0);
    assert_eq!(bench.ending("s1").await, "MEDIA_THREAD_LOST");
    bench.wait_for(Serving::NotServing).await;
    assert_eq!(bench.threads().await, (2, 1));
    let answer = bench.http().await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("\"media-thread-lost\""), "{answer}");
    bench.start("s3").await.expect("the other thread takes calls");
    // Asked for at another port of the process: both planes may share one set of metrics.
    let counted = async {
        while !voicebridge_telemetry::install_metrics().render().contains("\nvoicebridge_media_threads_lost 1\n") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, counted).await.expect("the gauge is brought up to date by itself");
    assert_eq!(bench.start("s1").await.unwrap().session_id, "s1", "a start that is repeated finds what there was");

    bench.node.shards().kill(1);
    assert_eq!(bench.ending("s2").await, "MEDIA_THREAD_LOST");
    assert_eq!(bench.ending("s3").await, "MEDIA_THREAD_LOST");
    let refused = bench.start("s4").await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_deref()), (Code::Unavailable, Some("MEDIA_THREAD_LOST")));
    assert_eq!(bench.threads().await, (2, 2));
    tokio::time::timeout(PATIENCE, bench.node.idle()).await.expect("every slot is given back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_media_thread_that_hangs_is_told_until_it_goes_on() {
    let bench = Bench::new().await;
    bench.start("s1").await.unwrap();
    let (go_on, released) = std::sync::mpsc::channel::<()>();
    bench.node.shards().inject(0, move || {
        let _ = released.recv();
    });
    bench.wait_for(Serving::NotServing).await;
    assert_eq!(bench.threads().await, (2, 1));
    bench.start("s2").await.expect("the other thread takes calls");
    go_on.send(()).unwrap();
    bench.wait_for(Serving::Serving).await;
    assert_eq!(bench.threads().await, (2, 0));
    let list = bench.client.clone().list_sessions(media::ListSessionsRequest::default()).await.unwrap().into_inner();
    assert_eq!(list.sessions.len(), 2, "its calls go on with it");
}
