//! How a process logs and where its traces go, from the environment.

use std::{env, str::FromStr};

/// What is logged when `RUST_LOG` says nothing: our own milestones, and of the libraries only what is wrong. Their
/// per-packet chatter would drown a call's story and cost time on the packet path.
pub const DEFAULT_FILTER: &str = "info,rtc=error,webrtc=error,hyper=warn,h2=warn,tower=warn,tonic=warn,reqwest=warn,\
    sqlx=warn,rustls=warn,tungstenite=warn,opentelemetry=warn,opentelemetry_sdk=warn,opentelemetry_otlp=warn";

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// One line for a person; coloured on a terminal.
    #[default]
    Pretty,
    /// One JSON object per line, fields of the event and of its spans included.
    Json,
}

impl FromStr for LogFormat {
    type Err = SettingsError;

    fn from_str(text: &str) -> Result<Self, SettingsError> {
        match text {
            "" | "pretty" => Ok(Self::Pretty),
            "json" => Ok(Self::Json),
            other => Err(SettingsError::LogFormat(other.to_owned())),
        }
    }
}

/// What [`crate::init`] needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name of the process in traces, e.g. `voicebridge-media`.
    pub service: &'static str,
    /// From `VOICEBRIDGE_LOG_FORMAT`: `pretty` (default) or `json`.
    pub log: LogFormat,
    /// From `RUST_LOG`, in the syntax of tracing-subscriber's `EnvFilter`; default [`DEFAULT_FILTER`].
    pub filter: String,
    /// From `OTEL_EXPORTER_OTLP_ENDPOINT`: an OTLP/gRPC collector, e.g. `http://127.0.0.1:4317`. None: spans are made
    /// and passed on between the planes, but exported nowhere.
    pub otlp_endpoint: Option<String>,
}

impl Settings {
    /// Reads the three variables; set but empty counts as not set.
    pub fn from_env(service: &'static str) -> Result<Self, SettingsError> {
        let read = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        Ok(Self {
            service,
            log: read("VOICEBRIDGE_LOG_FORMAT").unwrap_or_default().parse()?,
            filter: read("RUST_LOG").unwrap_or_else(|| DEFAULT_FILTER.to_owned()),
            otlp_endpoint: read("OTEL_EXPORTER_OTLP_ENDPOINT"),
        })
    }
}

/// A variable that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Neither of the known formats.
    #[error("VOICEBRIDGE_LOG_FORMAT is {0:?}; it must be `pretty` or `json`")]
    LogFormat(String),
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn formats_are_told_apart_and_a_wrong_one_names_the_variable() {
        assert_eq!("".parse::<LogFormat>().unwrap(), LogFormat::Pretty);
        assert_eq!("pretty".parse::<LogFormat>().unwrap(), LogFormat::Pretty);
        assert_eq!("json".parse::<LogFormat>().unwrap(), LogFormat::Json);
        let error = "xml".parse::<LogFormat>().unwrap_err().to_string();
        assert!(error.contains("VOICEBRIDGE_LOG_FORMAT") && error.contains("xml"), "{error}");
    }

    #[test]
    fn the_default_filter_parses() {
        tracing_subscriber::EnvFilter::try_new(DEFAULT_FILTER).unwrap();
    }
}
