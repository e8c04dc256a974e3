//! The node's one listener: gRPC (service, health, reflection), `GET /health` and `GET /metrics`.
//!
//! Every method of the service wants the node token; without one configured only callers on this machine are answered.
//! Health, reflection and metrics answer everyone who can reach the port: they hold no call's data.

use std::{net::SocketAddr, sync::Arc};

use anyhow::Context as _;
use axum::{
    Json, Router,
    extract::{ConnectInfo, Request, State},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::get,
    serve::ListenerExt as _,
};
use http::{StatusCode, header::CONTENT_TYPE};
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::server::NamedService;
use voicebridge_proto::{FILE_DESCRIPTOR_SET, media::v1::media_plane_service_server::MediaPlaneServiceServer};
use voicebridge_telemetry::auth::Guard;

use crate::{grpc::Service, node::Node};

/// Serves until `stop`, then finishes what is under way.
pub(crate) async fn serve(node: Arc<Node>, listener: TcpListener, stop: CancellationToken) -> anyhow::Result<()> {
    let router = router(node, &stop).await?;
    // Requests and events are small and many: none may wait for the acknowledgement of the one before.
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY");
        }
    });
    axum::serve(listener, router.into_make_service_with_connect_info::<SocketAddr>())
        .with_graceful_shutdown(stop.cancelled_owned())
        .await
        .context("the listener failed")
}

async fn router(node: Arc<Node>, stop: &CancellationToken) -> anyhow::Result<Router> {
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_serving::<MediaPlaneServiceServer<Service>>().await;
    let drained = (node.clone(), stop.clone());
    tokio::spawn(async move {
        let (node, stop) = drained;
        tokio::select! {
            () = node.draining() => {
                reporter.set_not_serving::<MediaPlaneServiceServer<Service>>().await;
                // The empty name stands for the server as a whole.
                reporter.set_service_status("", tonic_health::ServingStatus::NotServing).await;
            }
            () = stop.cancelled() => {}
        }
    });
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .context("the contracts' descriptors are not readable")?;

    let guard = Guard::new("VOICEBRIDGE_NODE_TOKEN", node.config().node_token.clone());
    let service = MediaPlaneServiceServer::new(Service::new(node.clone()));
    let guarded = Router::new()
        .route_service(&path_of(&service), service)
        .layer(middleware::from_fn_with_state(Arc::new(guard), check_token));
    let metrics = voicebridge_telemetry::install_metrics();
    let metrics_node = node.clone();
    Ok(Router::new()
        .merge(guarded)
        .route_service(&path_of(&health), health)
        .route_service(&path_of(&reflection), reflection)
        .route(
            "/metrics",
            get(async move || {
                metrics_node.measure();
                ([(CONTENT_TYPE, "text/plain; version=0.0.4")], metrics.render())
            }),
        )
        .route("/health", get(http_health))
        .with_state(node))
}

fn path_of<S: NamedService>(_service: &S) -> String {
    format!("/{}/{{*method}}", S::NAME)
}

async fn check_token(
    State(guard): State<Arc<Guard>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    match guard.check(request.headers(), Some(peer.ip())) {
        Ok(()) => next.run(request).await,
        Err(denied) => {
            tracing::warn!(%peer, %denied, "request turned away");
            denied.status().into_http::<axum::body::Body>()
        }
    }
}

/// 200 while new sessions are taken, 503 while draining, so that a load balancer or an orchestrator needs no gRPC.
async fn http_health(State(node): State<Arc<Node>>) -> Response {
    let report = node.report();
    let (code, status) =
        if report.draining { (StatusCode::SERVICE_UNAVAILABLE, "draining") } else { (StatusCode::OK, "healthy") };
    let body = json!({
        "status": status,
        "activeCalls": report.live_sessions,
        "maxCalls": report.max_sessions,
        "mediaLoad": report.media_load,
        "nodeId": report.node_id,
        "region": report.region,
        "provider": report.provider,
        "version": report.version,
    });
    (code, Json(body)).into_response()
}
