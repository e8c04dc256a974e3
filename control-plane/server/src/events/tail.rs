//! Reads along what is stored, once for all who are at the head.

use std::{sync::Arc, time::Duration};

use super::{Entry, Hub};
use crate::store::Store;

/// Events read at a time.
const BATCH: u32 = 512;
/// After a failure of the store.
const PAUSE: Duration = Duration::from_millis(500);

/// Runs until it is aborted.
pub(crate) async fn tail(hub: Arc<Hub>, store: Arc<dyn Store>) {
    loop {
        let (after, stored) = hub.unread().await;
        match store.history(None, after, u64::MAX, BATCH).await {
            Ok(rows) => {
                let full = rows.len() == BATCH as usize;
                let last = rows.last().map_or(after, |row| row.position);
                // Positions without a row have been deleted.
                let through = if full { last } else { last.max(stored) };
                let entries = rows.into_iter().map(|row| Arc::new(Entry::stored(row))).collect();
                hub.read_along(after, entries, through);
            }
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "events could not be read for subscribers");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
