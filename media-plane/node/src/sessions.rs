//! The sessions of a node by id: reserved, live, and for a while those that have ended.
//!
//! Flow: [`Sessions::reserve`] takes a slot before anything is built; [`Reservation::fill`] makes the session findable, or
//! dropping the reservation gives the slot back. The media thread reports the end with [`Sessions::ended`].
//!
//! Bounds: `max` reserved and live sessions, more are [`SlotRefused::Full`]. Ended sessions are held for [`HELD_FOR`], at most
//! [`HELD_MOST`] of them (the oldest go first), so that their events can still be read.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use voicebridge_audio::Time;

use crate::{entry::Entry, shard::ShardIndex};

/// How long an ended session and its events are held: a control plane that restarts comes back well within it.
pub const HELD_FOR: Duration = Duration::from_secs(15 * 60);
/// Ended sessions held.
pub const HELD_MOST: usize = 1_000;

/// A session and where it runs.
#[derive(Clone, Debug)]
pub struct Held {
    /// What is known of it.
    pub entry: Arc<Entry>,
    /// Its media thread.
    pub shard: ShardIndex,
    /// It has not ended.
    pub live: bool,
}

/// No new session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SlotRefused {
    /// All slots are taken.
    #[error("the node has all the {0} sessions it takes")]
    Full(u32),
    /// The node is draining.
    #[error("the node is draining and takes no new sessions")]
    Draining,
}

/// What a request for a session id gets.
#[derive(Debug)]
pub enum Claim {
    /// A slot; build the session.
    Reserved(Reservation),
    /// It exists already.
    Held(Held),
    /// Another request is building it: wait for the token, then claim again.
    Wait(CancellationToken),
}

/// All sessions of a node.
#[derive(Debug)]
pub struct Sessions {
    inner: Mutex<Inner>,
    max: u32,
    /// Told at every end.
    idle: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    slots: BTreeMap<String, SessionSlot>,
    /// Reserved and live.
    taken: u32,
    ended: VecDeque<(Time, String)>,
    draining: bool,
}

#[derive(Debug)]
enum SessionSlot {
    Reserved(CancellationToken),
    Held(Held),
}

/// A slot that is taken but not filled. Dropping it gives it back.
#[derive(Debug)]
pub struct Reservation {
    sessions: Arc<Sessions>,
    session_id: String,
    filled: bool,
}

impl Sessions {
    /// No session yet, at most `max` at a time.
    #[must_use]
    pub fn new(max: u32) -> Arc<Self> {
        Arc::new(Self { inner: Mutex::default(), max, idle: Notify::new() })
    }

    /// The session of this id, or a slot for it.
    ///
    /// # Errors
    /// [`SlotRefused`]; never for a session that exists.
    pub fn reserve(self: &Arc<Self>, session_id: &str, now: Time) -> Result<Claim, SlotRefused> {
        let mut inner = self.lock();
        inner.forget(now);
        match inner.slots.get(session_id) {
            Some(SessionSlot::Held(held)) => return Ok(Claim::Held(held.clone())),
            Some(SessionSlot::Reserved(building)) => return Ok(Claim::Wait(building.clone())),
            None => {}
        }
        if inner.draining {
            return Err(SlotRefused::Draining);
        }
        if inner.taken >= self.max {
            return Err(SlotRefused::Full(self.max));
        }
        inner.taken += 1;
        inner.slots.insert(session_id.to_owned(), SessionSlot::Reserved(CancellationToken::new()));
        Ok(Claim::Reserved(Reservation { sessions: self.clone(), session_id: session_id.to_owned(), filled: false }))
    }

    /// A session, live or held.
    #[must_use]
    pub fn get(&self, session_id: &str) -> Option<Held> {
        match self.lock().slots.get(session_id) {
            Some(SessionSlot::Held(held)) => Some(held.clone()),
            _ => None,
        }
    }

    /// Live sessions by id, and the ended ones still held when `ended` is true.
    #[must_use]
    pub fn list(&self, ended: Ended, now: Time) -> Vec<Held> {
        let mut inner = self.lock();
        inner.forget(now);
        inner
            .slots
            .values()
            .filter_map(|slot| match slot {
                SessionSlot::Held(held) if held.live || ended == Ended::Included => Some(held.clone()),
                _ => None,
            })
            .collect()
    }

    /// Reserved and live sessions.
    #[must_use]
    pub fn taken(&self) -> u32 {
        self.lock().taken
    }

    /// The most there may be.
    #[must_use]
    pub const fn max(&self) -> u32 {
        self.max
    }

    /// Takes no new session from here on; how many are live. Idempotent.
    pub fn drain(&self) -> u32 {
        let mut inner = self.lock();
        inner.draining = true;
        inner.taken
    }

    /// Whether new sessions are refused.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.lock().draining
    }

    /// Returns once no session is reserved or live.
    pub async fn idle(&self) {
        loop {
            let ended = self.idle.notified();
            tokio::pin!(ended);
            // Registered before looking, so that an end in between is not missed.
            ended.as_mut().enable();
            if self.taken() == 0 {
                return;
            }
            ended.await;
        }
    }

    /// A session has ended: its slot is free, its events are held for a while.
    pub(crate) fn ended(&self, session_id: &str, now: Time) {
        let mut inner = self.lock();
        if let Some(SessionSlot::Held(held)) = inner.slots.get_mut(session_id)
            && held.live
        {
            held.live = false;
            inner.taken -= 1;
            inner.ended.push_back((now, session_id.to_owned()));
        }
        inner.forget(now);
        drop(inner);
        self.idle.notify_waiters();
    }

    /// A session that no thread took never was: its slot is free, and its id may be tried again.
    pub(crate) fn withdraw(&self, session_id: &str) {
        let mut inner = self.lock();
        if matches!(inner.slots.get(session_id), Some(SessionSlot::Held(held)) if held.live) {
            inner.slots.remove(session_id);
            inner.taken -= 1;
        }
        drop(inner);
        self.idle.notify_waiters();
    }

    /// Never held across anything that can panic.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a list has the ended sessions too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Live and ended.
    Included,
    /// Live only.
    LeftOut,
}

