//! Which nodes are there, and which of them may get calls. A node's stream of beats is its registration.
//!
//! When the stream ends the node takes no new calls at once; its own it keeps until the [`Detector`] says that it is lost,
//! and then whoever watches one of its calls hears of it. A node named by a call of before our start is known without a
//! registration. An id belongs to the secret it was first registered with. Time comes from the caller, so that tests own it.

mod entry;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::watch;
use voicebridge_core::placement::NodeView;

use self::entry::{Entry, Registration};
use super::{
    beat::Beat,
    detector::{Bounds, Decision, Detector, Finding, Loss},
    identity::{IdTaken, Kept, SecretHash},
    liveness::Liveness,
    probe::{ProbeDue, ProbeOutcome},
};

/// A node that is lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostNode {
    /// Its id.
    pub node_id: String,
    /// How that is known.
    pub why: Loss,
    /// Its process is gone as it had said, draining, and no call was on it any more: nobody loses anything.
    pub drained: bool,
}

/// What a look at all nodes came to.
#[derive(Debug, Default)]
pub struct Sweep {
    /// How long we did not look; set when that was so long that every node got its whole term anew.
    pub stalled: Option<Duration>,
    /// To be probed, each to be answered by [`Registry::probed`].
    pub probes: Vec<ProbeDue>,
    /// Lost with this look.
    pub lost: Vec<LostNode>,
    /// Known no more: without registration and without calls.
    pub forgotten: Vec<String>,
}

#[derive(Debug, Default)]
struct State {
    nodes: BTreeMap<String, Entry>,
    kept: Kept,
    last_sweep: Option<Instant>,
}

/// All nodes known. Shared; every method is short.
#[derive(Debug)]
pub struct Registry {
    bounds: Bounds,
    state: Mutex<State>,
}

impl Registry {
    /// `beat`: the time between two beats of a node. `lost_after`: silence after which it is lost.
    #[must_use]
    pub fn new(beat: Duration, lost_after: Duration) -> Self {
        Self { bounds: Bounds { beat, lost_after }, state: Mutex::default() }
    }

    // Nothing panics while holding the lock; should it ever, the maps are still whole.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a beat of `stream`. True when the node was not registered before.
    ///
    /// # Errors
    /// The id is bound to another secret. Its owner is probed then: should it be gone, the id will be free.
    pub fn beat(&self, stream: u64, beat: Beat, secret: &SecretHash, now: Instant) -> Result<bool, IdTaken> {
        let mut state = self.lock();
        let State { nodes, kept, .. } = &mut *state;
        let lost_after = self.bounds.lost_after;
        let (id, url) = (beat.node_id.clone(), beat.url.clone());
        let registration = Registration { beat, last_beat: now, stream: Some(stream), placed: 0 };
        let new = match nodes.get_mut(&id) {
            Some(entry) if !entry.may_be(secret, &url) => {
                entry.detector.doubt();
                return Err(IdTaken);
            }
            Some(entry) => {
                entry.detector.beat(now, lost_after);
                entry.secret = Some(*secret);
                entry.answered = true;
                entry.url.clone_from(&url);
                entry.registration.replace(registration).is_none()
            }
            None => {
                kept.check(&id, secret, now)?;
                kept.free(&id);
                let entry = Entry {
                    url: url.clone(),
                    registration: Some(registration),
                    secret: Some(*secret),
                    answered: true,
                    detector: Detector::new(now, lost_after),
                    superseded: false,
                    liveness: watch::Sender::new(Liveness::Alive),
                };
                nodes.insert(id.clone(), entry);
                true
            }
        };
        if new {
            for (other, entry) in nodes.iter_mut().filter(|(_, entry)| entry.url == url) {
                entry.superseded = *other != id;
                if entry.superseded {
                    entry.detector.doubt();
                }
            }
        }
        Ok(new)
    }

    /// A stream ended. The node may come back on another, until it is lost.
    pub fn disconnected(&self, stream: u64, node_id: &str) {
        let mut state = self.lock();
        let Some(entry) = state.nodes.get_mut(node_id) else { return };
        if let Some(registration) = entry.registration.as_mut().filter(|known| known.stream == Some(stream)) {
            registration.stream = None;
            entry.detector.doubt();
        }
    }

    /// Something of the node at this address came in: an answer, an event.
    pub fn heard(&self, url: &str, at: Instant) {
        for entry in self.lock().nodes.values_mut().filter(|entry| entry.url == url && !entry.superseded) {
            entry.detector.heard(at);
        }
    }

    /// Looks at all nodes: forgets those that are lost and tells who watches them, and says which are to be probed. To be
    /// called some times a beat; when it was not, it was us who stood still, and every node gets its whole term anew.
    pub fn sweep(&self, now: Instant) -> Sweep {
        let mut state = self.lock();
        let gap = state.last_sweep.replace(now).map(|last| now.saturating_duration_since(last));
        let mut sweep = Sweep { stalled: gap.filter(|gap| *gap > self.bounds.stall()), ..Sweep::default() };
        for (id, entry) in &mut state.nodes {
            if sweep.stalled.is_some() {
                entry.forgive(now);
            } else if entry.is_forgotten(now, self.bounds.lost_after) {
                sweep.forgotten.push(id.clone());
                continue;
            }
            match entry.detector.decide(now, self.bounds) {
                Decision::Keep => {}
                Decision::Probe => sweep.probes.push(ProbeDue {
                    node_id: id.clone(),
                    url: entry.url.clone(),
                    secret: entry.secret,
                    begun: now,
                }),
                Decision::Lose(why) => {
                    sweep.lost.push(LostNode { node_id: id.clone(), why, drained: entry.has_left(why) });
                }
            }
        }
        for id in &sweep.forgotten {
            state.remove(id, Loss::Silent, now);
        }
        for lost in &sweep.lost {
            state.remove(&lost.node_id, lost.why, now);
        }
        sweep
    }

