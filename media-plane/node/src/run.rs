//! The life of the process: serve, drain, end.

use std::{future::Future, sync::Arc, time::Duration};

use anyhow::Context as _;
use tokio::{net::TcpListener, time::timeout};
use tokio_util::sync::CancellationToken;
use voicebridge_telemetry::{
    auth::{Bearer, Guard},
    local,
};

use crate::{Config, node::Node, registration, server};

/// How long sessions may take to end once they must, and then their last events to be read.
const END_WITHIN: Duration = Duration::from_secs(5);

/// Serves on `listener` until `shutdown`, then drains: no new sessions, health `NOT_SERVING`, live ones finish for at
/// most the drain time of the configuration, then they are ended.
///
/// # Errors
/// When the node cannot start, or its listener fails.
pub async fn run(config: Config, listener: TcpListener, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
    run_until(config, listener, shutdown, std::future::pending()).await
}

/// As [`run`]; sessions still live when `force` resolves, after `shutdown`, are ended at once.
///
/// # Errors
/// As [`run`].
pub async fn run_until(
    config: Config,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
    force: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let local = listener.local_addr().context("the listener has no address")?;
    if config.loopback_by_default {
        tracing::info!("VOICEBRIDGE_NODE_TOKEN is not set: only programs of this machine and user are answered");
    }
    let token = local::node_token(config.node_token.as_ref(), config.state_dir.as_ref());
    let (token, source) = token.context("a control plane cannot be told from others")?;
    let bearer = Bearer::new(Some(&token)).context("VOICEBRIDGE_NODE_TOKEN")?;
    let guard = Guard::new(&source, [token]);
    let advertise_url = registration::advertise_url(&config, local).await;
    let drain_time = config.drain;
    let node = Arc::new(Node::new(config, advertise_url).context("the media threads could not be started")?);
    let report = node.report();
    tracing::info!(
        listen = %local,
        node_id = report.node_id,
        region = report.region,
        advertise_url = report.advertise_url,
        public_ip = %node.config().public_ip,
        udp_ports = ?node.config().udp_ports,
        max_sessions = report.max_sessions,
        media_threads = node.config().threads,
        opus_complexity = ?node.config().governor.bounds(),
        codec = voicebridge_audio::opus::version(),
        provider = report.provider,
        "media node is up"
    );

    let stop = CancellationToken::new();
    let mut serving = tokio::spawn(server::serve(node.clone(), guard, listener, stop.clone()));
    let registering = tokio::spawn(registration::keep(node.clone(), bearer, stop.clone()));

    let ended = tokio::select! {
        () = shutdown => Ok(()),
        served = &mut serving => served.context("the server panicked").and_then(|served| served)
            .and_then(|()| Err(anyhow::anyhow!("the listener closed"))),
    };
    if let Err(error) = ended {
        stop.cancel();
        return Err(error);
    }

    let live = node.drain();
    tracing::info!(live, drain_s = drain_time.as_secs(), "draining");
    tokio::select! {
        () = node.idle() => tracing::info!("the last session has ended"),
        () = tokio::time::sleep(drain_time) => {
            tracing::warn!("the drain time is over: ending the sessions that are left");
            node.end_all(END_WITHIN).await;
        }
        () = force => {
            tracing::warn!("forced: ending the sessions that are left");
            node.end_all(END_WITHIN).await;
        }
    }
    stop.cancel();
    // Subscribers read the last events and hang up; whoever does not is cut off.
    match timeout(END_WITHIN, serving).await {
        Ok(served) => served.context("the server panicked")??,
        Err(_) => tracing::warn!("some clients did not hang up in time"),
    }
    // It ends by the same token; a panic in it must not be lost.
    registering.await.context("the registration panicked")
}
