//! One process has the calls of a database that several can reach: it holds a lease, which it keeps by beating.
//!
//! The owner's row has a generation, which every write carries and by which the database refuses those of an earlier owner,
//! and a count of beats. Who waits takes over when it has seen the same beat for [`LEASE`] and [`MARGIN`] by its own clock;
//! the owner stops acting when its last beat was asked for [`LEASE`] ago by its own. So no two clocks are compared, only
//! their pace. After a polite end the row is free, and taken at once.
//!
//! A lease that has passed is no loss yet: while nobody can reach the database, nobody can take over. The owner goes on as
//! soon as a beat is taken; it has lost the calls when one is refused.
//!
//! Time is tokio's, virtual in tests. Knows nothing of calls, Graph or nodes: see `calls/real_ports.rs` for what stops.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::{sync::watch, task::JoinHandle, time::Instant};

use super::StoreError;

/// From asking for a beat until the owner stops acting, unless another one is taken.
const LEASE: Duration = Duration::from_secs(3);
/// More than that has to pass before somebody else takes over.
const MARGIN: Duration = Duration::from_millis(500);
/// Between two beats.
const BEAT: Duration = Duration::from_millis(750);
/// For one beat: there is time for another, on a connection that is not dead, before the lease has passed.
const BEAT_TIMEOUT: Duration = Duration::from_secs(1);
/// Between two looks of somebody who waits, and after a beat that failed.
const LOOK: Duration = Duration::from_millis(200);

/// The owner's row at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sight {
    pub(super) generation: i64,
    pub(super) beats: i64,
    /// Nobody has the calls.
    pub(super) is_free: bool,
}

/// The owner's row. None of these repeats.
#[async_trait]
pub(super) trait OwnerRow: Send + Sync + 'static {
    async fn look(&self) -> Result<Sight, StoreError>;
    /// Makes this process the owner if the row is as it was seen. The new generation. Asked again by the same holder, because
    /// the answer got lost, it is the one that it was given.
    async fn take(&self, seen: Sight, holder: &str) -> Result<Option<i64>, StoreError>;
    /// False: another one is the owner.
    async fn beat(&self, generation: i64) -> Result<bool, StoreError>;
    async fn give_back(&self, generation: i64) -> Result<(), StoreError>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// The operating system sees to it.
    Unlimited,
    Until(Instant),
    Lost,
}

/// The right to act on the calls of a database.
#[derive(Debug)]
pub struct Lease(watch::Sender<Standing>);

impl Lease {
    /// Of a database whose calls nobody else can have while this process lives.
    #[must_use]
    pub fn unlimited() -> Self {
        Self(watch::Sender::new(Standing::Unlimited))
    }

    fn until(end: Instant) -> Self {
        Self(watch::Sender::new(Standing::Until(end)))
    }

    fn extend(&self, end: Instant) {
        self.0.send_if_modified(|standing| {
            let extends = matches!(standing, Standing::Until(before) if *before < end);
            if extends {
                *standing = Standing::Until(end);
            }
            extends
        });
    }

    pub(crate) fn lose(&self) {
        self.0.send_replace(Standing::Lost);
    }

    /// Whether this process may act now.
    #[must_use]
    pub fn is_held(&self) -> bool {
        match *self.0.borrow() {
            Standing::Unlimited => true,
            Standing::Until(end) => Instant::now() < end,
            Standing::Lost => false,
        }
    }

    /// Returns when this process may act; never, once another one has the calls.
    pub async fn held(&self) {
        let mut changes = self.0.subscribe();
        while !self.is_held() {
            // The sender is here.
            let _ = changes.changed().await;
        }
    }

    /// Returns when another process has the calls.
    pub async fn lost(&self) {
        let _ = self.0.subscribe().wait_for(|standing| *standing == Standing::Lost).await;
    }
}

/// What somebody who waits makes of what it sees.
#[derive(Debug, Default)]
struct Patience(Option<(Sight, Instant)>);

