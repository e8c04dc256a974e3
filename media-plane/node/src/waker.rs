//! Wakes a media thread from outside: for a message of a provider, for an order.
//!
//! A thread has one [`ThreadWaker`]; whatever brings a call work uses a [`CallWaker`]. That may exist before the thread of
//! its call is known: used then, it wakes nobody, and the thread looks for itself when it takes the call. A thread that
//! works by the tick does not listen, and waking it costs nothing but looking.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering},
};

/// A media thread's own.
#[derive(Debug)]
pub(crate) struct ThreadWaker {
    waker: mio::Waker,
    listens: AtomicBool,
}

impl ThreadWaker {
    pub(crate) const fn new(waker: mio::Waker) -> Self {
        Self { waker, listens: AtomicBool::new(true) }
    }

    /// Whether it can be woken from now on.
    pub(crate) fn listen(&self, listens: bool) {
        self.listens.store(listens, Ordering::Relaxed);
    }

    /// Ends the thread's wait, this one or the next.
    pub(crate) fn wake(&self) {
        if self.listens.load(Ordering::Relaxed)
            && let Err(error) = self.waker.wake()
        {
            // It looks at the next tick all the same.
            tracing::warn!(%error, "a media thread could not be woken");
        }
    }
}

/// Wakes the thread of one call. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct CallWaker {
    waker: Arc<OnceLock<Arc<ThreadWaker>>>,
}

impl CallWaker {
    /// Connects it, once.
    pub(crate) fn connect(&self, waker: &Arc<ThreadWaker>) {
        self.waker.get_or_init(|| waker.clone());
    }

    pub(crate) fn wake(&self) {
        if let Some(waker) = self.waker.get() {
            waker.wake();
        }
    }
}
