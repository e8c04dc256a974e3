//! Why something could not be done to a call.

use tonic::Status;
use voicebridge_core::termination::Termination;

use crate::store::StoreError;

#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error("no call with this id is known")]
    NotFound,
    #[error("the call has ended")]
    Ended(Termination),
    #[error("the call would have more labels than it may have")]
    TooManyLabels,
    #[error("the call has no session yet")]
    NotPlaced,
    #[error("the control plane talks to Meta about this call itself")]
    Managed,
    #[error("the call was started with another {0}")]
    ArgumentsDiffer(String),
    #[error("the control plane is shutting down")]
    Draining,
    #[error("the media node did not do it")]
    Node(Status),
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// A call that cannot be written down takes no more.
    #[error("the store does not answer; ask again")]
    Held,
    #[error("the call's task is gone")]
    Internal,
}
