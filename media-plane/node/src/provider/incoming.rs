//! The queue of [`Arrival`]s from a socket's task to the session's thread, without a lock. `outgoing` is the one the other
//! way.
//!
//! Bounded by messages and by bytes: a socket that brings more is not read until there is room, and TCP slows the provider
//! down. A message that is larger than all of [`MAX_BYTES`] is still taken, alone.

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
};

use futures_util::task::AtomicWaker;
use rtrb::{Consumer, Producer, RingBuffer};

use super::Arrival;

/// Waiting messages. The session's thread takes them every 5 ms at the latest.
pub(super) const MAX_MESSAGES: usize = 64;
/// Bytes of waiting messages: 20 s of 24 kHz audio, which a provider may send in one burst.
pub(super) const MAX_BYTES: usize = 1024 * 1024;

/// The session's end.
#[derive(Debug)]
pub(super) struct Incoming {
    queue: Consumer<Arrival>,
    /// After the queue: who is woken at the end finds it abandoned.
    shared: SessionEnd,
}

/// The session's hold on what is shared. Nobody waits for room in vain once it is gone.
#[derive(Debug)]
struct SessionEnd(Arc<IncomingShared>);

impl Drop for SessionEnd {
    fn drop(&mut self) {
        self.0.room.wake();
    }
}

/// The socket's end.
#[derive(Debug)]
pub(super) struct IncomingSender {
    queue: Producer<Arrival>,
    shared: Arc<IncomingShared>,
}

#[derive(Debug, Default)]
struct IncomingShared {
    bytes: AtomicUsize,
    /// Woken when something was taken.
    room: AtomicWaker,
}

/// Both ends.
pub(super) fn incoming() -> (IncomingSender, Incoming) {
    let (producer, consumer) = RingBuffer::new(MAX_MESSAGES);
    let shared = Arc::new(IncomingShared::default());
    (
        IncomingSender { queue: producer, shared: shared.clone() },
        Incoming { queue: consumer, shared: SessionEnd(shared) },
    )
}

impl Incoming {
    /// The next arrival, if one waits.
    pub(super) fn take(&mut self) -> Option<Arrival> {
        let arrival = self.queue.pop().ok()?;
        self.shared.0.bytes.fetch_sub(arrival.size(), Ordering::AcqRel);
        self.shared.0.room.wake();
        Some(arrival)
    }

    /// Whether nothing waits.
    #[must_use]
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether the socket is gone; what it brought may still wait.
    #[must_use]
    pub(super) fn is_abandoned(&self) -> bool {
        self.queue.is_abandoned()
    }
}

impl IncomingSender {
    /// Hands it over, or gives it back while there is no room.
    pub(super) fn try_send(&mut self, arrival: Arrival) -> Result<(), Arrival> {
        if !self.fits(arrival.size()) {
            return Err(arrival);
        }
        self.shared.bytes.fetch_add(arrival.size(), Ordering::AcqRel);
        self.queue.push(arrival).map_err(|rtrb::PushError::Full(arrival)| {
            unreachable!("there was room, and nobody else pushes: {arrival:?}")
        })
    }

    /// Waits until [`Self::try_send`] would take so many bytes. Cancel safe.
    pub(super) async fn room(&mut self, size: usize) {
        poll_fn(move |context| {
            self.shared.room.register(context.waker());
            if self.fits(size) || self.queue.is_abandoned() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Waits for room; dropped when the session is gone.
    pub(super) async fn send(&mut self, arrival: Arrival) {
        self.room(arrival.size()).await;
        // Err: nobody is there to take it.
        let _ = self.try_send(arrival);
    }

    /// Whether nobody takes anything any more.
    pub(super) fn is_abandoned(&self) -> bool {
        self.queue.is_abandoned()
    }

    /// Whether there is room for so many bytes.
    pub(super) fn fits(&self, size: usize) -> bool {
        let waiting = self.shared.bytes.load(Ordering::Acquire);
        !self.queue.is_full() && (waiting == 0 || waiting + size <= MAX_BYTES)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn of(bytes: usize) -> Arrival {
        Arrival::Binary(vec![0; bytes].into())
    }

    #[test]
    fn messages_wait_up_to_a_number_and_up_to_their_bytes() {
        let (mut sender, mut incoming) = incoming();
        (0..MAX_MESSAGES).for_each(|_| sender.try_send(of(1)).unwrap());
        assert!(sender.try_send(of(1)).is_err(), "too many");
        (0..MAX_MESSAGES).for_each(|_| drop(incoming.take().unwrap()));
        assert!(incoming.is_empty());
        sender.try_send(of(MAX_BYTES - 1)).unwrap();
        sender.try_send(of(1)).unwrap();
        assert!(sender.try_send(of(1)).is_err(), "too large together");
        incoming.take().unwrap();
        sender.try_send(of(1)).unwrap();
    }

    #[test]
    fn what_is_larger_than_the_bound_is_taken_alone() {
        let (mut sender, mut incoming) = incoming();
        sender.try_send(of(MAX_BYTES * 3)).unwrap();
        assert!(sender.try_send(of(1)).is_err());
        assert!(sender.try_send(Arrival::Closed(crate::provider::Closed::Unreachable(String::new()))).is_err());
        incoming.take().unwrap();
        sender.try_send(of(1)).unwrap();
        assert!(sender.try_send(of(MAX_BYTES * 3)).is_err());
    }

    #[tokio::test]
    async fn who_waits_for_room_is_woken_by_taking_and_by_leaving() {
        for leave in [false, true] {
            let (mut sender, mut incoming) = incoming();
            sender.try_send(of(MAX_BYTES)).unwrap();
            let waiting = tokio::spawn(async move { sender.send(of(7)).await });
            tokio::task::yield_now().await;
            assert!(!waiting.is_finished());
            if leave {
                drop(incoming);
                waiting.await.unwrap();
            } else {
                incoming.take().unwrap();
                waiting.await.unwrap();
                assert_eq!(incoming.take().unwrap().size(), 7);
                assert!(incoming.is_abandoned() && incoming.is_empty());
            }
        }
    }
}
