//! Wakes a media thread from outside: for a message of a provider, for an order.
//!
//! A thread has one [`Alarm`]; whatever brings it work rings a [`Bell`]. A bell may exist before the thread of its call
//! is known: rung then, it is not heard, and the thread looks for itself when it takes the call. A thread that works by
//! the tick does not listen, and ringing costs nothing but looking.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering},
};

/// A media thread's own.
#[derive(Debug)]
pub(crate) struct Alarm {
    waker: mio::Waker,
    listens: AtomicBool,
}

impl Alarm {
    pub(crate) const fn new(waker: mio::Waker) -> Self {
        Self { waker, listens: AtomicBool::new(true) }
    }

    /// Whether ringing wakes the thread from now on.
    pub(crate) fn listen(&self, listens: bool) {
        self.listens.store(listens, Ordering::Relaxed);
    }

    /// Ends the thread's wait, this one or the next.
    pub(crate) fn ring(&self) {
        if self.listens.load(Ordering::Relaxed)
            && let Err(error) = self.waker.wake()
        {
            // It looks at the next tick all the same.
            tracing::warn!(%error, "a media thread could not be woken");
        }
    }
}

/// What rings for one call. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bell {
    alarm: Arc<OnceLock<Arc<Alarm>>>,
}

impl Bell {
    /// Connects it, once.
    pub(crate) fn connect(&self, alarm: &Arc<Alarm>) {
        self.alarm.get_or_init(|| alarm.clone());
    }

    pub(crate) fn ring(&self) {
        if let Some(alarm) = self.alarm.get() {
            alarm.ring();
        }
    }
}
