//! Forgets ended calls after a while, with everything that was said in them.
//!
//! In small batches with a pause after each, because one connection writes for everybody and a call being set up must not
//! wait for old ones. What is late because the process was down is made up for in the first round. Tombstones have a
//! clock of their own, see the store.

use std::{sync::Arc, time::Duration};

use crate::{clock::now_ms, config::Limits, convert, store::Store};

/// Calls deleted in one transaction.
const BATCH: u32 = 20;
/// Between two of them.
const PAUSE: Duration = Duration::from_millis(100);

/// Runs until it is aborted; returns at once when calls are kept for ever.
pub(crate) async fn prune(store: Arc<dyn Store>, limits: Limits) {
    if limits.retention.is_zero() {
        return;
    }
    let mut rounds = tokio::time::interval(limits.retention_round);
    rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        rounds.tick().await;
        let age_ms = i64::try_from(convert::duration_ms(limits.retention)).unwrap_or(i64::MAX);
        let before_ms = now_ms().saturating_sub(age_ms);
        let mut deleted = 0;
        loop {
            match store.prune(before_ms, BATCH).await {
                Ok(0) => break,
                Ok(calls) => deleted += calls,
                Err(error) => {
                    // The next round tries again.
                    tracing::error!(error = &error as &dyn std::error::Error, "old calls could not be deleted");
                    break;
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
        if deleted > 0 {
            tracing::info!(calls = deleted, "calls older than VOICEBRIDGE_RETENTION_DAYS were deleted");
            metrics::counter!("voicebridge_control_calls_deleted_total").increment(deleted);
        }
    }
}
