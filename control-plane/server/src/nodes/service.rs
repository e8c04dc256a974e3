//! NodeService: nodes open a stream, say who they are and repeat it every second.
//!
//! Whoever has the node token may register, but only under an id that is not another node's, and only with an address that
//! leads to itself or that the operator listed.

use std::{
    ops::RangeInclusive,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status, Streaming};
use voicebridge_proto::media::v1::{self as media, ConnectRequest, ConnectResponse, node_service_server::NodeService};
use voicebridge_telemetry::{
    auth,
    status::{invalid_argument, status},
};

use super::{NodeAddresses, Registry, address::Peer, beat, identity::SecretHash};

/// Acknowledgements a node may leave unread; then the oldest of the unread ones is all it gets.
const UNREAD_ACKS: usize = 4;
/// Lengths of a node's secret, bytes.
const SECRET_BYTES: RangeInclusive<usize> = 16..=64;

/// The service.
#[derive(Debug)]
pub(crate) struct Nodes {
    registry: Arc<Registry>,
    /// Without a node token a node must be on this machine, in both directions.
    loopback_only: bool,
    addresses: Arc<NodeAddresses>,
    /// Ids and addresses of nodes that have just registered.
    arrivals: mpsc::Sender<(String, String)>,
    stop: CancellationToken,
    streams: AtomicU64,
}

impl Nodes {
    pub(crate) fn new(
        registry: Arc<Registry>,
        loopback_only: bool,
        addresses: NodeAddresses,
        arrivals: mpsc::Sender<(String, String)>,
        stop: CancellationToken,
    ) -> Self {
        Self { registry, loopback_only, addresses: Arc::new(addresses), arrivals, stop, streams: AtomicU64::new(0) }
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
        // Behind a proxy the peer is the proxy.
        let is_direct = !auth::is_forwarded(request.metadata().as_ref());
        let connection = Connection {
            stream: self.streams.fetch_add(1, Ordering::Relaxed),
            registry: Arc::clone(&self.registry),
            loopback_only: self.loopback_only,
            addresses: Arc::clone(&self.addresses),
            peer: request.remote_addr().filter(|_| is_direct).map(|peer| {
                let local = request.local_addr().map(|local| local.ip());
                Peer::new(peer.ip(), local)
            }),
            arrivals: self.arrivals.clone(),
            identity: None,
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
    addresses: Arc<NodeAddresses>,
    /// Where it comes from, if that is known.
    peer: Option<Peer>,
    arrivals: mpsc::Sender<(String, String)>,
    /// As its first beat said.
    identity: Option<(String, SecretHash)>,
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
            match self.beat(request.node.unwrap_or_default(), &request.node_secret) {
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
                    let reason = voicebridge_telemetry::status::reason(&status);
                    tracing::warn!(reason, peer = ?self.peer, error = status.message(), "a node's registration was refused");
                    let _ = acks.send(Err(status)).await;
                    return;
                }
            }
        }
    }

    fn beat(&mut self, node: media::Node, secret: &[u8]) -> Result<(), Status> {
        let beat = beat::read(node, self.loopback_only, &self.addresses, self.peer)?;
        let (id, url) = (beat.node_id.clone(), beat.url.clone());
        let secret = match &self.identity {
            Some((known, _)) if *known != id => {
                return Err(invalid_argument("node.node_id", "must stay the same on one stream"));
            }
            Some((_, secret)) => *secret,
            None if !SECRET_BYTES.contains(&secret.len()) => {
                return Err(invalid_argument("node_secret", "must be 16 to 64 bytes in a stream's first message"));
            }
            None => SecretHash::of(secret),
        };
        let (threads, threads_lost) = (beat.media_threads, beat.media_threads_lost);
        if threads_lost != std::mem::replace(&mut self.threads_lost, threads_lost) {
            tracing::warn!(node = id, threads, threads_lost, "media threads of a node died, hang, or go on again");
        }
        let region = beat.region.clone();
        let registered = self.registry.beat(self.stream, beat, &secret, Instant::now());
        let new = registered.map_err(|_| {
            let message = "A node with another secret is registered under this id, or was a short while ago; every node \
                           needs an id of its own.";
            status(Code::AlreadyExists, "NODE_ID_TAKEN", message, &[("node_id", &id)])
        })?;
        self.identity.get_or_insert_with(|| (id.clone(), secret));
        if new {
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
        if let Some((node_id, _)) = &self.identity {
            self.registry.disconnected(self.stream, node_id);
            tracing::info!(node = node_id, "node's registration stream ended");
        }
    }
}
