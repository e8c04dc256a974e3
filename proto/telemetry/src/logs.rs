//! Logs to standard error and spans to an OTLP collector.

use std::{
    io::{IsTerminal as _, stderr},
    time::Duration,
};

use anyhow::Context as _;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::WithExportConfig as _;
use opentelemetry_sdk::{Resource, propagation::TraceContextPropagator, trace::SdkTracerProvider};
use tracing_subscriber::{EnvFilter, Layer as _, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use crate::settings::{LogFormat, Settings};

/// How long the last spans may take to leave when the process ends.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(3);

/// Keeps the exporter alive. Dropping it sends what is left, for at most three seconds.
#[must_use = "dropping the guard ends the export of traces"]
pub struct Guard {
    provider: SdkTracerProvider,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Err(error) = self.provider.shutdown_with_timeout(FLUSH_TIMEOUT) {
            tracing::warn!(%error, "the last spans were not exported");
        }
    }
}

/// Installs logs, spans and the W3C propagator for the whole process. Must run inside a Tokio runtime when an OTLP
/// endpoint is set, and once: a second call is an error.
///
/// Spans are created whether or not they are exported, so that a trace begun elsewhere reaches the other plane.
pub fn init(settings: Settings) -> anyhow::Result<Guard> {
    crate::install_tls();
    let filter = EnvFilter::try_new(&settings.filter)
        .with_context(|| format!("RUST_LOG is {:?}, which is not a valid filter", settings.filter))?;
    let provider = provider(&settings)?;
    opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
    let spans = tracing_opentelemetry::layer().with_tracer(provider.tracer(settings.service));
    // Standard error: standard output belongs to what a command prints.
    let lines = tracing_subscriber::fmt::layer().with_writer(stderr);
    let lines = match settings.log {
        LogFormat::Pretty => lines.with_ansi(stderr().is_terminal()).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).boxed(),
    };
    tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .with(spans)
        .try_init()
        .context("logging is already set up in this process")?;
    Ok(Guard { provider })
}

fn provider(settings: &Settings) -> anyhow::Result<SdkTracerProvider> {
    let resource = Resource::builder().with_service_name(settings.service).build();
    let builder = SdkTracerProvider::builder().with_resource(resource);
    let Some(endpoint) = &settings.otlp_endpoint else {
        return Ok(builder.build());
    };
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .build()
        .with_context(|| format!("OTEL_EXPORTER_OTLP_ENDPOINT is {endpoint:?}, which cannot be used"))?;
    Ok(builder.with_batch_exporter(exporter).build())
}
