//! Knows whether a session has reached the duration at which the service ends it.

use std::time::Duration;

use voicebridge_audio::Time;

/// An end so long before the service's own date counts as one at it: clocks differ, and dialling takes time.
const MARGIN: Duration = Duration::from_secs(60);
/// Dates further ahead are taken for this one.
const FURTHEST: Duration = Duration::from_secs(24 * 60 * 60);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Lifetime {
    /// What time it was shortly before the socket was open, seconds since 1970.
    pub(super) unix_s: Option<u64>,
    /// Of the latest sign of life.
    pub(super) latest: Time,
    opened: Time,
    ends: Option<Time>,
}

impl Lifetime {
    pub(super) fn open(&mut self, now: Time) {
        self.opened = now;
        self.latest = now;
    }

    /// The service says when it will end the session, in seconds since 1970; 0 when it does not.
    pub(super) fn expires_at(&mut self, unix_s: u64) {
        if let (Some(opened_s), 1..) = (self.unix_s, unix_s) {
            let left = Duration::from_secs(unix_s.saturating_sub(opened_s)).min(FURTHEST);
            self.ends = Some(self.opened + left);
        }
    }

    /// Whether the end has come; `None` when it is not known.
    pub(super) fn is_over(&self) -> Option<bool> {
        self.ends.map(|ends| self.latest + MARGIN >= ends)
    }
}
