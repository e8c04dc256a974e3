//! What can come to a call's task.

use tokio::sync::oneshot;
use tonic::Status;
use voicebridge_core::call_life::{DeadlineKind, Event, GraphAction};
use voicebridge_proto::types::v1 as types;

use crate::{
    callback::CallbackError,
    calls::{CallError, handle::Message, offer::OfferAnswer},
    graph::Answer,
    nodes::{Following, NodeNews},
    store::{SessionPlace, Written},
};

/// An API caller waiting for the stage the session is at.
pub(super) type Reporter = oneshot::Sender<Result<types::SignallingStage, CallError>>;

/// What became of an effect.
pub(super) enum Done {
    /// A node was asked to begin this session.
    Asked(SessionPlace, Result<OfferAnswer, Status>),
    /// No node is asked any more, which is this event.
    Unplaced(Event),
    Graph(GraphAction, Answer),
    /// Whoever holds the signalling was told, or not.
    HolderTold(GraphAction, Result<(), CallbackError>),
    Advanced(Option<Reporter>, Result<types::SignallingStage, Status>),
    SessionTold(Result<(), Status>),
    /// There are no more events of the node.
    Followed(Following),
}

/// See the module.
pub(super) enum Input {
    Done(Done),
    News(NodeNews),
    Message(Message),
    Deadline(DeadlineKind),
}

/// What comes next of what is under way.
pub(super) enum Next {
    Input(Input),
    /// The store answered to what was to be written.
    Written(Written),
}
