//! When each call wants to work next if nothing comes for it, soonest first.
//!
//! A binary heap that knows where in it each call is, so that a new deadline moves the old one instead of being added to
//! it: it never holds more than one for a call.

use std::time::Instant;

/// See the module. Calls are named by their index.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    /// Each no later than the two at twice its place and one, and two, further.
    heap: Vec<(Instant, usize)>,
    /// Where a call is in the heap, by index.
    places: Vec<Option<usize>>,
}

impl Deadlines {
    /// A call wants to work at `at`, or only when something comes.
    pub(super) fn set(&mut self, index: usize, at: Option<Instant>) {
        if self.places.len() <= index {
            self.places.resize(index + 1, None);
        }
        match (self.places[index], at) {
            (None, None) => {}
            (None, Some(at)) => {
                self.heap.push((at, index));
                self.places[index] = Some(self.heap.len() - 1);
                self.restore(self.heap.len() - 1);
            }
            (Some(place), Some(at)) => {
                self.heap[place].0 = at;
                self.restore(place);
            }
            (Some(place), None) => self.remove(place),
        }
    }

    /// The soonest.
    pub(super) fn first(&self) -> Option<Instant> {
        self.heap.first().map(|(at, _)| *at)
    }

    /// The call whose deadline is the soonest of those that have come; it has none any more.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<usize> {
        let (_, index) = *self.heap.first().filter(|(at, _)| *at <= now)?;
        self.remove(0);
        Some(index)
    }

    fn remove(&mut self, place: usize) {
        let (_, index) = self.heap.swap_remove(place);
        self.places[index] = None;
        if place < self.heap.len() {
            self.places[self.heap[place].1] = Some(place);
            self.restore(place);
        }
    }

    /// Moves what changed at `place` to where it belongs.
    fn restore(&mut self, mut place: usize) {
        while place > 0 && self.heap[place].0 < self.heap[(place - 1) / 2].0 {
            self.swap(place, (place - 1) / 2);
            place = (place - 1) / 2;
        }
        loop {
            let children = 2 * place + 1..self.heap.len().min(2 * place + 3);
            match children.min_by_key(|child| self.heap[*child].0) {
                Some(child) if self.heap[child].0 < self.heap[place].0 => {
                    self.swap(place, child);
                    place = child;
                }
                _ => return,
            }
        }
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.heap.swap(a, b);
        self.places[self.heap[a].1] = Some(a);
        self.places[self.heap[b].1] = Some(b);
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

    use super::*;

    #[test]
    fn it_agrees_with_looking_at_all_of_them() {
        let began = Instant::now();
        let at = |ms: u64| began + Duration::from_millis(ms);
        for seed in 0..50 {
            let mut random = StdRng::seed_from_u64(seed);
            let (mut deadlines, mut all) = (Deadlines::default(), BTreeMap::new());
            for step in 0..400 {
                let index = random.random_range(0..20_usize);
                match random.random_range(0..4) {
                    0 => {
                        deadlines.set(index, None);
                        all.remove(&index);
                    }
                    1 => {
                        let now = at(random.random_range(0..1_000));
                        let soonest = all.values().min().copied().filter(|at| *at <= now);
                        let due = deadlines.take_due(now);
                        assert_eq!(due.map(|index| all[&index]), soonest, "seed {seed}, step {step}");
                        due.map(|index| all.remove(&index));
                    }
                    _ => {
                        let at = at(random.random_range(0..1_000));
                        deadlines.set(index, Some(at));
                        all.insert(index, at);
                    }
                }
                assert_eq!(deadlines.first(), all.values().min().copied(), "seed {seed}, step {step}");
            }
        }
    }
}
