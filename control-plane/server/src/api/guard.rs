//! Who may call the API: whoever has a key, and without any key set up whoever is on this machine.
//!
//! A browser on this machine is not enough for the latter: any page it shows could call. So without keys a request with
//! an `Origin` must come from an allowed one, and the host asked for must be this machine under a name that no foreign
//! DNS can give it: a page whose name was rebound to 127.0.0.1 asks its own origin, and without an `Origin`. Nodes are
//! checked against the node token in the same manner.

use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http::{
    Extensions, HeaderMap, HeaderName, HeaderValue, Uri,
    header::{AUTHORIZATION, HOST, ORIGIN},
    uri::Authority,
};
use tonic::{Status, service::Interceptor, transport::server::TcpConnectInfo};
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
        if !self.has_keys && !asks_this_machine(extensions) {
            return Err(Fault::unauthenticated(
                "without VOICEBRIDGE_API_KEYS the API is served under localhost and loopback addresses only, and the \
                 request asks for another host; set keys, or ask 127.0.0.1",
            ));
        }
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
    extensions.get::<TcpConnectInfo>()?.remote_addr().map(|address| address.ip())
}

/// The host a request asked for: HTTP/2's `:authority`, or the header `Host`. Noted for everything on the listener,
/// because gRPC's interceptors see no URI.
#[derive(Clone, Debug)]
struct AskedHost(String);

/// Notes the host; without one, or with one that is none, nothing is noted.
pub(crate) async fn note_host(mut request: Request, next: Next) -> Response {
    let header = || request.headers().get(HOST)?.to_str().ok()?.parse::<Authority>().ok();
    let host = request.uri().authority().cloned().or_else(header).map(|authority| authority.host().to_owned());
    if let Some(host) = host {
        request.extensions_mut().insert(AskedHost(host));
    }
    next.run(request).await
}

/// RFC 6761, section 6.3: `localhost` and what is under it is never asked of DNS.
fn asks_this_machine(extensions: &Extensions) -> bool {
    let Some(AskedHost(host)) = extensions.get::<AskedHost>() else { return false };
    let host = host.to_ascii_lowercase();
    host == "localhost" || host.ends_with(".localhost") || is_loopback(&host)
}

/// A literal address; IPv6 in brackets.
fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
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
        Origins::Local => origin
            .parse::<Uri>()
            .ok()
            .as_ref()
            .and_then(Uri::host)
            .is_some_and(|host| host == "localhost" || is_loopback(host)),
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
pub(crate) struct NodeGuard {
    guard: Guard,
    has_token: bool,
}

impl NodeGuard {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            guard: Guard::new("VOICEBRIDGE_NODE_TOKEN", config.node_token.iter().cloned()),
            has_token: config.node_token.is_some(),
        }
    }
}

impl Interceptor for NodeGuard {
    fn call(&mut self, request: tonic::Request<()>) -> Result<tonic::Request<()>, Status> {
        let peer = peer(request.extensions());
        self.guard.check(request.metadata().as_ref(), peer).map_err(|denied| denied.status())?;
        if !self.has_token && !asks_this_machine(request.extensions()) {
            let message = "without VOICEBRIDGE_NODE_TOKEN nodes reach the control plane under localhost or a loopback \
                           address; set the token on both sides, or VOICEBRIDGE_CONTROL_URL to such a one";
            return Err(Fault::unauthenticated(message).status());
        }
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::net::SocketAddr;

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
        let remote_addr = Some(SocketAddr::new(peer.parse().unwrap(), 1));
        extensions.insert(TcpConnectInfo { local_addr: None, remote_addr });
        extensions.insert(AskedHost("127.0.0.1".to_owned()));
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
    fn hosts_that_are_this_machine() {
        for (host, expect) in [
            ("localhost", true),
            ("LOCALHOST", true),
            ("app.localhost", true),
            ("127.0.0.1", true),
            ("127.1.2.3", true),
            ("[::1]", true),
            ("[::ffff:127.0.0.1]", true),
            ("notlocalhost", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("10.0.0.1", false),
            ("0.0.0.0", false),
            ("[::]", false),
            ("", false),
        ] {
            let mut extensions = Extensions::new();
            extensions.insert(AskedHost(host.to_owned()));
            assert_eq!(asks_this_machine(&extensions), expect, "{host}");
        }
        assert!(!asks_this_machine(&Extensions::new()), "no host at all");
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
