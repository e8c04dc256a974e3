//! How a process logs and where its traces go, from the environment.

use std::{env, fmt, str::FromStr};

use tonic::codegen::http::Uri;
use tracing_subscriber::EnvFilter;

/// What is logged when `RUST_LOG` says nothing: our own milestones, and of the libraries only what is wrong. Their
/// per-packet chatter would drown a call's milestones and cost time on the packet path.
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
    /// Reads the three variables; spaces and line ends around a value are its file's, and empty counts as not set.
    ///
    /// # Errors
    /// Every mistake at once.
    pub fn from_env(service: &'static str) -> Result<Self, SettingsErrors> {
        Self::from_variables(service, |name| env::var(name).ok())
    }

    fn from_variables(
        service: &'static str,
        variable: impl Fn(&'static str) -> Option<String>,
    ) -> Result<Self, SettingsErrors> {
        let read = |name| variable(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let mut errors = Vec::new();
        let log = read("VOICEBRIDGE_LOG_FORMAT").unwrap_or_default().parse().unwrap_or_else(|error| {
            errors.push(error);
            LogFormat::default()
        });
        let filter = read("RUST_LOG").unwrap_or_else(|| DEFAULT_FILTER.to_owned());
        if let Err(error) = EnvFilter::try_new(&filter) {
            errors.push(SettingsError::Filter { filter: filter.clone(), rule: error.to_string() });
        }
        let otlp_endpoint = read("OTEL_EXPORTER_OTLP_ENDPOINT");
        if otlp_endpoint.as_deref().is_some_and(|endpoint| !is_endpoint(endpoint)) {
            errors.push(SettingsError::Endpoint);
        }
        if errors.is_empty() { Ok(Self { service, log, filter, otlp_endpoint }) } else { Err(SettingsErrors(errors)) }
    }

    /// Puts these settings and a program's own together, so that the mistakes of both are reported at once.
    ///
    /// # Errors
    /// What is wrong with either, or with both.
    pub fn together<T, E>(settings: Result<Self, SettingsErrors>, own: Result<T, E>) -> anyhow::Result<(Self, T)>
    where
        E: fmt::Display + Into<anyhow::Error>,
    {
        match (settings, own) {
            (Ok(settings), Ok(own)) => Ok((settings, own)),
            (Err(errors), Ok(_)) => Err(errors.into()),
            (Ok(_), Err(own)) => Err(own.into()),
            (Err(errors), Err(own)) => Err(anyhow::anyhow!("{own}\n{errors}")),
        }
    }
}

/// A collector is an absolute `http` or `https` URL.
fn is_endpoint(text: &str) -> bool {
    let Ok(uri) = text.parse::<Uri>() else { return false };
    matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty())
}

/// A variable that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Neither of the known formats.
    #[error("VOICEBRIDGE_LOG_FORMAT: is {0:?}; it must be `pretty` or `json`")]
    LogFormat(String),
    /// Not in the syntax of filters.
    #[error("RUST_LOG: is {filter:?}, which is not a valid filter: {rule}")]
    Filter {
        /// As given.
        filter: String,
        /// What is wrong with it.
        rule: String,
    },
    /// Not a URL of a collector. The value is not repeated, it may hold credentials.
    #[error("OTEL_EXPORTER_OTLP_ENDPOINT: must be a URL like http://127.0.0.1:4317")]
    Endpoint,
}

/// All variables that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsErrors(pub Vec<SettingsError>);

impl fmt::Display for SettingsErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the settings of logs and traces have {} mistake(s):", self.0.len())?;
        for error in &self.0 {
            write!(f, "\n  {error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for SettingsErrors {}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn settings(variables: &[(&'static str, &str)]) -> Result<Settings, SettingsErrors> {
        Settings::from_variables("test", |name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn formats_are_told_apart_and_a_wrong_one_names_the_variable() {
        assert_eq!("".parse::<LogFormat>().unwrap(), LogFormat::Pretty);
        assert_eq!("pretty".parse::<LogFormat>().unwrap(), LogFormat::Pretty);
        assert_eq!("json".parse::<LogFormat>().unwrap(), LogFormat::Json);
        let error = "xml".parse::<LogFormat>().unwrap_err().to_string();
        assert!(error.contains("VOICEBRIDGE_LOG_FORMAT") && error.contains("xml"), "{error}");
    }

    #[test]
    fn unset_and_empty_variables_mean_the_defaults() {
        for variables in
            [&[][..], &[("VOICEBRIDGE_LOG_FORMAT", ""), ("RUST_LOG", ""), ("OTEL_EXPORTER_OTLP_ENDPOINT", "")]]
        {
            let settings = settings(variables).unwrap();
            assert_eq!((settings.log, settings.filter.as_str()), (LogFormat::Pretty, DEFAULT_FILTER));
            assert_eq!(settings.otlp_endpoint, None);
        }
        let set = [("RUST_LOG", "warn"), ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317")];
        let settings = settings(&set).unwrap();
        assert_eq!((settings.filter.as_str(), settings.otlp_endpoint.as_deref()), ("warn", Some(set[1].1)));
    }

    #[test]
    fn line_ends_around_a_value_are_its_files() {
        let set = [
            ("VOICEBRIDGE_LOG_FORMAT", "json\r\n"),
            ("RUST_LOG", " warn\n"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317\n"),
        ];
        let settings = settings(&set).unwrap();
        assert_eq!((settings.log, settings.filter.as_str()), (LogFormat::Json, "warn"));
        assert_eq!(settings.otlp_endpoint.as_deref(), Some("http://127.0.0.1:4317"));
    }

    #[test]
    fn all_mistakes_are_reported_at_once_and_beside_those_of_the_program() {
        let wrong = [
            ("VOICEBRIDGE_LOG_FORMAT", "xml"),
            ("RUST_LOG", "==="),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "user:secret@nowhere"),
        ];
        let errors = settings(&wrong).unwrap_err();
        assert_eq!(errors.0.len(), 3, "{errors}");
        let own: Result<(), _> = Err(SettingsError::LogFormat("own".to_owned()));
        let all = Settings::together(Err(errors), own).unwrap_err().to_string();
        for (name, _) in wrong {
            assert!(all.contains(name), "{all}");
        }
        assert!(all.contains("own") && !all.contains("secret"), "{all}");
        for endpoint in ["::", "127.0.0.1:4317", "grpc://collector", "/v1/traces"] {
            assert!(settings(&[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)]).is_err(), "{endpoint}");
        }
    }

    #[test]
    fn the_default_filter_parses() {
        EnvFilter::try_new(DEFAULT_FILTER).unwrap();
    }
}
