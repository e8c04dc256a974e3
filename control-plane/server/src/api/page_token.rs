//! Where a list goes on: a place in it, sealed for that list with a key of the database.
//!
//! The seal makes a token worthless elsewhere: with another database, for another filter or order, after somebody changed it.
//! It hides nothing: a place is two numbers.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::Fault;
use crate::store::KEY_BYTES;

/// Longest token that is looked at; by contract.
const MAX_PAGE_TOKEN_BYTES: usize = 256;
/// Name of the database's key for page tokens.
pub(crate) const PAGE_KEY: &str = "page";
/// First byte; another layout gets another one.
const VERSION: u8 = 1;
const NUMBER_BYTES: usize = 8;
const PLACE_BYTES: usize = 2 * NUMBER_BYTES;
/// Of the seal, HMAC-SHA256 cut: RFC 2104, section 5, wants at least half.
const SEAL_BYTES: usize = 16;
const TOKEN_BYTES: usize = 1 + PLACE_BYTES + SEAL_BYTES;

/// What a list is of, byte for byte: lists with different bytes do not take each other's tokens.
#[derive(Debug)]
pub(super) struct Scope(Vec<u8>);

impl Scope {
    /// Of this kind of list.
    pub(super) fn new(kind: &str) -> Self {
        Self(Vec::new()).with(kind)
    }

    /// With this besides.
    pub(super) fn with(mut self, text: &str) -> Self {
        self.0.extend((text.len() as u64).to_be_bytes());
        self.0.extend(text.as_bytes());
        self
    }

    /// With these, of which the order does not matter.
    pub(super) fn with_all<'a>(self, texts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut texts: Vec<&str> = texts.into_iter().collect();
        texts.sort_unstable();
        texts.dedup();
        let counted = self.with(&texts.len().to_string());
        texts.into_iter().fold(counted, Self::with)
    }
}

/// Writes and reads the page tokens of one database.
#[derive(Clone)]
pub(crate) struct PageTokens {
    keyed: Hmac<Sha256>,
}

impl PageTokens {
    pub(crate) fn new(key: &[u8; KEY_BYTES]) -> Self {
        Self { keyed: Hmac::new_from_slice(key).expect("HMAC takes keys of any length") }
    }

    fn seal(&self, scope: &Scope, body: &[u8]) -> Hmac<Sha256> {
        let mut seal = self.keyed.clone();
        seal.update(body);
        seal.update(&scope.0);
        seal
    }

    /// The list goes on after the place of these two numbers.
    pub(super) fn write(&self, scope: &Scope, place: (i64, i64)) -> String {
        let mut bytes = Vec::with_capacity(TOKEN_BYTES);
        bytes.push(VERSION);
        bytes.extend(place.0.to_be_bytes());
        bytes.extend(place.1.to_be_bytes());
        let seal = self.seal(scope, &bytes).finalize().into_bytes();
        bytes.extend(&seal[..SEAL_BYTES]);
        base64_simd::URL_SAFE_NO_PAD.encode_to_string(bytes)
    }

    /// Where a list goes on; `None`: it begins.
    pub(super) fn read(&self, scope: &Scope, token: &str) -> Result<Option<(i64, i64)>, Fault> {
        if token.is_empty() {
            return Ok(None);
        }
        let message = "The page token is none of this database's, or of a request with another filter or order; begin \
                       without one.";
        let place = self.parse(scope, token);
        place.map(Some).ok_or_else(|| {
            Fault::new(tonic::Code::InvalidArgument, "PAGE_TOKEN_INVALID", message).violating("page_token", message)
        })
    }

    fn parse(&self, scope: &Scope, token: &str) -> Option<(i64, i64)> {
        if token.len() > MAX_PAGE_TOKEN_BYTES {
            return None;
        }
        let bytes = base64_simd::URL_SAFE_NO_PAD.decode_to_vec(token.as_bytes()).ok()?;
        let bytes: &[u8; TOKEN_BYTES] = bytes.as_slice().try_into().ok()?;
        let (body, seal) = bytes.split_at(1 + PLACE_BYTES);
        self.seal(scope, body).verify_truncated_left(seal).ok()?;
        let (version, place) = body.split_first()?;
        (*version == VERSION).then_some(())?;
        let (first, second) = place.split_at(NUMBER_BYTES);
        Some((i64::from_be_bytes(first.try_into().ok()?), i64::from_be_bytes(second.try_into().ok()?)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn scope(texts: &[&str]) -> Scope {
        Scope::new("calls").with_all(texts.iter().copied())
    }

    #[test]
    fn a_token_is_read_where_and_for_what_it_was_written() {
        let (ours, other) = (PageTokens::new(&[1; KEY_BYTES]), PageTokens::new(&[2; KEY_BYTES]));
        for place in [(0, 0), (1_790_000_000_000, 7), (i64::MIN, i64::MAX)] {
            let token = ours.write(&scope(&["a", "b"]), place);
            assert!(token.len() <= 64 && token.is_ascii(), "{token}");
            assert_eq!(ours.read(&scope(&["b", "a", "b"]), &token).unwrap(), Some(place), "the same filter");
            for wrong in
                [scope(&["a"]), scope(&["ab"]), scope(&["a", "b", ""]), Scope::new("calls").with("a").with("b")]
            {
                assert_eq!(ours.read(&wrong, &token).unwrap_err().reason(), "PAGE_TOKEN_INVALID", "{wrong:?}");
            }
            let status = other.read(&scope(&["a", "b"]), &token).expect_err("another database's").status();
            assert_eq!(voicebridge_telemetry::status::details(&status).violations[0].0, "page_token");
        }
        assert_eq!(ours.read(&scope(&[]), "").unwrap(), None);
    }

    #[test]
    fn whoever_changes_a_token_has_none() {
        let tokens = PageTokens::new(&[1; KEY_BYTES]);
        let token = tokens.write(&scope(&[]), (3, 4));
        let bytes = base64_simd::URL_SAFE_NO_PAD.decode_to_vec(token.as_bytes()).unwrap();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(tokens.read(&scope(&[]), &base64_simd::URL_SAFE_NO_PAD.encode_to_string(changed)).is_err(), "{at}");
        }
        for text in ["x", "100", "%%%", &token[1..], &format!("{token}A"), &"A".repeat(10_000)] {
            assert!(tokens.read(&scope(&[]), text).is_err(), "{text}");
        }
    }
}
