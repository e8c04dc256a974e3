//! What every part of the control plane works with. Made once, never changed.

use std::sync::Arc;

use crate::{
    config::{Config, Limits},
    events::{Cursors, Hub, Source},
    lifetime::Lifetime,
    nodes::{Clients, Registry},
    store::{Lease, Store},
};

pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) store: Arc<dyn Store>,
    /// The right to act on its calls.
    pub(crate) lease: Arc<Lease>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) clients: Arc<Clients>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) cursors: Cursors,
    pub(crate) lifetime: Lifetime,
}

impl Shared {
    pub(crate) fn events(&self) -> Source {
        Source {
            hub: Arc::clone(&self.hub),
            store: Arc::clone(&self.store),
            detach: self.lifetime.detachment(),
            keepalive: self.limits().keepalive,
        }
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.config.limits
    }
}
