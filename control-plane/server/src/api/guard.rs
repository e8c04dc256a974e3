//! Who may call the API: whoever has a key, and without any key set up whoever is on this machine.
//!
//! A browser on this machine is not enough for the latter: any page it shows could call. So without keys a request with
//! an `Origin` must come from an allowed one. Nodes are checked against the node token in the same manner.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::{
    extract::{ConnectInfo, Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http::{
    Extensions, HeaderMap, HeaderName, HeaderValue, Uri,
    header::{AUTHORIZATION, ORIGIN},
};
use tonic::{Status, service::Interceptor};
use voicebridge_telemetry::auth::{Denied, Guard};

use super::Fault;
use crate::config::{Config, Origins};

/// The other place for a key, as operators of HTTP services know it.
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// For API callers.
#[derive(Clone, Debug)]
pub(crate) struct ApiGuard {
    guard: Guard,
    has_keys: bool,
    origins: Arc<Origins>,
}

impl ApiGuard {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            guard: Guard::new("VOICEBRIDGE_API_KEYS", config.api_keys.iter().cloned()),
            has_keys: !config.api_keys.is_empty(),
            origins: Arc::new(config.cors_origins.clone()),
        }
    }

    fn check(&self, headers: &HeaderMap, extensions: &Extensions) -> Result<(), Fault> {
        let peer = peer(extensions);
        let mut checked = self.guard.check(headers, peer);
        if let (Err(Denied::Missing(_)), Some(key)) = (&checked, headers.get(API_KEY)) {
            checked = self.guard.check(&as_bearer(key), peer);
        }
        checked.map_err(|denied| Fault::unauthenticated(denied.to_string()))?;
        match headers.get(ORIGIN) {
            Some(origin) if !self.has_keys && !is_allowed(&self.origins, origin) => Err(Fault::unauthenticated(
                "without VOICEBRIDGE_API_KEYS pages of other origins are not answered; set keys, or list the origin in \
                 VOICEBRIDGE_CORS_ORIGINS",
            )),
            _ => Ok(()),
        }
    }
}

fn peer(extensions: &Extensions) -> Option<IpAddr> {
    extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(address)| address.ip())
}

fn as_bearer(key: &HeaderValue) -> HeaderMap {
    let value = [b"Bearer ", key.as_bytes()].concat();
    // A header's value stays one with seven letters in front.
    HeaderValue::from_bytes(&value).map(|value| HeaderMap::from_iter([(AUTHORIZATION, value)])).unwrap_or_default()
}

/// Whether pages of this origin may call.
pub(crate) fn is_allowed(origins: &Origins, origin: &HeaderValue) -> bool {
    let Ok(origin) = origin.to_str() else { return false };
    match origins {
        Origins::Any => true,
        Origins::Listed(listed) => listed.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin)),
        Origins::Local => origin.parse::<Uri>().ok().as_ref().and_then(Uri::host).is_some_and(|host| {
            let host = host.trim_start_matches('[').trim_end_matches(']');
            host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
        }),
    }
}

impl Interceptor for ApiGuard {
    fn call(&mut self, request: tonic::Request<()>) -> Result<tonic::Request<()>, Status> {
        self.check(request.metadata().as_ref(), request.extensions()).map_err(Fault::status)?;
        Ok(request)
    }
}

/// For HTTP routes.
pub(crate) async fn guard(State(guard): State<ApiGuard>, request: Request, next: Next) -> Response {
    match guard.check(request.headers(), request.extensions()) {
        Ok(()) => next.run(request).await,
        Err(fault) => fault.into_response(),
    }
}

/// For nodes.
#[derive(Clone, Debug)]
pub(crate) struct NodeGuard(Guard);

impl NodeGuard {
    pub(crate) fn new(config: &Config) -> Self {
        Self(Guard::new("VOICEBRIDGE_NODE_TOKEN", config.node_token.iter().cloned()))
    }
}

impl Interceptor for NodeGuard {
    fn call(&mut self, request: tonic::Request<()>) -> Result<tonic::Request<()>, Status> {
        self.0.check(request.metadata().as_ref(), peer(request.extensions())).map_err(|denied| denied.status())?;
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use secrecy::SecretString;

    use super::*;
    use crate::config::RawConfig;

    #[track_caller]
    fn check(keys: &[&str], origins: Origins, headers: &[(&'static str, &str)], peer: &str, expect: bool) {
        let config = Config {
            api_keys: keys.iter().map(|key| SecretString::from(*key)).collect(),
            cors_origins: origins,
            ..Config::resolve(RawConfig::default()).unwrap()
        };
        let mut extensions = Extensions::new();
        extensions.insert(ConnectInfo(SocketAddr::new(peer.parse().unwrap(), 1)));
        let map: HeaderMap =
            headers.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect();
        let checked = ApiGuard::new(&config).check(&map, &extensions);
        assert_eq!(checked.is_ok(), expect, "{keys:?} {headers:?} {peer}");
    }

    #[test]
    fn keys_come_in_two_headers() {
        for headers in [&[("authorization", "Bearer two")], &[("x-api-key", "two")]] {
            check(&["one", "two"], Origins::Local, headers, "203.0.113.9", true);
        }
        check(&["one"], Origins::Local, &[("x-api-key", "two")], "127.0.0.1", false);
        check(&["one"], Origins::Local, &[], "127.0.0.1", false);
        check(&["one"], Origins::Local, &[("authorization", "Bearer no"), ("x-api-key", "one")], "127.0.0.1", false);
        check(
            &["one"],
            Origins::Local,
            &[("x-api-key", "one"), ("origin", "https://any.example")],
            "203.0.113.9",
            true,
        );
    }

    #[test]
    fn without_keys_this_machine_and_its_own_pages() {
        let local = |headers: &[(&'static str, &str)], peer, expect| check(&[], Origins::Local, headers, peer, expect);
        local(&[], "127.0.0.1", true);
        local(&[], "::1", true);
        local(&[], "203.0.113.9", false);
        local(&[("x-forwarded-for", "127.0.0.1")], "127.0.0.1", false);
        local(&[("forwarded", "for=127.0.0.1")], "127.0.0.1", false);
        local(&[("origin", "http://localhost:5173")], "127.0.0.1", true);
        local(&[("origin", "http://[::1]:5173")], "127.0.0.1", true);
        local(&[("origin", "https://evil.example")], "127.0.0.1", false);
        local(&[("origin", "https://localhost.evil.example")], "127.0.0.1", false);
        local(&[("origin", "null")], "127.0.0.1", false);
        let listed = Origins::Listed(vec!["https://app.example".to_owned()]);
        check(&[], listed.clone(), &[("origin", "https://app.example")], "127.0.0.1", true);
        check(&[], listed, &[("origin", "http://localhost")], "127.0.0.1", false);
    }
}
