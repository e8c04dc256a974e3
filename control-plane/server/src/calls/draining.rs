//! How the calls of a process that ends are brought to rest: what is being set up or ended is finished, what is answered is
//! left to its node.

use super::{handle::Handle, live::Live};
use crate::{config::Limits, lifetime::Lifetime};

/// Waits until nothing is being set up or ended, then leaves the rest to the nodes. Bounded: set-up has the ring budget,
/// ending its own deadline; what the store has not taken by then is left to the next process.
pub(super) async fn drain(live: &Live, limits: &Limits, lifetime: &Lifetime) {
    if tokio::time::timeout(limits.ring_budget + limits.ending, idle(live)).await.is_err() {
        tracing::warn!(calls = live.count(), "some calls could not be brought to rest; the next process ends them");
    }
    lifetime.detach();
    // What waits for the lease may do so for ever.
    let tasks = lifetime.finish(limits.ending).await;
    if tasks > 0 {
        tracing::warn!(tasks, "some requests are not over; the next process makes them again");
    }
}

/// Until nothing is being set up or ended.
async fn idle(live: &Live) {
    loop {
        let busy: Vec<Handle> =
            live.all().into_iter().map(|(.., handle)| handle).filter(|handle| handle.view().is_busy).collect();
        let Some(handle) = busy.first() else { break };
        tracing::info!(calls = busy.len(), "waiting for calls that are being set up or ended");
        handle.wait(|view| !view.is_busy).await;
        // A task that is gone is removed by itself in a moment.
        tokio::task::yield_now().await;
    }
}
