//! `X-Hub-Signature-256: sha256=<hex>`: HMAC-SHA256 of the raw body under the app secret, compared in constant time.
//!
//! Over the bytes as received: Meta escapes non-ASCII before signing, so a body parsed and written again would not match.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

pub(super) fn verify(secret: &str, body: &[u8], given: Option<&str>) -> bool {
    let Some(given) = given.and_then(|given| given.trim().strip_prefix("sha256=")) else { return false };
    let Ok(given) = hex::decode(given) else { return false };
    // HMAC takes keys of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else { return false };
    mac.update(body);
    mac.verify_slice(&given).is_ok()
}

/// Compares digests, so that neither content nor length shows in the time it takes.
pub(super) fn same_secret(ours: &str, given: &str) -> bool {
    Sha256::digest(ours.as_bytes()).ct_eq(&Sha256::digest(given.as_bytes())).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_checked() {
        #[track_caller]
        fn check(secret: &str, body: &[u8], given: Option<&str>, expect: bool) {
            assert_eq!(verify(secret, body, given), expect, "{given:?}");
        }
        // RFC 4231, test case 2.
        const GOOD: &str = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        const BODY: &[u8] = b"what do ya want for nothing?";
        check("Jefe", BODY, Some(GOOD), true);
        check("Jefe", BODY, Some(&GOOD.replace("5bdcc146", "5BDCC146")), true);
        check("Jefe", BODY, Some(&GOOD.replace("43", "44")), false);
        check("Jefe", BODY, Some(&GOOD["sha256=".len()..]), false);
        check("Jefe", BODY, Some(&GOOD[..GOOD.len() - 2]), false);
        check("Jefe", BODY, Some("sha256="), false);
        check("Jefe", BODY, Some("sha256=zz"), false);
        check("Jefe", BODY, None, false);
        check("Jeff", BODY, Some(GOOD), false);
        check("Jefe", b"what do ya want for something?", Some(GOOD), false);
    }

    #[test]
    fn secrets_are_compared_whole() {
        assert!(same_secret("verify", "verify"));
        for given in ["", "verif", "verify ", "VERIFY"] {
            assert!(!same_secret("verify", given), "{given:?}");
        }
    }
}
