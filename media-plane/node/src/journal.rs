//! The events of one session: what was, for those who come or come back, and what is, for those who listen.
//!
//! Flow: the session's thread [`Journal::push`]es; a reader [`Journal::follow`]s from a sequence on and gets first what
//! is kept, then what happens, each durable event exactly once and in order, until the session's last event. A reader
//! that is too slow for the live channel reads on from what is kept, missing transient events only.
//!
//! Bounds: [`KEPT_EVENTS`] durable events are kept and [`KEPT_BYTES`] of their texts, the newest in any case; the oldest go
//! first, and a reader who asks for one that is gone is told so; [`LIVE_EVENTS`] wait in the live channel for the slowest reader.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use tokio::sync::broadcast;
use voicebridge_session::{Event, EventKind};

/// Durable events kept per session: a call of an hour with a turn every five seconds has some 3,000.
pub const KEPT_EVENTS: usize = 4_096;
/// Bytes of texts in the durable events kept per session: ten times what an hour of talk brings.
pub const KEPT_BYTES: usize = 4 * 1024 * 1024;
/// Events waiting for one live reader before it has to read on from what is kept.
pub const LIVE_EVENTS: usize = 256;

/// An event with the times that readers want.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// What the session said.
    pub event: Event,
    /// When, for people.
    pub wall: SystemTime,
    /// Milliseconds since the connect webhook.
    pub elapsed_ms: u64,
}

/// The sequence asked for is older than what is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("events after {asked} are asked for, but the oldest kept is {oldest}")]
pub struct Gone {
    /// Events after this one were asked for.
    pub asked: u64,
    /// The oldest one kept.
    pub oldest: u64,
}

/// All events of one session.
#[derive(Debug)]
pub struct Journal {
    kept: Mutex<Kept>,
    live: broadcast::Sender<Arc<Record>>,
    limit: usize,
    limit_bytes: usize,
}

#[derive(Debug, Default)]
struct Kept {
    records: VecDeque<Arc<Record>>,
    /// Of the texts in them.
    bytes: usize,
    /// Of the last durable event.
    last: u64,
    ended: bool,
}

impl Default for Journal {
    fn default() -> Self {
        Self::with_limits(KEPT_EVENTS, KEPT_BYTES, LIVE_EVENTS)
    }
}

impl Journal {
    fn with_limits(limit: usize, limit_bytes: usize, live: usize) -> Self {
        Self { kept: Mutex::default(), live: broadcast::Sender::new(live), limit, limit_bytes }
    }

    /// Adds an event; false, and nothing happens, after the last one.
    pub fn push(&self, record: Record) -> bool {
        let mut kept = self.lock();
        if kept.ended {
            return false;
        }
        let record = Arc::new(record);
        if !record.event.kind.is_transient() {
            kept.last = record.event.sequence;
            kept.ended = matches!(record.event.kind, EventKind::Ended { .. });
            kept.bytes += record.event.kind.text_bytes();
            kept.records.push_back(record.clone());
            while kept.records.len() > self.limit || (kept.bytes > self.limit_bytes && kept.records.len() > 1) {
                let oldest = kept.records.pop_front();
                kept.bytes -= oldest.map_or(0, |oldest| oldest.event.kind.text_bytes());
            }
        }
        // Under the lock, so that a new reader sees each event either as kept or as live. Err: nobody listens.
        let _ = self.live.send(record);
        true
    }

    /// Sequence of the last durable event, 0 before the first.
    #[must_use]
    pub fn last_sequence(&self) -> u64 {
        self.lock().last
    }

    /// The last event, once it has happened.
    #[must_use]
    pub fn end(&self) -> Option<Arc<Record>> {
        let kept = self.lock();
        kept.ended.then(|| kept.records.back().cloned().expect("the last event is kept"))
    }

    /// Events with a sequence above `after`, then live ones.
    ///
    /// # Errors
    /// [`Gone`]
    pub fn follow(self: &Arc<Self>, after: u64) -> Result<Reader, Gone> {
        let kept = self.lock();
        let backlog = kept.after(after)?;
        let live = self.live.subscribe();
        drop(kept);
        Ok(Reader { journal: self.clone(), backlog, live, last: after, done: false })
    }

    /// Never held across anything that can panic.
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn after(&self, after: u64) -> Result<VecDeque<Arc<Record>>, Gone> {
        let oldest = self.records.front().map_or(1, |record| record.event.sequence);
        if after < oldest.saturating_sub(1) {
            return Err(Gone { asked: after, oldest });
        }
        Ok(self.records.iter().filter(|record| record.event.sequence > after).cloned().collect())
    }
}

/// Reads one session's events from a sequence on.
#[derive(Debug)]
pub struct Reader {
    journal: Arc<Journal>,
    backlog: VecDeque<Arc<Record>>,
    live: broadcast::Receiver<Arc<Record>>,
    last: u64,
    done: bool,
}

