//! One subscriber: what comes next for it, from the ring, the store, or its inbox.
//!
//! A pull without a task of its own: whoever writes to the connection asks for the next delivery when there is room. In
//! between a window of events that are shared anyway, and the bounded inbox, are all that is kept.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    Entry, Filter, Hub,
    hub::{Found, Slot, TooMany},
};
use crate::store::{Store, StoreError};

/// Events read from the store at a time, to catch up.
const BATCH: u32 = 256;

/// Where the events of subscribers come from.
#[derive(Clone)]
pub(crate) struct Source {
    pub(crate) hub: Arc<Hub>,
    pub(crate) store: Arc<dyn Store>,
    /// Set when the process ends.
    pub(crate) detach: CancellationToken,
    /// Longest silence towards a subscriber.
    pub(crate) keepalive: Duration,
}

/// Where a subscriber begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    Oldest,
    Now,
    /// Everything up to this position is known.
    After(u64),
}

/// What a subscriber gets.
#[derive(Debug)]
pub(crate) struct Delivery {
    /// `None`: there was none for a while, or this is the first delivery.
    pub(crate) entry: Option<Arc<Entry>>,
    /// Everything durable up to here is covered.
    pub(crate) position: u64,
    /// Set when the subscriber was too slow: transient events it missed.
    pub(crate) lagged: Option<u64>,
    /// The first delivery tells where the stream begins.
    pub(crate) is_first: bool,
}

/// Why a subscriber gets no more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum End {
    #[error("the control plane is shutting down")]
    Draining,
    #[error("the store failed")]
    Store(#[from] StoreError),
}

#[derive(Debug, PartialEq, Eq)]
enum Standing {
    /// The first delivery is to be made.
    Beginning,
    Following,
    /// The window holds the last event of the one call, or the end of what there is of it.
    Closing,
    Over,
}

pub(crate) struct Subscriber {
    source: Source,
    /// When a delivery is due whatever happens.
    due: Instant,
    slot: Arc<Slot>,
    /// Everything up to here was delivered or is not wanted.
    at: u64,
    /// What comes next; with what is not wanted it covers up to `through`.
    window: VecDeque<Arc<Entry>>,
    through: u64,
    /// The one call's record is closed.
    is_closed: bool,
    /// Fell out of the ring since the last delivery.
    fell_behind: bool,
    standing: Standing,
}

impl Subscriber {
    /// Subscribed from now on.
    pub(crate) fn new(source: Source, filter: Filter, begin: Begin) -> Result<Self, TooMany> {
        let (slot, stored) = source.hub.subscribe(filter)?;
        let at = match begin {
            Begin::Oldest => 0,
            Begin::Now => stored,
            Begin::After(position) => position,
        };
        Ok(Self {
            source,
            due: Instant::now(),
            slot,
            at,
            window: VecDeque::new(),
            through: at,
            is_closed: false,
            fell_behind: false,
            standing: Standing::Beginning,
        })
    }

    /// Nothing will be added to the one call: to be told after subscribing, when its record says so.
    pub(crate) fn set_closed(&mut self) {
        self.is_closed = true;
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed
    }

    pub(crate) fn filter(&self) -> &Filter {
        &self.slot.filter
    }

    pub(crate) fn keepalive(&self) -> Duration {
        self.source.keepalive
    }

    /// The next delivery, when there is one. `None`: all was delivered.
    pub(crate) async fn next(&mut self) -> Option<Result<Delivery, End>> {
        loop {
            if self.standing == Standing::Over {
                return None;
            }
            if self.source.detach.is_cancelled() {
                self.standing = Standing::Over;
                return Some(Err(End::Draining));
            }
            if self.standing == Standing::Beginning {
                self.standing = Standing::Following;
                return Some(Ok(Delivery { is_first: true, ..self.deliver(None) }));
            }
            if let Some(entry) = self.ready() {
                return Some(Ok(self.deliver(Some(entry))));
            }
            if self.standing == Standing::Closing {
                self.standing = Standing::Over;
                return None;
            }
            if Instant::now() >= self.due {
                return Some(Ok(self.deliver(None)));
            }
            match self.refill().await {
                Ok(true) => {}
                Ok(false) if self.is_closed => self.standing = Standing::Closing,
                Ok(false) => {
                    self.slot.set_live();
                    tokio::select! {
                        () = self.slot.wake.notified() => {}
                        () = self.source.detach.cancelled() => {}
                        () = tokio::time::sleep_until(self.due) => {}
                    }
                }
                Err(error) => {
                    self.standing = Standing::Over;
                    return Some(Err(error.into()));
                }
            }
        }
    }

    fn deliver(&mut self, entry: Option<Arc<Entry>>) -> Delivery {
        self.due = Instant::now() + self.source.keepalive;
        let missed = self.slot.take_missed();
        let lagged = (missed > 0 || std::mem::take(&mut self.fell_behind)).then_some(missed);
        Delivery { entry, position: self.at, lagged, is_first: false }
    }

    /// What is at hand, in order: a transient event comes after the durable ones of its call that were before it.
    fn ready(&mut self) -> Option<Arc<Entry>> {
        let passed = self.window.front().map_or(self.at, |next| next.position - 1);
        if let Some(transient) = self.slot.take(passed) {
            return Some(transient);
        }
        let next = self.window.pop_front()?;
        self.at = if self.window.is_empty() { self.through } else { next.position };
        Some(next)
    }

    /// Looks for the next window, which may hold nothing that is wanted. False: this is the head.
    async fn refill(&mut self) -> Result<bool, StoreError> {
        let found = match self.source.hub.read(&self.slot.filter, self.at) {
            Found::Behind => {
                // Of one call the ring's events are mostly others': being passed by them is not being slow.
                self.fell_behind |= self.slot.filter.call_id.is_none() && self.slot.is_live();
                self.catch_up().await?
            }
            // Whoever waits for nothing more reads what is stored before the ring tells of it.
            Found::Head if self.is_closed && self.at < self.source.hub.last() => self.catch_up().await?,
            found => found,
        };
        let Found::Window { entries, through, is_end } = found else { return Ok(false) };
        (self.window, self.through) = (entries, through);
        if self.window.is_empty() {
            self.at = through;
        }
        if is_end {
            self.standing = Standing::Closing;
        }
        Ok(true)
    }

    async fn catch_up(&self) -> Result<Found, StoreError> {
        let stored = self.source.hub.last();
        let rows = self.source.store.history(self.slot.filter.call_id.as_ref(), self.at, stored, BATCH).await?;
        let full = rows.len() == BATCH as usize;
        let through = rows.last().filter(|_| full).map_or(stored, |row| row.position);
        let entries = rows.into_iter().map(|row| Arc::new(Entry::stored(row)));
        Ok(Found::window(&self.slot.filter, entries, through))
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.source.hub.unsubscribe(&self.slot);
    }
}
