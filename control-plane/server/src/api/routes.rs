//! One router for everything on the one listener.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Router,
    middleware::{self, Next, from_fn_with_state},
    response::{IntoResponse, Response},
};
use http::{HeaderName, Method, Request, Version, header};
use tonic::{Status, body::Body, server::NamedService};
use tonic_health::server::HealthReporter;
use tonic_web::{GrpcWebLayer, GrpcWebService};
use tower::{Layer as _, Service};
use tower_http::cors::{AllowOrigin, CorsLayer};
use voicebridge_proto::{
    FILE_DESCRIPTOR_SET,
    control::v1::{
        call_service_server::CallServiceServer, fleet_service_server::FleetServiceServer,
        key_service_server::KeyServiceServer, server_service_server::ServerServiceServer,
    },
    media::v1::node_service_server::NodeServiceServer,
};

use super::{
    Fault,
    agent::MAX_AGENTS_BYTES,
    bodies::{self, Room},
    body,
    guard::{self, Guard},
    health::{self, Health},
    keys::Keys,
    media_type,
    server_info::ServerInfo,
    sessions_http, sse,
    state::Api,
};
use crate::{
    config::Origins,
    nodes::{Fleet, Nodes},
    webhook,
};

/// How long a browser may remember that it may call.
const CORS_MAX_AGE: Duration = Duration::from_secs(600);

/// What a gRPC message holds besides its largest field and agents of particular callers.
const MESSAGE_OVERHEAD_BYTES: usize = 128 * 1024;

/// Everything on the listener; unknown paths are 404. Returns what turns the health service's answer.
///
/// # Errors
/// The contracts' descriptors do not fit the reflection service, which is a bug of the build.
pub(crate) async fn router(
    api: Api,
    nodes: Nodes,
    fleet: Fleet,
    keys: Keys,
    health: Health,
    guard: Guard,
    origins: Origins,
) -> Result<(Router, HealthReporter), tonic_reflection::server::Error> {
    let (reporter, health_service) = tonic_health::server::health_reporter();
    reporter.set_serving::<CallServiceServer<Api>>().await;
    reporter.set_serving::<NodeServiceServer<Nodes>>().await;
    reporter.set_serving::<KeyServiceServer<Keys>>().await;
    reporter.set_serving::<FleetServiceServer<Fleet>>().await;
    reporter.set_serving::<ServerServiceServer<ServerInfo>>().await;
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };

    // A forwarded delivery may be as large as a direct one; the rest of the message is small.
    let largest = api.limits.max_body_bytes + MAX_AGENTS_BYTES + MESSAGE_OVERHEAD_BYTES;
    let calls = CallServiceServer::new(api.clone()).max_decoding_message_size(largest);
    let mut grpc = Router::new();
    grpc = add(grpc, calls);
    grpc = add(grpc, NodeServiceServer::new(nodes));
    grpc = add(grpc, KeyServiceServer::new(keys));
    grpc = add(grpc, FleetServiceServer::new(fleet));
    grpc = add(grpc, ServerServiceServer::new(ServerInfo));
    grpc = add(grpc, reflection().build_v1()?);
    // What clients ask for that are older than v1, Python's among them.
    grpc = add(grpc, reflection().build_v1alpha()?);
    grpc = add(grpc, health_service).route_layer(middleware::from_fn(grpc_only));

    let metrics = voicebridge_telemetry::install_metrics();
    let app = Router::new()
        .merge(grpc)
        .merge(sessions_http::router(api.clone()))
        .merge(sse::router(api.clone()))
        .merge(health::router(health, metrics))
        .merge(webhook::router(api.webhook.clone()))
        .fallback(unknown)
        .method_not_allowed_fallback(async || Fault::method_not_allowed())
        .layer(from_fn_with_state(Room::new(api.limits.bodies_bytes), bodies::counted))
        .layer(from_fn_with_state(Arc::new(guard), guard::guard))
        // Whoever reads a type behind this, a refusal too, reads it without parameters.
        .layer(middleware::map_request(media_type::bare_grpc_types))
        .layer(middleware::map_request_with_state(api.limits.listener, body::in_time))
        // Outermost: refusals must be readable for the pages that may read answers.
        .layer(cors(origins));
    Ok((app, reporter))
}

/// Mounts a service under its name, for gRPC and gRPC-web.
fn add<S>(router: Router, service: S) -> Router
where
    S: Service<Request<Body>, Error = Infallible> + NamedService,
    GrpcWebService<S>: Service<axum::extract::Request, Error = Infallible> + Clone + Send + Sync + 'static,
    <GrpcWebService<S> as Service<axum::extract::Request>>::Response: IntoResponse,
    <GrpcWebService<S> as Service<axum::extract::Request>>::Future: Send + 'static,
{
    router.route_service(&format!("/{}/{{*method}}", S::NAME), GrpcWebLayer::new().layer(service))
}

async fn unknown(request: axum::extract::Request) -> Response {
    if is_grpc(&request) {
        return Status::unimplemented("there is no such service").into_http();
    }
    Fault::path_not_found("There is nothing under this path.").into_response()
}

fn content_type(request: &axum::extract::Request) -> &[u8] {
    request.headers().get(header::CONTENT_TYPE).map_or(&[], |value| value.as_bytes())
}

/// gRPC proper, not gRPC-web.
fn is_grpc(request: &axum::extract::Request) -> bool {
    let content = content_type(request);
    content.starts_with(b"application/grpc") && !content.starts_with(media_type::GRPC_WEB.as_bytes())
}

/// Answers what is no gRPC in our shape, and gRPC that cannot be served in its own: tonic-web answers both with an empty
/// 400, and tonic any content at all.
async fn grpc_only(request: axum::extract::Request, next: Next) -> Response {
    if !content_type(&request).starts_with(b"application/grpc") {
        return Fault::path_not_found("Under this path are gRPC and gRPC-web only.").into_response();
    }
    if let Err(rule) = media_type::is_served(content_type(&request)) {
        return Fault::unsupported_media_type(rule).into_response();
    }
    if request.method() != Method::POST {
        return ([(header::ALLOW, "POST")], Fault::method_not_allowed()).into_response();
    }
    if is_grpc(&request) && request.version() < Version::HTTP_2 {
        return Status::unimplemented("gRPC needs HTTP/2; over HTTP/1 there is gRPC-web").into_http();
    }
    next.run(request).await
}

fn cors(origins: Origins) -> CorsLayer {
    let exposed =
        ["grpc-status", "grpc-message", "grpc-status-details-bin", "retry-after"].map(HeaderName::from_static);
    let allowed =
        ["x-api-key", "x-grpc-web", "x-user-agent", "grpc-timeout", "last-event-id", "traceparent", "tracestate"];
    let allowed = allowed.map(HeaderName::from_static).into_iter().chain([header::AUTHORIZATION, header::CONTENT_TYPE]);
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(move |origin, _| guard::is_allowed(&origins, origin)))
        .allow_methods([Method::GET, Method::POST])
        .allow_headers(allowed.collect::<Vec<_>>())
        .expose_headers(exposed)
        .max_age(CORS_MAX_AGE)
}
