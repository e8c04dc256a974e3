//! Calls in the store that have not ended and have no task get one: after a restart all of them, later the one that is asked
//! for.

use std::sync::Arc;

use voicebridge_core::identity::CallId;

use super::tasks::Tasks;
use crate::store::{CallPlace, Search, Store, StoreError};

/// Calls read at a time.
const PAGE: u32 = 500;

/// See the module. Cheap to clone.
#[derive(Clone)]
pub(super) struct Recovery {
    store: Arc<dyn Store>,
    tasks: Tasks,
}

impl Recovery {
    pub(super) fn new(store: Arc<dyn Store>, tasks: Tasks) -> Self {
        Self { store, tasks }
    }

    /// To be done before anything is served. Returns how many calls are known again.
    pub(super) async fn all(&self) -> Result<usize, StoreError> {
        let (mut after, mut count) = (None, 0);
        loop {
            let page = self.store.calls(&Search::live(after, PAGE)).await?;
            let Some(last) = page.last() else { return Ok(count) };
            after = Some(CallPlace::of(last));
            count += page.len();
            for row in page {
                self.tasks.restore(row).await?;
            }
        }
    }

    /// A live call without a task gets one.
    pub(super) async fn one(&self, call_id: &CallId) -> Result<(), StoreError> {
        self.tasks.restore_by_id(call_id).await.map(drop)
    }
}
