//! Messages for a provider's socket. The session's thread puts them in without a lock and, once warm, without allocating;
//! the socket's task takes them out.
//!
//! Flow: a message is copied into a buffer that is used again once the socket is through with it, and goes through a ring
//! to the socket's task, which keeps what cannot be sent yet ([`OutgoingReceiver`]). All messages keep their order.
//!
//! Control messages are never dropped: a socket that takes nothing while [`MAX_CONTROL`] of them, or [`MAX_CONTROL_BYTES`],
//! pile up is broken, and the session hears that its provider is gone. Of the caller's audio at most [`MAX_AUDIO`] messages
//! wait: a network that is slower than speech for longer than that loses the oldest audio, counted, rather than growing the
//! delay. While the task itself does not get to run, the ring holds as much as both bounds allow; then the newest audio is
//! dropped, counted too.

mod buffer;
mod receiver;

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering},
};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use rtrb::{Producer, RingBuffer};
use voicebridge_session::{Frame, Watch};

use buffer::Buffer;
pub(super) use receiver::{OutgoingReceiver, SocketOrder};

/// Waiting audio messages of 20 ms: 5 s of the caller.
pub(super) const MAX_AUDIO: usize = 250;
/// Waiting control messages.
pub(super) const MAX_CONTROL: usize = 1_024;
/// Bytes of waiting control messages: a hundred of the largest, which carry an agent's whole instructions. A single one
/// that is larger is still taken if none waits.
pub(super) const MAX_CONTROL_BYTES: usize = 4 * 1024 * 1024;

/// The session's end.
#[derive(Debug)]
pub(super) struct Outgoing {
    ring: Producer<QueuedMessage>,
    buffer: Buffer,
    shared: Arc<OutgoingShared>,
}

/// A message on its way.
#[derive(Debug)]
struct QueuedMessage {
    class: MessageClass,
    kind: FrameKind,
    bytes: Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MessageClass {
    Audio,
    Control,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FrameKind {
    Text,
    Binary,
}

/// What both ends look at.
#[derive(Debug, Default)]
struct OutgoingShared {
    /// Control messages not yet sent, and their bytes.
    control: AtomicUsize,
    control_bytes: AtomicUsize,
    /// Audio messages dropped.
    dropped: AtomicU64,
    turn_waiting: AtomicBool,
    ending: AtomicU8,
    /// Of the socket's task.
    waker: AtomicWaker,
}

/// How the session is done with the socket; only ever grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
enum CloseState {
    Open,
    /// What waits is still sent.
    Closed,
    /// The socket does not take what it is given.
    Stuck,
    /// Nobody is there any more.
    Gone,
}

/// Both ends.
pub(super) fn outgoing() -> (Outgoing, OutgoingReceiver) {
    let (producer, consumer) = RingBuffer::new(MAX_AUDIO + MAX_CONTROL);
    let shared = Arc::new(OutgoingShared::default());
    let outgoing = Outgoing { ring: producer, buffer: Buffer::default(), shared: shared.clone() };
    (outgoing, OutgoingReceiver::new(consumer, shared))
}

impl Outgoing {
    /// Queues a message that must arrive; ignored after [`Outgoing::close`].
    pub(super) fn send_control(&mut self, frame: Frame<'_>) {
        if self.shared.ending() != CloseState::Open {
            return;
        }
        let size = bytes_of(frame).len();
        let (waiting, waiting_bytes) =
            (self.shared.control.load(Ordering::Acquire), self.shared.control_bytes.load(Ordering::Acquire));
        let fits = waiting < MAX_CONTROL && (waiting == 0 || waiting_bytes + size <= MAX_CONTROL_BYTES);
        if !fits || self.ring.is_full() {
            return self.shared.end(CloseState::Stuck);
        }
        self.shared.control.fetch_add(1, Ordering::AcqRel);
        self.shared.control_bytes.fetch_add(size, Ordering::AcqRel);
        self.push(MessageClass::Control, frame);
    }

    /// Queues a piece of the caller's voice; ignored after [`Outgoing::close`].
    pub(super) fn send_audio(&mut self, frame: Frame<'_>) {
        if self.shared.ending() != CloseState::Open {
            return;
        }
        if self.ring.is_full() {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.push(MessageClass::Audio, frame);
    }

    /// How closely the socket is to be watched.
    pub(super) fn watch(&self, watch: Watch) {
        self.shared.turn_waiting.store(watch == Watch::TurnWaiting, Ordering::Release);
        self.shared.waker.wake();
    }

    /// Closes the socket once everything queued is sent.
    pub(super) fn close(&self) {
        self.shared.end(CloseState::Closed);
    }

    /// Audio messages dropped because the socket was too slow.
    #[must_use]
    pub(super) fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    fn push(&mut self, class: MessageClass, frame: Frame<'_>) {
        let kind = match frame {
            Frame::Text(_) => FrameKind::Text,
            Frame::Binary(_) => FrameKind::Binary,
        };
        let bytes = self.buffer.copy(bytes_of(frame));
        self.ring.push(QueuedMessage { class, kind, bytes }).expect("there was room, and nobody else pushes");
        self.shared.waker.wake();
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.shared.end(CloseState::Gone);
    }
}

impl OutgoingShared {
    fn ending(&self) -> CloseState {
        match self.ending.load(Ordering::Acquire) {
            0 => CloseState::Open,
            1 => CloseState::Closed,
            2 => CloseState::Stuck,
            _ => CloseState::Gone,
        }
    }

    fn end(&self, ending: CloseState) {
        self.ending.fetch_max(ending as u8, Ordering::AcqRel);
        self.waker.wake();
    }

    fn watch(&self) -> Watch {
        if self.turn_waiting.load(Ordering::Acquire) { Watch::TurnWaiting } else { Watch::Idle }
    }
}

fn bytes_of(frame: Frame<'_>) -> &[u8] {
    match frame {
        Frame::Text(text) => text.as_bytes(),
        Frame::Binary(bytes) => bytes,
    }
}

#[cfg(test)]
mod tests;
