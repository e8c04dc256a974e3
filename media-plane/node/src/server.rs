//! The node's one listener: gRPC (service, health, reflection), `GET /health` and `GET /metrics`.
//!
//! Every method of the service wants the node token, or the local one where none is configured.
//! Health, reflection and metrics answer everyone who can reach the port: they hold no call's data.

use std::sync::Arc;

use anyhow::Context as _;
use axum::{
    Extension, Router,
    body::{Body, HttpBody as _},
    extract::{Request, State},
    middleware::{self, Next},
    response::Response,
    routing::get,
};
use http::header::CONTENT_TYPE;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{server::NamedService, service::Routes, transport::server::TcpConnectInfo};
use voicebridge_proto::{FILE_DESCRIPTOR_SET, media::v1::media_plane_service_server::MediaPlaneServiceServer};
use voicebridge_telemetry::{
    auth::Guard,
    listener::{
        self, Bounds, Incoming,
        body::{Pace, Timely},
    },
};

use crate::{grpc::Service, health, node::Node};

/// Requests beside the event streams that one connection may have under way.
const SPARE_STREAMS: u32 = 256;

/// Serves until `stop`, then finishes what is under way.
pub(crate) async fn serve(
    node: Arc<Node>,
    guard: Guard,
    listener: TcpListener,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    // A control plane follows every live session on one connection; with the usual bound of 200 streams its two-hundred
    // and first call could not be advanced any more.
    let streams = node.config().max_sessions.saturating_mul(2).saturating_add(SPARE_STREAMS);
    let bounds = node.config().listener;
    let routes = Routes::from(router(node, guard, &stop).await?);
    listener::server(&bounds, streams)
        .add_routes(routes)
        .serve_with_incoming_shutdown(Incoming::new(listener, "media", bounds), stop.cancelled_owned())
        .await
        .context("the listener failed")
}

async fn router(node: Arc<Node>, guard: Guard, stop: &CancellationToken) -> anyhow::Result<Router> {
    let (reporter, health_service) = tonic_health::server::health_reporter();
    // Known before anybody can ask.
    reporter.set_serving::<MediaPlaneServiceServer<Service>>().await;
    tokio::spawn(health::report(node.clone(), reporter, stop.clone()));
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let reflection_v1 = reflection().build_v1().context("the contracts' descriptors are not readable")?;
    // What clients ask for that are older than v1, Python's among them.
    let reflection_v1alpha = reflection().build_v1alpha().context("the contracts' descriptors are not readable")?;

    let service = MediaPlaneServiceServer::new(Service::new(node.clone()));
    let guarded = Router::new()
        .route_service(&path_of(&service), service)
        // Not `layer`, which would stand before paths that lead nowhere too.
        .route_layer(middleware::from_fn_with_state(Arc::new(guard), check_token));
    let metrics = voicebridge_telemetry::install_metrics();
    let metrics_node = node.clone();
    Ok(Router::new()
        .merge(guarded)
        .route_service(&path_of(&health_service), health_service)
        .route_service(&path_of(&reflection_v1), reflection_v1)
        .route_service(&path_of(&reflection_v1alpha), reflection_v1alpha)
        .route(
            "/metrics",
            get(async move || {
                metrics_node.measure();
                ([(CONTENT_TYPE, "text/plain; version=0.0.4")], metrics.render())
            }),
        )
        .route("/health", get(health::http))
        .layer(middleware::map_request_with_state(node.config().listener, in_time))
        .with_state(node))
}

/// The request with a deadline for its body. Only reflection is a stream of requests.
async fn in_time(State(bounds): State<Bounds>, request: Request) -> Request {
    if request.body().is_end_stream() {
        return request;
    }
    let pace = match request.uri().path().starts_with("/grpc.reflection.") {
        true => Pace::Each(bounds.between_messages),
        false => Pace::Whole(bounds.body),
    };
    request.map(|body| Body::new(Timely::new(body, pace)))
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
    match guard.check(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(denied) => {
            tracing::warn!(?peer, %denied, "request turned away");
            denied.status().into_http::<Body>()
        }
    }
}
