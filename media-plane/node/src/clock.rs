//! The node's one clock: the session core's [`Time`] is microseconds since the process began.

use std::time::{Duration, Instant};

use voicebridge_audio::Time;

/// Translates between the system's monotonic clock and the session core's.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// A clock that begins at `origin`.
    #[must_use]
    pub const fn new(origin: Instant) -> Self {
        Self { origin }
    }

    /// A moment as the session core counts.
    #[must_use]
    pub fn time(self, instant: Instant) -> Time {
        Time::from_micros(instant.saturating_duration_since(self.origin).as_micros() as u64)
    }

    /// A moment of the session core on the system's clock.
    #[must_use]
    pub fn instant(self, time: Time) -> Instant {
        self.origin + Duration::from_micros(time.as_micros())
    }
}
