//! gRPC clients to media nodes: one channel per address, made when first used, with the node token and the current
//! span's trace context on every request. What comes in over them is a sign of life, see `signs`.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use secrecy::SecretString;
use tonic::{
    Status,
    service::interceptor::InterceptedService,
    transport::{Channel, Endpoint},
};
use voicebridge_proto::media::v1::media_plane_service_client::MediaPlaneServiceClient;
use voicebridge_telemetry::auth::{Bearer, InvalidToken};

use super::signs::{HeardChannel, Signs};

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A connection that says nothing for this long is asked whether it is there...
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// ...and given up when it does not answer.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// A client of one node.
pub type Client = MediaPlaneServiceClient<InterceptedService<HeardChannel, Bearer>>;

#[derive(Debug)]
struct Line {
    channel: Channel,
    signs: Arc<Signs>,
}

/// Channels by address. Those of nodes no longer known are dropped a few times a second, so that there are hardly more than
/// nodes.
#[derive(Debug)]
pub struct Clients {
    bearer: Bearer,
    lines: Mutex<HashMap<String, Line>>,
}

impl Clients {
    /// # Errors
    /// The token is no header value.
    pub fn new(token: Option<&SecretString>) -> Result<Self, InvalidToken> {
        Ok(Self { bearer: Bearer::new(token)?, lines: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The client of the node at `url`. Does not connect yet.
    ///
    /// # Errors
    /// `UNAVAILABLE` when the address is unusable: the next node is to be tried.
    pub fn client(&self, url: &str) -> Result<Client, Status> {
        let mut lines = self.lock();
        if !lines.contains_key(url) {
            let endpoint = endpoint(url)?
                .connect_timeout(CONNECT_TIMEOUT)
                .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
                .keep_alive_timeout(KEEP_ALIVE_TIMEOUT);
            let line = Line { channel: endpoint.connect_lazy(), signs: Arc::new(Signs::new()) };
            lines.insert(url.to_owned(), line);
        }
        let line = &lines[url];
        let channel = HeardChannel::new(line.channel.clone(), Arc::clone(&line.signs));
        Ok(MediaPlaneServiceClient::with_interceptor(channel, self.bearer.clone()))
    }

    /// A client with a new connection of its own, which says whether anybody listens there.
    ///
    /// # Errors
    /// There is no connection; or the address is unusable.
    pub(super) async fn dial(
        &self,
        url: &str,
    ) -> Result<MediaPlaneServiceClient<InterceptedService<Channel, Bearer>>, DialError> {
        let channel = endpoint(url)?.connect().await?;
        Ok(MediaPlaneServiceClient::with_interceptor(channel, self.bearer.clone()))
    }

    /// Where something came in since this was last asked, and when.
    pub(super) fn heard(&self) -> Vec<(String, Instant)> {
        self.lock().iter().filter_map(|(url, line)| Some((url.clone(), line.signs.take()?))).collect()
    }

    /// Drops the channels to all other addresses; requests in flight finish.
    pub(super) fn keep_only(&self, urls: &BTreeSet<String>) {
        self.lock().retain(|url, _| urls.contains(url));
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    #[error("the address is unusable")]
    Address(#[from] Status),
    #[error("no connection")]
    Transport(#[from] tonic::transport::Error),
}

fn endpoint(url: &str) -> Result<Endpoint, Status> {
    let endpoint = Endpoint::from_shared(url.to_owned());
    Ok(endpoint.map_err(|_| Status::unavailable("the node's address is not a URL"))?.tcp_nodelay(true))
}
