//! How a media thread waits for its next work: by the packet while it has time, by the tick when it has none.
//!
//! By the packet it wakes for every datagram, every message of a provider and every packet that is due, and nothing
//! waits; that costs a wake-up each. By the tick it looks every 5 ms at what has come, which at many calls is a third less
//! work for transport, for 2.5 ms of mean delay each way. The load of the last second decides, with a distance
//! between the two thresholds larger than what changing saves, so that one change does not cause the next.

use std::{
    io,
    net::UdpSocket,
    os::fd::AsRawFd as _,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token, unix::SourceFd};

use crate::waker::ThreadWaker;

/// From this share of time spent working on, a thread works by the tick.
const TICK_FROM: f32 = 0.40;
/// Below this share it works by the packet again.
const PACKET_BELOW: f32 = 0.25;
/// Sockets reported at a time; the others are reported next.
const MAX_EVENTS: usize = 128;
/// The thread's own waker. Calls count from 0.
const WAKER: Token = Token(usize::MAX);

/// What wakes a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WakeMode {
    Packet,
    Tick,
}

impl WakeMode {
    /// After a second of which this share was spent working.
    fn after(self, share: f32) -> Self {
        match self {
            Self::Packet if share >= TICK_FROM => Self::Tick,
            Self::Tick if share < PACKET_BELOW => Self::Packet,
            unchanged => unchanged,
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Poller {
    poll: Poll,
    events: Events,
    waker: Arc<ThreadWaker>,
    mode: WakeMode,
    /// It has begun to listen: something may have come before.
    look_again: bool,
}

impl Poller {
    /// For a thread with at most so many calls.
    ///
    /// # Errors
    /// When the system has no means for it left.
    pub(super) fn new(max_calls: usize) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(ThreadWaker::new(mio::Waker::new(poll.registry(), WAKER)?, max_calls));
        let events = Events::with_capacity(MAX_EVENTS);
        Ok(Self { poll, events, waker, mode: WakeMode::Packet, look_again: false })
    }

    pub(super) const fn waker(&self) -> &Arc<ThreadWaker> {
        &self.waker
    }

    /// Reports datagrams of this socket under its call's index from now on: once for those that came since it was last
    /// read empty.
    ///
    /// # Errors
    /// When the system has no means for it left.
    pub(super) fn watch(&self, socket: &UdpSocket, call: usize) -> io::Result<()> {
        self.poll.registry().register(&mut SourceFd(&socket.as_raw_fd()), Token(call), Interest::READABLE)
    }

    /// Ends that, before the socket is closed.
    pub(super) fn forget(&self, socket: &UdpSocket) {
        // Never watched, if that failed.
        let _ = self.poll.registry().deregister(&mut SourceFd(&socket.as_raw_fd()));
    }

    /// Waits for `tick` or, by the packet, for whatever comes first: `due`, the waker, or datagrams. Calls whose sockets have
    /// datagrams are given to `readable`. Returns the time it waited for.
    pub(super) fn wait(&mut self, tick: Instant, due: Instant, mut readable: impl FnMut(usize)) -> Instant {
        let now = Instant::now();
        let (until, timeout) = match self.mode {
            WakeMode::Packet if std::mem::take(&mut self.look_again) => (now, Duration::ZERO),
            WakeMode::Packet => (due, due.saturating_duration_since(now)),
            WakeMode::Tick => {
                thread::sleep(tick.saturating_duration_since(now));
                (tick, Duration::ZERO)
            }
        };
        self.poll(timeout, &mut readable);
        // By the tick all that has come is looked at.
        while self.mode == WakeMode::Tick && self.events.iter().count() == MAX_EVENTS {
            self.poll(Duration::ZERO, &mut readable);
        }
        until
    }

    fn poll(&mut self, timeout: Duration, readable: &mut impl FnMut(usize)) {
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return self.events.clear(),
            // Not with a poll of our own and memory of our own: without it no packet would be heard.
            Err(error) => panic!("a media thread cannot wait for packets: {error}"),
        }
        self.events.iter().filter(|event| event.token() != WAKER).for_each(|event| readable(event.token().0));
    }

    /// Takes the load of the last second.
    pub(super) fn observe(&mut self, share: f32) {
        let mode = self.mode.after(share);
        if mode != self.mode {
            tracing::debug!(?mode, share, "a media thread changes its mode");
            self.set(mode);
        }
    }

    fn set(&mut self, mode: WakeMode) {
        self.mode = mode;
        self.look_again = true;
        self.waker.listen(mode == WakeMode::Packet);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::net::Ipv4Addr;

    use super::*;

    const NONE: [usize; 0] = [];
    /// Longer than any test waits.
    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn load_decides_and_does_not_flutter() {
        let mut mode = WakeMode::Packet;
        let mut check = |share: f32, expect: WakeMode| {
            mode = mode.after(share);
            assert_eq!(mode, expect, "after {share}");
        };
        check(0.1, WakeMode::Packet);
        check(0.39, WakeMode::Packet);
        check(0.4, WakeMode::Tick);
        check(0.3, WakeMode::Tick);
        check(0.25, WakeMode::Tick);
        check(0.24, WakeMode::Packet);
        check(0.3, WakeMode::Packet);
    }

    fn sockets(count: usize) -> Vec<UdpSocket> {
        (0..count)
            .map(|_| {
                let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
                socket.set_nonblocking(true).unwrap();
                socket
            })
            .collect()
    }

    /// Who is readable when it has waited until `due` at the latest.
    fn waited(poller: &mut Poller, due: Instant) -> Vec<usize> {
        let mut readable = Vec::new();
        poller.wait(Instant::now(), due, |call| readable.push(call));
        readable
    }

    #[test]
    fn a_datagram_ends_the_wait_and_names_its_call() {
        let mut poller = Poller::new(64).unwrap();
        let sockets = sockets(3);
        (5..).zip(&sockets).for_each(|(call, socket)| poller.watch(socket, call).unwrap());
        let send = || sockets[0].send_to(b"packet", sockets[2].local_addr().unwrap()).unwrap();
        send();
        assert_eq!(waited(&mut poller, Instant::now() + LONG), [7]);
        assert_eq!(waited(&mut poller, Instant::now()), NONE, "told once");
        poller.forget(&sockets[2]);
        send();
        assert_eq!(waited(&mut poller, Instant::now()), NONE, "forgotten");
        poller.watch(&sockets[2], 1).unwrap();
        assert_eq!(waited(&mut poller, Instant::now() + LONG), [1], "what came before it was watched is told too");
    }

    #[test]
    fn the_waker_ends_the_wait_before_and_during_it() {
        let mut poller = Poller::new(64).unwrap();
        let waker = poller.waker().clone();
        waker.wake();
        assert_eq!(waited(&mut poller, Instant::now() + LONG), NONE);
        waker.look(|_| {});
        let waking = thread::spawn(move || waker.wake());
        assert_eq!(waited(&mut poller, Instant::now() + LONG), NONE);
        waking.join().unwrap();
    }

    #[test]
    fn by_the_tick_nothing_but_the_tick_wakes_and_then_all_that_came_is_told() {
        let mut poller = Poller::new(64).unwrap();
        let sockets = sockets(MAX_EVENTS + 40);
        (0..).zip(&sockets).for_each(|(call, socket)| poller.watch(socket, call).unwrap());
        poller.observe(0.9);
        poller.waker().wake();
        for socket in &sockets {
            socket.send_to(b"packet", socket.local_addr().unwrap()).unwrap();
        }
        let tick = Instant::now() + Duration::from_millis(20);
        let mut readable = Vec::new();
        let until = poller.wait(tick, Instant::now(), |call| readable.push(call));
        assert!(Instant::now() >= tick);
        assert_eq!(until, tick);
        readable.sort_unstable();
        assert_eq!(readable, (0..MAX_EVENTS + 40).collect::<Vec<_>>());
    }

    #[test]
    fn who_begins_to_listen_looks_once_more_before_it_waits() {
        let mut poller = Poller::new(64).unwrap();
        poller.observe(0.9);
        poller.waker().wake_for(3);
        poller.observe(0.1);
        let long = Instant::now() + LONG;
        assert!(poller.wait(long, long, |call| panic!("{call} has no packet")) < long);
        let mut marked = Vec::new();
        poller.waker().look(|call| marked.push(call));
        assert_eq!(marked, [3]);
    }
}
