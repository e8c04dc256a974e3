//! Whether a media thread is there and gets on, as others see it without asking it.
//!
//! Flow: the thread [`beats`](Heartbeat::beat) at every turn of its loop, says when it is [`idle`](Heartbeat::idle) until an
//! order comes, and that it [`died`](Heartbeat::died) as its last act; [`Heartbeat::state`] is for everybody else.
//!
//! At the bound: a thread that has not beaten for [`STALLED_AFTER`] is stalled. That passes when it beats again; death does
//! not.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use voicebridge_audio::Time;

/// Without a turn of its loop for this long, a thread with calls is stalled. Turns are a second apart at most; the worst
/// pauses of a crowded machine are of some hundred milliseconds, and a caller who hears nothing for 5 s takes the call for
/// dead.
pub const STALLED_AFTER: Duration = Duration::from_secs(5);

/// In place of a time: there is nothing to do, and an order ends that.
const IDLE: u64 = u64::MAX;
/// In place of a time: the thread has left its loop for good.
const DEAD: u64 = u64::MAX - 1;

/// How a media thread is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ThreadState {
    /// Its loop turns, or waits for a call.
    Running,
    /// Its loop has not turned for [`STALLED_AFTER`].
    Stalled,
    /// Its loop has ended; its calls were ended with it.
    Dead,
}

/// The last sign of life of a thread: microseconds of the node's clock, or one of the two words above.
#[derive(Debug)]
pub(super) struct Heartbeat(AtomicU64);

impl Heartbeat {
    /// Of a thread without calls.
    pub(super) const fn new() -> Self {
        Self(AtomicU64::new(IDLE))
    }

    /// The loop turns.
    pub(super) fn beat(&self, now: Time) {
        self.0.store(now.as_micros(), Ordering::Relaxed);
    }

    /// There is nothing to do until an order comes.
    pub(super) fn idle(&self) {
        self.0.store(IDLE, Ordering::Relaxed);
    }

    /// The loop has ended.
    pub(super) fn died(&self) {
        self.0.store(DEAD, Ordering::Relaxed);
    }

    pub(super) fn state(&self, now: Time) -> ThreadState {
        match self.0.load(Ordering::Relaxed) {
            IDLE => ThreadState::Running,
            DEAD => ThreadState::Dead,
            beat if now.since(Time::from_micros(beat)) < STALLED_AFTER => ThreadState::Running,
            _ => ThreadState::Stalled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_stops_beating_is_stalled_until_it_beats_again() {
        let heartbeat = Heartbeat::new();
        let last = Time::from_millis(1_000);
        let limit = last + STALLED_AFTER;
        heartbeat.beat(last);
        assert_eq!(heartbeat.state(Time::from_micros(limit.as_micros() - 1)), ThreadState::Running);
        assert_eq!(heartbeat.state(limit), ThreadState::Stalled);
        assert_eq!(heartbeat.state(Time::ZERO), ThreadState::Running, "looked at a moment before it beat");
        heartbeat.beat(limit);
        assert_eq!(heartbeat.state(limit), ThreadState::Running);
    }

    #[test]
    fn a_thread_without_calls_is_well_however_long() {
        let heartbeat = Heartbeat::new();
        let ages = Time::ZERO + STALLED_AFTER * 100_000;
        assert_eq!(heartbeat.state(ages), ThreadState::Running);
        heartbeat.beat(Time::ZERO);
        heartbeat.idle();
        assert_eq!(heartbeat.state(ages), ThreadState::Running);
    }

    #[test]
    fn death_is_for_good() {
        let heartbeat = Heartbeat::new();
        heartbeat.beat(Time::ZERO);
        heartbeat.died();
        assert_eq!(heartbeat.state(Time::ZERO), ThreadState::Dead);
    }
}
