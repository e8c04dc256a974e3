//! What is asked of others for calls: nodes, Graph, whoever holds the signalling. Real ones in production, scripted ones in
//! virtual time in tests.

use std::time::Instant;

use async_trait::async_trait;
use tokio::sync::mpsc;
use tonic::Status;
use voicebridge_core::{
    call_life::{GraphAction, Sdp, SignallingStage},
    identity::{Caller, Wacid},
    termination::Termination,
};
use voicebridge_proto::{
    media::v1::{Session, StartSessionRequest},
    types::v1 as types,
};

use super::offer::OfferAnswer;
use crate::{
    callback::{CallbackError, Notice},
    graph::Answer,
    nodes::{Followed, Following, NodeNews},
    store::SessionPlace,
};

/// Sessions that may be asked for.
pub(super) struct Candidates {
    /// Nodes there are.
    pub(super) known: usize,
    /// The best node's first. Each is named when it is wanted, so that a node that left is passed over.
    pub(super) sessions: Box<dyn Iterator<Item = SessionPlace> + Send>,
}

/// See the module. Each request has its own deadline and its own repetitions.
#[async_trait]
pub(super) trait Ports: Send + Sync + 'static {
    /// Where a call of this caller may be.
    fn candidates(&self, caller: &Caller) -> Candidates;

    /// Has a node begin a session. One attempt: the next node is better than a second one.
    async fn start_session(&self, session: &SessionPlace, request: StartSessionRequest) -> Result<OfferAnswer, Status>;

    /// The answer that a node gave in a session it has.
    async fn given_answer(&self, session: &SessionPlace, request: StartSessionRequest) -> Result<OfferAnswer, Status>;

    /// Waits until this process may act on calls, see [`crate::store`].
    async fn may_act(&self);

    /// The number a call is spoken of under at Graph; none: its holder speaks.
    fn graph_number(&self, of_call: &str) -> Option<String>;

    /// Asks Graph, again if need be until then; without a number there is nobody to ask.
    async fn graph(
        &self,
        number: Option<&str>,
        wacid: &Wacid,
        action: GraphAction,
        answer: Option<&Sdp>,
        until: Instant,
    ) -> Answer;

    /// Tells whoever holds the signalling, until `is_known`.
    async fn tell_holder(
        &self,
        notice: &Notice,
        is_known: &(dyn Fn() -> bool + Send + Sync),
    ) -> Result<(), CallbackError>;

    /// Tells the node how far signalling has come.
    async fn advance_session(
        &self,
        session: &SessionPlace,
        stage: SignallingStage,
    ) -> Result<types::SignallingStage, Status>;

    /// Has a session ended. NOT_FOUND: there is none (any more).
    async fn end_session(&self, session: &SessionPlace, termination: &Termination) -> Result<(), Status>;

    /// Follows a session's events until there are no more.
    async fn follow(&self, followed: Followed, news: mpsc::Sender<NodeNews>) -> Following;

    /// The sessions a node has.
    async fn sessions(&self, node_url: &str) -> Result<Vec<Session>, Status>;
}
