//! The connections of a call to its AI provider: for each a task with the socket, and a bounded queue each way.
//!
//! Flow: the session has a connection opened in [`ProviderSockets`] while the call is still being answered; its task connects,
//! then moves messages both ways until either side closes (`socket`). The session's thread puts messages into `outgoing` and
//! takes [`Arrival`]s from `incoming`; neither takes a lock. What the messages mean is the session core's business.

mod arrival;
mod connections;
mod incoming;
mod liveness;
mod outgoing;
mod socket;

pub use arrival::{Arrival, Closed};
pub use connections::{ProviderSockets, Target};
