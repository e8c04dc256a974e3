//! Waiting for a condition instead of for a while.

use std::{
    future::Future,
    time::{Duration, Instant},
};

/// For things that take milliseconds on an idle machine: generous, because a busy one must not fail a test.
pub const SOON: Duration = Duration::from_secs(15);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(25);

/// Looks until there is something, and returns it.
///
/// # Panics
///
/// When there is still nothing at the deadline: `what` says what was waited for.
pub async fn eventually<T, F>(what: &str, deadline: Duration, mut look: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let started = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(started.elapsed() < deadline, "waited {deadline:?} for {what}");
        tokio::time::sleep(PAUSE).await;
    }
}
