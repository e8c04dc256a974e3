//! The ticks of a media thread, 5 ms apart: what need not be exact is done at the next one, together.

use std::time::{Duration, Instant};

/// Between two ticks.
pub(super) const TICK: Duration = Duration::from_millis(5);

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticks {
    origin: Instant,
}

impl Ticks {
    pub(super) const fn new(origin: Instant) -> Self {
        Self { origin }
    }

    /// The first tick after a moment.
    pub(super) fn after(self, moment: Instant) -> Instant {
        let ticks = moment.saturating_duration_since(self.origin).as_micros() / TICK.as_micros() + 1;
        self.origin + TICK * ticks as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_follows_every_moment() {
        let origin = Instant::now();
        let ticks = Ticks::new(origin);
        let after = |micros| ticks.after(origin + Duration::from_micros(micros)) - origin;
        for (moment, tick) in [(0, 5), (1, 5), (4_999, 5), (5_000, 10), (7_000, 10), (3_600_000_000, 3_600_005)] {
            assert_eq!(after(moment), Duration::from_millis(tick), "{moment} us");
        }
    }
}
