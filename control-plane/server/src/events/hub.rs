//! Where those who store and those who subscribe meet. All under one short lock; nothing in here waits.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;
use voicebridge_core::identity::CallId;

use super::{
    Entry, Filter,
    ring::{Read, Ring},
};

/// Transient events that wait for one subscriber, about 20 s of partial transcripts of one call. Full: the oldest goes.
const MAX_TRANSIENT: usize = 256;
/// Entries a subscriber takes from the ring at a time.
const WINDOW: usize = 256;

/// What waits for one subscriber, and its bell.
#[derive(Debug)]
pub(super) struct Slot {
    id: u64,
    pub(super) filter: Filter,
    pub(super) wake: Notify,
    inbox: Mutex<Inbox>,
}

#[derive(Debug, Default)]
struct Inbox {
    transient: VecDeque<Arc<Entry>>,
    /// Dropped since it was last asked.
    missed: u64,
    /// It has been at the head: what it misses from now on it misses because it is slow.
    is_live: bool,
}

impl Slot {
    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, entry: &Arc<Entry>) {
        let mut inbox = self.inbox();
        if inbox.transient.len() >= MAX_TRANSIENT {
            inbox.transient.pop_front();
            if inbox.is_live {
                inbox.missed += 1;
                metrics::counter!("voicebridge_control_transient_events_missed_total").increment(1);
            }
        }
        inbox.transient.push_back(Arc::clone(entry));
    }

    /// The first transient event that does not follow a durable one after this position.
    pub(super) fn take(&self, through: u64) -> Option<Arc<Entry>> {
        self.inbox().transient.pop_front_if(|entry| entry.position <= through)
    }

    /// How many were dropped since this was last asked.
    pub(super) fn take_missed(&self) -> u64 {
        std::mem::take(&mut self.inbox().missed)
    }

    pub(super) fn is_live(&self) -> bool {
        self.inbox().is_live
    }

    pub(super) fn set_live(&self) {
        self.inbox().is_live = true;
    }
}

type Slots = HashMap<u64, Arc<Slot>>;

#[derive(Debug)]
struct State {
    /// The highest position known to be stored.
    stored: u64,
    ring: Ring,
    next_id: u64,
    count: usize,
    /// Of subscribers to all calls.
    all: Slots,
    by_call: HashMap<CallId, Slots>,
}

#[derive(Debug)]
pub(crate) struct Hub {
    state: Mutex<State>,
    /// There is more to read for the ring.
    unread: Notify,
    max_subscribers: usize,
}

/// There are as many subscribers as there may be.
#[derive(Debug)]
pub(crate) struct TooMany;

/// What a subscriber finds.
#[derive(Debug)]
pub(super) enum Found {
    Behind,
    Head,
    /// Those it wants, and whether the last event of its one call was passed.
    Window {
        entries: VecDeque<Arc<Entry>>,
        through: u64,
        is_end: bool,
    },
}

impl Hub {
    /// `stored`: the highest position given so far.
    pub(crate) fn new(stored: u64, max_subscribers: usize) -> Self {
        let state =
            State { stored, ring: Ring::new(stored), next_id: 0, count: 0, all: Slots::new(), by_call: HashMap::new() };
        metrics::gauge!("voicebridge_control_subscribers").set(0.0);
        Self { state: Mutex::new(state), unread: Notify::new(), max_subscribers }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The event at this position can be read, and so can all below it.
    pub(crate) fn stored(&self, position: u64) {
        let mut state = self.lock();
        state.stored = state.stored.max(position);
        if state.count == 0 {
            // Nobody reads along: whoever comes begins here.
            state.ring = Ring::new(state.stored);
        } else {
            self.unread.notify_one();
        }
    }

    /// Passes a transient event on to whoever listens now.
    pub(crate) fn transient(&self, entry: Entry) {
        let entry = Arc::new(entry);
        let state = self.lock();
        let of_call = state.by_call.get(&entry.call_id).into_iter().flat_map(Slots::values);
        for slot in state.all.values().chain(of_call).filter(|slot| slot.filter.passes(&entry)) {
            slot.put(&entry);
            slot.wake.notify_one();
        }
    }

    /// The highest position known to be stored.
    pub(crate) fn last(&self) -> u64 {
        self.lock().stored
    }

    /// Waits until the ring has something to catch up on: what is after the first position, up to the second at least.
    pub(super) async fn unread(&self) -> (u64, u64) {
        loop {
            {
                let state = self.lock();
                if state.count > 0 && state.ring.through() < state.stored {
                    return (state.ring.through(), state.stored);
                }
            }
            self.unread.notified().await;
        }
    }

    /// What [`Self::unread`] asked for.
    pub(super) fn read_along(&self, after: u64, entries: Vec<Arc<Entry>>, through: u64) {
        let mut state = self.lock();
        if state.ring.through() != after {
            // Begun anew meanwhile, further ahead.
            return;
        }
        state.ring.push(entries.clone(), through);
        // It may have read further than anybody has told of yet.
        state.stored = state.stored.max(through);
        state.all.values().for_each(|slot| slot.wake.notify_one());
        for entry in entries {
            let of_call = state.by_call.get(&entry.call_id).into_iter().flat_map(Slots::values);
            of_call.for_each(|slot| slot.wake.notify_one());
        }
    }

    /// From here on nothing is missed: subscribe first, then look at the store. Also returns the highest position stored.
    pub(super) fn subscribe(&self, filter: Filter) -> Result<(Arc<Slot>, u64), TooMany> {
        let mut state = self.lock();
        if state.count >= self.max_subscribers {
            return Err(TooMany);
        }
        state.count += 1;
        state.next_id += 1;
        let slot = Arc::new(Slot { id: state.next_id, filter, wake: Notify::new(), inbox: Mutex::default() });
        let slots = match &slot.filter.call_id {
            None => &mut state.all,
            Some(call_id) => state.by_call.entry(call_id.clone()).or_default(),
        };
        slots.insert(slot.id, Arc::clone(&slot));
        metrics::gauge!("voicebridge_control_subscribers").set(state.count as f64);
        // What was stored just before the last subscriber left was told to a reader that found nobody to read it for.
        self.unread.notify_one();
        let stored = state.stored;
        Ok((slot, stored))
    }

    pub(super) fn unsubscribe(&self, slot: &Slot) {
        let mut state = self.lock();
        state.count -= 1;
        match &slot.filter.call_id {
            None => {
                state.all.remove(&slot.id);
            }
            Some(call_id) => {
                if let Some(slots) = state.by_call.get_mut(call_id) {
                    slots.remove(&slot.id);
                    if slots.is_empty() {
                        state.by_call.remove(call_id);
                    }
                }
            }
        }
        metrics::gauge!("voicebridge_control_subscribers").set(state.count as f64);
    }

    /// What the ring has after `at` that passes the filter.
    pub(super) fn read(&self, filter: &Filter, at: u64) -> Found {
        let state = self.lock();
        match state.ring.read(at, WINDOW) {
            Read::Behind => Found::Behind,
            Read::Head => Found::Head,
            Read::Window { entries, through } => Found::window(filter, entries.cloned(), through),
        }
    }
}

impl Found {
    pub(super) fn window(filter: &Filter, entries: impl Iterator<Item = Arc<Entry>>, through: u64) -> Self {
        let mut is_end = false;
        let wanted = entries.filter(|entry| {
            is_end |= entry.is_last && filter.call_id.is_some() && filter.is_of_call(entry);
            filter.passes(entry)
        });
        let entries = wanted.collect();
        Self::Window { entries, through, is_end }
    }
}
