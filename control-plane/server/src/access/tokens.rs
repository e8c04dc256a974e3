//! Read tokens: JWTs (RFC 7519) signed with HS256 (RFC 7518, section 3.2) by a random key of the database's own.
//!
//! `jsonwebtoken` does the format; the MAC is the one that this process has anyway, given to it as a provider, so that no
//! RSA and no elliptic curves come along. Time is an argument.

use std::sync::Once;

use hmac::{Hmac, KeyInit as _, Mac as _};
use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey, EncodingKey, Header, Validation,
    crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils},
    errors::{Error, ErrorKind},
    signature::{self, Signer, Verifier},
};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

/// Who the tokens are for: nobody else's JWT is one of ours, were it ever signed with the same key.
const AUDIENCE: &str = "voicebridge-read";

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claims {
    aud: String,
    /// Who had it made; for the log.
    pub(crate) sub: String,
    /// Seconds since the Unix epoch.
    exp: i64,
    /// The only call it may read; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) call: Option<String>,
}

impl Claims {
    pub(crate) fn new(sub: &str, call: Option<String>, expires_at_s: i64) -> Self {
        Self { aud: AUDIENCE.to_owned(), sub: sub.to_owned(), exp: expires_at_s, call }
    }

    pub(crate) fn expires_at_ms(&self) -> i64 {
        self.exp.saturating_mul(1_000)
    }
}

/// Makes and checks tokens.
pub(crate) struct ReadTokens {
    signing: EncodingKey,
    checking: DecodingKey,
    validation: Validation,
}

impl ReadTokens {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        static PROVIDER: Once = Once::new();
        PROVIDER.call_once(|| {
            // Err: somebody else in this process has installed one, which knows HS256 as well.
            let _ = HS256.install_default();
        });
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["exp", "aud"]);
        // Checked by the caller, who says what time it is and tells an expired token from a forged one.
        validation.validate_exp = false;
        Self { signing: EncodingKey::from_secret(key), checking: DecodingKey::from_secret(key), validation }
    }

    /// `None` only if the claims were no JSON.
    pub(crate) fn sign(&self, claims: &Claims) -> Option<String> {
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &self.signing).ok()
    }

    /// What a token of ours says, expired or not.
    pub(crate) fn read(&self, token: &[u8]) -> Option<Claims> {
        jsonwebtoken::decode(token, &self.checking, &self.validation).ok().map(|token| token.claims)
    }
}

static HS256: CryptoProvider = CryptoProvider {
    signer_factory: |algorithm, key| Ok(Box::new(Mac::of(*algorithm, key.family(), key.as_bytes())?)),
    verifier_factory: |algorithm, key| Ok(Box::new(Mac::of(*algorithm, key.family(), key.try_get_as_bytes()?)?)),
    // For JWKs, of which there are none here.
    key_utils: KeyUtils::new_unimplemented(),
};

struct Mac(Hmac<Sha256>);

impl Mac {
    fn of(algorithm: Algorithm, family: AlgorithmFamily, key: &[u8]) -> Result<Self, Error> {
        if algorithm != Algorithm::HS256 || family != AlgorithmFamily::Hmac {
            return Err(ErrorKind::InvalidAlgorithm.into());
        }
        Hmac::new_from_slice(key).map(Self).map_err(|_| ErrorKind::InvalidKeyFormat.into())
    }
}

impl Signer<Vec<u8>> for Mac {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, signature::Error> {
        Ok(self.0.clone().chain_update(message).finalize().into_bytes().to_vec())
    }
}

impl Verifier<Vec<u8>> for Mac {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        // In constant time.
        self.0.clone().chain_update(message).verify_slice(signature).map_err(|_| signature::Error::new())
    }
}

impl JwtSigner for Mac {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

impl JwtVerifier for Mac {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn claims() -> Claims {
        Claims::new("key-1", Some("wacid.1".to_owned()), 1_790_000_000)
    }

    #[test]
    fn what_was_signed_is_read() {
        let tokens = ReadTokens::new(&[7; 32]);
        let token = tokens.sign(&claims()).unwrap();
        assert_eq!(tokens.read(token.as_bytes()), Some(claims()));
        let all = Claims { call: None, ..claims() };
        assert_eq!(tokens.read(tokens.sign(&all).unwrap().as_bytes()), Some(all));
        // RFC 7515, appendix A.1, is signed with a key of its own.
        let foreign = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6L\
            y9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        assert_eq!(tokens.read(foreign.as_bytes()), None);
    }

    #[test]
    fn what_was_not_signed_so_is_nothing() {
        let tokens = ReadTokens::new(&[7; 32]);
        let token = tokens.sign(&claims()).unwrap();
        let parts: Vec<_> = token.split('.').collect();
        let [header, body, mac] = parts[..] else { panic!() };
        let unsigned = Header::new(Algorithm::HS256);
        assert!(serde_json::to_string(&unsigned).unwrap().contains("HS256"));
        // {"alg":"none","typ":"JWT"}
        let none = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0";
        let other = ReadTokens::new(&[8; 32]).sign(&Claims { call: None, ..claims() }).unwrap();
        let other_body = other.split('.').nth(1).unwrap();
        for forged in [
            other.clone(),
            format!("{header}.{other_body}.{mac}"),
            format!("{none}.{body}."),
            format!("{none}.{body}.{mac}"),
            format!("{header}.{body}."),
            format!("{header}.{body}.{}", &mac[1..]),
            format!("{header}.{body}"),
            String::new(),
            "..".to_owned(),
        ] {
            assert_eq!(tokens.read(forged.as_bytes()), None, "{forged}");
        }
        let elsewhere = Claims { aud: "somebody-else".to_owned(), ..claims() };
        assert_eq!(tokens.read(tokens.sign(&elsewhere).unwrap().as_bytes()), None);
    }
}
