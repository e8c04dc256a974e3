//! The real ports: requests to nodes, each with its deadline; what is worth repeating is repeated while the node is there.
//!
//! Nothing is asked of a node, of Graph or of a holder while another process may have the calls: whoever asks waits for the
//! lease ([`crate::store::Lease`]), and nothing more leaves a process that has lost it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use backon::{ExponentialBuilder, Retryable as _};
use tokio::sync::mpsc;
use tonic::{Code, Request, Status};
use voicebridge_core::{
    call_life::{GraphAction, Sdp, SignallingStage},
    identity::Wacid,
    termination::Termination,
};
use voicebridge_proto::{
    media::v1::{AdvanceSessionRequest, EndSessionRequest, StartSessionRequest},
    types::v1 as types,
};

use super::{
    CallError, OfferAnswer,
    place::{Attempt, Offer, Placement, place},
    ports::Ports,
};
use crate::{
    callback::{CallbackError, Notice},
    convert,
    graph::Answer,
    nodes::{Followed, Following, NodeNews, follow},
    shared::Shared,
    store::{CallRow, SessionPlace},
};

/// Repetitions of a request that got no answer: 3 attempts in about 200 ms, plus their own time.
const REPETITIONS: usize = 2;
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// Nodes, Graph and holders of signalling as they are.
pub(super) struct LivePorts(pub(super) Arc<Shared>);

#[async_trait]
impl Ports for LivePorts {
    async fn place(&self, call: CallRow, offer: Offer, attempts: mpsc::Sender<Attempt>) -> Placement {
        place(&self.0, call, offer, attempts).await
    }

    async fn may_act(&self) {
        self.0.lease.held().await;
    }

    fn graph_number(&self, of_call: &str) -> Option<String> {
        self.0.graph.as_ref().and_then(|graph| graph.number(of_call)).map(str::to_owned)
    }

    async fn graph(
        &self,
        number: Option<&str>,
        wacid: &Wacid,
        action: GraphAction,
        answer: Option<&Sdp>,
        until: Instant,
    ) -> Answer {
        match (&self.0.graph, number) {
            (Some(graph), Some(number)) => graph.act(number, wacid, action, answer.map(Sdp::as_str), until).await,
            // A managed call of before a restart without Meta's values.
            _ => Answer::not_asked("not-configured"),
        }
    }

    async fn tell_holder(
        &self,
        notice: &Notice,
        is_known: &(dyn Fn() -> bool + Send + Sync),
    ) -> Result<(), CallbackError> {
        self.0.lease.held().await;
        match &self.0.callback {
            Some(callback) => callback.tell(notice, is_known).await,
            None => Err(CallbackError::NotConfigured),
        }
    }

    async fn advance_session(&self, session: &SessionPlace, stage: SignallingStage) -> Result<types::SignallingStage, Status> {
        advance_session(&self.0, session, stage).await
    }

    async fn end_session(&self, session: &SessionPlace, termination: &Termination) -> Result<(), Status> {
        end_session(&self.0, session, termination).await
    }

    async fn follow(&self, followed: Followed, news: mpsc::Sender<NodeNews>) -> Following {
        follow(&self.0.registry, &self.0.clients, followed, news).await
    }
}

/// One attempt: the next node is better than a second one.
pub(super) async fn start_session(
    shared: &Shared,
    node_url: &str,
    request: StartSessionRequest,
) -> Result<OfferAnswer, CallError> {
    shared.lease.held().await;
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
async fn advance_session(shared: &Shared, session: &SessionPlace, stage: SignallingStage) -> Result<types::SignallingStage, Status> {
    let stage = convert::signalling_stage_to_wire(stage);
    let attempt = || async {
        shared.lease.held().await;
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
        shared.lease.held().await;
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
