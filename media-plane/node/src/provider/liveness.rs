//! When a socket is to be asked for a sign of life, and when it is given up; by the provider's [`PingPolicy`].
//!
//! Anything that comes is a sign of life, so that pings go out in silence only (RFC 6455, section 5.5.2). When the caller
//! begins to wait for an answer a ping goes out at once, and silence counts from there: a server that had nothing to say
//! before is not dead for that. While we do not read, nothing is held against it. Without a policy nothing is asked and
//! nobody is given up.

use std::time::Duration;

use tokio::time::Instant;
use voicebridge_session::{Watch, provider::PingPolicy};

/// See the module.
#[derive(Debug)]
pub(super) struct Liveness {
    policy: Option<PingPolicy>,
    watch: Watch,
    /// When something came last.
    heard: Instant,
    /// When the caller began to wait.
    waiting_since: Instant,
    ping_at: Instant,
    reading: bool,
}

/// What is to be done about a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SocketDue {
    Ping,
    /// It gave no sign of life for this long.
    Dead(Duration),
}

impl Liveness {
    /// A socket that has just opened.
    pub(super) fn new(now: Instant, policy: Option<PingPolicy>) -> Self {
        let ping_at = policy.map_or(now, |policy| now + policy.every);
        Self { policy, watch: Watch::Idle, heard: now, waiting_since: now, ping_at, reading: true }
    }

