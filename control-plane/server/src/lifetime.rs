//! How the process ends: first nothing new is begun, then what goes on is left to the nodes, and what must not be cut off is
//! waited for.

use std::time::Duration;

use tokio_util::{
    sync::{CancellationToken, WaitForCancellationFuture},
    task::TaskTracker,
};

/// See the module. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lifetime {
    draining: CancellationToken,
    detach: CancellationToken,
    tasks: TaskTracker,
}

impl Lifetime {
    /// From now on nothing new is begun.
    pub(crate) fn drain(&self) {
        self.draining.cancel();
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// From now on calls are left to their nodes, and streams end.
    pub(crate) fn detach(&self) {
        self.detach.cancel();
    }

    /// Until calls are left to their nodes.
    pub(crate) fn detached(&self) -> WaitForCancellationFuture<'_> {
        self.detach.cancelled()
    }

    /// The same for those who know nothing else of this.
    pub(crate) fn detachment(&self) -> CancellationToken {
        self.detach.clone()
    }

    /// A task that must not be cut off, e.g. one that tells a node to end a session.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// Waits for those tasks. How many were not over in time.
    pub(crate) async fn finish(&self, within: Duration) -> usize {
        self.tasks.close();
        match tokio::time::timeout(within, self.tasks.wait()).await {
            Ok(()) => 0,
            Err(_) => self.tasks.len(),
        }
    }
}
