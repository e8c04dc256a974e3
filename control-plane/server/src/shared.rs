//! What every part of the control plane works with. Made once, never changed.

use std::sync::Arc;

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    callback::Callback,
    config::{Config, Limits},
    events::{Cursors, Hub, Source},
    graph::Graph,
    nodes::{Clients, Registry},
    store::{Lease, Store},
};

pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) store: Arc<dyn Store>,
    /// The right to act on its calls.
    pub(crate) lease: Arc<Lease>,
    /// None without an access token: then no managed call can exist.
    pub(crate) graph: Option<Graph>,
    /// For the end of self-held calls when `graph` is none.
    pub(crate) callback: Option<Callback>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) clients: Arc<Clients>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) cursors: Cursors,
    /// Set first when the process is to end: nothing new is begun.
    pub(crate) draining: CancellationToken,
    /// Set when nothing is being set up any more: calls are left to their nodes.
    pub(crate) detach: CancellationToken,
    /// Tasks that must not be cut off, e.g. telling a node to end a session.
    pub(crate) tasks: TaskTracker,
}

impl Shared {
    pub(crate) fn events(&self) -> Source {
        Source {
            hub: Arc::clone(&self.hub),
            store: Arc::clone(&self.store),
            detach: self.detach.clone(),
            keepalive: self.limits().keepalive,
        }
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.config.limits
    }
}
