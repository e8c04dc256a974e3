//! NodeService: nodes open a stream, say who they are and repeat it every second.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use http::Uri;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};
use voicebridge_proto::{
    control::v1::{ConnectRequest, ConnectResponse, node_service_server::NodeService},
    media::v1 as media,
};
use voicebridge_telemetry::status::invalid_argument;

use super::{Registry, registry::Beat};

/// Acknowledgements a node may leave unread; then the oldest of the unread ones is all it gets.
const UNREAD_ACKS: usize = 4;
/// Longest id, region and address of a node, bytes.
const MAX_TEXT_BYTES: usize = 256;

/// The service.
#[derive(Debug)]
pub(crate) struct Nodes {
    registry: Arc<Registry>,
    /// Without a node token a node must be on this machine, in both directions.
    loopback_only: bool,
    /// Ids and addresses of nodes that have just registered.
    arrivals: mpsc::Sender<(String, String)>,
    stop: CancellationToken,
    streams: AtomicU64,
}

impl Nodes {
    pub(crate) fn new(
        registry: Arc<Registry>,
        loopback_only: bool,
        arrivals: mpsc::Sender<(String, String)>,
        stop: CancellationToken,
    ) -> Self {
        Self { registry, loopback_only, arrivals, stop, streams: AtomicU64::new(0) }
    }
}

#[tonic::async_trait]
impl NodeService for Nodes {
    type ConnectStream = ReceiverStream<Result<ConnectResponse, Status>>;

    async fn connect(
        &self,
        request: Request<Streaming<ConnectRequest>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let (acks, responses) = mpsc::channel(UNREAD_ACKS);
        let connection = Connection {
            stream: self.streams.fetch_add(1, Ordering::Relaxed),
            registry: Arc::clone(&self.registry),
            loopback_only: self.loopback_only,
            arrivals: self.arrivals.clone(),
            node_id: None,
            threads_lost: 0,
        };
        let stop = self.stop.clone();
        let beats = request.into_inner();
        tokio::spawn(async move {
            tokio::select! {
                () = connection.serve(beats, acks) => {}
                () = stop.cancelled() => {}
            }
        });
        Ok(Response::new(ReceiverStream::new(responses)))
    }
}

/// One stream. Dropping it takes the node off the list of those that get calls.
struct Connection {
    stream: u64,
    registry: Arc<Registry>,
    loopback_only: bool,
    arrivals: mpsc::Sender<(String, String)>,
    node_id: Option<String>,
    /// As its last beat said.
    threads_lost: u32,
}

impl Connection {
    async fn serve(
        mut self,
        mut beats: Streaming<ConnectRequest>,
        acks: mpsc::Sender<Result<ConnectResponse, Status>>,
    ) {
        let mut count = 0;
        // An error is a broken connection: the same as an end.
        while let Ok(Some(request)) = beats.message().await {
            match self.beat(request.node.unwrap_or_default()) {
                Ok(()) => {
                    count += 1;
                    // Full: the node does not read them, and need not.
                    if let Err(mpsc::error::TrySendError::Closed(_)) =
                        acks.try_send(Ok(ConnectResponse { beats: count }))
                    {
                        return;
                    }
                }
                Err(status) => {
                    tracing::warn!(error = status.message(), "a node's registration was refused");
                    let _ = acks.send(Err(status)).await;
                    return;
                }
            }
        }
    }

    fn beat(&mut self, node: media::Node) -> Result<(), Status> {
        let beat = read_beat(node, self.loopback_only)?;
        let (id, url) = (beat.node_id.clone(), beat.url.clone());
        match &self.node_id {
            Some(known) if *known != id => {
                return Err(invalid_argument("node.node_id", "must stay the same on one stream"));
            }
            Some(_) => {}
            None => self.node_id = Some(id.clone()),
        }
        let (threads, threads_lost) = (beat.media_threads, beat.media_threads_lost);
        if threads_lost != std::mem::replace(&mut self.threads_lost, threads_lost) {
            tracing::warn!(node = id, threads, threads_lost, "media threads of a node died, hang, or go on again");
        }
        let region = beat.region.clone();
        if self.registry.beat(self.stream, beat, Instant::now()) {
            tracing::info!(node = id, region, url, "node registered");
            if self.arrivals.try_send((id, url)).is_err() {
                tracing::warn!("too many nodes at once; sessions of one of them are not compared with our calls");
            }
        }
        Ok(())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(node_id) = &self.node_id {
            self.registry.disconnected(self.stream, node_id);
            tracing::info!(node = node_id, "node's registration stream ended");
        }
    }
}

