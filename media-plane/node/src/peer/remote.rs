//! What a peer needs to know of the caller's offer, and the offer in the form the engine is given it.
//!
//! The engine never sees the caller's text. Its parser is strict where real offers are not (several fingerprints,
//! upper-case `SHA-256`, `a=ice-lite` at media level, candidates it cannot use, fmtp that makes it drop Opus), so it gets
//! a small offer of one audio section, written here from facts that were checked.

use std::net::{IpAddr, SocketAddr};

use voicebridge_audio::codec::Codec;
use voicebridge_session::sdp::{DtlsSetup, Offer};

use super::same_family;

/// Candidates taken from one offer; more are ignored. Meta offers two, a browser rarely more than a dozen.
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
    /// Its name in SDP.
    pub encoding: &'static str,
    /// Payload type of telephone-event, if agreed to.
    pub telephone_event: Option<u8>,
    /// Where it can be reached.
    pub candidates: Vec<SocketAddr>,
}

impl Remote {
    /// The caller of a linted offer, as a socket of `family`'s address family can reach it.
    #[must_use]
    pub fn from_offer(offer: &Offer, sdp: &str, family: IpAddr) -> Self {
        Self {
            ice_ufrag: offer.ice_ufrag.clone(),
            ice_pwd: offer.ice_pwd.clone(),
            fingerprints: offer.fingerprints.clone(),
            ice_lite: offer.ice_lite,
            setup: offer.setup,
            codec: offer.audio.codec(),
            payload_type: offer.audio.payload_type(),
            encoding: offer.audio.encoding(),
            telephone_event: offer.telephone_event.map(|event| event.payload_type),
            candidates: Self::candidates_in(sdp, family),
        }
    }

    /// The usable UDP candidates of an offer for a socket of `family`'s address family: ours is one socket, so
    /// the other family is left out, and so are TCP, mDNS names and what cannot be parsed.
    #[must_use]
    pub fn candidates_in(sdp: &str, family: IpAddr) -> Vec<SocketAddr> {
        let mut found = Vec::new();
        for line in sdp.lines() {
            let Some(candidate) = line.trim_end().strip_prefix("a=candidate:") else {
                continue;
            };
            // foundation component transport priority address port "typ" ... (RFC 8839, section 5.1)
            let fields: Vec<&str> = candidate.split_ascii_whitespace().take(6).collect();
            let [_, component, transport, _, address, port] = fields[..] else {
                continue;
            };
            if component != "1" || !transport.eq_ignore_ascii_case("udp") {
                continue;
            }
            let (Ok(address), Ok(port)) = (address.parse::<IpAddr>(), port.parse::<u16>()) else {
                continue;
            };
            let candidate = SocketAddr::new(address, port);
            if port != 0 && same_family(address, family) && !found.contains(&candidate) && found.len() < MAX_CANDIDATES
            {
                found.push(candidate);
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_reachable_candidates_are_taken() {
        let sdp = "a=candidate:1 1 udp 2122260223 192.0.2.10 3480 typ host generation 0 network-cost 50\r\n\
                   a=candidate:1 1 UDP 2122260223 192.0.2.10 3480 typ host\r\n\
                   a=candidate:2 1 udp 2122262783 2001:db8::1 3480 typ host\r\n\
                   a=candidate:3 1 tcp 1518280447 192.0.2.10 9 typ host tcptype active\r\n\
                   a=candidate:4 1 udp 2113937151 0b6f7c2e.local 50000 typ host\r\n\
                   a=candidate:5 2 udp 2113937151 192.0.2.10 3481 typ host\r\n\
                   a=candidate:6 1 udp 1 192.0.2.11 0 typ host\r\n\
                   a=candidate:7 1 udp\r\n\
                   a=candidate:8 1 udp 1 198.51.100.7 4000 typ srflx raddr 10.0.0.1 rport 5000\r\n";
        let v4: Vec<SocketAddr> = vec![([192, 0, 2, 10], 3480).into(), ([198, 51, 100, 7], 4000).into()];
        assert_eq!(Remote::candidates_in(sdp, IpAddr::from([127, 0, 0, 1])), v4);
        let v6 = Remote::candidates_in(sdp, IpAddr::from([0_u16, 0, 0, 0, 0, 0, 0, 1]));
        assert_eq!(v6.len(), 1);
    }

    #[test]
    fn candidates_are_bounded() {
        let sdp: String = (1..200).map(|port| format!("a=candidate:1 1 udp 1 192.0.2.1 {port} typ host\r\n")).collect();
        assert_eq!(Remote::candidates_in(&sdp, IpAddr::from([127, 0, 0, 1])).len(), MAX_CANDIDATES);
    }
}
