//! Tells live subscribers of a call that there is more to read.
//!
//! Durable events are read from the store: a subscriber is only woken. Transient events exist here alone; a subscriber
//! that is too slow for them loses the oldest, as the contract allows.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{broadcast, watch};
use voicebridge_core::identity::CallId;
use voicebridge_proto::types::v1::Event;

/// Transient events a subscriber may be behind, about 20 s of partial transcripts.
const TRANSIENT_BACKLOG: usize = 256;

#[derive(Debug)]
struct Channel {
    stored: watch::Sender<u64>,
    transient: broadcast::Sender<Arc<Event>>,
}

/// Channels of calls that somebody watches, and only of those.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    channels: Mutex<HashMap<CallId, Channel>>,
}

impl Hub {
    fn lock(&self) -> MutexGuard<'_, HashMap<CallId, Channel>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An event with this sequence can be read.
    pub(crate) fn stored(&self, call_id: &CallId, sequence: u64) {
        if let Some(channel) = self.lock().get(call_id) {
            channel.stored.send_modify(|last| *last = (*last).max(sequence));
        }
    }

    /// Passes a transient event on to whoever listens now.
    pub(crate) fn transient(&self, call_id: &CallId, event: Event) {
        if let Some(channel) = self.lock().get(call_id) {
            // Err: the last one has just gone.
            let _ = channel.transient.send(Arc::new(event));
        }
    }

    /// From here on nothing is missed: subscribe first, then read the store.
    pub(crate) fn subscribe(self: &Arc<Self>, call_id: &CallId) -> Subscription {
        let mut channels = self.lock();
        let channel = channels.entry(call_id.clone()).or_insert_with(|| Channel {
            stored: watch::Sender::new(0),
            transient: broadcast::Sender::new(TRANSIENT_BACKLOG),
        });
        Subscription {
            stored: channel.stored.subscribe(),
            transient: channel.transient.subscribe(),
            call_id: call_id.clone(),
            hub: Arc::clone(self),
        }
    }
}

/// One subscriber. Dropping the last one of a call removes its channel.
#[derive(Debug)]
pub(crate) struct Subscription {
    /// Changes when there is more to read.
    pub(crate) stored: watch::Receiver<u64>,
    /// Live only.
    pub(crate) transient: broadcast::Receiver<Arc<Event>>,
    call_id: CallId,
    hub: Arc<Hub>,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut channels = self.hub.lock();
        // Our own receiver still counts.
        if channels.get(&self.call_id).is_some_and(|channel| channel.stored.receiver_count() <= 1) {
            channels.remove(&self.call_id);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn subscribers_are_woken_and_leave_nothing_behind() {
        let hub = Arc::new(Hub::default());
        let call = CallId::parse("a").unwrap();
        hub.stored(&call, 1);
        let mut one = hub.subscribe(&call);
        let mut two = hub.subscribe(&call);
        hub.stored(&call, 2);
        hub.stored(&call, 1);
        one.stored.changed().await.unwrap();
        assert_eq!(*one.stored.borrow(), 2);
        hub.transient(&call, Event { elapsed_ms: 7, ..Event::default() });
        assert_eq!(two.transient.recv().await.unwrap().elapsed_ms, 7);
        drop(one);
        assert_eq!(hub.lock().len(), 1);
        drop(two);
        assert!(hub.lock().is_empty());
    }
}
