//! A caller's offer, how a node is asked to answer it, and its answer.

use voicebridge_proto::{media::v1::StartSessionRequest, types::v1::Agent};

use crate::{clock::now_ms, convert, store::CallRow};

/// What a node needs to know besides the call.
#[derive(Clone)]
pub(super) struct Offer {
    pub(super) sdp: String,
    pub(super) agent: Option<Agent>,
}

impl Offer {
    /// Asks for an answer to it, in a session with this id.
    pub(super) fn request(&self, call: &CallRow, session_id: &str) -> StartSessionRequest {
        StartSessionRequest {
            session_id: session_id.to_owned(),
            call_id: call.call_id.as_str().to_owned(),
            sdp_offer: self.sdp.clone(),
            elapsed_ms: convert::elapsed_ms(call.received_at_ms, now_ms()),
            signalling_mode: convert::mode(call.holder).into(),
            agent: self.agent.clone(),
            caller: Some(convert::caller_to_wire(&call.caller)),
            deeplink_payload: call.payloads.deeplink.clone().unwrap_or_default(),
            cta_payload: call.payloads.cta.clone().unwrap_or_default(),
            biz_opaque_callback_data: call.payloads.biz_opaque.clone().unwrap_or_default(),
        }
    }
}

/// A node's answer to the offer.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct OfferAnswer {
    pub(crate) sdp: String,
    pub(crate) warnings: Vec<String>,
}

impl std::fmt::Debug for OfferAnswer {
    // The SDP carries ICE credentials.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OfferAnswer").field("warnings", &self.warnings).finish_non_exhaustive()
    }
}
