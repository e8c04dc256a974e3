//! gRPC clients to media nodes: one channel per address, made when first used, with the node token and the current
//! span's trace context on every request.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use secrecy::SecretString;
use tonic::{
    Status,
    service::interceptor::InterceptedService,
    transport::{Channel, Endpoint},
};
use voicebridge_proto::media::v1::media_plane_service_client::MediaPlaneServiceClient;
use voicebridge_telemetry::auth::{Bearer, InvalidToken};

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A connection that says nothing for this long is asked whether it is there...
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// ...and given up when it does not answer.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// A client of one node.
pub type Client = MediaPlaneServiceClient<InterceptedService<Channel, Bearer>>;

/// Channels by address. Channels of lost nodes are forgotten, so there are never more than nodes.
#[derive(Debug)]
pub struct Clients {
    bearer: Bearer,
    channels: Mutex<HashMap<String, Channel>>,
}

impl Clients {
    /// # Errors
    /// The token is no header value.
    pub fn new(token: Option<&SecretString>) -> Result<Self, InvalidToken> {
        Ok(Self { bearer: Bearer::new(token)?, channels: Mutex::default() })
    }

    /// The client of the node at `url`. Does not connect yet.
    ///
    /// # Errors
    /// `UNAVAILABLE` when the address is unusable: the next node is to be tried.
    pub fn client(&self, url: &str) -> Result<Client, Status> {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        let channel = match channels.get(url) {
            Some(channel) => channel.clone(),
            None => {
                let endpoint = Endpoint::from_shared(url.to_owned())
                    .map_err(|_| Status::unavailable("the node's address is not a URL"))?
                    .connect_timeout(CONNECT_TIMEOUT)
                    .tcp_nodelay(true)
                    .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
                    .keep_alive_timeout(KEEP_ALIVE_TIMEOUT);
                let channel = endpoint.connect_lazy();
                channels.insert(url.to_owned(), channel.clone());
                channel
            }
        };
        Ok(MediaPlaneServiceClient::with_interceptor(channel, self.bearer.clone()))
    }

    /// Drops the channel of a lost node; requests in flight finish.
    pub fn forget(&self, url: &str) {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner).remove(url);
    }
}
