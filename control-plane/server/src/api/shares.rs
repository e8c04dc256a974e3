//! How many event streams each key has open: one key, that opens a stream for each call and closes none, is not to take the
//! places of all others.
//!
//! Does not know how many there may be in all; the hub does.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Streams by the name of whoever opened them; the read tokens of a key have a name of their own.
#[derive(Debug)]
pub(crate) struct Shares {
    most: usize,
    open: Mutex<HashMap<Arc<str>, usize>>,
}

/// One stream's, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    shares: Arc<Shares>,
    name: Arc<str>,
}

impl Shares {
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, open: Mutex::default() })
    }

    fn open(&self) -> MutexGuard<'_, HashMap<Arc<str>, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None`: they have as many as one key may.
    pub(super) fn take(self: &Arc<Self>, name: &Arc<str>) -> Option<Share> {
        let mut open = self.open();
        let count = open.entry(Arc::clone(name)).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Share { shares: Arc::clone(self), name: Arc::clone(name) })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut open = self.shares.open();
        if let Some(count) = open.get_mut(&self.name) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.name);
            }
        }
    }
}
