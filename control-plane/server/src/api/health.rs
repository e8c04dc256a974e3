//! `GET /health`, `GET /metrics`, and the state behind `grpc.health.v1`.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use voicebridge_telemetry::PrometheusHandle;

use crate::{calls::Calls, lifetime::Lifetime, nodes::Registry};

/// What it tells of.
#[derive(Clone)]
pub(crate) struct Health {
    pub(crate) calls: Calls,
    pub(crate) nodes: Arc<Registry>,
    pub(crate) lifetime: Lifetime,
}

pub(super) fn router(health: Health, metrics: PrometheusHandle) -> Router {
    let scraped = Router::new().route("/metrics", get(scrape)).with_state(metrics);
    Router::new().route("/health", get(answer)).with_state(health).merge(scraped)
}

async fn answer(State(health): State<Health>) -> Response {
    let draining = health.lifetime.is_draining();
    let body = serde_json::json!({
        "status": if draining { "draining" } else { "healthy" },
        "activeCalls": health.calls.count(),
        "nodes": health.nodes.count(),
        "version": env!("CARGO_PKG_VERSION"),
    });
    let code = if draining { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    (code, Json(body)).into_response()
}

async fn scrape(State(metrics): State<PrometheusHandle>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], metrics.render())
}
