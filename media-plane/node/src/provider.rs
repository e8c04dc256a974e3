//! The socket to an AI provider: one task per session, a bounded outbox towards it and a bounded inbox from it.
//!
//! Flow: [`socket::open`] is called while the call is still being answered; its task connects, then moves messages both
//! ways until either side closes. The session's thread puts messages into the [`Outbox`] and takes [`Arrival`]s from the
//! [`Inbox`] once a tick. What the messages mean is the session core's business.

mod outbox;
mod socket;

pub use outbox::Outbox;
pub use socket::{Arrival, Closed, Inbox, open};
