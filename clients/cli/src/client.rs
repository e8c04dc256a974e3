//! The connection to the control plane.

use std::time::Duration;

use anyhow::Context as _;
use secrecy::{ExposeSecret as _, SecretString};
use tonic::{
    service::interceptor::InterceptedService,
    transport::{Channel, ClientTlsConfig, Endpoint},
};
use voicebridge_proto::control::v1::call_service_client::CallServiceClient;
use voicebridge_telemetry::{auth::Bearer, secret};

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
    let key = access.api_key.as_ref().map(usable).transpose()?;
    let channel = endpoint(&access.url)?
        .connect()
        .await
        .map_err(|error| Unreachable { url: access.url.clone(), cause: innermost(&error) })?;
    let bearer = Bearer::new(key.as_ref()).context("VOICEBRIDGE_API_KEY")?;
    Ok((channel, bearer))
}

/// The key as the control plane knows it: files end in line ends, and what else came with it would only be refused there,
/// without a word of why.
fn usable(key: &SecretString) -> anyhow::Result<SecretString> {
    let key = key.expose_secret().trim();
    secret::check(key).map_err(|rule| anyhow::anyhow!("VOICEBRIDGE_API_KEY {rule}"))?;
    Ok(key.into())
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

    #[test]
    fn what_came_with_the_key_is_taken_off_or_named() {
        assert_eq!(usable(&" s3cret\r\n".into()).unwrap().expose_secret(), "s3cret");
        for wrong in ["\"s3cret\"", "'s3cret'", "s3cret\ns3cret", "s3cret # mine", "s3cr\u{e9}t"] {
            let error = format!("{:#}", usable(&wrong.into()).unwrap_err());
            assert!(error.starts_with("VOICEBRIDGE_API_KEY "), "{error}");
            assert!(!error.contains("s3cr"), "{error}");
        }
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