    /// What a probe that [`Self::sweep`] asked for has found, and whether that loses the node.
    pub fn probed(&self, due: &ProbeDue, outcome: ProbeOutcome, now: Instant) -> Option<LostNode> {
        let mut state = self.lock();
        let entry = state.nodes.get_mut(&due.node_id)?;
        let finding = match outcome {
            ProbeOutcome::Answered(secret) => {
                entry.answered = true;
                entry.secret = entry.secret.or(secret);
                Finding::Alive
            }
            ProbeOutcome::Unanswered => Finding::Silent,
            ProbeOutcome::Gone => Finding::Gone,
        };
        let Decision::Lose(why) = entry.detector.probed(due.begun, finding, now, self.bounds) else { return None };
        let drained = entry.has_left(why);
        state.remove(&due.node_id, why, now);
        Some(LostNode { node_id: due.node_id.clone(), why, drained })
    }

    /// For placement, as of now.
    #[must_use]
    pub fn views(&self) -> Vec<NodeView> {
        let state = self.lock();
        let registrations = state.nodes.values().filter_map(|entry| entry.registration.as_ref());
        registrations
            .map(|Registration { beat, stream, placed, .. }| NodeView {
                node_id: beat.node_id.clone(),
                region: beat.region.clone(),
                live_sessions: beat.live_sessions.saturating_add(*placed),
                max_sessions: beat.max_sessions,
                draining: beat.draining,
                alive: stream.is_some(),
                media_load: beat.media_load,
                media_threads: beat.media_threads,
                media_threads_lost: beat.media_threads_lost,
            })
            .collect()
    }

    /// What every registered node said last.
    #[must_use]
    pub fn beats(&self) -> Vec<Beat> {
        let state = self.lock();
        state.nodes.values().filter_map(|entry| Some(entry.registration.as_ref()?.beat.clone())).collect()
    }

    /// What a node said last.
    #[must_use]
    pub fn last_beat(&self, node_id: &str) -> Option<Beat> {
        Some(self.lock().nodes.get(node_id)?.registration.as_ref()?.beat.clone())
    }

    /// It was told to drain, which its next beat says too.
    pub fn drains(&self, node_id: &str) {
        self.with_registration(node_id, |registration| registration.beat.draining = true);
    }

    /// Address of a node.
    #[must_use]
    pub fn url(&self, node_id: &str) -> Option<String> {
        self.lock().nodes.get(node_id).map(|entry| entry.url.clone())
    }

    /// Addresses of all nodes known.
    pub(super) fn urls(&self) -> BTreeSet<String> {
        self.lock().nodes.values().map(|entry| entry.url.clone()).collect()
    }

    /// Counts a session until the node's own beat does.
    pub fn placed(&self, node_id: &str) {
        self.with_registration(node_id, |registration| registration.placed = registration.placed.saturating_add(1));
    }

    fn with_registration(&self, node_id: &str, change: impl FnOnce(&mut Registration)) {
        if let Some(registration) = self.lock().nodes.get_mut(node_id).and_then(|entry| entry.registration.as_mut()) {
            change(registration);
        }
    }

    /// To hear when a node is lost; `None` when it is not known.
    #[must_use]
    pub fn liveness(&self, node_id: &str) -> Option<watch::Receiver<Liveness>> {
        self.lock().nodes.get(node_id).map(|entry| entry.liveness.subscribe())
    }

    /// To hear when the node that has a call is lost. One that is not known is from now on, without a registration, which it
    /// then need not have: it is probed at the address of the call, and may be silent for `term`.
    pub fn watch(&self, node_id: &str, url: &str, term: Duration, now: Instant) -> watch::Receiver<Liveness> {
        let mut state = self.lock();
        let State { nodes, kept, .. } = &mut *state;
        let superseded =
            nodes.iter().any(|(id, entry)| id != node_id && entry.url == url && entry.registration.is_some());
        let entry = nodes.entry(node_id.to_owned()).or_insert_with(|| {
            let mut detector = Detector::new(now, term);
            detector.doubt();
            Entry {
                url: url.to_owned(),
                registration: None,
                secret: kept.owner(node_id, now),
                answered: false,
                detector,
                superseded,
                liveness: watch::Sender::new(Liveness::Alive),
            }
        });
        entry.liveness.subscribe()
    }

    /// How many are registered.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lock().nodes.values().filter(|entry| entry.registration.is_some()).count()
    }
}

impl State {
    fn remove(&mut self, id: &str, why: Loss, now: Instant) {
        let Some(entry) = self.nodes.remove(id) else { return };
        entry.liveness.send_replace(Liveness::Lost);
        match (why, entry.secret) {
            (Loss::Silent, Some(secret)) => self.kept.keep(id.to_owned(), secret, now),
            (Loss::Silent, None) => {}
            (Loss::Gone, _) => self.kept.free(id),
        }
    }
}
