//! What a call's task asks of others: nodes, Graph, whoever holds the signalling. Real ones in production, scripted ones in
//! virtual time in tests.

use std::time::Instant;

use async_trait::async_trait;
use tokio::sync::mpsc;
use tonic::Status;
use voicebridge_core::{
    call_life::{GraphAction, Sdp, SignallingStage},
    identity::Wacid,
    termination::Termination,
};
use voicebridge_proto::types::v1 as types;

use super::place::{Attempt, Offer, Placement};
use crate::{
    callback::{CallbackError, Notice},
    graph::Answer,
    nodes::{Followed, Following, NodeNews},
    store::{CallRow, SessionPlace},
};

/// See the module. Each request has its own deadline and its own repetitions.
#[async_trait]
pub(super) trait Ports: Send + Sync + 'static {
    /// Finds a node for a call. Each attempt is told before it is made and made once it is written down.
    async fn place(&self, call: CallRow, offer: Offer, attempts: mpsc::Sender<Attempt>) -> Placement;

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
    async fn advance_session(&self, session: &SessionPlace, stage: SignallingStage) -> Result<types::SignallingStage, Status>;

    /// Has a session ended. NOT_FOUND: there is none (any more).
    async fn end_session(&self, session: &SessionPlace, termination: &Termination) -> Result<(), Status>;

    /// Follows a session's events until there are no more.
    async fn follow(&self, followed: Followed, news: mpsc::Sender<NodeNews>) -> Following;
}