fn read_beat(node: media::Node, loopback_only: bool) -> Result<Beat, Status> {
    for (field, text) in
        [("node.node_id", &node.node_id), ("node.region", &node.region), ("node.advertise_url", &node.advertise_url)]
    {
        if text.is_empty() || text.len() > MAX_TEXT_BYTES || text.chars().any(char::is_control) {
            return Err(invalid_argument(field, "must be 1 to 256 bytes of printable text"));
        }
    }
    for (field, text) in [("node.version", &node.version), ("node.provider", &node.provider)] {
        if text.len() > MAX_TEXT_BYTES || text.chars().any(char::is_control) {
            return Err(invalid_argument(field, "must be at most 256 bytes of printable text"));
        }
    }
    let uri: Option<Uri> = node.advertise_url.parse().ok();
    // Nodes are spoken to without TLS: better refused now than found out by the first call.
    let Some(host) = uri.as_ref().filter(|uri| uri.scheme_str() == Some("http")).and_then(|uri| uri.host()) else {
        return Err(invalid_argument("node.advertise_url", "must be a URL with http://"));
    };
    if loopback_only && !is_loopback(host) {
        return Err(invalid_argument(
            "node.advertise_url",
            "must be on loopback unless VOICEBRIDGE_NODE_TOKEN is set on both sides",
        ));
    }
    Ok(Beat {
        node_id: node.node_id,
        region: node.region,
        url: node.advertise_url,
        live_sessions: node.live_sessions,
        max_sessions: node.max_sessions,
        draining: node.draining,
        media_load: node.media_load,
        version: node.version,
        provider: node.provider,
        media_threads: node.media_threads,
        media_threads_lost: node.media_threads_lost,
    })
}

/// `localhost` or an address of loopback, with or without brackets.
fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::{super::fleet, *};

    fn node(id: &str, url: &str) -> media::Node {
        media::Node {
            node_id: id.to_owned(),
            region: "local".to_owned(),
            advertise_url: url.to_owned(),
            max_sessions: 1,
            ..media::Node::default()
        }
    }

    #[test]
    fn all_that_a_beat_says_reaches_placement_and_operators() {
        let beat = Beat {
            node_id: "n".to_owned(),
            region: "sa".to_owned(),
            url: "http://10.0.0.7:3200".to_owned(),
            live_sessions: 3,
            max_sessions: 80,
            draining: true,
            media_load: 0.5,
            version: "0.1.0".to_owned(),
            provider: "openai".to_owned(),
            media_threads: 4,
            media_threads_lost: 1,
        };
        assert_eq!(read_beat(fleet::to_wire(beat.clone()), false).ok().as_ref(), Some(&beat));
        let registry = Registry::new(std::time::Duration::from_secs(3));
        registry.beat(1, beat, Instant::now());
        let view = registry.views().remove(0);
        assert_eq!((view.media_threads, view.media_threads_lost, view.draining), (4, 1, true));
    }

    #[test]
    fn beats_are_checked() {
        #[track_caller]
        fn check(id: &str, url: &str, loopback_only: bool, expect: bool) {
            assert_eq!(read_beat(node(id, url), loopback_only).is_ok(), expect, "{id:?} {url:?}");
        }
        check("n", "http://127.0.0.1:3200", true, true);
        check("n", "http://[::1]:3200", true, true);
        check("n", "http://localhost:3200", true, true);
        check("n", "http://10.0.0.7:3200", true, false);
        check("n", "http://10.0.0.7:3200", false, true);
        check("n", "http://node.example:3200", false, true);
        check("n", "https://node.example", false, false);
        check("n", "10.0.0.7:3200", false, false);
        check("n", "ftp://10.0.0.7", false, false);
        check("", "http://127.0.0.1:1", true, false);
        check("n\n", "http://127.0.0.1:1", true, false);
        check(&"n".repeat(300), "http://127.0.0.1:1", true, false);
        check("n", "", true, false);
    }
}
