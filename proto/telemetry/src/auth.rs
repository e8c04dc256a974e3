//! Who may call: bearer tokens, and without any token only callers on this machine.
//!
//! The node token between the planes is checked by [`Guard`]. What this does not do: tell one key's rights from another's;
//! the control plane's API keys have scopes and are looked after there.

use std::net::IpAddr;

use http::{HeaderMap, header::AUTHORIZATION};
use secrecy::{ExposeSecret as _, SecretString};
use subtle::{Choice, ConstantTimeEq as _};
use tonic::{
    Code, Request, Status,
    metadata::{Ascii, MetadataValue},
    service::Interceptor,
};

use crate::status::status;

/// Set by proxies and tunnels. Through one of them every caller comes from loopback, so these requests do not.
const FORWARDED: [&str; 4] = ["forwarded", "x-forwarded-for", "x-real-ip", "cf-connecting-ip"];

/// Lets a request in, or not. With tokens: whoever presents one of them. Without: loopback peers only.
#[derive(Clone, Debug)]
pub struct Guard {
    tokens: Vec<SecretString>,
    variable: &'static str,
}

/// A request that was turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// No `authorization: Bearer ...` at all.
    #[error("no bearer token; send `authorization: Bearer <token>` with the value of {0}")]
    Missing(&'static str),
    /// A token that is none of ours.
    #[error("the bearer token is not the one in {0}")]
    Wrong(&'static str),
    /// No token is set up and the caller is elsewhere, or its address is not known.
    #[error("without {0} only callers on this machine are answered; set it on both sides")]
    NotLoopback(&'static str),
}

impl Denied {
    /// `UNAUTHENTICATED`, with the same word as its reason.
    #[must_use]
    pub fn status(self) -> Status {
        status(Code::Unauthenticated, "UNAUTHENTICATED", self.to_string(), &[])
    }
}

impl Guard {
    /// `variable` is where the operator sets the tokens; messages name it. Empty tokens are left out, so that an empty
    /// variable never becomes a password.
    pub fn new(variable: &'static str, tokens: impl IntoIterator<Item = SecretString>) -> Self {
        let tokens = tokens.into_iter().filter(|token| !token.expose_secret().is_empty()).collect();
        Self { tokens, variable }
    }

    /// Checks a request by its headers and the address it came from.
    pub fn check(&self, headers: &HeaderMap, peer: Option<IpAddr>) -> Result<(), Denied> {
        if self.tokens.is_empty() {
            return if is_local(headers, peer) { Ok(()) } else { Err(Denied::NotLoopback(self.variable)) };
        }
        let Some(presented) = bearer_token(headers) else {
            return Err(Denied::Missing(self.variable));
        };
        // Every token is compared, each in constant time: how long this takes says nothing about them.
        let known = self
            .tokens
            .iter()
            .fold(Choice::from(0), |known, token| known | token.expose_secret().as_bytes().ct_eq(presented));
        if bool::from(known) { Ok(()) } else { Err(Denied::Wrong(self.variable)) }
    }
}

/// For tonic's own server, which knows the peer's address. Behind axum, call [`Guard::check`] with the address from
/// `ConnectInfo`.
impl Interceptor for Guard {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let peer = request.remote_addr().map(|address| address.ip());
        self.check(request.metadata().as_ref(), peer).map_err(Denied::status)?;
        Ok(request)
    }
}

/// Whether a request was sent on this machine: from loopback, and not through a proxy or tunnel.
#[must_use]
pub fn is_local(headers: &HeaderMap, peer: Option<IpAddr>) -> bool {
    peer.is_some_and(|peer| peer.to_canonical().is_loopback()) && !is_forwarded(headers)
}

/// Whether a proxy or tunnel says that it passed the request on: then the peer is not who sent it.
#[must_use]
pub fn is_forwarded(headers: &HeaderMap) -> bool {
    FORWARDED.iter().any(|name| headers.contains_key(*name))
}

/// The token in `authorization: Bearer <token>`; the scheme's case does not matter (RFC 9110, section 11.1).
#[must_use]
pub fn bearer_token(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token.trim_ascii())
}

