//! Media threads. Each owns its sessions with their sockets and peers; nothing is shared on the packet path and sessions
//! never migrate.
//!
//! Flow: [`Shards::start`] spawns the threads; [`Shards::choose`] names the least loaded
//! one and [`Shards::add`] hands it a finished [`Call`];
//! requests reach it through a bounded channel of [`Order`]s. The loop itself is in `worker`, whose turn it is in `calls`, one
//! session's step in `call`.
//!
//! At the bound: [`ORDERS`] orders wait per thread, which empties the channel in every turn of its loop. A sender waits for
//! room up to [`ORDER_TIMEOUT`], then the request fails with [`Busy`]: a thread that takes nothing for that long is broken.
//!
//! A thread whose loop ends while the node lives is dead, one whose loop does not turn for [`STALLED_AFTER`] stalled. Neither
//! gets a further call, and [`Shards::health`] counts both; a dead one's calls end with `MEDIA_THREAD_LOST`, those of a
//! stalled one go on when it does. The other threads know nothing of it. What this does not do: start a thread anew. What
//! killed it is a fault of ours, and the node's health says that it wants a restart.

mod call;
mod calls;
mod datagrams;
mod deadlines;
mod heartbeat;
mod poller;
#[cfg(test)]
mod tests;
mod ticks;
mod worker;

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};
use voicebridge_audio::governor::Governor;
use voicebridge_session::{Command, CommandIdReused, Stage, Termination};

pub use call::{Call, SessionPorts};
pub use datagrams::Datagrams;
pub use heartbeat::STALLED_AFTER;

use crate::{clock::Clock, sessions::Sessions, waker::ThreadWaker};
use heartbeat::{Heartbeat, ThreadState};
use poller::Poller;

/// Orders waiting for one media thread.
pub const ORDERS: usize = 1_024;
/// How long a request waits for a media thread: 200 ticks.
pub const ORDER_TIMEOUT: Duration = Duration::from_secs(1);

/// The media thread did not take an order, or did not answer, within [`ORDER_TIMEOUT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the media thread of this session does not answer")]
pub struct Busy;

/// All media threads are dead or stalled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("all media threads of this node have died or are stalled")]
pub struct NoThread;

/// How the media threads of a node are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadHealth {
    /// All there are.
    pub threads: usize,
    /// Ended while the node lives.
    pub dead: usize,
    /// Without progress for [`STALLED_AFTER`].
    pub stalled: usize,
}

impl ThreadHealth {
    /// Threads that carry no calls as they should.
    #[must_use]
    pub const fn lost(self) -> usize {
        self.dead + self.stalled
    }

    /// Whether no thread could carry a call.
    #[must_use]
    pub const fn none_is_left(self) -> bool {
        self.lost() == self.threads
    }
}

/// What a media thread can be told. An order for a session it does not have is answered `None`: it has ended.
#[derive(Debug)]
pub(crate) enum Order {
    Add(Box<Call>),
    Advance {
        session_id: String,
        stage: Stage,
        reply: oneshot::Sender<Option<Stage>>,
    },
    End {
        session_id: String,
        termination: Termination,
        reply: oneshot::Sender<Option<Termination>>,
    },
    Act {
        session_id: String,
        command_id: String,
        command: Command,
        reply: oneshot::Sender<Option<Result<(), CommandIdReused>>>,
    },
    /// Ends every session.
    EndAll {
        termination: Termination,
    },
    /// Does anything on the thread, outside of what guards its sessions.
    #[cfg(test)]
    Run(Injected),
}

/// Code that a test runs on a media thread.
#[cfg(test)]
pub(crate) struct Injected(pub(crate) Box<dyn FnOnce() + Send>);

#[cfg(test)]
impl std::fmt::Debug for Injected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Injected")
    }
}

/// What a media thread says of itself.
#[derive(Debug)]
pub(crate) struct Load {
    /// Share of the last second spent working, 0 to 1, as bits.
    busy: AtomicU32,
    calls: AtomicUsize,
    heartbeat: Heartbeat,
}

impl Load {
    fn new() -> Self {
        Self { busy: AtomicU32::new(0), calls: AtomicUsize::new(0), heartbeat: Heartbeat::new() }
    }

    fn busy(&self) -> f32 {
        f32::from_bits(self.busy.load(Ordering::Relaxed))
    }
}

#[derive(Debug)]
struct Shard {
    orders: mpsc::Sender<Order>,
    load: Arc<Load>,
    waker: Arc<ThreadWaker>,
}

/// All media threads of a node. They end when this is dropped; sessions still live then are dropped with them.
#[derive(Debug)]
pub struct Shards {
    shards: Vec<Shard>,
    clock: Clock,
}

/// Which media thread a session is on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShardIndex(usize);

impl Shards {
    /// Spawns `threads` media threads, each governing its encoders with a copy of `governor`.
    ///
    /// # Errors
    /// When the system refuses a thread, or what it waits with.
    pub fn start(threads: usize, governor: Governor, clock: Clock, sessions: &Arc<Sessions>) -> io::Result<Self> {
        let shards = (0..threads)
            .map(|index| {
                let (orders, inbox) = mpsc::channel(ORDERS);
                let load = Arc::new(Load::new());
                let poller = Poller::new(sessions.max() as usize)?;
                let waker = poller.waker().clone();
                let worker = worker::Worker::new(clock, governor, inbox, load.clone(), sessions.clone(), poller);
                thread::Builder::new().name(format!("media-{index}")).spawn(move || worker.run())?;
                Ok(Shard { orders, load, waker })
            })
            .collect::<io::Result<_>>()?;
        Ok(Self { shards, clock })
    }

