//! Which nodes are there. A node's stream of beats is its registration.
//!
//! When the stream ends the node takes no new calls at once; when no beat came for the limit, on this or another stream,
//! it is lost and whoever watches one of its calls hears of it. Time comes from the caller, so that tests own it.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::watch;
use voicebridge_core::placement::NodeView;

/// What a node says of itself with each beat.
#[derive(Clone, Debug, PartialEq)]
pub struct Beat {
    /// Unique per process start.
    pub node_id: String,
    /// Region, as placement rules use it.
    pub region: String,
    /// Its gRPC address.
    pub url: String,
    /// Sessions running.
    pub live_sessions: u32,
    /// Its bound.
    pub max_sessions: u32,
    /// Takes no more calls.
    pub draining: bool,
    /// 0 to 1.
    pub media_load: f32,
    /// Of its program.
    pub version: String,
    /// Which AI answers there.
    pub provider: String,
    /// Its media threads; 0 when it is too old to say.
    pub media_threads: u32,
    /// Of these, how many have died or hang.
    pub media_threads_lost: u32,
}

/// Whether a node is there, as seen by who follows one of its calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// Beats come in, or came a moment ago.
    Alive,
    /// Gone for good; a node that returns under the same id is a new registration.
    Lost,
}

#[derive(Debug)]
struct Entry {
    beat: Beat,
    last_beat: Instant,
    /// Which stream speaks for the node; `None` while none does.
    stream: Option<u64>,
    /// Placed since the last beat, which does not count them yet.
    placed: u32,
    liveness: watch::Sender<Liveness>,
}

/// All nodes known. Shared; every method is short.
#[derive(Debug)]
pub struct Registry {
    lost_after: Duration,
    nodes: Mutex<BTreeMap<String, Entry>>,
    changes: watch::Sender<u64>,
}

impl Registry {
    /// `lost_after`: silence after which a node is lost.
    #[must_use]
    pub fn new(lost_after: Duration) -> Self {
        Self { lost_after, nodes: Mutex::default(), changes: watch::Sender::new(0) }
    }

    // Nothing panics while holding the lock; should it ever, the map is still whole.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a beat of `stream`. True when the node was not registered before.
    pub fn beat(&self, stream: u64, beat: Beat, now: Instant) -> bool {
        let mut nodes = self.lock();
        let new = match nodes.get_mut(&beat.node_id) {
            Some(entry) => {
                entry.beat = beat;
                entry.last_beat = now;
                entry.stream = Some(stream);
                entry.placed = 0;
                false
            }
            None => {
                let liveness = watch::Sender::new(Liveness::Alive);
                let id = beat.node_id.clone();
                nodes.insert(id, Entry { beat, last_beat: now, stream: Some(stream), placed: 0, liveness });
                true
            }
        };
        drop(nodes);
        if new {
            self.changes.send_modify(|changes| *changes += 1);
        }
        new
    }

    /// A stream ended. The node may come back on another, until it is lost.
    pub fn disconnected(&self, stream: u64, node_id: &str) {
        if let Some(entry) = self.lock().get_mut(node_id).filter(|entry| entry.stream == Some(stream)) {
            entry.stream = None;
        }
    }

    /// Forgets nodes that were silent for too long and tells who watches them. Returns their ids and addresses.
    pub fn sweep(&self, now: Instant) -> Vec<(String, String)> {
        let mut nodes = self.lock();
        let lost: Vec<String> = nodes
            .iter()
            .filter(|(_, entry)| now.saturating_duration_since(entry.last_beat) > self.lost_after)
            .map(|(id, _)| id.clone())
            .collect();
        let gone = lost.into_iter().filter_map(|id| {
            let entry = nodes.remove(&id)?;
            entry.liveness.send_replace(Liveness::Lost);
            Some((id, entry.beat.url))
        });
        gone.collect()
    }

    /// For placement, as of now.
    #[must_use]
    pub fn views(&self) -> Vec<NodeView> {
        self.lock()
            .values()
            .map(|entry| NodeView {
                node_id: entry.beat.node_id.clone(),
                region: entry.beat.region.clone(),
                live_sessions: entry.beat.live_sessions.saturating_add(entry.placed),
                max_sessions: entry.beat.max_sessions,
                draining: entry.beat.draining,
                alive: entry.stream.is_some(),
                media_load: entry.beat.media_load,
                media_threads: entry.beat.media_threads,
                media_threads_lost: entry.beat.media_threads_lost,
            })
            .collect()
    }

    /// What every node said last.
    #[must_use]
    pub fn beats(&self) -> Vec<Beat> {
        self.lock().values().map(|entry| entry.beat.clone()).collect()
    }

