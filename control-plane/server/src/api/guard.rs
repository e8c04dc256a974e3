//! The one way in: every request on the listener passes here before anything of ours looks at it.
//!
//! Finds the rule of the method or path (`access::Policy`), finds out who asks, refuses or lets through. A refusal is the
//! same on every path and has the path's own shape: gRPC status, gRPC-web, or JSON.
//!
//! Who asks: whoever presents a key, and nobody else. Where a request comes from, and for which host, is what a proxy on
//! this machine makes of it: a bare `proxy_pass http://127.0.0.1:3100` sends every request from loopback and for a loopback
//! address. While no key is configured, the local one of this machine and user (`access::LocalKey`) is wanted. Nodes are
//! checked against the node token in the same manner.

use std::{convert::Infallible, net::IpAddr, sync::Arc};

use axum::{
    extract::{MatchedPath, Query, Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http::{HeaderName, HeaderValue, Method, Uri, header::CONTENT_TYPE};
use tonic::Code;
use tonic_web::GrpcWebLayer;
use tower::{Layer as _, ServiceExt as _, service_fn};
use voicebridge_telemetry::{auth, labels};

use super::{Fault, revocable_body::RevocableBody};
use crate::{
    access::{Access, Authentication, Keyring, Policy, Principal, Rule},
    clock::now_ms,
    config::Origins,
};

/// The other place for a key, as operators of HTTP services know it.
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// Why a key in a URL is refused.
const KEY_IN_URL: &str = "KEY_IN_URL";
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
    nodes: auth::Guard,
}

impl Guard {
    pub(crate) fn new(keyring: Arc<Keyring>, nodes: auth::Guard) -> Self {
        Self { policy: Policy::of_the_contract(), keyring, nodes }
    }

    /// Lets the request through, noting who asks, or says why not.
    fn admit(&self, route: &str, request: &Request) -> Result<Authentication, Fault> {
        match self.policy.rule(route, request.uri().path()) {
            // The service itself says so.
            Rule::NoSuchMethod | Rule::Wants(Access::Open) => Ok(Authentication::new(self.identify(route, request))),
            Rule::Wants(Access::AnyKey) => Ok(Authentication::new(Ok(self.identify(route, request)?))),
            Rule::Wants(Access::Key(scope)) => {
                let principal = self.identify(route, request)?;
                principal.has(scope)?;
                if !Policy::is_of_one_call(route, request.uri().path()) {
                    principal.is_for_all_calls()?;
                }
                Ok(Authentication::new(Ok(principal)))
            }
            Rule::Wants(Access::NodeToken) => {
                let checked = self.nodes.check(request.headers());
                checked.map_err(|denied| Fault::unauthenticated(denied.to_string()))?;
                Ok(Authentication::new(Err(Fault::unauthenticated("a node has no key"))))
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
        // Looked at also where a header says who asks: a key that stands there is known to every log on the way.
        let mut in_url = None;
        for token in url_tokens(request) {
            match self.keyring.find_in_url(token.as_bytes(), now_ms()) {
                Err(fault) if fault.reason() == KEY_IN_URL => return Err(fault),
                found => in_url = in_url.or(Some(found)),
            }
        }
        if let Some(key) = auth::bearer_token(headers).or_else(|| headers.get(API_KEY).map(HeaderValue::as_bytes)) {
            return self.keyring.find(key, now_ms());
        }
        in_url.filter(|_| route == EVENTS).unwrap_or_else(|| Err(self.keyring.nothing_presented()))
    }
}

/// What a page's `EventSource`, which can send no header, has in the query instead: a read token. All of them, should there be
/// several: each is in the logs.
fn url_tokens(request: &Request) -> impl Iterator<Item = String> {
    let pairs = Query::<Vec<(String, String)>>::try_from_uri(request.uri()).map(|Query(pairs)| pairs);
    pairs.unwrap_or_default().into_iter().filter(|(name, _)| name == "access_token").map(|(_, token)| token)
}

/// For every route; paths that lead nowhere are not guarded.
pub(crate) async fn guard(State(guard): State<Arc<Guard>>, mut request: Request, next: Next) -> Response {
    let Some(route) = request.extensions().get::<MatchedPath>().cloned() else { return next.run(request).await };
    match guard.admit(route.as_str(), &request) {
        Ok(authentication) => {
            let streams = STREAMS.contains(&request.uri().path());
            let ends = authentication.principal().ok().filter(|_| streams).map(|principal| principal.ends.clone());
            request.extensions_mut().insert(authentication);
            let response = next.run(request).await;
            match ends {
                Some(ends) => {
                    let end = Arc::clone(&guard.keyring).ended(ends);
                    response.map(|body| RevocableBody::body(body, end))
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

    use super::*;
    use crate::store::Sqlite;

    async fn check(path: &str, headers: &[(&'static str, &str)], expect: Result<(), &str>) {
        let store = Arc::new(Sqlite::open("sqlite::memory:").await.unwrap());
        let keyring = Keyring::open(store, &[7; 32], &["one".into(), "two".into()]).await.unwrap();
        let guard = Guard::new(Arc::new(keyring), auth::Guard::new("VOICEBRIDGE_NODE_TOKEN", []));
        let mut request = Request::builder().uri(path).body(axum::body::Body::empty()).unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let route = request.uri().path().to_owned();
        let checked = guard.identify(&route, &request).map(|_| ()).map_err(|fault| fault.reason().to_owned());
        assert_eq!(checked.as_ref().map_err(String::as_str).copied(), expect, "{path} {headers:?}");
    }

    #[tokio::test]
    async fn keys_come_in_two_headers() {
        const NOBODY: Result<(), &str> = Err("UNAUTHENTICATED");
        check("/sessions", &[("authorization", "Bearer two")], Ok(())).await;
        check("/sessions", &[("x-api-key", "two")], Ok(())).await;
        check("/sessions", &[("x-api-key", "three")], NOBODY).await;
        check("/sessions", &[], NOBODY).await;
        check("/sessions", &[("authorization", "Bearer no"), ("x-api-key", "one")], NOBODY).await;
    }

    #[tokio::test]
    async fn a_key_in_a_url_is_refused_by_name_wherever_it_stands() {
        for path in ["/events?access_token=one", "/events?call_id=x&access_token=o%6Ee", "/sessions?access_token=one"] {
            check(path, &[], Err("KEY_IN_URL")).await;
            check(path, &[("x-api-key", "two")], Err("KEY_IN_URL")).await;
        }
        check("/events?access_token=three&access_token=one", &[], Err("KEY_IN_URL")).await;
        check("/events?access_token=three", &[], Err("UNAUTHENTICATED")).await;
        check("/events?access_token=three", &[("x-api-key", "two")], Ok(())).await;
        check("/events?token=one", &[], Err("UNAUTHENTICATED")).await;
    }
}
