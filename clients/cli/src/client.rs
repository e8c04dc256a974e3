//! The connection to the control plane.

use std::time::Duration;

use anyhow::Context as _;
use secrecy::{ExposeSecret as _, SecretString};
use tonic::{
    service::interceptor::InterceptedService,
    transport::{Channel, ClientTlsConfig, Endpoint, Uri},
};
use voicebridge_proto::control::v1::call_service_client::CallServiceClient;
use voicebridge_telemetry::{
    auth::Bearer,
    local::{LocalSecret, StateDir},
    secret,
};

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
    let bearer = Bearer::new(key(access)?.as_ref()).context("VOICEBRIDGE_API_KEY")?;
    Ok((channel, bearer))
}

/// The key as the control plane knows it: files end in line ends, and what else came with it would only be refused there,
/// without a word of why.
fn usable(key: &SecretString) -> anyhow::Result<SecretString> {
    let key = key.expose_secret().trim();
    secret::check(key).map_err(|rule| anyhow::anyhow!("VOICEBRIDGE_API_KEY {rule}"))?;
    Ok(key.into())
}

/// The key given, else the local one, which no other machine is ever shown.
fn key(access: &Access) -> anyhow::Result<Option<SecretString>> {
    if let Some(given) = access.api_key.as_ref().filter(|key| !key.expose_secret().is_empty()) {
        return usable(given).map(Some);
    }
    if !is_this_machine(&access.url) {
        return Ok(None);
    }
    match access.state_dir.clone().map(StateDir::at).or_else(StateDir::by_default) {
        Some(state_dir) => state_dir.read(LocalSecret::ApiKey).context("the local key"),
        None => Ok(None),
    }
}

/// `localhost` or an address of loopback.
fn is_this_machine(url: &str) -> bool {
    let Some(uri) = url.parse::<Uri>().ok() else { return false };
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
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

    #[test]
    fn the_local_key_goes_to_this_machine_only_and_a_given_one_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let made = StateDir::at(folder.path().to_owned()).read_or_make(LocalSecret::ApiKey).unwrap();
        let shown = |url: &str, given: Option<&str>| {
            let state_dir = Some(folder.path().to_owned());
            let access = Access { url: url.to_owned(), api_key: given.map(SecretString::from), state_dir };
            key(&access).unwrap().map(|key| key.expose_secret().to_owned())
        };
        for here in [
            "http://127.0.0.1:3100",
            "http://localhost:1",
            "http://LOCALHOST",
            "http://[::1]:3100",
            "https://127.0.0.2",
        ] {
            assert_eq!(shown(here, None).as_deref(), Some(made.expose_secret()), "{here}");
            assert_eq!(shown(here, Some("")).as_deref(), Some(made.expose_secret()), "{here}");
            assert_eq!(shown(here, Some("given")).as_deref(), Some("given"), "{here}");
        }
        for elsewhere in [
            "https://voice.example.com",
            "http://10.0.0.1:3100",
            "http://localhost.example.com",
            "http://127.0.0.1.example.com",
        ] {
            assert_eq!(shown(elsewhere, None), None, "{elsewhere}");
            assert_eq!(shown(elsewhere, Some("given")).as_deref(), Some("given"), "{elsewhere}");
        }
        let none_made = tempfile::tempdir().unwrap();
        let state_dir = Some(none_made.path().to_owned());
        let access = Access { url: "http://127.0.0.1:3100".to_owned(), api_key: None, state_dir };
        assert!(key(&access).unwrap().is_none());
    }

    #[tokio::test]
    async fn nobody_there_is_a_sentence_with_a_next_step() {
        // A port that was free a moment ago and that nobody listens on.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let access = Access { url: format!("http://127.0.0.1:{port}"), api_key: None, state_dir: None };
        let error = connect(&access).await.unwrap_err();
        assert!(error.is::<Unreachable>(), "{error:#}");
        assert!(error.to_string().contains("voicebridge serve"), "{error:#}");
    }
}
