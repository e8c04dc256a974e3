//! `GET /health`, `GET /metrics`, and the state behind `grpc.health.v1`.

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use voicebridge_telemetry::PrometheusHandle;

use super::Api;

pub(super) fn router(api: Api, metrics: PrometheusHandle) -> Router {
    let scraped = Router::new().route("/metrics", get(scrape)).with_state(metrics);
    Router::new().route("/health", get(health)).with_state(api).merge(scraped)
}

async fn health(State(api): State<Api>) -> Response {
    let draining = api.shared.lifetime.is_draining();
    let body = serde_json::json!({
        "status": if draining { "draining" } else { "healthy" },
        "activeCalls": api.calls.count(),
        "nodes": api.shared.registry.count(),
        "version": env!("CARGO_PKG_VERSION"),
    });
    let code = if draining { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    (code, Json(body)).into_response()
}

async fn scrape(State(metrics): State<PrometheusHandle>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], metrics.render())
}
