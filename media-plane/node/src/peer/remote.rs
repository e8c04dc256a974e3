//! What a peer needs to know of the far side, of which it never sees a text.

use std::net::SocketAddr;

use voicebridge_audio::codec::Codec;
use voicebridge_session::sdp::{DtlsSetup, Offer};

use super::reach::Reach;

/// Candidates checked; more are ignored. Meta offers two, a browser rarely more than a dozen.
const MAX_CANDIDATES: usize = 16;

/// The caller, as its offer describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// ICE user name fragment.
    pub ice_ufrag: String,
    /// ICE password; Meta's ends in `==`, which RFC 8839 does not allow and everybody accepts.
    pub ice_pwd: String,
    /// SHA-256 fingerprints, one of which its certificate has.
    pub fingerprints: Vec<String>,
    /// It answers checks and sends none (RFC 8445, section 2.5): we are controlling.
    pub ice_lite: bool,
    /// DTLS role (RFC 5763, section 5). We are the client unless they insist on it: Meta never starts DTLS.
    pub setup: DtlsSetup,
    /// The codec agreed to.
    pub codec: Codec,
    /// Its payload type.
    pub payload_type: u8,
    /// Payload type of telephone-event, if agreed to.
    pub telephone_event: Option<u8>,
    /// Where it can be reached, as far as we check.
    pub candidates: Vec<SocketAddr>,
}

impl Remote {
    /// The caller of a linted offer, with those of its candidates that we check.
    #[must_use]
    pub fn from_offer(offer: &Offer, reach: Reach) -> Self {
        let allowed = offer.candidates.iter().copied().filter(|candidate| reach.allows(candidate.ip()));
        Self {
            ice_ufrag: offer.ice_ufrag.clone(),
            ice_pwd: offer.ice_pwd.clone(),
            fingerprints: offer.fingerprints.clone(),
            ice_lite: offer.ice_lite,
            setup: offer.setup,
            codec: offer.audio.codec(),
            payload_type: offer.audio.payload_type(),
            telephone_event: offer.telephone_event.map(|event| event.payload_type),
            candidates: allowed.take(MAX_CANDIDATES).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use voicebridge_session::sdp;

    use super::*;
    use crate::{
        caller::{Caller, Kind},
        peer::CandidatePolicy,
    };

    /// 16 candidates are taken of those that are allowed, whatever stands before them.
    #[test]
    fn candidates_are_those_within_reach_and_bounded() {
        let (_, offer) = Caller::new(std::time::Instant::now(), ([127, 0, 0, 1], 9).into(), Kind::Relay);
        let candidate = |address: &str, port| format!("a=candidate:1 1 udp 1 {address} {port} typ host\r\n");
        let aimed: String =
            (1..=20).flat_map(|port| [candidate("10.0.0.1", port), candidate("8.8.8.8", port)]).collect();
        let offer = sdp::lint(&offer.replace("a=ice-ufrag", &format!("{aimed}a=ice-ufrag"))).unwrap();
        let from = |ours: [u8; 4], policy| Remote::from_offer(&offer, Reach { ours: ours.into(), policy }).candidates;
        let public: Vec<SocketAddr> = (1..=16).map(|port| ([8, 8, 8, 8], port).into()).collect();
        assert_eq!(from([203, 0, 113, 7], CandidatePolicy::Auto), public);
        assert_eq!(from([10, 9, 9, 9], CandidatePolicy::Public), public);
        let mixed = from([10, 9, 9, 9], CandidatePolicy::Auto);
        assert_eq!((mixed.len(), mixed[0]), (MAX_CANDIDATES, ([10, 0, 0, 1], 1).into()));
    }
}