    /// The thread with the fewest calls, and among those the least busy; one call more is counted on it.
    ///
    /// # Errors
    /// [`NoThread`]
    pub fn choose(&self, now: Instant) -> Result<ShardIndex, NoThread> {
        let now = self.clock.time(now);
        let (index, shard) = self
            .shards
            .iter()
            .enumerate()
            .filter(|(_, shard)| shard.load.heartbeat.state(now) == ThreadState::Running)
            .min_by(|(_, a), (_, b)| {
                let calls = |shard: &Shard| shard.load.calls.load(Ordering::Relaxed);
                calls(a).cmp(&calls(b)).then(a.load.busy().total_cmp(&b.load.busy()))
            })
            .ok_or(NoThread)?;
        shard.load.calls.fetch_add(1, Ordering::Relaxed);
        Ok(ShardIndex(index))
    }

    /// How the threads are.
    #[must_use]
    pub fn health(&self, now: Instant) -> ThreadHealth {
        let now = self.clock.time(now);
        let count = |state| self.shards.iter().filter(|shard| shard.load.heartbeat.state(now) == state).count();
        ThreadHealth {
            threads: self.shards.len(),
            dead: count(ThreadState::Dead),
            stalled: count(ThreadState::Stalled),
        }
    }

    /// Hands a call to the thread that was chosen for it.
    ///
    /// # Errors
    /// [`Busy`] when that thread has no room for an order; the call is dropped.
    pub fn add(&self, at: ShardIndex, call: Call) -> Result<(), Busy> {
        let shard = &self.shards[at.0];
        shard.orders.try_send(Order::Add(Box::new(call))).map_err(|_| {
            shard.load.calls.fetch_sub(1, Ordering::Relaxed);
            Busy
        })?;
        shard.waker.wake();
        Ok(())
    }

    /// Tells a session how far signalling has come; the stage it is at now, `None` if it has ended.
    ///
    /// # Errors
    /// [`Busy`]
    pub async fn advance(&self, at: ShardIndex, session_id: String, stage: Stage) -> Result<Option<Stage>, Busy> {
        self.order(at, |reply| Order::Advance { session_id, stage, reply }).await
    }

    /// Ends a session; the termination that stands, `None` if it had ended before.
    ///
    /// # Errors
    /// [`Busy`]
    pub async fn end(
        &self,
        at: ShardIndex,
        session_id: String,
        termination: Termination,
    ) -> Result<Option<Termination>, Busy> {
        self.order(at, |reply| Order::End { session_id, termination, reply }).await
    }

    /// Acts on a session, once for each id; `None` if it has ended.
    ///
    /// # Errors
    /// [`Busy`]
    pub async fn act(
        &self,
        at: ShardIndex,
        session_id: String,
        command_id: String,
        command: Command,
    ) -> Result<Option<Result<(), CommandIdReused>>, Busy> {
        self.order(at, |reply| Order::Act { session_id, command_id, command, reply }).await
    }

    /// Ends every session of the node. Threads that do not take the order keep theirs.
    pub async fn end_all(&self, termination: &Termination) {
        for shard in &self.shards {
            let order = Order::EndAll { termination: termination.clone() };
            // Err within the time: the thread is dead, and its sessions have ended.
            if timeout(ORDER_TIMEOUT, shard.orders.send(order)).await.is_err() {
                tracing::error!("a media thread takes no orders; its sessions are not ended in order");
            }
            shard.waker.wake();
        }
    }

    /// The busiest thread's share of time spent working, 0 to 1.
    #[must_use]
    pub fn media_load(&self) -> f32 {
        self.shards.iter().map(|shard| shard.load.busy()).fold(0.0, f32::max)
    }

    async fn order<R>(&self, at: ShardIndex, order: impl FnOnce(oneshot::Sender<R>) -> Order) -> Result<R, Busy> {
        let (reply, answer) = oneshot::channel();
        let order = order(reply);
        timeout(ORDER_TIMEOUT, async {
            let shard = &self.shards[at.0];
            shard.orders.send(order).await.map_err(|_| Busy)?;
            shard.waker.wake();
            answer.await.map_err(|_| Busy)
        })
        .await
        .unwrap_or(Err(Busy))
    }

    /// Has a thread run this, outside of what guards its sessions.
    #[cfg(test)]
    pub(crate) fn inject(&self, thread: usize, code: impl FnOnce() + Send + 'static) {
        let shard = &self.shards[thread];
        shard.orders.try_send(Order::Run(Injected(Box::new(code)))).expect("the thread takes orders");
        shard.waker.wake();
    }

    /// Has a thread die.
    #[cfg(test)]
    pub(crate) fn kill(&self, thread: usize) {
        self.inject(thread, || panic!("a fault outside of every session"));
    }
}
