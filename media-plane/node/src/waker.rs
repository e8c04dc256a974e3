//! Wakes a media thread from outside, for a message of a provider or for an order, and tells it which call is meant.
//!
//! A thread has one [`ThreadWaker`]; whatever brings a call work uses a [`CallWaker`]. That may exist before the thread of
//! its call is known: used then, it wakes nobody, and the thread looks for itself when it takes the call. A thread that
//! works by the tick does not listen: it finds the marks when it looks. Nothing here takes a lock, and a thread that was
//! woken and has not looked yet is not woken again.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, AtomicU64, Ordering, fence},
};

/// A media thread's own.
#[derive(Debug)]
pub(crate) struct ThreadWaker {
    waker: mio::Waker,
    listens: AtomicBool,
    /// Woken, and has not looked since.
    woken: AtomicBool,
    /// A bit for each call something came for, by index.
    marks: Box<[AtomicU64]>,
}

impl ThreadWaker {
    /// For a thread with at most so many calls.
    pub(crate) fn new(waker: mio::Waker, max_calls: usize) -> Self {
        let marks = (0..max_calls.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        Self { waker, listens: AtomicBool::new(true), woken: AtomicBool::new(false), marks }
    }

    /// Whether it is woken from now on. Who begins to listen has to look once more for what came before.
    pub(crate) fn listen(&self, listens: bool) {
        self.listens.store(listens, Ordering::Relaxed);
        // Against the one in `wake`: what came to a thread that did not listen yet is seen when it looks.
        fence(Ordering::SeqCst);
    }

    /// Ends the thread's wait, this one or the next.
    pub(crate) fn wake(&self) {
        fence(Ordering::SeqCst);
        if self.listens.load(Ordering::Relaxed)
            && !self.woken.swap(true, Ordering::AcqRel)
            && let Err(error) = self.waker.wake()
        {
            // It looks once a second all the same.
            tracing::warn!(%error, "a media thread could not be woken");
        }
    }

    /// Something came for this call.
    pub(crate) fn wake_for(&self, call: usize) {
        if let Some(marks) = self.marks.get(call / 64) {
            marks.fetch_or(1 << (call % 64), Ordering::AcqRel);
        }
        self.wake();
    }

    /// The thread looks, before it takes anything else: what comes from here on wakes it again. Gives the calls that
    /// something came for since the last time.
    pub(crate) fn look(&self, mut came_for: impl FnMut(usize)) {
        self.woken.swap(false, Ordering::AcqRel);
        for (word, marks) in self.marks.iter().enumerate() {
            let mut marks = marks.swap(0, Ordering::AcqRel);
            while marks != 0 {
                came_for(word * 64 + marks.trailing_zeros() as usize);
                marks &= marks - 1;
            }
        }
    }
}

/// Wakes the thread of one call. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct CallWaker {
    call: Arc<OnceLock<(Arc<ThreadWaker>, usize)>>,
}

impl CallWaker {
    /// Connects it to the thread's call of this index, once. The thread then has to look at the call.
    pub(crate) fn connect(&self, thread: &Arc<ThreadWaker>, call: usize) {
        self.call.get_or_init(|| (thread.clone(), call));
        // Against the one in `wake`: what came before is seen when the thread looks.
        fence(Ordering::SeqCst);
    }

    pub(crate) fn wake(&self) {
        fence(Ordering::SeqCst);
        if let Some((thread, call)) = self.call.get() {
            thread.wake_for(*call);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const NONE: [usize; 0] = [];

    fn waker(max_calls: usize) -> (mio::Poll, Arc<ThreadWaker>) {
        let poll = mio::Poll::new().unwrap();
        let waker = mio::Waker::new(poll.registry(), mio::Token(0)).unwrap();
        (poll, Arc::new(ThreadWaker::new(waker, max_calls)))
    }

    fn looked(waker: &ThreadWaker) -> Vec<usize> {
        let mut calls = Vec::new();
        waker.look(|call| calls.push(call));
        calls
    }

    #[test]
    fn each_call_that_something_came_for_is_named_once() {
        let (_poll, waker) = waker(300);
        assert_eq!(looked(&waker), NONE);
        [299, 0, 64, 63, 64, 0].into_iter().for_each(|call| waker.wake_for(call));
        waker.wake();
        assert_eq!(looked(&waker), [0, 63, 64, 299]);
        assert_eq!(looked(&waker), NONE);
    }

    #[test]
    fn a_thread_that_does_not_listen_still_finds_what_came() {
        let (mut poll, waker) = waker(64);
        let mut events = mio::Events::with_capacity(4);
        let mut woken = || {
            poll.poll(&mut events, Some(std::time::Duration::ZERO)).unwrap();
            !events.is_empty()
        };
        waker.listen(false);
        waker.wake_for(7);
        assert!(!woken());
        waker.listen(true);
        assert_eq!(looked(&waker), [7]);
        (0..3).for_each(|_| waker.wake_for(8));
        assert!(woken());
        waker.wake_for(9);
        assert!(!woken(), "it was woken and has not looked");
        assert_eq!(looked(&waker), [8, 9]);
        waker.wake_for(9);
        assert!(woken());
    }

    #[test]
    fn a_call_whose_thread_is_not_known_yet_wakes_nobody() {
        let (_poll, thread) = waker(64);
        let call = CallWaker::default();
        call.wake();
        assert_eq!(looked(&thread), NONE);
        call.connect(&thread, 5);
        call.clone().wake();
        assert_eq!(looked(&thread), [5]);
    }
}
