//! One call as a state machine, pure: no socket, clock, task or random source. Time is an argument.
//!
//! A driver (the node's shard, or a test in virtual time) feeds [`Session::handle`] with what happened and gives it
//! [`Ports`] to act on; [`Session::deadline`] says when it wants to be called next even if nothing happens.

pub mod event;
pub mod ports;

pub use event::{Event, EventKind, Termination, TerminationResult};
pub use ports::{Command, Input, Ports, RtpIn, RtpOut, Stage};
