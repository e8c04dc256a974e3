//! The socket's end: keeps what cannot be sent yet, and drops the oldest audio when too much of it waits.

use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::{Arc, atomic::Ordering},
    task::Poll,
};

use rtrb::Consumer;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use voicebridge_session::Watch;

use super::{CloseState, FrameKind, MAX_AUDIO, MessageClass, OutgoingShared, QueuedMessage};

/// See the module.
#[derive(Debug)]
pub(in crate::provider) struct OutgoingReceiver {
    ring: Consumer<QueuedMessage>,
    waiting: VecDeque<QueuedMessage>,
    /// Audio messages among those.
    audio: usize,
    shared: Arc<OutgoingShared>,
    /// What was last told.
    watch: Watch,
}

/// What the socket is to do next.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::provider) enum SocketOrder {
    Send(Message),
    /// From now on.
    Watch(Watch),
    /// Everything is sent and the session is through: close politely.
    Close,
    /// Too much waits.
    Stuck,
    /// The session is gone.
    Gone,
}

impl OutgoingReceiver {
    pub(super) fn new(ring: Consumer<QueuedMessage>, shared: Arc<OutgoingShared>) -> Self {
        Self { ring, waiting: VecDeque::new(), audio: 0, shared, watch: Watch::Idle }
    }

    /// How closely the socket is to be watched, as last told.
    pub(in crate::provider) const fn watch(&self) -> Watch {
        self.watch
    }

    /// The next thing for a socket that can send. Cancel safe: nothing is taken before it returns.
    pub(in crate::provider) async fn next(&mut self) -> SocketOrder {
        poll_fn(|context| {
            self.shared.waker.register(context.waker());
            self.told().or_else(|| self.take()).map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    /// The next thing for a socket that cannot send: no message, no close. Cancel safe.
    pub(in crate::provider) async fn next_urgent(&mut self) -> SocketOrder {
        poll_fn(|context| {
            self.shared.waker.register(context.waker());
            self.collect();
            self.told().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    /// What the session says of the connection.
    fn told(&mut self) -> Option<SocketOrder> {
        match self.shared.ending() {
            CloseState::Open | CloseState::Closed => {}
            CloseState::Stuck => return Some(SocketOrder::Stuck),
            CloseState::Gone => return Some(SocketOrder::Gone),
        }
        let watch = self.shared.watch();
        (watch != self.watch).then(|| {
            self.watch = watch;
            SocketOrder::Watch(watch)
        })
    }

    fn take(&mut self) -> Option<SocketOrder> {
        // Looked at first: what was pushed before the session closed is then seen.
        let ending = self.shared.ending();
        let Some(entry) = self.oldest() else { return (ending == CloseState::Closed).then_some(SocketOrder::Close) };
        if entry.class == MessageClass::Control {
            self.shared.control.fetch_sub(1, Ordering::AcqRel);
            self.shared.control_bytes.fetch_sub(entry.bytes.len(), Ordering::AcqRel);
        }
        Some(SocketOrder::Send(match entry.kind {
            FrameKind::Text => Message::Text(Utf8Bytes::try_from(entry.bytes).expect("a text was copied")),
            FrameKind::Binary => Message::Binary(entry.bytes),
        }))
    }

    /// The oldest message. In the usual case it comes straight from the ring.
    fn oldest(&mut self) -> Option<QueuedMessage> {
        if self.waiting.is_empty() && self.ring.slots() <= MAX_AUDIO {
            return self.ring.pop().ok();
        }
        self.collect();
        let entry = self.waiting.pop_front()?;
        self.audio -= usize::from(entry.class == MessageClass::Audio);
        Some(entry)
    }

    /// Takes over what is in the ring.
    fn collect(&mut self) {
        while let Ok(entry) = self.ring.pop() {
            if entry.class == MessageClass::Audio {
                if self.audio == MAX_AUDIO {
                    let oldest = self.waiting.iter().position(|entry| entry.class == MessageClass::Audio);
                    self.waiting.remove(oldest.expect("some audio waits, it was counted"));
                    self.shared.dropped.fetch_add(1, Ordering::Relaxed);
                } else {
                    self.audio += 1;
                }
            }
            self.waiting.push_back(entry);
        }
    }
}
