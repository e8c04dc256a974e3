//! What the handlers of calls and events work with.

use std::sync::Arc;

use super::{page_token::PageTokens, shares::Shares};
use crate::{
    calls::Calls,
    config::Limits,
    events::{Cursors, Source},
    nodes::Clients,
    store::{Lease, Store},
    webhook::Webhook,
};

/// See the module. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) store: Arc<dyn Store>,
    /// The right to act on its calls.
    pub(crate) lease: Arc<Lease>,
    pub(crate) clients: Arc<Clients>,
    pub(crate) calls: Calls,
    pub(crate) webhook: Webhook,
    pub(crate) events: Source,
    pub(crate) cursors: Cursors,
    pub(crate) pages: PageTokens,
    /// Event streams by key.
    pub(crate) streams: Arc<Shares>,
    pub(crate) limits: Limits,
}