/// Attaches a token and the current span to every request of a client.
#[derive(Clone, Debug, Default)]
pub struct Bearer(Option<MetadataValue<Ascii>>);

/// A token with characters that no header can carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the token holds characters that an HTTP header cannot carry; use visible ASCII")]
pub struct InvalidToken;

impl Bearer {
    /// None, or an empty token: requests go without.
    pub fn new(token: Option<&SecretString>) -> Result<Self, InvalidToken> {
        let Some(token) = token.filter(|token| !token.expose_secret().is_empty()) else {
            return Ok(Self(None));
        };
        let mut value =
            MetadataValue::try_from(format!("Bearer {}", token.expose_secret())).map_err(|_| InvalidToken)?;
        value.set_sensitive(true);
        Ok(Self(Some(value)))
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        crate::inject(&tracing::Span::current(), request.metadata_mut());
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn guard(tokens: &[&str]) -> Guard {
        Guard::new("VOICEBRIDGE_NODE_TOKEN", tokens.iter().map(|token| SecretString::from(*token)))
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[track_caller]
    fn check(tokens: &[&str], pairs: &[(&'static str, &str)], peer: &str, expect: Result<(), Denied>) {
        assert_eq!(guard(tokens).check(&headers(pairs), peer.parse().ok()), expect, "{tokens:?} {pairs:?} {peer}");
    }

    #[test]
    fn tokens_let_in_whoever_presents_one() {
        const V: &str = "VOICEBRIDGE_NODE_TOKEN";
        check(&["one", "two"], &[("authorization", "Bearer two")], "203.0.113.9", Ok(()));
        check(&["one", "two"], &[("authorization", "bearer one")], "", Ok(()));
        check(&["one"], &[("authorization", "Bearer on")], "127.0.0.1", Err(Denied::Wrong(V)));
        check(&["one"], &[("authorization", "Bearer ")], "127.0.0.1", Err(Denied::Wrong(V)));
        check(&["one"], &[("authorization", "Basic one")], "127.0.0.1", Err(Denied::Missing(V)));
        check(&["one"], &[], "127.0.0.1", Err(Denied::Missing(V)));
    }

    #[test]
    fn without_tokens_only_this_machine_is_answered() {
        const V: &str = "VOICEBRIDGE_NODE_TOKEN";
        for tokens in [&[][..], &[""][..]] {
            check(tokens, &[], "127.0.0.1", Ok(()));
            check(tokens, &[], "::1", Ok(()));
            check(tokens, &[], "::ffff:127.0.0.1", Ok(()));
            check(tokens, &[], "192.0.2.1", Err(Denied::NotLoopback(V)));
            check(tokens, &[], "unknown", Err(Denied::NotLoopback(V)));
            check(tokens, &[("x-forwarded-for", "192.0.2.1")], "127.0.0.1", Err(Denied::NotLoopback(V)));
        }
    }

    #[test]
    fn what_a_client_attaches_the_guard_accepts_and_no_debug_output_shows() {
        let token = SecretString::from("s3cret");
        let mut bearer = Bearer::new(Some(&token)).unwrap();
        let request = bearer.call(Request::new(())).unwrap();
        assert_eq!(guard(&["s3cret"]).check(request.metadata().as_ref(), None), Ok(()));
        assert!(!format!("{bearer:?} {:?} {request:?}", guard(&["s3cret"])).contains("s3cret"));
        assert_eq!(Bearer::new(Some(&SecretString::from("line\nbreak"))).unwrap_err(), InvalidToken);
        assert!(Bearer::new(None).unwrap().call(Request::new(())).unwrap().metadata().is_empty());
    }

    #[test]
    fn a_refusal_says_what_to_set() {
        let status = Denied::NotLoopback("VOICEBRIDGE_NODE_TOKEN").status();
        assert_eq!(status.code(), Code::Unauthenticated);
        assert_eq!(crate::status::reason(&status).as_deref(), Some("UNAUTHENTICATED"));
        assert!(status.message().contains("VOICEBRIDGE_NODE_TOKEN"));
    }
}
