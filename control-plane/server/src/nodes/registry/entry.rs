//! One node as the registry knows it.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::nodes::{
    beat::Beat,
    detector::{Detector, Loss},
    identity::SecretHash,
    liveness::Liveness,
};

#[derive(Debug)]
pub(super) struct Registration {
    pub(super) beat: Beat,
    /// Or when we began to listen again.
    pub(super) last_beat: Instant,
    /// Which stream speaks for the node; `None` while none does.
    pub(super) stream: Option<u64>,
    /// Placed since the last beat, which does not count them yet.
    pub(super) placed: u32,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) url: String,
    /// None: a call of before our start names it.
    pub(super) registration: Option<Registration>,
    /// None: it has not told us, or not yet.
    pub(super) secret: Option<SecretHash>,
    /// It has answered a probe at its address, or registered.
    pub(super) answered: bool,
    pub(super) detector: Detector,
    /// Another node has registered at this address since: what comes from there is no sign of this one.
    pub(super) superseded: bool,
    pub(super) liveness: watch::Sender<Liveness>,
}

impl Entry {
    /// Nobody needs to know whether it is there: it has no calls that we know of, and its beats stopped long ago.
    pub(super) fn is_forgotten(&self, now: Instant, lost_after: Duration) -> bool {
        let silent = self.registration.as_ref().is_none_or(|registration| {
            registration.stream.is_none() && now.saturating_duration_since(registration.last_beat) > lost_after
        });
        silent && self.liveness.receiver_count() == 0
    }

    /// It had said that it drains, no call of ours is on it any more, and its process is gone.
    pub(super) fn has_left(&self, why: Loss) -> bool {
        let drains = self.registration.as_ref().is_some_and(|registration| registration.beat.draining);
        why == Loss::Gone && drains && self.liveness.receiver_count() == 0
    }

    /// We stood still: nothing that was not heard meanwhile is held against it.
    pub(super) fn forgive(&mut self, now: Instant) {
        self.detector.forgive(now);
        if let Some(registration) = &mut self.registration {
            registration.last_beat = now;
        }
    }

    /// Whether whoever has this secret and address may speak for it.
    pub(super) fn may_be(&self, secret: &SecretHash, url: &str) -> bool {
        match &self.secret {
            Some(owner) => owner == secret,
            // Of before our start: it is asked first. One too old to say its hash is known by its address.
            None => self.answered && self.url == url,
        }
    }
}
