//! The node's one listener: gRPC (service, health, reflection), `GET /health` and `GET /metrics`.
//!
//! Every method of the service wants the node token; without one configured only callers on this machine are answered.
//! Health, reflection and metrics answer everyone who can reach the port: they hold no call's data.

use std::sync::Arc;

use anyhow::Context as _;
use axum::{
    Extension, Json, Router,
    extract::{Request, State},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::get,
};
use http::{StatusCode, header::CONTENT_TYPE};
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{
    server::NamedService,
    service::Routes,
    transport::{
        Server,
        server::{TcpConnectInfo, TcpIncoming},
    },
};
use voicebridge_proto::{FILE_DESCRIPTOR_SET, media::v1::media_plane_service_server::MediaPlaneServiceServer};
use voicebridge_telemetry::auth::Guard;

use crate::{grpc::Service, node::Node};

/// Requests beside the event streams that one connection may have under way.
const SPARE_STREAMS: u32 = 256;

/// Serves until `stop`, then finishes what is under way.
pub(crate) async fn serve(node: Arc<Node>, listener: TcpListener, stop: CancellationToken) -> anyhow::Result<()> {
    // A control plane follows every live session on one connection; with the usual bound of 200 streams its two-hundred
    // and first call could not be advanced any more.
    let streams = node.config().max_sessions.saturating_mul(2).saturating_add(SPARE_STREAMS);
    let routes = Routes::from(router(node, &stop).await?);
    Server::builder()
        .accept_http1(true)
        .max_concurrent_streams(streams)
        .add_routes(routes)
        // Requests and events are small and many: none may wait for the acknowledgement of the one before.
        .serve_with_incoming_shutdown(TcpIncoming::from(listener).with_nodelay(Some(true)), stop.cancelled_owned())
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
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let reflection_v1 = reflection().build_v1().context("the contracts' descriptors are not readable")?;
    // What clients ask for that are older than v1, Python's among them.
    let reflection_v1alpha = reflection().build_v1alpha().context("the contracts' descriptors are not readable")?;

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
        .route_service(&path_of(&reflection_v1), reflection_v1)
        .route_service(&path_of(&reflection_v1alpha), reflection_v1alpha)
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
    Extension(connection): Extension<TcpConnectInfo>,
    request: Request,
    next: Next,
) -> Response {
    let peer = connection.remote_addr();
    match guard.check(request.headers(), peer.map(|peer| peer.ip())) {
        Ok(()) => next.run(request).await,
        Err(denied) => {
            tracing::warn!(?peer, %denied, "request turned away");
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
