//! The calls of one media thread, and which of them have something to do.
//!
//! A call is wanted when something came for it, when its deadline has come, or when it says that it has not finished; only
//! then it works. Of those that are wanted each works once a round, in the order in which they became so: none works twice
//! before another's turn. Those that are over are taken out, and wait for whoever lets go of them.

use std::{collections::HashMap, time::Instant};

use slab::Slab;

use super::deadlines::Deadlines;

/// See the module. A call has an index for as long as it is here, under which its socket and its wake-ups name it.
#[derive(Debug)]
pub(super) struct Calls<C> {
    slab: Slab<Member<C>>,
    by_id: HashMap<String, usize>,
    deadlines: Deadlines,
    wanted: Vec<usize>,
    /// Memory of the last round, used again.
    round: Vec<usize>,
    removed: Vec<C>,
}

#[derive(Debug)]
struct Member<C> {
    id: String,
    call: C,
    wanted: bool,
}

/// What a call that has worked wants next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It has not finished: in the next round.
    Again,
    /// When something comes, or at this time.
    At(Option<Instant>),
    /// Nothing: it is to be removed.
    Over,
}

impl<C> Calls<C> {
    pub(super) fn new() -> Self {
        Self {
            slab: Slab::new(),
            by_id: HashMap::new(),
            deadlines: Deadlines::default(),
            wanted: Vec::new(),
            round: Vec::new(),
            removed: Vec::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slab.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.slab.len()
    }

    /// Adds one, which is wanted.
    pub(super) fn insert(&mut self, id: String, call: C) -> (usize, &mut C) {
        let index = self.slab.insert(Member { id: id.clone(), call, wanted: false });
        self.by_id.insert(id, index);
        (index, self.want(index).expect("it was inserted"))
    }

    /// Takes one out.
    pub(super) fn remove(&mut self, index: usize) {
        if let Some(member) = self.slab.try_remove(index) {
            self.deadlines.set(index, None);
            if member.wanted {
                self.wanted.retain(|wanted| *wanted != index);
            }
            self.by_id.remove(&member.id);
            self.removed.push(member.call);
        }
    }

    /// Takes all out.
    pub(super) fn remove_all(&mut self) {
        let all: Vec<usize> = self.slab.iter().map(|(index, _)| index).collect();
        all.into_iter().for_each(|index| self.remove(index));
    }

    /// One that was taken out, until none is left.
    pub(super) fn take_removed(&mut self) -> Option<C> {
        self.removed.pop()
    }

    pub(super) fn find(&self, id: &str) -> Option<usize> {
        self.by_id.get(id).copied()
    }

    pub(super) fn get_mut(&mut self, index: usize) -> Option<&mut C> {
        self.slab.get_mut(index).map(|member| &mut member.call)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (usize, &mut C)> {
        self.slab.iter_mut().map(|(index, member)| (index, &mut member.call))
    }

    /// Something came for a call, which is returned. One that is gone wants nothing.
    pub(super) fn want(&mut self, index: usize) -> Option<&mut C> {
        let member = self.slab.get_mut(index)?;
        if !std::mem::replace(&mut member.wanted, true) {
            self.wanted.push(index);
        }
        Some(&mut member.call)
    }

    pub(super) fn want_all(&mut self) {
        for (index, member) in &mut self.slab {
            if !std::mem::replace(&mut member.wanted, true) {
                self.wanted.push(index);
            }
        }
    }

    /// Whether a call need not wait for anything.
    pub(super) fn any_wanted(&self) -> bool {
        !self.wanted.is_empty()
    }

    /// The soonest deadline.
    pub(super) fn due(&self) -> Option<Instant> {
        self.deadlines.first()
    }

    /// Lets those work that are wanted, once.
    pub(super) fn work(&mut self, now: Instant, mut act: impl FnMut(&mut C) -> Next) {
        while let Some(index) = self.deadlines.take_due(now) {
            self.want(index);
        }
        let mut round = std::mem::replace(&mut self.wanted, std::mem::take(&mut self.round));
        for index in round.drain(..) {
            let member = &mut self.slab[index];
            member.wanted = false;
            match act(&mut member.call) {
                Next::Again => _ = self.want(index),
                Next::At(at) => self.deadlines.set(index, at),
                Next::Over => self.remove(index),
            }
        }
        self.round = round;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Counts how often it worked.
    #[derive(Default)]
    struct Fake {
        steps: u32,
    }

    fn fakes(count: usize) -> Calls<Fake> {
        let mut calls = Calls::new();
        (0..count).for_each(|index| assert_eq!(calls.insert(index.to_string(), Fake::default()).0, index));
        calls
    }

    fn round(calls: &mut Calls<Fake>, now: Instant, next: Next) {
        let act = |call: &mut Fake| {
            call.steps += 1;
            next
        };
        calls.work(now, act);
    }

    /// Who worked, and how often, since the last time.
    fn worked(calls: &mut Calls<Fake>) -> Vec<(usize, u32)> {
        let steps = calls.iter_mut().map(|(index, call)| (index, std::mem::take(&mut call.steps)));
        steps.filter(|(_, steps)| *steps > 0).collect()
    }

    #[test]
    fn of_300_calls_only_the_one_that_something_came_for_works() {
        let (mut calls, now) = (fakes(300), Instant::now());
        round(&mut calls, now, Next::At(None));
        assert_eq!(worked(&mut calls).len(), 300, "the first time all");
        round(&mut calls, now, Next::At(None));
        assert_eq!(worked(&mut calls), []);
        (0..3).for_each(|_| assert!(calls.want(217).is_some()));
        round(&mut calls, now, Next::At(None));
        assert_eq!(worked(&mut calls), [(217, 1)]);
        assert!(!calls.any_wanted());
    }

    #[test]
    fn a_deadline_lets_its_own_call_work_and_once() {
        let (mut calls, now) = (fakes(300), Instant::now());
        let due = now + Duration::from_millis(20);
        round(&mut calls, now, Next::At(None));
        calls.want(5);
        round(&mut calls, now, Next::At(Some(due)));
        worked(&mut calls);
        assert_eq!(calls.due(), Some(due));
        round(&mut calls, due - Duration::from_millis(1), Next::At(None));
        assert_eq!(worked(&mut calls), []);
        calls.want(5);
        round(&mut calls, due, Next::At(None));
        assert_eq!(worked(&mut calls), [(5, 1)], "not twice for two reasons");
        assert_eq!(calls.due(), None);
    }

    #[test]
    fn who_does_not_finish_holds_nobody_up() {
        let (mut calls, now) = (fakes(3), Instant::now());
        (0..10).for_each(|_| round(&mut calls, now, Next::Again));
        assert_eq!(worked(&mut calls), [(0, 10), (1, 10), (2, 10)]);
    }

    #[test]
    fn who_is_over_is_taken_out_and_forgotten_and_its_index_used_again() {
        let (mut calls, now) = (fakes(2), Instant::now());
        calls.get_mut(1).expect("it is there").steps = 7;
        calls.work(now, |call| if call.steps == 7 { Next::Over } else { Next::At(Some(now)) });
        let removed: Vec<u32> = std::iter::from_fn(|| calls.take_removed()).map(|call| call.steps).collect();
        assert_eq!((removed, calls.find("1"), calls.find("0")), (vec![7], None, Some(0)));
        assert!(calls.want(1).is_none());
        let (index, _) = calls.insert("new".into(), Fake::default());
        assert_eq!((index, calls.find("new"), calls.len()), (1, Some(1), 2));
        calls.want(0);
        calls.remove(0);
        assert_eq!(calls.due(), None, "its deadline went with it");
        round(&mut calls, now, Next::At(None));
        assert_eq!(worked(&mut calls), [(1, 1)]);
    }
}