impl Reader {
    /// The next event; `None` after the session's last one. Cancel safe.
    ///
    /// # Errors
    /// [`Gone`] when this reader was slower than the journal forgets.
    pub async fn next(&mut self) -> Option<Result<Arc<Record>, Gone>> {
        loop {
            if self.done {
                return None;
            }
            if let Some(record) = self.backlog.pop_front() {
                return Some(Ok(self.deliver(record)));
            }
            if self.caught_up_with_the_end() {
                self.done = true;
                return None;
            }
            match self.live.recv().await {
                Ok(record) if record.event.kind.is_transient() => return Some(Ok(record)),
                // Already had from what was kept.
                Ok(record) if record.event.sequence <= self.last => {}
                Ok(record) => return Some(Ok(self.deliver(record))),
                Err(broadcast::error::RecvError::Lagged(_)) => match self.journal.lock().after(self.last) {
                    Ok(backlog) => self.backlog = backlog,
                    Err(gone) => {
                        self.done = true;
                        return Some(Err(gone));
                    }
                },
                // The sender lives in the journal this reader holds.
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }

    fn deliver(&mut self, record: Arc<Record>) -> Arc<Record> {
        self.last = record.event.sequence;
        self.done = matches!(record.event.kind, EventKind::Ended { .. });
        record
    }

    /// A reader that asked for events after the last one would wait for ever.
    fn caught_up_with_the_end(&self) -> bool {
        let kept = self.journal.lock();
        kept.ended && self.last >= kept.last
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use voicebridge_audio::Time;
    use voicebridge_session::{Termination, TerminationResult, event::Milestone};

    use super::*;

    fn record(sequence: u64, kind: EventKind) -> Record {
        let event = Event { sequence, at: Time::ZERO, kind };
        Record { event, wall: SystemTime::UNIX_EPOCH, elapsed_ms: 0 }
    }

    fn durable(sequence: u64) -> Record {
        record(sequence, EventKind::Milestone(Milestone::SessionCreated))
    }

    fn transient() -> Record {
        record(0, EventKind::Statistics(Default::default()))
    }

    fn ended(sequence: u64) -> Record {
        let termination = Termination {
            result: TerminationResult::Completed,
            reason: "USER_HANGUP".into(),
            message: String::new(),
            upstream_code: String::new(),
        };
        let kind = EventKind::Ended {
            termination,
            statistics: Default::default(),
            usage: Default::default(),
            models: Default::default(),
            quality: None,
            duration_ms: 0,
        };
        record(sequence, kind)
    }

    async fn sequences(reader: &mut Reader) -> Vec<u64> {
        let mut seen = Vec::new();
        while let Some(record) = reader.next().await {
            seen.push(record.unwrap().event.sequence);
        }
        seen
    }

    #[tokio::test]
    async fn a_reader_gets_what_was_and_what_comes() {
        let journal = Arc::new(Journal::default());
        (1..=3).for_each(|sequence| assert!(journal.push(durable(sequence))));
        assert!(journal.push(transient()));
        let mut from_the_start = journal.follow(0).unwrap();
        let mut resumed = journal.follow(2).unwrap();
        journal.push(transient());
        journal.push(durable(4));
        journal.push(ended(5));
        assert!(!journal.push(durable(6)), "nothing follows the last event");
        assert_eq!(sequences(&mut from_the_start).await, [1, 2, 3, 0, 4, 5]);
        assert_eq!(sequences(&mut resumed).await, [3, 0, 4, 5]);
        assert_eq!(sequences(&mut journal.follow(4).unwrap()).await, [5]);
        assert_eq!(journal.last_sequence(), 5);
        assert!(journal.end().is_some());
    }

    #[tokio::test]
    async fn a_reader_who_has_everything_of_an_ended_session_is_done() {
        let journal = Arc::new(Journal::default());
        journal.push(ended(1));
        assert!(sequences(&mut journal.follow(1).unwrap()).await.is_empty());
    }

    #[tokio::test]
    async fn a_slow_reader_reads_on_from_what_is_kept() {
        let journal = Arc::new(Journal::with_limits(100, KEPT_BYTES, 4));
        let mut reader = journal.follow(0).unwrap();
        (1..=20).for_each(|sequence| {
            journal.push(durable(sequence));
        });
        journal.push(ended(21));
        assert_eq!(sequences(&mut reader).await, (1..=21).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_sequence_beyond_all_is_waited_for() {
        let journal = Arc::new(Journal::default());
        journal.push(durable(1));
        let mut reader = journal.follow(u64::MAX).unwrap();
        journal.push(ended(2));
        assert_eq!(reader.next().await, None);
    }

    #[tokio::test]
    async fn events_are_forgotten_by_their_bytes_too_and_never_the_last() {
        let incident = |sequence, bytes: usize| {
            let (message, upstream_code, command_id) = ("x".repeat(bytes), String::new(), String::new());
            record(sequence, EventKind::Incident { reason: "PROVIDER_ERROR", message, upstream_code, command_id })
        };
        let journal = Arc::new(Journal::with_limits(100, 1_000, 4));
        (1..=3).for_each(|sequence| assert!(journal.push(incident(sequence, 400))));
        assert_eq!(journal.follow(0).unwrap_err(), Gone { asked: 0, oldest: 2 });
        journal.push(durable(4));
        assert!(journal.follow(1).is_ok());
        journal.push(incident(5, 5_000));
        assert_eq!(journal.follow(3).unwrap_err(), Gone { asked: 3, oldest: 5 });
        journal.push(ended(6));
        assert_eq!(sequences(&mut journal.follow(5).unwrap()).await, [6]);
    }

    #[tokio::test]
    async fn forgotten_events_are_said_to_be_gone() {
        let journal = Arc::new(Journal::with_limits(5, KEPT_BYTES, 4));
        let mut slow = journal.follow(0).unwrap();
        (1..=20).for_each(|sequence| {
            journal.push(durable(sequence));
        });
        assert_eq!(journal.follow(14).unwrap_err(), Gone { asked: 14, oldest: 16 });
        assert!(journal.follow(15).is_ok());
        assert_eq!(slow.next().await, Some(Err(Gone { asked: 0, oldest: 16 })));
        assert_eq!(slow.next().await, None);
    }
}
