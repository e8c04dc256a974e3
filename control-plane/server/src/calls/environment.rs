//! What every call's task works with.

use std::sync::Arc;

use super::ports::Ports;
use crate::{config::Limits, events::Hub, lifetime::Lifetime, store::Store};

/// See the module. Cheap to clone.
#[derive(Clone)]
pub(super) struct Environment {
    pub(super) store: Arc<dyn Store>,
    /// Hears of events stored and passed on.
    pub(super) hub: Arc<Hub>,
    pub(super) ports: Arc<dyn Ports>,
    pub(super) limits: Limits,
    pub(super) lifetime: Lifetime,
}
