//! The process's one Prometheus recorder.

use std::sync::OnceLock;

use metrics_exporter_prometheus::PrometheusBuilder;
pub use metrics_exporter_prometheus::PrometheusHandle;

/// Bounds of histograms, by the unit their name ends in.
const MILLISECONDS: [f64; 13] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2500.0, 5000.0, 10000.0];
const SECONDS: [f64; 10] = [1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0];

/// Installs the recorder on the first call of the process and returns its handle on every call: both planes may live in
/// one process. `GET /metrics` answers with [`PrometheusHandle::render`] as `text/plain; version=0.0.4`.
///
/// Histograms whose name ends in `_ms` or `_seconds` get buckets in that unit; others are summaries.
///
/// # Panics
/// If somebody else has installed a recorder in this process, which is a bug in that binary.
pub fn install_metrics() -> PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE
        .get_or_init(|| {
            use metrics_exporter_prometheus::Matcher::Suffix;
            let recorder = PrometheusBuilder::new()
                .set_buckets_for_metric(Suffix("_ms".to_owned()), &MILLISECONDS)
                .and_then(|builder| builder.set_buckets_for_metric(Suffix("_seconds".to_owned()), &SECONDS))
                .expect("the bucket lists are not empty")
                .build_recorder();
            let handle = recorder.handle();
            metrics::set_global_recorder(recorder).expect("this is the only recorder of the process");
            handle
        })
        .clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_planes_share_one_recorder() {
        let first = install_metrics();
        metrics::counter!("test_calls_total").increment(2);
        metrics::histogram!("test_answer_ms").record(7.0);
        let text = install_metrics().render();
        assert_eq!(first.render(), text);
        assert!(text.contains("test_calls_total 2"), "{text}");
        assert!(text.contains(r#"test_answer_ms_bucket{le="10"} 1"#), "{text}");
    }
}
