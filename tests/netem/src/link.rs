//! What happens to each packet of one direction.

use crate::{Loss, Numbers, Profile, ProfileError};
use std::time::Duration;

/// When a packet arrives: never, once or twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fate {
    /// The packet; none if it is lost.
    pub arrives: Option<Duration>,
    /// Its copy. A packet that is lost has none.
    pub copy: Option<Duration>,
}

/// What happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkStatistics {
    /// Packets handed in.
    pub sent: u64,
    /// Of these, lost.
    pub lost: u64,
    /// Of these, delivered twice.
    pub duplicated: u64,
    /// Of these, arriving before one that was sent earlier.
    pub overtook: u64,
}

/// One direction, from its first packet on.
#[derive(Clone, Debug)]
pub struct Link {
    profile: Profile,
    bad: bool,
    losses: Numbers,
    jitters: Numbers,
    reorders: Numbers,
    duplicates: Numbers,
    /// The latest arrival so far.
    latest: Duration,
    statistics: LinkStatistics,
}

impl Link {
    /// # Errors
    /// See [`Profile::check`].
    pub fn new(profile: Profile, seed: u64) -> Result<Self, ProfileError> {
        profile.check()?;
        Ok(Self {
            profile,
            bad: false,
            losses: Numbers::apart(seed, 1),
            jitters: Numbers::apart(seed, 2),
            reorders: Numbers::apart(seed, 3),
            duplicates: Numbers::apart(seed, 4),
            latest: Duration::ZERO,
            statistics: LinkStatistics::default(),
        })
    }

    /// A packet leaves at `sent` by the sender's clock, not before the one before it. Times are since any origin, the
    /// same for all packets of a link; arrivals are by the receiver's clock.
    pub fn send(&mut self, sent: Duration) -> Fate {
        let profile = self.profile;
        let lost = match &profile.loss {
            Loss::None => false,
            Loss::Random(loss) => self.losses.chance(*loss),
            Loss::Bursty(model) => model.loses(&mut self.bad, &mut self.losses),
        };
        let jitter = profile.jitter.draw(&mut self.jitters);
        let copy_jitter = profile.jitter.draw(&mut self.jitters);
        let held_back = match &profile.reorder {
            Some(reorder) if self.reorders.chance(reorder.share) => reorder.held_back,
            _ => Duration::ZERO,
        };
        let duplicated = self.duplicates.chance(profile.duplicate) && !lost;
        let base = profile.true_time(sent) + profile.delay;
        self.statistics.sent += 1;
        if lost {
            self.statistics.lost += 1;
            return Fate::default();
        }
        let mut arrives = base + jitter;
        if profile.jitter.keeps_order {
            arrives = arrives.max(self.latest);
        }
        // Held back after the queue: what overtakes it is not held back with it.
        if held_back.is_zero() {
            self.statistics.overtook += u64::from(arrives < self.latest);
            self.latest = self.latest.max(arrives);
        } else {
            arrives += held_back;
            if !profile.jitter.keeps_order {
                self.latest = self.latest.max(arrives);
            }
        }
        let copy = duplicated.then(|| (base + copy_jitter).max(arrives));
        self.statistics.duplicated += u64::from(duplicated);
        Fate { arrives: Some(arrives), copy }
    }

    /// What happened so far.
    #[must_use]
    pub const fn statistics(&self) -> LinkStatistics {
        self.statistics
    }
}
