//! One media thread: a loop over the sessions it owns.
//!
//! In a round it takes orders and lets those sessions work for which something came or is due (`calls`); then it waits for
//! that, or for the next tick when it has no time to wake for each (`poller`). With no session it waits for an order
//! instead. Once a second its load decides on how it waits and on the complexity of all its encoders. A panic inside a
//! session ends that session with `INTERNAL`, and nobody else notices; one anywhere else is the end of the thread, and of
//! its sessions.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use tokio::sync::mpsc;
use voicebridge_audio::governor::Governor;
use voicebridge_session::{Input, Termination, TerminationResult};

use super::{
    Call, Load, Order,
    calls::Calls,
    poller::Poller,
    ticks::{TICK, Ticks},
};
use crate::{clock::Clock, sessions::Sessions};

/// Over which time the busy share is taken, and how often a session's snapshot is renewed.
const PERIOD: Duration = Duration::from_secs(1);
/// Largest datagram taken; RTP is a tenth of it, and DTLS flights are cut to the path's MTU.
const DATAGRAM_BYTES: usize = 2_048;

pub(super) struct Worker {
    clock: Clock,
    orders: mpsc::Receiver<Order>,
    load: Arc<Load>,
    sessions: Arc<Sessions>,
    governor: Governor,
    poller: Poller,
    calls: Calls<Call>,
}

/// What becomes of the loop after taking orders.
enum Orders {
    Taken,
    /// The node is gone.
    Closed,
}

impl Worker {
    pub(super) fn new(
        clock: Clock,
        governor: Governor,
        orders: mpsc::Receiver<Order>,
        load: Arc<Load>,
        sessions: Arc<Sessions>,
        poller: Poller,
    ) -> Self {
        Self { clock, orders, load, sessions, governor, poller, calls: Calls::new() }
    }

    /// Runs until the node is gone.
    pub(super) fn run(mut self) {
        // What panics inside a session ends there; what comes here may have left anything of this thread half done.
        if catch_unwind(AssertUnwindSafe(|| self.serve())).is_err() {
            self.end_all_calls();
        }
    }

    fn serve(&mut self) {
        let mut buffer = [0; DATAGRAM_BYTES];
        let mut wanted_at = Instant::now();
        let ticks = Ticks::new(wanted_at);
        let mut period = Period::new(wanted_at);
        loop {
            if self.calls.is_empty() {
                period.idle(&self.load);
                self.load.heartbeat.idle();
                match self.orders.blocking_recv() {
                    Some(order) => {
                        let now = Instant::now();
                        self.load.heartbeat.beat(self.clock.time(now));
                        self.apply(now, order);
                    }
                    None => return,
                }
                wanted_at = Instant::now();
                period = Period::new(wanted_at);
            }
            let began = Instant::now();
            self.load.heartbeat.beat(self.clock.time(began));
            if began >= wanted_at + TICK {
                metrics::counter!("voicebridge_media_ticks_missed_total").increment(1);
            }
            self.poller.waker().look(|index| _ = self.calls.want(index));
            if matches!(self.take_orders(began), Orders::Closed) {
                return;
            }
            self.calls.work(began, |call| {
                if !call.is_over() {
                    call.guarded(|call| call.step(began, &mut buffer));
                }
                call.next(began, ticks)
            });
            self.remove_ended();
            let renew = period.is_over(began);
            if renew {
                self.calls.iter_mut().for_each(|(_, call)| call.publish());
            }
            period.worked(began.elapsed());
            if renew {
                let share = period.close(began, &self.load);
                self.govern(began, share);
                self.poller.observe(share);
            }
            let now = Instant::now();
            let due = if self.calls.any_wanted() { Some(now) } else { self.calls.due() };
            let due = due.map_or(period.end(), |due| due.min(period.end()));
            let calls = &mut self.calls;
            wanted_at = self.poller.wait(ticks.after(now), due, |index| {
                if let Some(call) = calls.want(index) {
                    call.readable(Ok(()));
                }
            });
        }
    }

    /// Has all encoders use what the load allows.
    fn govern(&mut self, now: Instant, share: f32) {
        let before = self.governor.complexity();
        let complexity = self.governor.observe(self.clock.time(now), share);
        if complexity != before {
            tracing::debug!(complexity, share, "encoders change their complexity");
            for (_, call) in self.calls.iter_mut() {
                call.guarded(|call| call.input(now, Input::Complexity(complexity)));
            }
        }
    }

    /// At the time of the round, so that what they make due is done in it.
    fn take_orders(&mut self, now: Instant) -> Orders {
        loop {
            match self.orders.try_recv() {
                Ok(order) => self.apply(now, order),
                Err(mpsc::error::TryRecvError::Empty) => return Orders::Taken,
                Err(mpsc::error::TryRecvError::Disconnected) => return Orders::Closed,
            }
        }
    }

