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
use uuid::Uuid;
use voicebridge_core::{
    call_life::{GraphAction, Sdp, SignallingStage},
    identity::{Caller, Wacid},
    placement::{Rules, order},
    termination::Termination,
};
use voicebridge_proto::{
    media::v1::{AdvanceSessionRequest, EndSessionRequest, ListSessionsRequest, Session, StartSessionRequest},
    types::v1 as types,
};

use super::{
    offer::OfferAnswer,
    ports::{Candidates, Ports},
};
use crate::{
    callback::{Callback, CallbackError, Notice},
    config::Limits,
    convert,
    graph::{Answer, Graph},
    nodes::{Clients, Followed, Following, NodeNews, Registry, follow},
    store::{Lease, SessionPlace},
};

/// Repetitions of a request that got no answer: 3 attempts in about 200 ms, plus their own time.
const REPETITIONS: usize = 2;
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// Nodes, Graph and holders of signalling as they are.
pub(crate) struct RealPorts {
    /// The right to act on calls.
    pub(crate) lease: Arc<Lease>,
    /// None without an access token: then no managed call can exist.
    pub(crate) graph: Option<Graph>,
    /// For the end of self-held calls when `graph` is none.
    pub(crate) callback: Option<Callback>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) clients: Arc<Clients>,
    /// Preferred regions by caller.
    pub(crate) placement: Rules,
    pub(crate) limits: Limits,
}

#[async_trait]
impl Ports for RealPorts {
    fn candidates(&self, caller: &Caller) -> Candidates {
        let regions = self.placement.regions(caller.phone_number.as_ref(), caller.user_id.as_ref()).to_vec();
        let views = self.registry.views();
        let nodes: Vec<_> =
            order(&views, &regions).into_iter().map(|node| (node.node_id.clone(), node.region.clone())).collect();
        let registry = Arc::clone(&self.registry);
        let sessions = nodes.into_iter().filter_map(move |(node_id, region)| {
            let node_url = registry.url(&node_id)?;
            Some(SessionPlace { session_id: Uuid::now_v7().to_string(), node_id, node_url, region })
        });
        Candidates { known: views.len(), sessions: Box::new(sessions) }
    }

    async fn start_session(&self, session: &SessionPlace, request: StartSessionRequest) -> Result<OfferAnswer, Status> {
        let answer = self.given_answer(session, request).await?;
        self.registry.placed(&session.node_id);
        Ok(answer)
    }

    async fn given_answer(&self, session: &SessionPlace, request: StartSessionRequest) -> Result<OfferAnswer, Status> {
        self.lease.held().await;
        let limit = self.limits.place_timeout;
        let mut client = self.clients.client(&session.node_url)?;
        let mut request = Request::new(request);
        // The node learns how long we wait, and does not begin what nobody will use.
        request.set_timeout(limit);
        let answered = tokio::time::timeout(limit, client.start_session(request)).await;
        let response =
            answered.map_err(|_| Status::deadline_exceeded("the node did not answer the offer in time"))??.into_inner();
        Ok(OfferAnswer { sdp: response.sdp_answer, warnings: response.warnings })
    }

    async fn may_act(&self) {
        self.lease.held().await;
    }

    fn graph_number(&self, of_call: &str) -> Option<String> {
        self.graph.as_ref().and_then(|graph| graph.number(of_call)).map(str::to_owned)
    }

    async fn graph(
        &self,
        number: Option<&str>,
        wacid: &Wacid,
        action: GraphAction,
        answer: Option<&Sdp>,
        until: Instant,
    ) -> Answer {
        match (&self.graph, number) {
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
        match &self.callback {
            Some(callback) => callback.tell(notice, is_known).await,
            None => Err(CallbackError::NotConfigured),
        }
    }

    /// Idempotent and monotonic at the node, so it is repeated.
    async fn advance_session(
        &self,
        session: &SessionPlace,
        stage: SignallingStage,
    ) -> Result<types::SignallingStage, Status> {
        let stage = convert::signalling_stage_to_wire(stage);
        let attempt = || async {
            self.lease.held().await;
            let request = AdvanceSessionRequest { session_id: session.session_id.clone(), stage: stage.into() };
            let mut client = self.clients.client(&session.node_url)?;
            let answered = tokio::time::timeout(self.limits.node_timeout, client.advance_session(request)).await;
            Ok(answered.map_err(|_| Status::deadline_exceeded("the node did not answer"))??.into_inner().stage())
        };
        attempt.retry(self.repetitions(session)).when(is_silence).await
    }

    /// Idempotent at the node, so it is repeated. NOT_FOUND: there is no such session (any more).
    async fn end_session(&self, session: &SessionPlace, termination: &Termination) -> Result<(), Status> {
        let attempt = || async {
            self.lease.held().await;
            let request = EndSessionRequest {
                session_id: session.session_id.clone(),
                termination: Some(convert::termination_to_wire(termination)),
            };
            let mut client = self.clients.client(&session.node_url)?;
            let answered = tokio::time::timeout(self.limits.node_timeout, client.end_session(request)).await;
            answered.map_err(|_| Status::deadline_exceeded("the node did not answer"))??;
            Ok(())
        };
        attempt.retry(self.repetitions(session)).when(is_silence).await
    }

    async fn follow(&self, followed: Followed, news: mpsc::Sender<NodeNews>) -> Following {
        follow(&self.registry, &self.clients, followed, news).await
    }

    async fn sessions(&self, node_url: &str) -> Result<Vec<Session>, Status> {
        let mut client = self.clients.client(node_url)?;
        let listed = client.list_sessions(ListSessionsRequest { include_ended: false });
        let answered = tokio::time::timeout(self.limits.node_timeout, listed).await;
        Ok(answered.map_err(|_| Status::deadline_exceeded("the node did not answer"))??.into_inner().sessions)
    }
}

impl RealPorts {
    /// A node that is not registered gets one attempt.
    fn repetitions(&self, session: &SessionPlace) -> ExponentialBuilder {
        let registered = self.registry.liveness(&session.node_id).is_some();
        ExponentialBuilder::new().with_min_delay(FIRST_PAUSE).with_max_times(if registered { REPETITIONS } else { 0 })
    }
}

fn is_silence(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded | Code::Unknown | Code::Cancelled)
}
