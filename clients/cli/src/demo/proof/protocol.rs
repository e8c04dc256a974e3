//! Signalling and packets: Meta's rules, one stream without a break, the right ending.

use voicebridge_proto::types::v1::TerminationResult;

use super::Finding;
use crate::demo::evidence::Evidence;

pub(super) fn examine(evidence: &Evidence) -> Vec<Finding> {
    vec![answered(evidence), rules(evidence), stream(evidence), placed(evidence), ended(evidence)]
}

fn answered(evidence: &Evidence) -> Finding {
    const CLAIM: &str = "pre_accept and accept carried the identical SDP";
    let record = &evidence.record;
    match (&record.sdp_pre_accept, &record.sdp_accept) {
        (Some(first), Some(second)) => Finding::new(CLAIM, first == second, format!("{} bytes", second.len())),
        (None, _) => Finding::new(CLAIM, false, "no pre_accept succeeded"),
        (_, None) => Finding::new(CLAIM, false, "no accept succeeded"),
    }
}

fn rules(evidence: &Evidence) -> Finding {
    Finding::unless(
        "no rule of Meta's was broken",
        evidence.record.violations.clone(),
        "no RTP before accept, none missing",
    )
}

fn stream(evidence: &Evidence) -> Finding {
    let record = &evidence.record;
    let seen = record.continuity();
    let mut amiss = Vec::new();
    for (count, what) in [
        (seen.lost, "lost"),
        (seen.reordered, "out of order"),
        (seen.duplicated, "twice"),
        (seen.timestamp_breaks, "not 20 ms after the one before"),
    ] {
        if count > 0 {
            amiss.push(format!("{count} packets {what}"));
        }
    }
    if record.ssrcs.len() != 1 {
        amiss.push(format!("{} SSRCs", record.ssrcs.len()));
    }
    if record.sender_reports == 0 && record.packets.len() > 500 {
        amiss.push("no RTCP sender report".to_owned());
    }
    let fine = format!("{} packets in one SSRC, {} sender reports", seen.received, record.sender_reports);
    Finding::unless("the caller got one unbroken stream of 20 ms packets", amiss, fine)
}

fn placed(evidence: &Evidence) -> Finding {
    let (wanted, got) = (evidence.caller.region, evidence.call.region.as_str());
    Finding::new("the call was placed in the caller's region", wanted == got, format!("{got:?}, wanted {wanted:?}"))
}

fn ended(evidence: &Evidence) -> Finding {
    const CLAIM: &str = "the call ended once, as it should";
    let wanted = evidence.caller.plot.ending();
    match &evidence.call.termination {
        Some(termination) => Finding::new(
            CLAIM,
            termination.result() == TerminationResult::Completed && termination.reason == wanted,
            format!("{}: {}", termination.reason, termination.message),
        ),
        None => {
            Finding::new(CLAIM, false, format!("it has not ended; for Meta it did: {:?}", evidence.record.ended_by))
        }
    }
}