    /// Something came.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard = now;
        self.ping_at = now + self.every();
    }

    /// Whether the caller waits, from now on.
    pub(super) fn watch(&mut self, now: Instant, watch: Watch) {
        if watch == self.watch {
            return;
        }
        self.watch = watch;
        match watch {
            Watch::TurnWaiting => (self.waiting_since, self.ping_at) = (now, now),
            Watch::Idle => self.ping_at = now + self.every(),
        }
    }

    /// We do not read what comes.
    pub(super) fn stop_reading(&mut self) {
        self.reading = false;
    }

    /// We read again.
    pub(super) fn go_on_reading(&mut self, now: Instant) {
        self.reading = true;
        self.heard = now;
    }

    /// When to look at [`Self::due`] if nothing happens.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.policy?;
        Some(self.dead_at().map_or(self.ping_at, |dead_at| dead_at.min(self.ping_at)))
    }

    /// What is due; a ping counts as sent.
    pub(super) fn due(&mut self, now: Instant) -> Option<SocketDue> {
        self.policy?;
        if self.dead_at().is_some_and(|dead_at| dead_at <= now) {
            return Some(SocketDue::Dead(now - self.heard));
        }
        (self.ping_at <= now).then(|| {
            self.ping_at = now + self.every();
            SocketDue::Ping
        })
    }

    fn dead_at(&self) -> Option<Instant> {
        let policy = self.policy.filter(|_| self.reading)?;
        let idle = self.heard + policy.dead_after;
        Some(match self.watch {
            Watch::Idle => idle,
            Watch::TurnWaiting => idle.min(self.heard.max(self.waiting_since) + policy.waiting_dead_after),
        })
    }

    fn every(&self) -> Duration {
        self.policy.map_or(Duration::ZERO, |policy| match self.watch {
            Watch::Idle => policy.every,
            Watch::TurnWaiting => policy.waiting_every,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: PingPolicy = PingPolicy {
        every: Duration::from_secs(8),
        dead_after: Duration::from_secs(18),
        waiting_every: Duration::from_millis(1_500),
        waiting_dead_after: Duration::from_millis(4_500),
    };

    /// Runs until it is dead or 60 s are over; pings as milliseconds, and when it died.
    fn run(liveness: &mut Liveness, from: Instant, mut at: impl FnMut(&mut Liveness, u64)) -> (Vec<u64>, Option<u64>) {
        let mut pings = Vec::new();
        for ms in 0..60_000 {
            let now = from + Duration::from_millis(ms);
            at(liveness, ms);
            if liveness.deadline().is_none_or(|deadline| deadline > now) {
                continue;
            }
            match liveness.due(now) {
                Some(SocketDue::Ping) => pings.push(ms),
                Some(SocketDue::Dead(_)) => return (pings, Some(ms)),
                None => panic!("a deadline without anything due at {ms} ms"),
            }
        }
        (pings, None)
    }

    fn check(at: impl FnMut(&mut Liveness, u64), pings: &[u64], dead: Option<u64>) {
        let now = Instant::now();
        assert_eq!(run(&mut Liveness::new(now, Some(POLICY)), now, at), (pings.to_vec(), dead));
    }

    fn after(now: Instant, ms: u64) -> Instant {
        now + Duration::from_millis(ms)
    }

    #[test]
    fn silence_is_asked_about_and_given_up() {
        check(|_, _| {}, &[8_000, 16_000], Some(18_000));
    }

    #[test]
    fn while_the_caller_waits_it_is_asked_at_once_and_given_up_sooner() {
        let now = Instant::now();
        let mut liveness = Liveness::new(now, Some(POLICY));
        let turn = |liveness: &mut Liveness, ms| {
            if ms == 7_000 {
                liveness.watch(after(now, ms), Watch::TurnWaiting);
            }
        };
        assert_eq!(run(&mut liveness, now, turn), (vec![7_000, 8_500, 10_000], Some(11_500)));
    }

    #[test]
    fn a_turn_does_not_prolong_what_was_silent_before() {
        let now = Instant::now();
        let mut liveness = Liveness::new(now, Some(POLICY));
        let turn = |liveness: &mut Liveness, ms| {
            if ms == 17_000 {
                liveness.watch(after(now, ms), Watch::TurnWaiting);
            }
        };
        assert_eq!(run(&mut liveness, now, turn), (vec![8_000, 16_000, 17_000], Some(18_000)));
    }

    #[test]
    fn a_turn_that_was_answered_is_watched_no_more() {
        let now = Instant::now();
        let mut liveness = Liveness::new(now, Some(POLICY));
        let turn = |liveness: &mut Liveness, ms| match ms {
            1_000 => liveness.watch(after(now, ms), Watch::TurnWaiting),
            1_200 => {
                liveness.heard(after(now, ms));
                liveness.watch(after(now, ms), Watch::Idle);
            }
            _ => {}
        };
        assert_eq!(run(&mut liveness, now, turn), (vec![1_000, 9_200, 17_200], Some(19_200)));
    }

    #[test]
    fn anything_that_comes_is_a_sign_of_life_and_saves_a_ping() {
        let now = Instant::now();
        let mut liveness = Liveness::new(now, Some(POLICY));
        liveness.watch(now, Watch::TurnWaiting);
        let delta = |liveness: &mut Liveness, ms: u64| {
            if ms.is_multiple_of(1_000) {
                liveness.heard(after(now, ms));
            }
        };
        assert_eq!(run(&mut liveness, now, delta), (vec![], None));
    }

    #[test]
    fn while_we_do_not_read_nothing_is_held_against_it() {
        let now = Instant::now();
        let mut liveness = Liveness::new(now, Some(POLICY));
        let slow = |liveness: &mut Liveness, ms| match ms {
            1_000 => liveness.stop_reading(),
            30_000 => liveness.go_on_reading(after(now, ms)),
            _ => {}
        };
        assert_eq!(run(&mut liveness, now, slow), (vec![8_000, 16_000, 24_000, 32_000, 40_000], Some(48_000)));
    }

    #[test]
    fn without_a_policy_nothing_is_asked() {
        let now = Instant::now();
        let mut liveness = Liveness::new(now, None);
        liveness.watch(now, Watch::TurnWaiting);
        assert_eq!((liveness.deadline(), liveness.due(after(now, 600_000))), (None, None));
    }
}
