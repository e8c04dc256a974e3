//! The STUN a lite agent speaks (RFC 8445, section 7.3; RFC 5389): read a binding request, answer it.
//!
//! Writes no requests: a lite agent has none.

use std::{fmt, net::SocketAddr, sync::Arc};

use rtc::{
    crypto::RTCCryptoProvider,
    stun::{
        attributes::{ATTR_ICE_CONTROLLED, ATTR_USE_CANDIDATE, ATTR_USERNAME},
        error_code::{CODE_ROLE_CONFLICT, ErrorCodeAttribute},
        fingerprint::FINGERPRINT,
        integrity::MessageIntegrity,
        message::{
            BINDING_ERROR, BINDING_REQUEST, BINDING_SUCCESS, CLASS_REQUEST, CLASS_SUCCESS_RESPONSE, METHOD_BINDING,
            Message, Setter,
        },
        xoraddr::XorMappedAddress,
    },
};

/// Answers for one pair of ICE credentials.
pub(crate) struct Responder {
    ufrag: String,
    password: String,
    crypto: Arc<dyn RTCCryptoProvider>,
}

impl fmt::Debug for Responder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Responder").field("ufrag", &self.ufrag).finish_non_exhaustive()
    }
}

/// A binding request that was meant for us.
#[derive(Debug)]
pub(crate) struct Check {
    message: Message,
    /// The sender claims to be controlled, which next to a lite agent it must not be.
    pub(crate) controlled: bool,
    /// It nominates the pair.
    pub(crate) nominates: bool,
}

impl Responder {
    pub(crate) fn new(ufrag: String, password: String, crypto: Arc<dyn RTCCryptoProvider>) -> Self {
        Self { ufrag, password, crypto }
    }

    /// The binding request in `datagram`, if its username names us and its integrity holds.
    pub(crate) fn check(&self, datagram: &[u8]) -> Option<Check> {
        let mut message = decode(datagram)?;
        if message.typ.method != METHOD_BINDING || message.typ.class != CLASS_REQUEST {
            return None;
        }
        let username = String::from_utf8(message.get(ATTR_USERNAME).ok()?).ok()?;
        if username.split(':').next() != Some(self.ufrag.as_str()) {
            return None;
        }
        MessageIntegrity::check(&mut message, self.password.as_bytes(), self.crypto.crypto()).ok()?;
        let (controlled, nominates) = (message.contains(ATTR_ICE_CONTROLLED), message.contains(ATTR_USE_CANDIDATE));
        Some(Check { message, controlled, nominates })
    }

    /// The success response to `check`, which came from `from`.
    pub(crate) fn accept(&self, check: &Check, from: SocketAddr) -> Option<Vec<u8>> {
        success(&check.message, from, &self.password, &self.crypto)
    }

    /// The 487 (Role Conflict) response to `check`.
    pub(crate) fn role_conflict(&self, check: &Check) -> Option<Vec<u8>> {
        let code = ErrorCodeAttribute { code: CODE_ROLE_CONFLICT, reason: b"Role Conflict".to_vec() };
        build(&[
            Box::new(check.message.clone()),
            Box::new(BINDING_ERROR),
            Box::new(code),
            Box::new(integrity(&self.password, &self.crypto)),
            Box::new(FINGERPRINT),
        ])
    }

    /// The success response a peer with `password` would give to our engine's own `request`, seen from `mapped`.
    pub(crate) fn answer_for_peer(&self, request: &[u8], mapped: SocketAddr, password: &str) -> Option<Vec<u8>> {
        success(&decode(request)?, mapped, password, &self.crypto)
    }
}

/// Kind of a STUN message of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Request,
    Success,
    Other,
}

/// What kind of STUN message `datagram` is.
pub(crate) fn kind(datagram: &[u8]) -> Kind {
    match decode(datagram) {
        Some(message) if message.typ == BINDING_REQUEST => Kind::Request,
        Some(message) if message.typ.class == CLASS_SUCCESS_RESPONSE => Kind::Success,
        _ => Kind::Other,
    }
}

/// The transaction a STUN message belongs to (RFC 5389, section 6).
pub(crate) fn transaction(datagram: &[u8]) -> Option<&[u8]> {
    datagram.get(8..20)
}

