//! The socket to an AI provider: one task per session, a bounded outbox towards it and a bounded inbox from it.
//!
//! Flow: the session has a connection opened in [`Connections`] while the call is still being answered; its task connects,
//! then moves messages both ways until either side closes. The session's thread puts messages into the connection's outbox
//! and takes [`Arrival`]s from its inbox. What the messages mean is the session core's business.

mod connections;
mod outbox;
mod socket;

pub use connections::{Connections, Target};
pub use socket::{Arrival, Closed};
