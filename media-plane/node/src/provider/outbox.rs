//! Messages waiting for the provider's socket.
//!
//! Control messages are never dropped and keep their order among everything. Of the caller's audio at most
//! [`MAX_AUDIO`] messages wait: a network that is slower than speech for longer than that loses the oldest audio, counted,
//! rather than growing the queue or the delay. A socket that takes nothing while [`MAX_CONTROL`] control messages pile up
//! is broken: the outbox closes, and the session hears that its provider is gone.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::Message;
use voicebridge_session::{Frame, Watch};

/// Waiting audio messages of 20 ms: 5 s of the caller.
pub(super) const MAX_AUDIO: usize = 250;
/// Waiting control messages.
pub(super) const MAX_CONTROL: usize = 1_024;

/// The session's end of the queue towards the socket. Cheap to clone; the lock is taken once per message.
#[derive(Clone, Debug, Default)]
pub(super) struct Outbox {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    wake: Notify,
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct Queue {
    messages: VecDeque<(Class, Message)>,
    audio: usize,
    watch: Watch,
    /// No more messages are taken; those that wait are still sent.
    closed: bool,
    /// The socket does not take what it is given.
    stuck: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Audio,
    Control,
}

/// What the socket is to do next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Send(Message),
    /// Everything is sent and the session is through: close politely.
    Close,
    /// Too much waits.
    Stuck,
}

impl Outbox {
    /// Queues a message that must arrive; ignored after [`Outbox::close`].
    pub(super) fn push_control(&self, frame: Frame<'_>) {
        self.push(Class::Control, frame);
    }

    /// Queues a piece of the caller's voice; ignored after [`Outbox::close`].
    pub(super) fn push_audio(&self, frame: Frame<'_>) {
        self.push(Class::Audio, frame);
    }

    /// How closely the socket is to be watched.
    pub(super) fn watch(&self, watch: Watch) {
        self.lock().watch = watch;
        self.shared.wake.notify_one();
    }

    fn push(&self, class: Class, frame: Frame<'_>) {
        let mut queue = self.lock();
        if queue.closed || queue.stuck {
            return;
        }
        match class {
            Class::Audio if queue.audio == MAX_AUDIO => {
                let oldest = queue.messages.iter().position(|(class, _)| *class == Class::Audio);
                queue.messages.remove(oldest.expect("some audio waits, it was counted"));
                self.shared.dropped.fetch_add(1, Ordering::Relaxed);
            }
            Class::Audio => queue.audio += 1,
            Class::Control if queue.messages.len() - queue.audio == MAX_CONTROL => {
                queue.stuck = true;
                drop(queue);
                self.shared.wake.notify_one();
                return;
            }
            Class::Control => {}
        }
        queue.messages.push_back((
            class,
            match frame {
                Frame::Text(text) => Message::text(text),
                Frame::Binary(bytes) => Message::binary(bytes.to_vec()),
            },
        ));
        drop(queue);
        self.shared.wake.notify_one();
    }

    /// Closes the socket once everything queued is sent.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.shared.wake.notify_one();
    }

    /// Audio messages dropped because the socket was too slow.
    #[must_use]
    pub(super) fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// The next thing for the socket's task. Cancel safe: nothing is taken before it returns.
    pub(super) async fn next(&self) -> Next {
        loop {
            let woken = self.shared.wake.notified();
            if let Some(next) = self.take() {
                return next;
            }
            woken.await;
        }
    }

    fn take(&self) -> Option<Next> {
        let mut queue = self.lock();
        if queue.stuck {
            return Some(Next::Stuck);
        }
        if let Some((class, message)) = queue.messages.pop_front() {
            queue.audio -= usize::from(class == Class::Audio);
            return Some(Next::Send(message));
        }
        queue.closed.then_some(Next::Close)
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn audio(index: usize) -> String {
        format!("audio {index}")
    }

    fn control(outbox: &Outbox, text: &str) {
        outbox.push_control(Frame::Text(text));
    }

    fn sent(text: impl Into<String>) -> Next {
        Next::Send(Message::text(text.into()))
    }

    #[tokio::test]
    async fn the_oldest_audio_is_dropped_and_control_never() {
        let outbox = Outbox::default();
        control(&outbox, "first");
        (0..MAX_AUDIO + 3).for_each(|index| outbox.push_audio(Frame::Text(&audio(index))));
        control(&outbox, "last");
        outbox.close();
        control(&outbox, "too late");
        assert_eq!(outbox.dropped(), 3);
        assert_eq!(outbox.next().await, sent("first"));
        for index in 3..MAX_AUDIO + 3 {
            assert_eq!(outbox.next().await, sent(audio(index)));
        }
        assert_eq!(outbox.next().await, sent("last"));
        assert_eq!(outbox.next().await, Next::Close);
    }

    #[tokio::test]
    async fn control_messages_that_pile_up_mean_a_broken_socket() {
        let outbox = Outbox::default();
        (0..=MAX_CONTROL).for_each(|index| control(&outbox, &index.to_string()));
        assert_eq!(outbox.next().await, Next::Stuck);
    }

    #[tokio::test]
    async fn a_waiting_socket_is_woken() {
        let outbox = Outbox::default();
        let waiting = tokio::spawn({
            let outbox = outbox.clone();
            async move { outbox.next().await }
        });
        tokio::task::yield_now().await;
        control(&outbox, "hello");
        assert_eq!(waiting.await.ok(), Some(sent("hello")));
    }
}
