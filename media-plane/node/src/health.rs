//! Says to whoever checks whether this node is well: `grpc.health.v1` and `GET /health`.
//!
//! It is not while it drains, nor while one of its media threads is dead or stalled: then callers suffer whom only a restart
//! helps. Its other threads take calls all the same, and the node ends itself for none of this: whoever runs it decides, and
//! those who follow its sessions still read how they ended.
//!
//! Flow: [`report`] looks every [`LOOK_EVERY`], says what changed, logs it, and brings the gauges up to date. The control plane does not ask here; the
//! beats of `registration` tell it the same.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::State,
    response::{IntoResponse as _, Response},
};
use http::StatusCode;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tonic_health::{ServingStatus, server::HealthReporter};
use voicebridge_proto::media::v1::media_plane_service_server::MediaPlaneServiceServer;

use crate::{
    grpc::Service,
    node::{Node, NodeReport},
    shard::ThreadHealth,
};

/// Between two looks at the media threads; draining is told at once.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// The server as a whole, in the health protocol.
const WHOLE_SERVER: &str = "";

/// Keeps the gRPC health service, which says SERVING, up to date until `stop`.
pub(crate) async fn report(node: Arc<Node>, reporter: HealthReporter, stop: CancellationToken) {
    let mut told = ServingStatus::Serving;
    let mut known = node.threads();
    loop {
        let threads = node.threads();
        if threads != known {
            log(known, threads);
            known = threads;
        }
        // Whoever asks another port of this process for metrics is not to get old ones.
        node.measure();
        let draining = node.is_draining();
        let status = if draining || threads.lost() > 0 { ServingStatus::NotServing } else { ServingStatus::Serving };
        if std::mem::replace(&mut told, status) != status {
            reporter.set_service_status(WHOLE_SERVER, status).await;
            match status {
                ServingStatus::Serving => reporter.set_serving::<MediaPlaneServiceServer<Service>>().await,
                _ => reporter.set_not_serving::<MediaPlaneServiceServer<Service>>().await,
            }
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = node.draining(), if !draining => {}
            () = stop.cancelled() => return,
        }
    }
}

/// A death is logged by the thread that dies; here is what it means for the node.
fn log(before: ThreadHealth, now: ThreadHealth) {
    let ThreadHealth { threads, dead, stalled } = now;
    if now.none_is_left() {
        tracing::error!(threads, dead, stalled, "no media thread is left: sessions are refused until a restart");
    } else if now.lost() < before.lost() {
        tracing::warn!(threads, dead, stalled, "a stalled media thread goes on");
    } else {
        tracing::error!(threads, dead, stalled, "media threads are lost: the others go on, the node wants a restart");
    }
}

/// 200 while the node is well, 503 while it drains or has lost a media thread, so that a load balancer or an orchestrator
/// needs no gRPC.
pub(crate) async fn http(State(node): State<Arc<Node>>) -> Response {
    let report = node.report();
    let (code, status) = standing(&report);
    let body = json!({
        "status": status,
        "activeCalls": report.live_sessions,
        "maxCalls": report.max_sessions,
        "mediaLoad": report.media_load,
        "mediaThreads": report.threads.threads,
        "mediaThreadsLost": report.threads.lost(),
        "nodeId": report.node_id,
        "region": report.region,
        "provider": report.provider,
        "version": report.version,
    });
    (code, Json(body)).into_response()
}

const fn standing(report: &NodeReport) -> (StatusCode, &'static str) {
    if report.threads.lost() > 0 {
        (StatusCode::SERVICE_UNAVAILABLE, "media-thread-lost")
    } else if report.draining {
        (StatusCode::SERVICE_UNAVAILABLE, "draining")
    } else {
        (StatusCode::OK, "healthy")
    }
}

#[cfg(test)]
mod tests;
