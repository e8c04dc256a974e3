//! How long a gap is worth waiting for: as long as packets were recently seen to come after those that overtook them.

use crate::Time;
use std::time::Duration;

/// Longest wait, milliseconds. Packets overtaken by more are not worth delaying all others for.
pub const MAX_REORDER_MS: u64 = 40;
const MAX_WINDOW: Duration = Duration::from_millis(MAX_REORDER_MS);
/// Added to what was seen: a driver looks at its sockets once in this time.
const MARGIN: Duration = Duration::from_millis(5);
/// What was seen is forgotten after one to two of these.
const PERIOD: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(super) struct ReorderWindow {
    period_began: Time,
    current: Duration,
    previous: Duration,
}

impl ReorderWindow {
    /// A packet came this long after one that overtook it.
    pub(super) fn observe(&mut self, now: Time, overtaken_for: Duration) {
        self.forget(now);
        if overtaken_for <= MAX_WINDOW {
            self.current = self.current.max((overtaken_for + MARGIN).min(MAX_WINDOW));
        }
    }

    /// Lets go of what is too long ago.
    pub(super) fn forget(&mut self, now: Time) {
        let elapsed = now.since(self.period_began);
        if elapsed >= PERIOD {
            self.previous = if elapsed < PERIOD * 2 { self.current } else { Duration::ZERO };
            self.current = Duration::ZERO;
            self.period_began = now;
        }
    }

    /// How long to wait; zero while no packet was overtaken.
    pub(super) fn window(&self) -> Duration {
        self.current.max(self.previous)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn learns_within_bounds_and_forgets() {
        let mut window = ReorderWindow::default();
        let mut check = |at_ms: u64, overtaken_ms: Option<u64>, expect_ms: u64| {
            let now = Time::from_millis(at_ms);
            match overtaken_ms {
                Some(ms) => window.observe(now, Duration::from_millis(ms)),
                None => window.forget(now),
            }
            assert_eq!(window.window(), Duration::from_millis(expect_ms), "at {at_ms} ms");
        };
        check(100, None, 0);
        check(200, Some(10), 15);
        check(300, Some(3), 15);
        check(400, Some(300), 15);
        check(500, Some(39), 40);
        check(10_500, None, 40);
        check(11_000, Some(0), 40);
        check(20_600, None, 5);
        check(60_000, None, 0);
    }
}
