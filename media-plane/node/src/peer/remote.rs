//! What a peer needs to know of the far side, of which it never sees a text.

use std::net::SocketAddr;

use voicebridge_audio::codec::Codec;
use voicebridge_session::sdp::{DtlsRole, IceRole, Negotiated};

use super::reach::Reach;

/// Candidates checked; more are ignored. Meta offers two, a browser rarely more than a dozen.
const MAX_CANDIDATES: usize = 16;

/// The far side of a call, as its offer or answer describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// ICE user name fragment.
    pub ice_ufrag: String,
    /// ICE password; Meta's ends in `==`, which RFC 8839 does not allow and everybody accepts.
    pub ice_pwd: String,
    /// SHA-256 fingerprints, one of which its certificate has.
    pub fingerprints: Vec<String>,
    /// Our part in ICE.
    pub ice_role: IceRole,
    /// Our part in the handshake.
    pub dtls_role: DtlsRole,
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
    /// The far side of a negotiation, with those of its candidates that we check.
    #[must_use]
    pub fn new(negotiated: &Negotiated, reach: Reach) -> Self {
        let allowed = negotiated.candidates.iter().copied().filter(|candidate| reach.allows(candidate.ip()));
        Self {
            ice_ufrag: negotiated.ice_ufrag.clone(),
            ice_pwd: negotiated.ice_pwd.clone(),
            fingerprints: negotiated.fingerprints.clone(),
            ice_role: negotiated.ice_role,
            dtls_role: negotiated.dtls_role,
            codec: negotiated.audio.codec(),
            payload_type: negotiated.audio.payload_type(),
            telephone_event: negotiated.telephone_event.map(|event| event.payload_type),
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
        let negotiated = sdp::lint(&offer.replace("a=ice-ufrag", &format!("{aimed}a=ice-ufrag"))).unwrap().negotiated;
        let from = |ours: [u8; 4], policy| Remote::new(&negotiated, Reach { ours: ours.into(), policy }).candidates;
        let public: Vec<SocketAddr> = (1..=16).map(|port| ([8, 8, 8, 8], port).into()).collect();
        assert_eq!(from([203, 0, 113, 7], CandidatePolicy::Auto), public);
        assert_eq!(from([10, 9, 9, 9], CandidatePolicy::Public), public);
        let mixed = from([10, 9, 9, 9], CandidatePolicy::Auto);
        assert_eq!((mixed.len(), mixed[0]), (MAX_CANDIDATES, ([10, 0, 0, 1], 1).into()));
    }
}