impl Patience {
    /// Whether the calls may be taken.
    fn is_over(&mut self, sight: Sight, now: Instant) -> bool {
        let (seen, since) = *self.0.get_or_insert((sight, now));
        if seen != sight {
            self.0 = Some((sight, now));
        }
        sight.is_free || (seen == sight && now.duration_since(since) >= LEASE + MARGIN)
    }
}

/// Takes the calls, waiting so long for whoever has them.
async fn acquire(row: &dyn OwnerRow, wait: Duration) -> Result<(i64, Lease), StoreError> {
    let holder = uuid::Uuid::now_v7().to_string();
    let (began, mut patience, mut told) = (Instant::now(), Patience::default(), false);
    // A taking that may have been done all the same.
    let mut unanswered = None;
    loop {
        let asked = Instant::now();
        let seen = match unanswered.take() {
            Some(seen) => Some(seen),
            None => {
                let sight = row.look().await?;
                patience.is_over(sight, asked).then_some(sight)
            }
        };
        match seen {
            Some(seen) => match row.take(seen, &holder).await {
                Ok(Some(generation)) => return Ok((generation, Lease::until(asked + LEASE))),
                Ok(None) => continue,
                Err(error) if began.elapsed() < wait => {
                    let error: &dyn std::error::Error = &error;
                    tracing::warn!(error, "taking the database's calls was not answered: asking again");
                    unanswered = Some(seen);
                }
                Err(error) => return Err(error),
            },
            None if began.elapsed() >= wait => return Err(StoreError::Owned { waited_s: wait.as_secs() }),
            None => {
                if !std::mem::replace(&mut told, true) {
                    let wait_s = wait.as_secs();
                    tracing::info!(wait_s, "another process has the database's calls: waiting for its end");
                }
            }
        }
        tokio::time::sleep(LOOK.min(wait)).await;
    }
}

/// Beats until the calls are lost.
async fn keep(row: Arc<dyn OwnerRow>, generation: i64, lease: Arc<Lease>) {
    let mut failing = false;
    tokio::time::sleep(BEAT).await;
    loop {
        let asked = Instant::now();
        let pause = match tokio::time::timeout(BEAT_TIMEOUT, row.beat(generation)).await {
            Ok(Ok(true)) => {
                lease.extend(asked + LEASE);
                if std::mem::replace(&mut failing, false) {
                    tracing::info!("the lease on the database's calls is kept again");
                }
                BEAT
            }
            Ok(Ok(false)) => {
                lease.lose();
                tracing::error!(
                    "another process has taken the database's calls over: this one does nothing more for any"
                );
                return;
            }
            failed => {
                let error = failed.ok().and_then(Result::err);
                let error = error.as_ref().map(|error| error as &dyn std::error::Error);
                if !std::mem::replace(&mut failing, true) {
                    tracing::error!(
                        error,
                        lease_s = LEASE.as_secs(),
                        "the lease on the database's calls cannot be kept: once it has passed, nothing is done at Meta or \
                         the nodes until it can"
                    );
                }
                LOOK
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// The calls of a database are this process's.
pub(super) struct Held {
    pub(super) lease: Arc<Lease>,
    row: Arc<dyn OwnerRow>,
    generation: i64,
    keeper: JoinHandle<()>,
}

impl Held {
    pub(super) async fn acquire(row: Arc<dyn OwnerRow>, wait: Duration) -> Result<Self, StoreError> {
        let (generation, lease) = acquire(row.as_ref(), wait).await?;
        let lease = Arc::new(lease);
        let keeper = tokio::spawn(keep(Arc::clone(&row), generation, Arc::clone(&lease)));
        tracing::info!(generation, "this process has the database's calls");
        Ok(Self { lease, row, generation, keeper })
    }

    /// Somebody who waits need not wait for the lease to pass.
    pub(super) async fn give_back(&self) {
        self.keeper.abort();
        self.lease.lose();
        if let Err(error) = self.row.give_back(self.generation).await {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "the database's calls could not be given back: the next process waits for the lease");
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

#[cfg(test)]
mod tests;