    /// What a node said last.
    #[must_use]
    pub fn last_beat(&self, node_id: &str) -> Option<Beat> {
        self.lock().get(node_id).map(|entry| entry.beat.clone())
    }

    /// It was told to drain, which its next beat says too.
    pub fn drains(&self, node_id: &str) {
        if let Some(entry) = self.lock().get_mut(node_id) {
            entry.beat.draining = true;
        }
    }

    /// Address of a node.
    #[must_use]
    pub fn url(&self, node_id: &str) -> Option<String> {
        self.lock().get(node_id).map(|entry| entry.beat.url.clone())
    }

    /// Counts a session until the node's own beat does.
    pub fn placed(&self, node_id: &str) {
        if let Some(entry) = self.lock().get_mut(node_id) {
            entry.placed = entry.placed.saturating_add(1);
        }
    }

    /// To hear when a node is lost; `None` when it is not registered.
    #[must_use]
    pub fn liveness(&self, node_id: &str) -> Option<watch::Receiver<Liveness>> {
        self.lock().get(node_id).map(|entry| entry.liveness.subscribe())
    }

    /// Waits until a node registers.
    pub async fn registered(&self, node_id: &str) -> watch::Receiver<Liveness> {
        let mut changes = self.changes.subscribe();
        loop {
            if let Some(liveness) = self.liveness(node_id) {
                return liveness;
            }
            // The sender lives in `self`: this cannot fail while we are borrowed.
            let _ = changes.changed().await;
        }
    }

    /// How many are registered.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lock().len()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const LIMIT: Duration = Duration::from_secs(3);

    fn beat(id: &str) -> Beat {
        Beat {
            node_id: id.to_owned(),
            region: "sa".to_owned(),
            url: format!("http://{id}:3200"),
            live_sessions: 1,
            max_sessions: 10,
            draining: false,
            media_load: 0.0,
            version: String::new(),
            provider: String::new(),
            media_threads: 1,
            media_threads_lost: 0,
        }
    }

    #[test]
    fn three_missed_beats_lose_a_node() {
        let registry = Registry::new(LIMIT);
        let start = Instant::now();
        assert!(registry.beat(1, beat("a"), start));
        assert!(!registry.beat(1, beat("a"), start + Duration::from_secs(1)));
        let watched = registry.liveness("a").unwrap();
        assert_eq!(registry.sweep(start + Duration::from_secs(4)), []);
        assert_eq!(*watched.borrow(), Liveness::Alive);
        let lost = registry.sweep(start + Duration::from_millis(4_001));
        assert_eq!(lost, [("a".to_owned(), "http://a:3200".to_owned())]);
        assert_eq!(*watched.borrow(), Liveness::Lost);
        assert!(registry.liveness("a").is_none() && registry.count() == 0);
        assert!(registry.beat(2, beat("a"), start + Duration::from_secs(9)), "a new registration");
        assert_eq!(*watched.borrow(), Liveness::Lost, "the old one stays lost");
    }

    #[test]
    fn a_node_without_a_stream_takes_no_calls_but_keeps_its_own_for_a_while() {
        let registry = Registry::new(LIMIT);
        let start = Instant::now();
        registry.beat(1, beat("a"), start);
        let watched = registry.liveness("a").unwrap();
        registry.disconnected(1, "a");
        assert!(!registry.views()[0].alive);
        assert_eq!(*watched.borrow(), Liveness::Alive);
        registry.beat(2, beat("a"), start + Duration::from_secs(2));
        registry.disconnected(1, "a");
        assert!(registry.views()[0].alive, "the end of an old stream is no news");
        assert_eq!(registry.sweep(start + Duration::from_secs(4)), []);
    }

    #[test]
    fn placed_calls_count_at_once() {
        let registry = Registry::new(LIMIT);
        registry.beat(1, beat("a"), Instant::now());
        registry.placed("a");
        registry.placed("nobody");
        assert_eq!(registry.views()[0].live_sessions, 2);
        registry.beat(1, Beat { live_sessions: 2, ..beat("a") }, Instant::now());
        assert_eq!(registry.views()[0].live_sessions, 2);
    }

    #[tokio::test]
    async fn who_waits_for_a_node_hears_of_it() {
        let registry = std::sync::Arc::new(Registry::new(LIMIT));
        let waiting = tokio::spawn({
            let registry = std::sync::Arc::clone(&registry);
            async move { *registry.registered("a").await.borrow() }
        });
        registry.beat(1, beat("b"), Instant::now());
        registry.beat(1, beat("a"), Instant::now());
        assert_eq!(waiting.await.unwrap(), Liveness::Alive);
    }
}
