//! The connection to the control plane.

use std::time::Duration;

use anyhow::Context as _;
use tonic::{
    service::interceptor::InterceptedService,
    transport::{Channel, ClientTlsConfig, Endpoint},
};
use voicebridge_proto::control::v1::call_service_client::CallServiceClient;
use voicebridge_telemetry::auth::Bearer;

use crate::{args::Access, failure::Unreachable};

/// How long to wait for a connection before saying that nobody answers.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Over an idle connection, so that a watcher notices when the other end is gone.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

pub(crate) type Client = CallServiceClient<InterceptedService<Channel, Bearer>>;

/// Connects, or says what to do about it.
pub(crate) async fn connect(access: &Access) -> anyhow::Result<Client> {
    let (channel, bearer) = connection(access).await?;
    Ok(CallServiceClient::with_interceptor(channel, bearer))
}

/// What a client of any of its services needs.
pub(crate) async fn connection(access: &Access) -> anyhow::Result<(Channel, Bearer)> {
    let channel = endpoint(&access.url)?
        .connect()
        .await
        .map_err(|error| Unreachable { url: access.url.clone(), cause: innermost(&error) })?;
    let bearer = Bearer::new(access.api_key.as_ref()).context("VOICEBRIDGE_API_KEY")?;
    Ok((channel, bearer))
}

fn endpoint(url: &str) -> anyhow::Result<Endpoint> {
    let wrong = || format!("VOICEBRIDGE_URL is {url:?}; it must look like http://host:3100 or https://host");
    let endpoint = Endpoint::from_shared(url.to_owned()).with_context(wrong)?;
    let endpoint = match endpoint.uri().scheme_str() {
        Some("http") => endpoint,
        Some("https") => {
            voicebridge_telemetry::install_tls();
            endpoint.tls_config(ClientTlsConfig::new().with_native_roots()).with_context(wrong)?
        }
        _ => anyhow::bail!(wrong()),
    };
    Ok(endpoint.connect_timeout(CONNECT_TIMEOUT).http2_keep_alive_interval(KEEP_ALIVE).keep_alive_while_idle(true))
}

/// The last cause: "connection refused" says more than "transport error".
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn an_unusable_url_names_the_variable() {
        for url in ["", "localhost:3100", "ftp://host", "http://"] {
            let error = format!("{:#}", endpoint(url).unwrap_err());
            assert!(error.contains("VOICEBRIDGE_URL"), "{url}: {error}");
        }
        endpoint("http://127.0.0.1:3100").unwrap();
        endpoint("https://voice.example.com").unwrap();
    }

    #[tokio::test]
    async fn nobody_there_is_a_sentence_with_a_next_step() {
        // A port that was free a moment ago and that nobody listens on.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let access = Access { url: format!("http://127.0.0.1:{port}"), api_key: None };
        let error = connect(&access).await.unwrap_err();
        assert!(error.is::<Unreachable>(), "{error:#}");
        assert!(error.to_string().contains("voicebridge serve"), "{error:#}");
    }
}
