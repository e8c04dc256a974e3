//! Rules of Meta's that a business broke on the wire, in words, from what the relay saw and the caller heard.
//!
//! Only what Meta forbids: late or missing packets are measured in the record, not judged here.

use super::{ear::EarFaults, observe::Observed, offer::TELEPHONE_EVENT};

/// `payload_type` is that of the call's codec.
pub(crate) fn violations(seen: &Observed, heard: EarFaults, payload_type: u8, answer_ssrc: Option<u32>) -> Vec<String> {
    let mut found = Vec::new();
    let mut counted = |count: u32, what: &str| {
        if count > 0 {
            found.push(format!("{count} {what}"));
        }
    };
    counted(seen.rtp_before_accept, "RTP packets before accept was answered: the user's timer started early");
    counted(
        seen.checks_as_controlled,
        "ICE checks as the controlled agent: next to a lite agent the business controls",
    );
    counted(heard.undecodable, "payloads that are not of the codec");
    counted(heard.not_20_ms, "packets that are not 20 ms long");
    counted(heard.timestamp_breaks, "jumps of the RTP time stamps by more than a minute");
    if seen.ssrcs.len() > 1 {
        found.push(format!("{} SSRCs in one call: {:?}", seen.ssrcs.len(), seen.ssrcs));
    }
    if let Some(named) = answer_ssrc
        && !seen.ssrcs.is_empty()
        && !seen.ssrcs.contains(&named)
    {
        found.push(format!("the answer names SSRC {named}, the packets {:?}", seen.ssrcs));
    }
    for other in seen.payload_types.iter().filter(|&&t| t != payload_type && t != TELEPHONE_EVENT) {
        found.push(format!("payload type {other} was not negotiated"));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clean_call_has_none() {
        let mut seen = Observed { sender_reports: 3, dtls_before_answer: 2, ..Observed::default() };
        seen.ssrcs.insert(7);
        seen.payload_types.extend([111, TELEPHONE_EVENT]);
        let late = EarFaults { late: 4, ..EarFaults::default() };
        assert_eq!(violations(&seen, late, 111, Some(7)), Vec::<String>::new());
    }

    #[test]
    fn each_rule_is_named() {
        let mut seen = Observed { rtp_before_accept: 2, checks_as_controlled: 1, ..Observed::default() };
        seen.ssrcs.extend([7, 8]);
        seen.payload_types.insert(0);
        let heard = EarFaults { undecodable: 1, not_20_ms: 1, late: 0, timestamp_breaks: 1 };
        let found = violations(&seen, heard, 111, Some(9));
        for part in [
            "2 RTP packets before accept",
            "1 ICE checks as the controlled",
            "1 payloads that are not of the codec",
            "1 packets that are not 20 ms",
            "1 jumps of the RTP time stamps",
            "2 SSRCs in one call",
            "names SSRC 9",
            "payload type 0 was not",
        ] {
            assert!(found.iter().any(|text| text.contains(part)), "{part} in {found:?}");
        }
        assert_eq!(found.len(), 8);
    }
}
