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

/// Waiting audio messages of 20 ms: 5 s of the caller.
pub(super) const MAX_AUDIO: usize = 250;
/// Waiting control messages.
pub(super) const MAX_CONTROL: usize = 1_024;
/// How an append of audio begins in the Realtime protocol, as the session core writes it.
const AUDIO_PREFIX: &str = r#"{"type":"input_audio_buffer.append""#;

/// The session's end of the queue towards the socket. Cheap to clone; the lock is taken once per message.
#[derive(Clone, Debug, Default)]
pub struct Outbox {
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
    messages: VecDeque<(Class, String)>,
    audio: usize,
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
    Send(String),
    /// Everything is sent and the session is through: close politely.
    Close,
    /// Too much waits.
    Stuck,
}

impl Outbox {
    /// Queues a message; ignored after [`Outbox::close`].
    pub fn push(&self, message: &str) {
        let class = if message.starts_with(AUDIO_PREFIX) { Class::Audio } else { Class::Control };
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
        queue.messages.push_back((class, message.to_owned()));
        drop(queue);
        self.shared.wake.notify_one();
    }

    /// Closes the socket once everything queued is sent.
    pub fn close(&self) {
        self.lock().closed = true;
        self.shared.wake.notify_one();
    }

    /// Audio messages dropped because the socket was too slow.
    #[must_use]
    pub fn dropped(&self) -> u64 {
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
        format!(r#"{AUDIO_PREFIX},"audio":"{index}"}}"#)
    }

    #[tokio::test]
    async fn the_oldest_audio_is_dropped_and_control_never() {
        let outbox = Outbox::default();
        outbox.push("first");
        (0..MAX_AUDIO + 3).for_each(|index| outbox.push(&audio(index)));
        outbox.push("last");
        outbox.close();
        outbox.push("too late");
        assert_eq!(outbox.dropped(), 3);
        assert_eq!(outbox.next().await, Next::Send("first".into()));
        for index in 3..MAX_AUDIO + 3 {
            assert_eq!(outbox.next().await, Next::Send(audio(index)));
        }
        assert_eq!(outbox.next().await, Next::Send("last".into()));
        assert_eq!(outbox.next().await, Next::Close);
    }

    #[tokio::test]
    async fn control_messages_that_pile_up_mean_a_broken_socket() {
        let outbox = Outbox::default();
        (0..=MAX_CONTROL).for_each(|index| outbox.push(&index.to_string()));
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
        outbox.push("hello");
        assert_eq!(waiting.await.ok(), Some(Next::Send("hello".into())));
    }
}
