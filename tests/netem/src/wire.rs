//! Packets on their way: a link, and what has not yet arrived, in order of arrival.

use crate::{Link, LinkStatistics, Profile, ProfileError};
use std::{cmp::Reverse, collections::BinaryHeap, time::Duration};

/// Packets on their way at a time; more are lost, as in any queue. Ten seconds of a call and its copies.
pub const MAX_IN_FLIGHT: usize = 1_024;

/// One direction with its packets.
#[derive(Debug)]
pub struct Wire<T> {
    link: Link,
    in_flight: BinaryHeap<Reverse<Flying<T>>>,
    /// Packets that arrive at the same time arrive in the order they were sent.
    entered: u64,
    overflowed: u64,
}

#[derive(Debug)]
struct Flying<T> {
    arrives: Duration,
    entered: u64,
    packet: T,
}

impl<T: Clone> Wire<T> {
    /// # Errors
    /// See [`Profile::check`].
    pub fn new(profile: Profile, seed: u64) -> Result<Self, ProfileError> {
        Ok(Self { link: Link::new(profile, seed)?, in_flight: BinaryHeap::new(), entered: 0, overflowed: 0 })
    }

    /// A packet leaves; see [`Link::send`].
    pub fn send(&mut self, sent: Duration, packet: T) {
        let fate = self.link.send(sent);
        if let Some(copy) = fate.copy {
            self.enter(copy, packet.clone());
        }
        if let Some(arrives) = fate.arrives {
            self.enter(arrives, packet);
        }
    }

    /// When the next packet arrives.
    #[must_use]
    pub fn due(&self) -> Option<Duration> {
        self.in_flight.peek().map(|Reverse(next)| next.arrives)
    }

    /// Takes the next packet that has arrived by `now`, and when it did.
    pub fn take(&mut self, now: Duration) -> Option<(Duration, T)> {
        if self.due()? > now {
            return None;
        }
        self.in_flight.pop().map(|Reverse(next)| (next.arrives, next.packet))
    }

    /// What happened so far.
    #[must_use]
    pub const fn statistics(&self) -> LinkStatistics {
        self.link.statistics()
    }

    /// Packets lost because [`MAX_IN_FLIGHT`] were on their way; not among those the link lost.
    #[must_use]
    pub const fn overflowed(&self) -> u64 {
        self.overflowed
    }

    fn enter(&mut self, arrives: Duration, packet: T) {
        if self.in_flight.len() == MAX_IN_FLIGHT {
            self.overflowed += 1;
            return;
        }
        self.in_flight.push(Reverse(Flying { arrives, entered: self.entered, packet }));
        self.entered += 1;
    }
}

impl<T> Flying<T> {
    const fn key(&self) -> (Duration, u64) {
        (self.arrives, self.entered)
    }
}

impl<T> PartialEq for Flying<T> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<T> Eq for Flying<T> {}

impl<T> PartialOrd for Flying<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Flying<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}
