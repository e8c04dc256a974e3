//! What a step asks for, to be done once it is written.

use voicebridge_core::call_life::Effect;

use super::input::Reporter;
use crate::store::SessionPlace;

/// See the module.
pub(super) enum Request {
    /// Whoever reported a stage waits for what comes of it.
    Effect(Effect, Option<Reporter>),
    /// A node is asked to begin this session.
    Session(SessionPlace),
}
