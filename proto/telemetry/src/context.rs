//! W3C trace context over gRPC metadata (`traceparent`, `tracestate`), so that one call is one span tree over both planes.

use opentelemetry::propagation::{Extractor, Injector};
use tonic::metadata::{KeyRef, MetadataKey, MetadataMap, MetadataValue};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// Writes the context of `span` into the metadata of a request about to be sent. Does nothing before [`crate::init`].
pub fn inject(span: &tracing::Span, metadata: &mut MetadataMap) {
    let context = span.context();
    opentelemetry::global::get_text_map_propagator(|propagator| {
        propagator.inject_context(&context, &mut Writer(metadata));
    });
}

/// Makes the sender's span the parent of `span`. Call it before the span is entered; metadata without a usable context
/// leaves the span a root.
pub fn set_parent(span: &tracing::Span, metadata: &MetadataMap) {
    let context = opentelemetry::global::get_text_map_propagator(|propagator| propagator.extract(&Reader(metadata)));
    // Fails only where the process has no tracing layer or the span is filtered out: then there is no tree to join.
    let _ = span.set_parent(context);
}

struct Writer<'a>(&'a mut MetadataMap);

impl Injector for Writer<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(key), Ok(value)) = (MetadataKey::from_bytes(key.as_bytes()), MetadataValue::try_from(value)) {
            self.0.insert(key, value);
        }
    }
}

struct Reader<'a>(&'a MetadataMap);

impl Extractor for Reader<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0
            .keys()
            .filter_map(|key| match key {
                KeyRef::Ascii(key) => Some(key.as_str()),
                KeyRef::Binary(_) => None,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use opentelemetry::trace::{TraceContextExt as _, TracerProvider as _};
    use opentelemetry_sdk::{propagation::TraceContextPropagator, trace::SdkTracerProvider};
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    /// Runs `body` as a process with tracing would.
    fn traced(body: impl FnOnce()) {
        opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
        let provider = SdkTracerProvider::builder().build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), body);
    }

    #[test]
    fn a_trace_crosses_the_wire() {
        traced(|| {
            let sent = tracing::info_span!("sent");
            let mut metadata = MetadataMap::new();
            inject(&sent, &mut metadata);
            assert!(metadata.get("traceparent").unwrap().to_str().unwrap().starts_with("00-"));

            let received = tracing::info_span!("received");
            set_parent(&received, &metadata);
            let (sent, received) = (sent.context(), received.context());
            assert!(sent.span().span_context().is_valid());
            assert_eq!(received.span().span_context().trace_id(), sent.span().span_context().trace_id());
        });
    }

    #[test]
    fn garbage_leaves_a_root() {
        traced(|| {
            let mut metadata = MetadataMap::new();
            metadata.insert("traceparent", "00-zz-zz-01".parse().unwrap());
            let span = tracing::info_span!("received");
            set_parent(&span, &metadata);
            let context = span.context();
            assert!(context.span().span_context().is_valid(), "a new trace begins");
        });
    }
}
