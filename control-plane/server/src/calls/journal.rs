//! Writes one call's record, in order and again and again until the store takes it.
//!
//! Flow: [`Journal::add`] takes what is to be written, [`Journal::written`] says when something was. What is added while a
//! write is under way goes in the next one, all in one go. A write is repeated as it is, so that one whose answer got lost
//! is not stored twice; see [`Store::write`].
//!
//! It neither reads nor decides what is written, and bounds nothing: whoever adds takes nothing new to be written while
//! [`Journal::is_written`] is false.

use std::{pin::Pin, sync::Arc, time::Duration};

use tokio::time::Instant;
use voicebridge_core::identity::CallId;

use crate::store::{Change, NewEvent, Store, StoreError, Write, Written};

/// After the first failure; doubles up to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LAST_PAUSE: Duration = Duration::from_secs(1);

type Writing = Pin<Box<dyn Future<Output = (Write, Result<Written, StoreError>)> + Send>>;

/// See the module.
pub(super) struct Journal {
    store: Arc<dyn Store>,
    call_id: CallId,
    /// Events stored.
    stored: u64,
    /// What is still to be written after what is under way.
    next: Write,
    writing: Option<Writing>,
    pause: Duration,
    failing_since: Option<Instant>,
}

impl Journal {
    /// Of a call of which so many events are stored.
    pub(super) fn new(store: Arc<dyn Store>, call_id: CallId, stored: u64) -> Self {
        let (next, writing) = (Write::default(), None);
        Self { store, call_id, stored, next, writing, pause: FIRST_PAUSE, failing_since: None }
    }

    /// Has this written, all in one go.
    pub(super) fn add(&mut self, events: impl IntoIterator<Item = NewEvent>, change: Change) {
        self.next.add(events, change);
    }

    /// Everything added is stored.
    pub(super) fn is_written(&self) -> bool {
        self.writing.is_none() && self.next.is_empty()
    }

    /// What became of the next write that the store answers. Nothing is lost when this is given up and called again; it
    /// never returns while there is nothing to be written.
    pub(super) async fn written(&mut self) -> Written {
        loop {
            let writing = match &mut self.writing {
                Some(writing) => writing,
                None if self.next.is_empty() => std::future::pending().await,
                None => {
                    let write = Write { after: self.stored, ..std::mem::take(&mut self.next) };
                    self.write(write, Duration::ZERO)
                }
            };
            let (write, answer) = writing.as_mut().await;
            self.writing = None;
            match answer {
                Ok(written) => {
                    self.stored += write.events.len() as u64;
                    self.recovered();
                    return written;
                }
                Err(error) => {
                    self.failed(&error);
                    let pause = self.pause;
                    self.pause = (pause * 2).min(LAST_PAUSE);
                    self.write(write, pause);
                }
            }
        }
    }

    fn write(&mut self, write: Write, after: Duration) -> &mut Writing {
        let (store, call_id) = (Arc::clone(&self.store), self.call_id.clone());
        self.writing.insert(Box::pin(async move {
            if !after.is_zero() {
                tokio::time::sleep(after).await;
            }
            let answer = store.write(&call_id, &write).await;
            (write, answer)
        }))
    }

    fn failed(&mut self, error: &StoreError) {
        metrics::counter!("voicebridge_control_store_failures_total").increment(1);
        if self.failing_since.is_none() {
            self.failing_since = Some(Instant::now());
            let error: &dyn std::error::Error = error;
            tracing::error!(error, "the call cannot be written down: it is held and written again until it can");
        }
    }

    fn recovered(&mut self) {
        self.pause = FIRST_PAUSE;
        if let Some(since) = self.failing_since.take() {
            let seconds = since.elapsed().as_secs_f64();
            tracing::info!(seconds, "the call is written down again");
        }
    }
}