impl Inner {
    fn forget(&mut self, now: Time) {
        while let Some((ended, _)) = self.ended.front() {
            if self.ended.len() <= HELD_MOST && now.since(*ended) < HELD_FOR {
                break;
            }
            let (_, session_id) = self.ended.pop_front().expect("there is a front");
            self.slots.remove(&session_id);
        }
    }
}

impl Reservation {
    /// The session exists: it is live and can be found.
    pub fn fill(mut self, entry: Arc<Entry>, shard: ShardIndex) {
        self.filled = true;
        self.settle(Some(SessionSlot::Held(Held { entry, shard, live: true })));
    }

    fn settle(&self, slot: Option<SessionSlot>) {
        let mut inner = self.sessions.lock();
        let before = match slot {
            Some(slot) => inner.slots.insert(self.session_id.clone(), slot),
            None => {
                inner.taken -= 1;
                inner.slots.remove(&self.session_id)
            }
        };
        drop(inner);
        if let Some(SessionSlot::Reserved(building)) = before {
            building.cancel();
        }
        self.sessions.idle.notify_waiters();
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if !self.filled {
            self.settle(None);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::{entry::Opening, shard::ShardIndex};

    fn claim(sessions: &Arc<Sessions>, session_id: &str, now: Time) -> Reservation {
        match sessions.reserve(session_id, now) {
            Ok(Claim::Reserved(reservation)) => reservation,
            other => panic!("{other:?}"),
        }
    }

    fn live(sessions: &Arc<Sessions>, session_id: &str, now: Time) {
        let entry = Entry::new(Opening {
            session_id: session_id.into(),
            call_id: "wacid.1".into(),
            started: now,
            elapsed_ms: 0,
            sdp_answer: String::new(),
            warnings: Vec::new(),
            arguments: Default::default(),
        });
        claim(sessions, session_id, now).fill(Arc::new(entry), ShardIndex::default());
    }

    #[test]
    fn a_slot_that_is_not_filled_is_given_back() {
        let sessions = Sessions::new(1);
        let reservation = claim(&sessions, "a", Time::ZERO);
        assert!(matches!(sessions.reserve("b", Time::ZERO), Err(SlotRefused::Full(1))));
        let Ok(Claim::Wait(built)) = sessions.reserve("a", Time::ZERO) else { panic!("not being built") };
        assert!(!built.is_cancelled() && sessions.get("a").is_none());
        drop(reservation);
        assert!(built.is_cancelled());
        assert_eq!(sessions.taken(), 0);
        live(&sessions, "b", Time::ZERO);
        assert!(matches!(sessions.reserve("b", Time::ZERO), Ok(Claim::Held(held)) if held.live));
    }

    #[test]
    fn a_session_that_no_thread_took_leaves_nothing_behind() {
        let sessions = Sessions::new(1);
        live(&sessions, "a", Time::ZERO);
        sessions.withdraw("a");
        sessions.withdraw("a");
        assert_eq!(sessions.taken(), 0, "its slot is given back once");
        assert!(sessions.get("a").is_none() && sessions.list(Ended::Included, Time::ZERO).is_empty());
        live(&sessions, "a", Time::ZERO);
        sessions.ended("a", Time::ZERO);
        sessions.withdraw("a");
        assert!(sessions.get("a").is_some(), "one that was taken and ended is held");
    }

    #[test]
    fn ended_sessions_are_held_for_a_while() {
        let sessions = Sessions::new(1);
        live(&sessions, "a", Time::ZERO);
        sessions.ended("a", Time::ZERO);
        sessions.ended("a", Time::ZERO);
        assert_eq!(sessions.taken(), 0, "an end counts once");
        let late = Time::ZERO + HELD_FOR;
        let before = Time::from_millis(late.as_millis() - 1);
        assert_eq!(sessions.list(Ended::LeftOut, before).len(), 0);
        assert_eq!(sessions.list(Ended::Included, before).len(), 1);
        assert_eq!(sessions.list(Ended::Included, late).len(), 0);
        assert!(sessions.get("a").is_none());
    }

    #[test]
    fn only_so_many_ended_sessions_are_held() {
        let sessions = Sessions::new(1);
        for index in 0..HELD_MOST + 5 {
            let session_id = index.to_string();
            live(&sessions, &session_id, Time::ZERO);
            sessions.ended(&session_id, Time::ZERO);
        }
        assert_eq!(sessions.list(Ended::Included, Time::ZERO).len(), HELD_MOST);
        assert!(sessions.get("4").is_none() && sessions.get("5").is_some(), "the oldest go first");
    }

    #[test]
    fn a_draining_node_still_knows_its_sessions() {
        let sessions = Sessions::new(2);
        live(&sessions, "a", Time::ZERO);
        assert_eq!(sessions.drain(), 1);
        assert!(matches!(sessions.reserve("b", Time::ZERO), Err(SlotRefused::Draining)));
        assert!(matches!(sessions.reserve("a", Time::ZERO), Ok(Claim::Held(_))));
    }
}
