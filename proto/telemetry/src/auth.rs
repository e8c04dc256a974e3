//! Who may call: bearer tokens. Where a request comes from proves nothing: a proxy on this machine sends those of the whole
//! world from loopback.
//!
//! The node token between the planes is checked by [`Guard`]. What this does not do: tell one key's rights from another's;
//! the control plane's API keys have scopes and are looked after there.

use std::sync::Arc;

use http::{HeaderMap, header::AUTHORIZATION};
use secrecy::{ExposeSecret as _, SecretString};
use subtle::{Choice, ConstantTimeEq as _};
use tonic::{
    Code, Request, Status,
    metadata::{Ascii, MetadataValue},
    service::Interceptor,
};

use crate::status::status;

/// Set by proxies and tunnels.
const FORWARDED: [&str; 4] = ["forwarded", "x-forwarded-for", "x-real-ip", "cf-connecting-ip"];

/// Lets a request in, or not: whoever presents one of its tokens. Without tokens nobody.
#[derive(Clone, Debug)]
pub struct Guard {
    tokens: Vec<SecretString>,
    source: Arc<str>,
}

/// A request that was turned away.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// No `authorization: Bearer ...` at all.
    #[error("no bearer token; send `authorization: Bearer <token>` with the token of {0}")]
    Missing(Arc<str>),
    /// A token that is none of ours.
    #[error("the bearer token is not the one of {0}")]
    Wrong(Arc<str>),
}

impl Denied {
    /// `UNAUTHENTICATED`, with the same word as its reason.
    #[must_use]
    pub fn status(self) -> Status {
        status(Code::Unauthenticated, "UNAUTHENTICATED", self.to_string(), &[])
    }
}

impl Guard {
    /// `source` is where the tokens come from, a variable or a file; messages name it. Empty tokens are left out, so that
    /// an empty variable never becomes a password.
    pub fn new(source: &str, tokens: impl IntoIterator<Item = SecretString>) -> Self {
        let tokens = tokens.into_iter().filter(|token| !token.expose_secret().is_empty()).collect();
        Self { tokens, source: Arc::from(source) }
    }

    /// Checks a request by its headers.
    pub fn check(&self, headers: &HeaderMap) -> Result<(), Denied> {
        let Some(presented) = bearer_token(headers) else {
            return Err(Denied::Missing(Arc::clone(&self.source)));
        };
        // Every token is compared, each in constant time: how long this takes says nothing about them.
        let known = self
            .tokens
            .iter()
            .fold(Choice::from(0), |known, token| known | token.expose_secret().as_bytes().ct_eq(presented));
        if bool::from(known) { Ok(()) } else { Err(Denied::Wrong(Arc::clone(&self.source))) }
    }
}

/// Whether a proxy or tunnel says that it passed the request on: then the peer is not who sent it. That none says so proves
/// nothing.
#[must_use]
pub fn is_forwarded(headers: &HeaderMap) -> bool {
    FORWARDED.iter().any(|name| headers.contains_key(*name))
}

/// For tonic's own server.
impl Interceptor for Guard {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        self.check(request.metadata().as_ref()).map_err(Denied::status)?;
        Ok(request)
    }
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

    #[track_caller]
    fn check(tokens: &[&str], authorization: Option<&str>, expect: Result<(), fn(Arc<str>) -> Denied>) {
        let value = authorization.map(|value| (AUTHORIZATION, value.parse().unwrap()));
        let expect = expect.map_err(|denied| denied("VOICEBRIDGE_NODE_TOKEN".into()));
        assert_eq!(guard(tokens).check(&value.into_iter().collect()), expect, "{tokens:?} {authorization:?}");
    }

    #[test]
    fn tokens_let_in_whoever_presents_one() {
        check(&["one", "two"], Some("Bearer two"), Ok(()));
        check(&["one", "two"], Some("bearer one"), Ok(()));
        check(&["one"], Some("Bearer on"), Err(Denied::Wrong));
        check(&["one"], Some("Bearer "), Err(Denied::Wrong));
        check(&["one"], Some("Basic one"), Err(Denied::Missing));
        check(&["one"], None, Err(Denied::Missing));
    }

    #[test]
    fn without_tokens_nobody_is_answered() {
        for tokens in [&[][..], &[""][..]] {
            check(tokens, None, Err(Denied::Missing));
            check(tokens, Some("Bearer "), Err(Denied::Wrong));
            check(tokens, Some("Bearer one"), Err(Denied::Wrong));
        }
    }

    #[test]
    fn what_a_client_attaches_the_guard_accepts_and_no_debug_output_shows() {
        let token = SecretString::from("s3cret");
        let mut bearer = Bearer::new(Some(&token)).unwrap();
        let request = bearer.call(Request::new(())).unwrap();
        assert_eq!(guard(&["s3cret"]).check(request.metadata().as_ref()), Ok(()));
        assert!(!format!("{bearer:?} {:?} {request:?}", guard(&["s3cret"])).contains("s3cret"));
        assert_eq!(Bearer::new(Some(&SecretString::from("line\nbreak"))).unwrap_err(), InvalidToken);
        assert!(Bearer::new(None).unwrap().call(Request::new(())).unwrap().metadata().is_empty());
    }

    #[test]
    fn a_refusal_says_what_to_set() {
        let status = Denied::Missing("VOICEBRIDGE_NODE_TOKEN".into()).status();
        assert_eq!(status.code(), Code::Unauthenticated);
        assert_eq!(crate::status::reason(&status).as_deref(), Some("UNAUTHENTICATED"));
        assert!(status.message().contains("VOICEBRIDGE_NODE_TOKEN"));
    }
}