    fn apply(&mut self, now: Instant, order: Order) {
        match order {
            Order::Add(call) => {
                // First of all, so that it is among those that end with the thread.
                let (index, call) = self.calls.insert(call.entry().session_id.clone(), *call);
                call.wake_by(self.poller.waker(), index);
                call.readable(self.poller.watch(call.socket(), index));
                let complexity = self.governor.complexity();
                call.guarded(|call| {
                    call.input(now, Input::Complexity(complexity));
                    call.begin(now);
                });
            }
            // Err in a reply: nobody waits for it any more.
            Order::Advance { session_id, stage, reply } => {
                let stage = self.with(&session_id, |call| call.advance(now, stage));
                let _ = reply.send(stage.flatten());
            }
            Order::End { session_id, termination, reply } => {
                let standing = self.with(&session_id, |call| {
                    call.input(now, Input::End(termination));
                    call.termination()
                });
                let _ = reply.send(standing.flatten());
            }
            Order::Act { session_id, command_id, command, reply } => {
                let done = self.with(&session_id, |call| call.command(now, &command_id, &command));
                let _ = reply.send(done);
            }
            Order::EndAll { termination } => self.end_all(now, &termination),
            #[cfg(test)]
            Order::Run(injected) => (injected.0)(),
        }
    }

    /// Lets a live session do something; `None` if it is not here or panicked. If it ends by that, its slot is free
    /// before anybody is answered.
    fn with<R>(&mut self, session_id: &str, act: impl FnOnce(&mut Call) -> R) -> Option<R> {
        let index = self.calls.find(session_id)?;
        let call = self.calls.get_mut(index)?;
        let result = call.guarded(act);
        call.publish();
        if call.is_over() {
            self.calls.remove(index);
            self.remove_ended();
        } else {
            self.calls.want(index);
        }
        result
    }

    /// Tells every session to end; each says in the next round whether it has.
    fn end_all(&mut self, now: Instant, termination: &Termination) {
        for (_, call) in self.calls.iter_mut() {
            call.guarded(|call| call.input(now, Input::End(termination.clone())));
        }
        self.calls.want_all();
    }

    /// The loop is over although the node is not: its calls end with a reason, those too that it had not yet taken.
    fn end_all_calls(&mut self) {
        self.load.heartbeat.died();
        self.load.busy.store(0_f32.to_bits(), Ordering::Relaxed);
        // From here on whoever orders something is told that nobody takes it.
        self.orders.close();
        while let Some(order) = self.orders.blocking_recv() {
            if let Order::Add(call) = order {
                self.calls.insert(call.entry().session_id.clone(), *call);
            }
        }
        tracing::error!(calls = self.calls.len(), "a media thread died; its calls are ended, the node wants a restart");
        let now = Instant::now();
        self.end_all(now, &thread_lost());
        self.calls.remove_all();
        self.remove_ended();
    }

    /// Lets go of sessions that have ended: socket closed, port rested, slot free.
    fn remove_ended(&mut self) {
        while let Some(mut call) = self.calls.take_removed() {
            let now = Instant::now();
            // A call that panicked may do so again; it is dropped all the same.
            let _ = catch_unwind(AssertUnwindSafe(|| call.hang_up(now)));
            self.poller.forget(call.socket());
            call.publish();
            self.load.calls.fetch_sub(1, Ordering::Relaxed);
            self.sessions.ended(&call.entry().session_id, self.clock.time(now));
            let _ = catch_unwind(AssertUnwindSafe(|| drop(call)));
        }
    }
}

fn thread_lost() -> Termination {
    Termination {
        result: TerminationResult::Failed,
        reason: "MEDIA_THREAD_LOST".to_owned(),
        message: "a media thread of the node died, and this call with it; the node's log says of what".to_owned(),
        upstream_code: String::new(),
    }
}

/// How much of a second was spent working.
struct Period {
    began: Instant,
    worked: Duration,
}

impl Period {
    fn new(now: Instant) -> Self {
        Self { began: now, worked: Duration::ZERO }
    }

    fn worked(&mut self, time: Duration) {
        self.worked += time;
    }

    fn end(&self) -> Instant {
        self.began + PERIOD
    }

    fn is_over(&self, now: Instant) -> bool {
        now >= self.end()
    }

    fn close(&mut self, now: Instant, load: &Load) -> f32 {
        let share = (self.worked.as_secs_f32() / now.duration_since(self.began).as_secs_f32()).min(1.0);
        load.busy.store(share.to_bits(), Ordering::Relaxed);
        *self = Self::new(now);
        share
    }

    fn idle(&mut self, load: &Load) {
        load.busy.store(0_f32.to_bits(), Ordering::Relaxed);
    }
}
