//! What the control plane decides, pure: no socket, task, clock, random source, environment or file.
//!
//! - [`webhook`] turns Meta's deliveries into domain notices,
//! - [`call_life`] is the life of one call as `(phase, event) -> (phase, effects)`,
//! - [`placement`] orders the media nodes for a caller,
//! - [`identity`] holds the ids, and keeps personal data out of logs by type,
//! - [`labels`] are what users of the API note on calls, [`payloads`] what Meta sends along with them,
//! - [`termination`] is the one ending of a call and its stable reasons.
//!
//! The server executes effects and feeds back what came of them; nothing here waits or retries.

#![warn(missing_docs)]

pub mod call_life;
pub mod identity;
pub mod labels;
pub mod payloads;
pub mod placement;
pub mod termination;
pub mod webhook;
