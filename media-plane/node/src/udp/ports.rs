//! Which ports of the range are free, taken or resting. Pure: time is an argument.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
    time::Instant,
};

/// See the module. Ports are handed out in turn, so that even without rest a port comes back as late as possible.
#[derive(Debug)]
pub(super) struct PortTable {
    range: RangeInclusive<u16>,
    next: u16,
    taken: BTreeSet<u16>,
    resting: BTreeMap<u16, Instant>,
}

impl PortTable {
    pub(super) fn new(range: RangeInclusive<u16>) -> Self {
        let next = *range.start();
        Self { range, next, taken: BTreeSet::new(), resting: BTreeMap::new() }
    }

    /// Ports of the range.
    pub(super) fn len(&self) -> usize {
        self.range.len()
    }

    /// The next port that is neither taken nor resting; it is taken now.
    pub(super) fn take(&mut self, now: Instant) -> Option<u16> {
        self.resting.retain(|_, until| *until > now);
        for _ in 0..self.len() {
            let port = self.next;
            self.next = if port == *self.range.end() { *self.range.start() } else { port + 1 };
            if !self.resting.contains_key(&port) && self.taken.insert(port) {
                return Some(port);
            }
        }
        None
    }

    /// It was not used after all.
    pub(super) fn give_back(&mut self, port: u16) {
        self.taken.remove(&port);
    }

    /// It was used and is left alone until then.
    pub(super) fn rest(&mut self, port: u16, until: Instant) {
        if self.taken.remove(&port) {
            self.resting.insert(port, until);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn ports_come_in_turn_and_rest() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut ports = PortTable::new(20_000..=20_002);
        assert_eq!(ports.take(at(0)), Some(20_000));
        assert_eq!(ports.take(at(0)), Some(20_001));
        ports.rest(20_000, at(30));
        assert_eq!(ports.take(at(1)), Some(20_002));
        assert_eq!(ports.take(at(1)), None, "taken, taken, resting");
        ports.give_back(20_002);
        assert_eq!(ports.take(at(1)), Some(20_002));
        assert_eq!(ports.take(at(29)), None);
        assert_eq!(ports.take(at(30)), Some(20_000));
    }

    #[test]
    fn the_highest_port_wraps_around() {
        let now = Instant::now();
        let mut ports = PortTable::new(65_534..=65_535);
        assert_eq!((ports.take(now), ports.take(now), ports.take(now)), (Some(65_534), Some(65_535), None));
        ports.give_back(65_534);
        assert_eq!(ports.take(now), Some(65_534));
    }
}
