//! The events of a call for one subscriber: from the store after its cursor, then live, until the last one.
//!
//! Subscribed first and read afterwards, so nothing falls between; durable events come from the store alone, so nothing
//! comes twice. A subscriber that reads slowly slows only itself.

use std::sync::Arc;

use tokio::sync::{broadcast::error::RecvError, mpsc};
use tonic::{Code, Status};
use voicebridge_core::identity::CallId;
use voicebridge_proto::{control::v1::StreamEventsResponse, types::v1::Event};

use super::Fault;
use crate::{convert, hub::Subscription, shared::Shared, store::StoreError};

/// Events read from the store at a time.
const BATCH: u32 = 256;

/// The subscriber is gone, or the store failed and it was told.
struct Stop;

pub(super) struct Follower {
    shared: Arc<Shared>,
    call_id: CallId,
    cursor: u64,
    out: mpsc::Sender<Result<StreamEventsResponse, Status>>,
}

impl Follower {
    pub(super) fn new(
        shared: Arc<Shared>,
        call_id: CallId,
        cursor: u64,
        out: mpsc::Sender<Result<StreamEventsResponse, Status>>,
    ) -> Self {
        Self { shared, call_id, cursor, out }
    }

    /// Runs until the last event is sent, the subscriber leaves, or the process ends.
    pub(super) async fn run(mut self, mut subscription: Subscription) {
        let detach = self.shared.detach.clone();
        tokio::select! {
            _ = self.follow(&mut subscription) => {}
            () = detach.cancelled() => {
                let fault = Fault::new(Code::Unavailable, "CONTROL_DRAINING", "resume at the last sequence received");
                let _ = self.out.send(Err(fault.status())).await;
            }
        }
    }

    async fn follow(&mut self, subscription: &mut Subscription) -> Result<(), Stop> {
        // A cursor at or beyond the last event of an ended call has nothing to wait for.
        let row = self.shared.store.call(&self.call_id).await;
        let mut ended_at = match row {
            Ok(row) => row.filter(|row| row.ended_at_ms.is_some()).map(|row| row.last_sequence),
            Err(error) => return self.fail(error).await,
        };
        loop {
            if self.replay().await? || ended_at.take().is_some_and(|last| self.cursor >= last) {
                return Ok(());
            }
            tokio::select! {
                biased;
                changed = subscription.stored.changed() => changed.map_err(|_| Stop)?,
                transient = subscription.transient.recv() => match transient {
                    Ok(event) => self.send(Event::clone(&event)).await?,
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return Err(Stop),
                },
                () = self.out.closed() => return Err(Stop),
            }
        }
    }

    /// Sends what is stored after the cursor. True: that was the last event of the call.
    async fn replay(&mut self) -> Result<bool, Stop> {
        loop {
            let rows = match self.shared.store.events(&self.call_id, self.cursor, BATCH).await {
                Ok(rows) => rows,
                Err(error) => return self.fail(error).await.map(|()| false),
            };
            let more = rows.len() == BATCH as usize;
            for row in rows {
                self.cursor = row.sequence;
                match convert::event_from_row(&row) {
                    Ok(event) => self.send(event).await?,
                    Err(_) => return self.fail(StoreError::Corrupt("events.payload")).await.map(|()| false),
                }
                if row.is_last {
                    return Ok(true);
                }
            }
            if !more {
                return Ok(false);
            }
        }
    }

    async fn send(&self, event: Event) -> Result<(), Stop> {
        self.out.send(Ok(StreamEventsResponse { event: Some(event), ..Default::default() })).await.map_err(|_| Stop)
    }

    async fn fail(&self, error: StoreError) -> Result<(), Stop> {
        let _ = self.out.send(Err(Fault::from(error).status())).await;
        Err(Stop)
    }
}
