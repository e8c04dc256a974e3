//! The one way in: every request on the listener passes here before anything of ours looks at it.
//!
//! Finds the rule of the method or path (`access::Policy`), finds out who asks, refuses or lets through. A refusal is the
//! same on every path and has the path's own shape: gRPC status, gRPC-web, or JSON.
//!
//! Who asks: whoever presents a key, and without any key set up whoever is on this machine. A browser on this machine is
//! not enough for the latter: any page it shows could call. So without keys a request with an `Origin` must come from an
//! allowed one, and the host asked for must be this machine under a name that no foreign DNS can give it: a page whose
//! name was rebound to 127.0.0.1 asks its own origin, and without an `Origin`. Nodes are checked against the node token in
//! the same manner.

use std::{borrow::Cow, convert::Infallible, net::IpAddr, sync::Arc};

use axum::{
    extract::{MatchedPath, Query, Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http::{
    HeaderName, HeaderValue, Method, Uri,
    header::{CONTENT_TYPE, HOST, ORIGIN},
    uri::Authority,
};
use tonic::{Code, transport::server::TcpConnectInfo};
use tonic_web::GrpcWebLayer;
use tower::{Layer as _, ServiceExt as _, service_fn};
use voicebridge_telemetry::{
    auth::{self, is_local},
    labels,
};

use super::{Fault, lasting::Lasting};
use crate::{
    access::{Access, Asker, Keyring, Policy, Principal, Rule},
    clock::now_ms,
    config::{Config, Origins},
};

/// The other place for a key, as operators of HTTP services know it.
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// The one path where a token may stand in the query.
const EVENTS: &str = "/events";
/// Answers that may last longer than the right to them.
const STREAMS: [&str; 2] = [EVENTS, "/voicebridge.control.v1.CallService/StreamEvents"];
/// What tonic-web answers in its own shape.
const GRPC_WEB: [&[u8]; 4] = [
    b"application/grpc-web",
    b"application/grpc-web+proto",
    b"application/grpc-web-text",
    b"application/grpc-web-text+proto",
];

/// What the guard knows.
#[derive(Debug)]
pub(crate) struct Guard {
    policy: Policy,
    keyring: Arc<Keyring>,
    origins: Origins,
    nodes: auth::Guard,
    has_node_token: bool,
}

impl Guard {
    pub(crate) fn new(config: &Config, keyring: Arc<Keyring>) -> Self {
        Self {
            policy: Policy::of_the_contract(),
            keyring,
            origins: config.cors_origins.clone(),
            nodes: auth::Guard::new("VOICEBRIDGE_NODE_TOKEN", config.node_token.iter().cloned()),
            has_node_token: config.node_token.is_some(),
        }
    }

    /// Lets the request through, noting who asks, or says why not.
    fn admit(&self, route: &str, request: &Request) -> Result<Asker, Fault> {
        match self.policy.rule(route, request.uri().path()) {
            // The service itself says so.
            Rule::NoSuchMethod | Rule::Wants(Access::Open) => Ok(Asker::new(self.identify(route, request))),
            Rule::Wants(Access::Key(scope)) => {
                let principal = self.identify(route, request)?;
                principal.has(scope)?;
                if !Policy::is_of_one_call(route, request.uri().path()) {
                    principal.is_for_all_calls()?;
                }
                Ok(Asker::new(Ok(principal)))
            }
            Rule::Wants(Access::NodeToken) => {
                self.check_node(request)?;
                Ok(Asker::new(Err(Fault::unauthenticated("a node has no key"))))
            }
            Rule::Undeclared => {
                tracing::error!(route, "nothing says who may call this, so nobody may");
                Err(Fault::new(Code::Internal, "INTERNAL", "Nothing says who may call this, so nobody may."))
            }
        }
    }

    /// Who asks.
    fn identify(&self, route: &str, request: &Request) -> Result<Principal, Fault> {
        let headers = request.headers();
        let key = auth::bearer_token(headers).or_else(|| headers.get(API_KEY).map(HeaderValue::as_bytes));
        let key = key.map(Cow::Borrowed).or_else(|| query_token(route, request).map(Cow::Owned));
        if self.keyring.is_empty() {
            self.identify_local(request)?;
            // A token means what it says, also where it is not needed.
            let token = key.map(|key| self.keyring.find_token(&key, now_ms())).transpose()?.flatten();
            return Ok(token.unwrap_or_else(Keyring::local));
        }
        let missing = "there is no key in the request; send `authorization: Bearer <key>` or `x-api-key`, with one of \
                       VOICEBRIDGE_API_KEYS or one that `voicebridge keys create` made";
        self.keyring.find(&key.ok_or_else(|| Fault::unauthenticated(missing))?, now_ms())
    }

    fn identify_local(&self, request: &Request) -> Result<(), Fault> {
        if !is_local(request.headers(), peer(request)) {
            return Err(Fault::unauthenticated(
                "without VOICEBRIDGE_API_KEYS only callers on this machine are answered; set it, and send one of them",
            ));
        }
        if !asks_this_machine(request) {
            return Err(Fault::unauthenticated(
                "without VOICEBRIDGE_API_KEYS the API is served under localhost and loopback addresses only, and the \
                 request asks for another host; set keys, or ask 127.0.0.1",
            ));
        }
        match request.headers().get(ORIGIN) {
            Some(origin) if !is_allowed(&self.origins, origin) => Err(Fault::unauthenticated(
                "without VOICEBRIDGE_API_KEYS pages of other origins are not answered; set keys, or list the origin in \
                 VOICEBRIDGE_CORS_ORIGINS",
            )),
            _ => Ok(()),
        }
    }

    fn check_node(&self, request: &Request) -> Result<(), Fault> {
        let checked = self.nodes.check(request.headers(), peer(request));
        checked.map_err(|denied| Fault::unauthenticated(denied.to_string()))?;
        if !self.has_node_token && !asks_this_machine(request) {
            return Err(Fault::unauthenticated(
                "without VOICEBRIDGE_NODE_TOKEN nodes reach the control plane under localhost or a loopback address; set \
                 the token on both sides, or VOICEBRIDGE_CONTROL_URL to such a one",
            ));
        }
        Ok(())
    }
}

/// What a page's `EventSource`, which can send no header, has in the query instead: a read token.
fn query_token(route: &str, request: &Request) -> Option<Vec<u8>> {
    #[derive(Default, serde::Deserialize)]
    #[serde(default)]
    struct Asked {
        access_token: Option<String>,
    }
    if route != EVENTS {
        return None;
    }
    let Query(asked) = Query::<Asked>::try_from_uri(request.uri()).ok()?;
    asked.access_token.map(String::into_bytes)
}

/// For every route; paths that lead nowhere are not guarded.
pub(crate) async fn guard(State(guard): State<Arc<Guard>>, mut request: Request, next: Next) -> Response {
    let Some(route) = request.extensions().get::<MatchedPath>().cloned() else { return next.run(request).await };
    match guard.admit(route.as_str(), &request) {
        Ok(asker) => {
            let streams = STREAMS.contains(&request.uri().path());
            let ends = asker.principal().ok().filter(|_| streams).map(|principal| principal.ends.clone());
            request.extensions_mut().insert(asker);
            let response = next.run(request).await;
            match ends {
                Some(ends) => {
                    let end = Arc::clone(&guard.keyring).ended(ends);
                    response.map(|body| Lasting::body(body, end))
                }
                None => response,
            }
        }
        Err(fault) => {
            metrics::counter!("voicebridge_control_refused_total", "reason" => labels::reason(fault.reason()))
                .increment(1);
            tracing::debug!(route = route.as_str(), reason = fault.reason(), "request refused");
            refuse(request, fault).await
        }
    }
}

/// The refusal in the shape that the client understands.
async fn refuse(request: Request, fault: Fault) -> Response {
    let content = request.headers().get(CONTENT_TYPE).map_or(&[][..], HeaderValue::as_bytes);
    if request.method() != Method::POST || !content.starts_with(b"application/grpc") {
        return fault.into_response();
    }
    let status = fault.status();
    if !GRPC_WEB.contains(&content) {
        return status.into_http();
    }
    let answer =
        service_fn(move |_| std::future::ready(Ok::<_, Infallible>(status.clone().into_http::<tonic::body::Body>())));
    match GrpcWebLayer::new().layer(answer).oneshot(request).await {
        Ok(response) => response.map(axum::body::Body::new),
        Err(never) => match never {},
    }
}

fn peer(request: &Request) -> Option<IpAddr> {
    request.extensions().get::<TcpConnectInfo>()?.remote_addr().map(|address| address.ip())
}

/// The host asked for, HTTP/2's `:authority` or the header `Host`, is this machine. RFC 6761, section 6.3: `localhost` and
/// what is under it is never asked of DNS.
fn asks_this_machine(request: &Request) -> bool {
    let header = || request.headers().get(HOST)?.to_str().ok()?.parse::<Authority>().ok();
    let Some(authority) = request.uri().authority().cloned().or_else(header) else { return false };
    let host = authority.host().to_ascii_lowercase();
    host == "localhost" || host.ends_with(".localhost") || is_loopback(&host)
}

/// A literal address; IPv6 in brackets.
fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::net::SocketAddr;

    use super::*;
    use crate::{config::RawConfig, store::Sqlite};

    fn request(host: &str, headers: &[(&'static str, &str)], peer: &str) -> Request {
        let mut request = Request::builder().uri("/").header("host", host).body(axum::body::Body::empty()).unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let remote_addr = Some(SocketAddr::new(peer.parse().unwrap(), 1));
        request.extensions_mut().insert(TcpConnectInfo { local_addr: None, remote_addr });
        request
    }

    async fn check(keys: &[&str], origins: Origins, headers: &[(&'static str, &str)], peer: &str, expect: bool) {
        let config = Config { cors_origins: origins, ..Config::resolve(RawConfig::default()).unwrap() };
        let keys: Vec<_> = keys.iter().map(|key| (*key).into()).collect();
        let store = Arc::new(Sqlite::open("sqlite::memory:").await.unwrap());
        let guard = Guard::new(&config, Arc::new(Keyring::open(store, &[7; 32], &keys).await.unwrap()));
        let checked = guard.identify("/sessions", &request("127.0.0.1", headers, peer));
        assert_eq!(checked.is_ok(), expect, "{keys:?} {headers:?} {peer}");
    }

    #[tokio::test]
    async fn keys_come_in_two_headers() {
        for headers in [&[("authorization", "Bearer two")], &[("x-api-key", "two")]] {
            check(&["one", "two"], Origins::Local, headers, "203.0.113.9", true).await;
        }
        check(&["one"], Origins::Local, &[("x-api-key", "two")], "127.0.0.1", false).await;
        check(&["one"], Origins::Local, &[], "127.0.0.1", false).await;
        check(&["one"], Origins::Local, &[("authorization", "Bearer no"), ("x-api-key", "one")], "127.0.0.1", false)
            .await;
        check(
            &["one"],
            Origins::Local,
            &[("x-api-key", "one"), ("origin", "https://any.example")],
            "203.0.113.9",
            true,
        )
        .await;
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
            assert_eq!(asks_this_machine(&request(host, &[], "127.0.0.1")), expect, "{host}");
        }
        assert!(!asks_this_machine(&Request::new(axum::body::Body::empty())), "no host at all");
    }

    #[tokio::test]
    async fn without_keys_this_machine_and_its_own_pages() {
        let local = async |headers: &[(&'static str, &str)], peer: &str, expect| {
            check(&[], Origins::Local, headers, peer, expect).await
        };
        local(&[], "127.0.0.1", true).await;
        local(&[], "::1", true).await;
        local(&[], "203.0.113.9", false).await;
        local(&[("x-forwarded-for", "127.0.0.1")], "127.0.0.1", false).await;
        local(&[("forwarded", "for=127.0.0.1")], "127.0.0.1", false).await;
        local(&[("origin", "http://localhost:5173")], "127.0.0.1", true).await;
        local(&[("origin", "http://[::1]:5173")], "127.0.0.1", true).await;
        local(&[("origin", "https://evil.example")], "127.0.0.1", false).await;
        local(&[("origin", "https://localhost.evil.example")], "127.0.0.1", false).await;
        local(&[("origin", "null")], "127.0.0.1", false).await;
        let listed = Origins::Listed(vec!["https://app.example".to_owned()]);
        check(&[], listed.clone(), &[("origin", "https://app.example")], "127.0.0.1", true).await;
        check(&[], listed, &[("origin", "http://localhost")], "127.0.0.1", false).await;
    }
}
