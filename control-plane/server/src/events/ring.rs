//! The latest durable events, shared by all who are near the head. Bounded in number and in bytes; the oldest go.

use std::{collections::VecDeque, sync::Arc};

use super::Entry;

/// Events kept, about four seconds of a busy control plane.
const MAX_ENTRIES: usize = 4_096;
/// And their size together: transcripts may be long.
const MAX_BYTES: usize = 8 * 1024 * 1024;

/// Covers positions above `after` and up to `through`.
#[derive(Debug)]
pub(super) struct Ring {
    entries: VecDeque<Arc<Entry>>,
    bytes: usize,
    after: u64,
    through: u64,
}

/// What the ring has for somebody who knows everything up to a position.
#[derive(Debug)]
pub(super) enum Read<'a> {
    /// No longer what comes next.
    Behind,
    /// Nothing yet.
    Head,
    /// These, which with the ones left out cover up to `through`.
    Window { entries: std::collections::vec_deque::Iter<'a, Arc<Entry>>, through: u64 },
}

impl Ring {
    pub(super) fn new(at: u64) -> Self {
        Self { entries: VecDeque::new(), bytes: 0, after: at, through: at }
    }

    pub(super) fn through(&self) -> u64 {
        self.through
    }

    /// What follows `through`, in order, up to the new one.
    pub(super) fn push(&mut self, entries: Vec<Arc<Entry>>, through: u64) {
        for entry in entries {
            self.bytes += entry.bytes;
            self.entries.push_back(entry);
        }
        self.through = self.through.max(through);
        while self.entries.len() > MAX_ENTRIES || self.bytes > MAX_BYTES {
            let Some(oldest) = self.entries.pop_front() else { return };
            self.bytes -= oldest.bytes;
            self.after = oldest.position;
        }
    }

    /// At most `limit` entries after `at`.
    pub(super) fn read(&self, at: u64, limit: usize) -> Read<'_> {
        if at >= self.through {
            return Read::Head;
        }
        if at < self.after {
            return Read::Behind;
        }
        let first = self.entries.partition_point(|entry| entry.position <= at);
        let end = self.entries.len().min(first + limit);
        let through = if end == self.entries.len() { self.through } else { self.entries[end - 1].position };
        Read::Window { entries: self.entries.range(first..end), through }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(position: u64, bytes: usize) -> Arc<Entry> {
        Arc::new(Entry::example(position, bytes))
    }

    #[track_caller]
    fn window(ring: &Ring, at: u64, limit: usize) -> (Vec<u64>, u64) {
        match ring.read(at, limit) {
            Read::Window { entries, through } => (entries.map(|entry| entry.position).collect(), through),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn windows_follow_one_another_over_positions_nobody_has() {
        let mut ring = Ring::new(10);
        assert!(matches!(ring.read(10, 9), Read::Head));
        assert!(matches!(ring.read(9, 9), Read::Behind));
        ring.push(vec![entry(11, 1), entry(14, 1), entry(15, 1)], 17);
        assert_eq!(window(&ring, 10, 2), (vec![11, 14], 14));
        assert_eq!(window(&ring, 14, 2), (vec![15], 17));
        assert_eq!(window(&ring, 12, 9), (vec![14, 15], 17));
        assert_eq!(window(&ring, 15, 9), (vec![], 17), "deleted meanwhile");
        assert!(matches!(ring.read(17, 9), Read::Head));
        assert!(matches!(ring.read(20, 9), Read::Head), "read further in the store already");
        assert!(matches!(ring.read(9, 9), Read::Behind));
    }

    #[test]
    fn the_oldest_go_by_number_and_by_size() {
        let mut ring = Ring::new(0);
        ring.push((1..=MAX_ENTRIES as u64 + 2).map(|position| entry(position, 1)).collect(), MAX_ENTRIES as u64 + 2);
        assert!(matches!(ring.read(1, 9), Read::Behind));
        assert_eq!(window(&ring, 2, 1).0, [3]);
        let last = ring.through();
        ring.push(vec![entry(last + 1, MAX_BYTES)], last + 1);
        assert_eq!((ring.entries.len(), ring.bytes), (1, MAX_BYTES));
        ring.push(vec![entry(last + 2, MAX_BYTES + 1)], last + 2);
        assert!(ring.entries.is_empty(), "larger than everything: from the store");
        assert!(matches!(ring.read(last + 1, 9), Read::Behind));
        assert!(matches!(ring.read(last + 2, 9), Read::Head));
    }
}