fn decode(datagram: &[u8]) -> Option<Message> {
    let mut message = Message { raw: datagram.to_vec(), ..Message::default() };
    message.decode().ok()?;
    Some(message)
}

fn success(
    request: &Message,
    mapped: SocketAddr,
    password: &str,
    crypto: &Arc<dyn RTCCryptoProvider>,
) -> Option<Vec<u8>> {
    build(&[
        Box::new(request.clone()),
        Box::new(BINDING_SUCCESS),
        Box::new(XorMappedAddress { ip: mapped.ip(), port: mapped.port() }),
        Box::new(integrity(password, crypto)),
        Box::new(FINGERPRINT),
    ])
}

fn integrity<'a>(password: &str, crypto: &'a Arc<dyn RTCCryptoProvider>) -> MessageIntegrity<'a> {
    MessageIntegrity::new_short_term_integrity_with_provider(password.to_owned(), crypto.crypto())
}

fn build(setters: &[Box<dyn Setter + '_>]) -> Option<Vec<u8>> {
    let mut message = Message::new();
    message.build(setters).ok()?;
    Some(message.raw)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rtc::stun::{
        attributes::ATTR_ERROR_CODE,
        error_code::ErrorCodeAttribute,
        message::{Getter, TransactionId},
        textattrs::TextAttribute,
    };

    fn crypto() -> Arc<dyn RTCCryptoProvider> {
        rtc::crypto::default_provider().unwrap()
    }

    fn request(ufrag: &str, password: &str, extra: Vec<Box<dyn Setter>>) -> Vec<u8> {
        let crypto = crypto();
        let mut setters: Vec<Box<dyn Setter + '_>> = vec![
            Box::new(BINDING_REQUEST),
            Box::new(TransactionId::new()),
            Box::new(TextAttribute::new(ATTR_USERNAME, format!("{ufrag}:peer"))),
        ];
        for setter in extra {
            setters.push(setter);
        }
        setters.push(Box::new(integrity(password, &crypto)));
        setters.push(Box::new(FINGERPRINT));
        build(&setters).unwrap()
    }

    #[test]
    fn a_check_with_our_credentials_is_answered() {
        let us = Responder::new("ours".into(), "AAAAAAAAAAAAAAAAAAAAAA==".into(), crypto());
        let check = us.check(&request("ours", "AAAAAAAAAAAAAAAAAAAAAA==", vec![])).unwrap();
        assert!(!check.controlled && !check.nominates);
        let answer = us.accept(&check, "127.0.0.1:4000".parse().unwrap()).unwrap();
        assert_eq!(kind(&answer), Kind::Success);
        let mut read = decode(&answer).unwrap();
        assert_eq!(read.transaction_id, check.message.transaction_id);
        MessageIntegrity::check(&mut read, b"AAAAAAAAAAAAAAAAAAAAAA==", crypto().crypto()).unwrap();
        let mut mapped = XorMappedAddress::default();
        mapped.get_from(&read).unwrap();
        assert_eq!((mapped.ip.to_string().as_str(), mapped.port), ("127.0.0.1", 4000));
    }

    #[test]
    fn foreign_credentials_and_rubbish_are_not() {
        let us = Responder::new("ours".into(), "0123456789012345678901".into(), crypto());
        assert!(us.check(&request("ours", "another password there", vec![])).is_none());
        assert!(us.check(&request("other", "0123456789012345678901", vec![])).is_none());
        for bytes in [&[][..], &[0, 1], &[0; 20], &[0xFF; 64]] {
            assert!(us.check(bytes).is_none());
            assert_eq!(kind(bytes), Kind::Other);
        }
    }

    #[test]
    fn a_controlled_peer_gets_487() {
        let us = Responder::new("ours".into(), "0123456789012345678901".into(), crypto());
        let role = Box::new(rtc::ice::attributes::control::AttrControlled(7));
        let check = us.check(&request("ours", "0123456789012345678901", vec![role])).unwrap();
        assert!(check.controlled);
        let answer = decode(&us.role_conflict(&check).unwrap()).unwrap();
        assert!(answer.contains(ATTR_ERROR_CODE));
        let mut code = ErrorCodeAttribute::default();
        code.get_from(&answer).unwrap();
        assert_eq!(code.code.0, 487);
    }
}
