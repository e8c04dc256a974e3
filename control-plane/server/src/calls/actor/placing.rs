//! Which node is asked next: in the order of placement, another one whenever one refuses or stays silent.
//!
//! Each attempt is a session of its own and is written down before it is made, so that a session can be ended even if its
//! answer never arrived. Asks nobody itself.

use tonic::{Code, Status};
use voicebridge_core::call_life::Event;
use voicebridge_proto::media::v1::StartSessionRequest;
use voicebridge_telemetry::status::{metadata, reason};

use crate::{
    calls::{
        offer::{Offer, OfferAnswer},
        ports::Candidates,
    },
    store::{CallRow, SessionPlace},
};

/// What asking one node came to.
pub(super) enum Attempt {
    Placed(OfferAnswer),
    /// The offer itself is refused, by whichever node.
    Rejected(Event),
    /// The node said no; another may not.
    Refused,
    /// The node may have begun a session nobody will ask for.
    Silent,
}

/// See the module.
pub(super) struct Placing {
    /// None: a restored call is never placed.
    offer: Option<Offer>,
    candidates: Option<Candidates>,
    asked: u32,
}

impl Placing {
    pub(super) const fn new(offer: Option<Offer>) -> Self {
        Self { offer, candidates: None, asked: 0 }
    }

    pub(super) fn begin(&mut self, candidates: Candidates) {
        self.candidates = Some(candidates);
    }

    /// The session to ask for next; else what that means for the call.
    pub(super) fn next(&mut self) -> Result<SessionPlace, Event> {
        let is_empty = |offer: &Offer| offer.sdp.trim().is_empty();
        if self.offer.as_ref().is_none_or(is_empty) {
            let (rule, message) = ("no-sdp".to_owned(), "the call came without an offer".to_owned());
            return Err(Event::OfferRejected { rule, message });
        }
        let Some(candidates) = &mut self.candidates else { return Err(Event::PlacementFailed) };
        candidates.sessions.next().ok_or_else(|| {
            tracing::warn!(known = candidates.known, asked = self.asked, "no node took the call");
            Event::PlacementFailed
        })
    }

    /// No node is asked any more: the offer has ICE credentials in it, and with its agent what is personal.
    pub(super) fn finish(&mut self) {
        (self.offer, self.candidates) = (None, None);
    }

    /// What the node of this session is asked.
    pub(super) fn request(&mut self, call: &CallRow, session: &SessionPlace) -> Option<StartSessionRequest> {
        self.asked += 1;
        self.offer.as_ref().map(|offer| offer.request(call, &session.session_id))
    }
}

/// What a node's answer means.
pub(super) fn judge(node_id: &str, answer: Result<OfferAnswer, Status>) -> Attempt {
    let status = match answer {
        Ok(answer) => return Attempt::Placed(answer),
        Err(status) => status,
    };
    if status.code() == Code::InvalidArgument {
        let rule = metadata(&status, "rule").unwrap_or_else(|| "unspecified".to_owned());
        return Attempt::Rejected(Event::OfferRejected { rule, message: status.message().to_owned() });
    }
    let why = reason(&status).unwrap_or_default();
    tracing::warn!(node = node_id, code = ?status.code(), reason = why, "the node did not take the call");
    metrics::counter!("voicebridge_control_placements_refused_total", "reason" => label(&why)).increment(1);
    // With a reason of ours the node said no.
    if why.is_empty() { Attempt::Silent } else { Attempt::Refused }
}

/// Reasons are ours and few; anything else is one label.
fn label(why: &str) -> &'static str {
    match why {
        "NODE_FULL" => "NODE_FULL",
        "NODE_DRAINING" => "NODE_DRAINING",
        "MEDIA_THREAD_LOST" => "MEDIA_THREAD_LOST",
        "UNAUTHENTICATED" => "UNAUTHENTICATED",
        "" => "UNREACHABLE",
        _ => "OTHER",
    }
}
