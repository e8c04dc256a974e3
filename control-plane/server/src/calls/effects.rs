//! The requests to nodes, each with its deadline; what is worth repeating is repeated while the node is there.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};
use tonic::{Code, Request, Status};
use voicebridge_core::{call_life::Stage, termination::Termination};
use voicebridge_proto::{
    media::v1::{AdvanceSessionRequest, EndSessionRequest, StartSessionRequest},
    types::v1::SignallingStage,
};

use super::{CallError, OfferAnswer};
use crate::{convert, shared::Shared, store::SessionPlace};

/// Repetitions of a request that got no answer: 3 attempts in about 200 ms, plus their own time.
const REPETITIONS: usize = 2;
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// One attempt: the next node is better than a second one.
pub(super) async fn start_session(
    shared: &Shared,
    node_url: &str,
    request: StartSessionRequest,
) -> Result<OfferAnswer, CallError> {
    let limit = shared.limits().place_timeout;
    let mut client = shared.clients.client(node_url).map_err(CallError::Node)?;
    let mut request = Request::new(request);
    // The node learns how long we wait, and does not begin what nobody will use.
    request.set_timeout(limit);
    let answered = tokio::time::timeout(limit, client.start_session(request)).await;
    let response = answered
        .map_err(|_| CallError::Node(Status::deadline_exceeded("the node did not answer the offer in time")))?
        .map_err(CallError::Node)?
        .into_inner();
    Ok(OfferAnswer { sdp: response.sdp_answer, warnings: response.warnings })
}

/// Idempotent and monotonic at the node, so it is repeated.
pub(super) async fn advance_session(
    shared: &Shared,
    session: &SessionPlace,
    stage: Stage,
) -> Result<SignallingStage, Status> {
    let stage = convert::stage_to_wire(stage);
    let attempt = || async {
        let request = AdvanceSessionRequest { session_id: session.session_id.clone(), stage: stage.into() };
        let mut client = shared.clients.client(&session.node_url)?;
        let answered = tokio::time::timeout(shared.limits().node_timeout, client.advance_session(request)).await;
        Ok(answered.map_err(|_| Status::deadline_exceeded("the node did not answer"))??.into_inner().stage())
    };
    attempt.retry(repetitions(shared, session)).when(is_silence).await
}

/// Idempotent at the node, so it is repeated. NOT_FOUND: there is no such session (any more).
pub(super) async fn end_session(
    shared: &Shared,
    session: &SessionPlace,
    termination: &Termination,
) -> Result<(), Status> {
    let attempt = || async {
        let request = EndSessionRequest {
            session_id: session.session_id.clone(),
            termination: Some(convert::termination_to_wire(termination)),
        };
        let mut client = shared.clients.client(&session.node_url)?;
        let answered = tokio::time::timeout(shared.limits().node_timeout, client.end_session(request)).await;
        answered.map_err(|_| Status::deadline_exceeded("the node did not answer"))??;
        Ok(())
    };
    attempt.retry(repetitions(shared, session)).when(is_silence).await
}

/// A node that is not registered gets one attempt.
fn repetitions(shared: &Shared, session: &SessionPlace) -> ExponentialBuilder {
    let registered = shared.registry.liveness(&session.node_id).is_some();
    ExponentialBuilder::new().with_min_delay(FIRST_PAUSE).with_max_times(if registered { REPETITIONS } else { 0 })
}

fn is_silence(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded | Code::Unknown | Code::Cancelled)
}
