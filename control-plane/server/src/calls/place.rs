//! Finds a node for a call: in the order of placement, the next one whenever one refuses or stays silent.
//!
//! Each attempt has a session id of its own and is made once whoever owns the call has written it down, so that a session
//! can be ended even if its answer never arrived.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tonic::Code;
use uuid::Uuid;
use voicebridge_core::{
    placement::order,
    termination::{Termination, TerminationResult, reason as reasons},
};
use voicebridge_proto::{media::v1::StartSessionRequest, types::v1::Agent};
use voicebridge_telemetry::status::{metadata, reason};

use super::{OfferAnswer, effects};
use crate::{
    clock::now_ms,
    convert,
    shared::Shared,
    store::{CallRow, SessionPlace},
};

/// What a node needs to know besides the call.
#[derive(Clone)]
pub(super) struct Offer {
    pub(super) sdp: String,
    pub(super) agent: Option<Agent>,
}

/// A node is about to be asked.
#[derive(Debug)]
pub(super) struct Attempt {
    /// Where the session will be, if the node takes it.
    pub(super) session: SessionPlace,
    /// To be answered when it is written down. Dropped: nobody is asked any more.
    pub(super) recorded: oneshot::Sender<()>,
}

pub(super) enum Placement {
    Placed { session: SessionPlace, answer: OfferAnswer },
    Failed,
    Rejected { rule: String, message: String },
}

pub(super) async fn place(
    shared: &Arc<Shared>,
    call: CallRow,
    offer: Offer,
    attempts: mpsc::Sender<Attempt>,
) -> Placement {
    if offer.sdp.trim().is_empty() {
        return Placement::Rejected { rule: "no-sdp".to_owned(), message: "the call came without an offer".to_owned() };
    }
    let regions =
        shared.config.placement.regions(call.caller.phone_number.as_ref(), call.caller.user_id.as_ref()).to_vec();
    let views = shared.registry.views();
    let candidates = order(&views, &regions);
    let (mut asked, known) = (0_u32, views.len());
    for node in candidates {
        let Some(node_url) = shared.registry.url(&node.node_id) else { continue };
        let session = SessionPlace {
            session_id: Uuid::now_v7().to_string(),
            node_id: node.node_id.clone(),
            node_url,
            region: node.region.clone(),
        };
        let (recorded, is_recorded) = oneshot::channel();
        let told = attempts.send(Attempt { session: session.clone(), recorded }).await;
        if told.is_err() || is_recorded.await.is_err() {
            return Placement::Failed;
        }
        let request = StartSessionRequest {
            session_id: session.session_id.clone(),
            call_id: call.call_id.as_str().to_owned(),
            sdp_offer: offer.sdp.clone(),
            elapsed_ms: convert::elapsed_ms(call.received_at_ms, now_ms()),
            signalling_mode: convert::mode(call.holder).into(),
            agent: offer.agent.clone(),
            caller: Some(convert::caller_to_wire(&call.caller)),
        };
        asked += 1;
        let status = match effects::start_session(shared, &session.node_url, request).await {
            Ok(answer) => {
                shared.registry.placed(&session.node_id);
                return Placement::Placed { session, answer };
            }
            Err(super::CallError::Node(status)) => status,
            Err(_) => continue,
        };
        let why = reason(&status).unwrap_or_default();
        if status.code() == Code::InvalidArgument {
            let rule = metadata(&status, "rule").unwrap_or_else(|| "unspecified".to_owned());
            return Placement::Rejected { rule, message: status.message().to_owned() };
        }
        tracing::warn!(node = session.node_id, code = ?status.code(), reason = why, "the node did not take the call");
        metrics::counter!("voicebridge_control_placements_refused_total", "reason" => label(&why)).increment(1);
        // With a reason of ours the node said no; without, it may have begun a session nobody will ask for.
        if why.is_empty() {
            release(shared, session);
        }
    }
    tracing::warn!(known, asked, "no node took the call");
    Placement::Failed
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

/// Has a session ended that this call does not use, in its own time.
fn release(shared: &Arc<Shared>, session: SessionPlace) {
    let termination = Termination::new(
        TerminationResult::Failed,
        reasons::NODE_LOST,
        "The node did not answer in time; the call went on.",
    );
    let shared_for_task = Arc::clone(shared);
    shared.tasks.spawn(async move {
        // Whether it is ended or was never begun is the same to us.
        let _ = effects::end_session(&shared_for_task, &session, &termination).await;
    });
}
