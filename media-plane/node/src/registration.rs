//! Makes the node known to the control plane: a stream on which it says every second how it is doing.
//!
//! The stream is the registration, under an id bound to the node's secret. When it breaks the node connects again, for ever,
//! and keeps its calls meanwhile: they need nobody, and the control plane asks for the node before it gives them up.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use http::Uri;
use rand::RngExt as _;
use tokio::{
    net::lookup_host,
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, sleep},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::{ClientTlsConfig, Endpoint};
use voicebridge_proto::media::v1::{ConnectRequest, node_service_client::NodeServiceClient};
use voicebridge_telemetry::{auth::Bearer, status::reason};

use crate::{
    config::{Advertise, Config, local_address_towards},
    grpc,
    node::Node,
};

/// Time between two beats. The control plane asks for a node when one is overdue.
const BEAT_EVERY: Duration = Duration::from_secs(1);
/// TCP and TLS together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// A control plane that answers no HTTP/2 ping for this long is gone.
const PING_TIMEOUT: Duration = Duration::from_secs(3);
/// First wait before another try; doubled up to [`LONGEST_WAIT`], each shortened or lengthened at random by up to half, so
/// that many nodes do not come back at the same moment.
const FIRST_WAIT: Duration = Duration::from_millis(200);
/// A control plane that comes back has all its nodes within this time.
const LONGEST_WAIT: Duration = Duration::from_secs(3);
/// A stream that lasted this long was a good one: the next wait is the first again.
const GOOD_AFTER: Duration = Duration::from_secs(5);

/// Keeps the node registered until `stop`.
pub(crate) async fn keep(node: Arc<Node>, bearer: Bearer, stop: CancellationToken) {
    let mut wait = FIRST_WAIT;
    loop {
        let began = Instant::now();
        let broke = tokio::select! {
            broke = register(&node, &bearer) => broke,
            () = stop.cancelled() => return,
        };
        if began.elapsed() >= GOOD_AFTER {
            wait = FIRST_WAIT;
        }
        let pause = wait.mul_f64(rand::rng().random_range(0.5..1.5));
        let (control_url, why) = (&node.config().control_url, format!("{broke:#}"));
        if wait == FIRST_WAIT {
            tracing::warn!(control_url, why, "not registered with the control plane; calls go on, trying again");
        } else {
            tracing::debug!(control_url, why, ?pause, "still not registered with the control plane");
        }
        wait = (wait * 2).min(LONGEST_WAIT);
        tokio::select! {
            () = sleep(pause) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// One stream, from connecting to its end; always an error, since it should never end.
async fn register(node: &Arc<Node>, bearer: &Bearer) -> anyhow::Error {
    match try_register(node, bearer).await {
        Ok(()) => anyhow::anyhow!("the control plane closed the stream"),
        Err(error) => error,
    }
}

async fn try_register(node: &Arc<Node>, bearer: &Bearer) -> anyhow::Result<()> {
    let config = node.config();
    let mut endpoint = Endpoint::from_shared(config.control_url.clone())
        .context("VOICEBRIDGE_CONTROL_URL cannot be used")?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(BEAT_EVERY)
        .keep_alive_timeout(PING_TIMEOUT)
        .keep_alive_while_idle(true);
    if config.control_url.starts_with("https:") {
        endpoint = endpoint.tls_config(ClientTlsConfig::new().with_native_roots()).context("TLS cannot be set up")?;
    }
    let channel = endpoint.connect().await.context("no connection")?;
    let mut client = NodeServiceClient::with_interceptor(channel, bearer.clone());
    // One beat waits while another is being sent; the beater waits with the third.
    let (beats, outgoing) = mpsc::channel(1);
    let beating = beat(node, beats);
    let listening = async {
        let mut answers = client.connect(ReceiverStream::new(outgoing)).await?.into_inner();
        let mut greeted = false;
        while answers.message().await?.is_some() {
            if !greeted {
                greeted = true;
                tracing::info!(control_url = config.control_url, "registered with the control plane");
            }
        }
        Ok::<(), tonic::Status>(())
    };
    tokio::select! {
        listened = listening => listened.map_err(|status| {
            let word = reason(&status).unwrap_or_else(|| format!("{:?}", status.code()));
            anyhow::anyhow!("{word}: {}", status.message())
        }),
        () = beating => Ok(()),
    }
}

/// A beat every second, and one at once when the node begins to drain; the first one carries the node's secret. Ends when
/// nobody takes them.
pub(crate) async fn beat(node: &Node, beats: mpsc::Sender<ConnectRequest>) {
    let mut clock = interval(BEAT_EVERY);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut draining = node.report().draining;
    let mut node_secret = node.secret().to_bytes();
    loop {
        tokio::select! {
            _ = clock.tick() => {}
            () = node.draining(), if !draining => draining = true,
        }
        let node = Some(grpc::node_report(node.report()));
        let request = ConnectRequest { node, node_secret: std::mem::take(&mut node_secret) };
        if beats.send(request).await.is_err() {
            return;
        }
    }
}

/// Where the control plane reaches this node: as configured, else the listener's address; when that is "all of them",
/// the one that faces the control plane.
pub(crate) async fn advertise_url(config: &Config, local: SocketAddr) -> String {
    match &config.advertise {
        Advertise::Fixed(url) => url.clone(),
        Advertise::Derived if !local.ip().is_unspecified() => format!("http://{local}"),
        Advertise::Derived => {
            let ip = match control_address(&config.control_url).await {
                Some(control) => local_address_towards(control).unwrap_or(config.public_ip),
                None => config.public_ip,
            };
            format!("http://{}", SocketAddr::new(ip, local.port()))
        }
    }
}

async fn control_address(control_url: &str) -> Option<SocketAddr> {
    let uri: Uri = control_url.parse().ok()?;
    let host = uri.host()?.trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
    lookup_host((host, port)).await.ok()?.next()
}
