//! How a media thread waits for its next work: by the packet while it has time, by the tick when it has none.
//!
//! By the packet it wakes for every datagram, every message of a provider and every packet that is due, and nothing
//! waits; that costs a wake-up each. By the tick it looks at everything every 5 ms, which at many calls is a third less
//! work for transport, for some 3 ms of mean delay each way. The load of the last second decides, with a distance
//! between the two thresholds larger than what changing saves, so that one change does not cause the next.

use std::{io, net::UdpSocket, os::fd::AsRawFd as _, sync::Arc, thread, time::Instant};

use mio::{Events, Interest, Poll, Token, unix::SourceFd};

use crate::waker::ThreadWaker;

/// From this share of time spent working on, a thread works by the tick.
const TICK_FROM: f32 = 0.40;
/// Below this share it works by the packet again.
const PACKET_BELOW: f32 = 0.25;
/// Sockets reported by one wait; the others are reported by the next.
const MAX_EVENTS: usize = 128;
/// The thread's own waker. Calls count from 0.
const WAKER: Token = Token(usize::MAX);

/// What wakes a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rhythm {
    Packet,
    Tick,
}

impl Rhythm {
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
pub(super) struct Waiting {
    poll: Poll,
    events: Events,
    waker: Arc<ThreadWaker>,
    rhythm: Rhythm,
    seats: usize,
}

/// Under which a socket is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seat(usize);

impl Waiting {
    /// # Errors
    /// When the system has no means for it left.
    pub(super) fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(ThreadWaker::new(mio::Waker::new(poll.registry(), WAKER)?));
        Ok(Self { poll, events: Events::with_capacity(MAX_EVENTS), waker, rhythm: Rhythm::Packet, seats: 0 })
    }

    pub(super) const fn waker(&self) -> &Arc<ThreadWaker> {
        &self.waker
    }

    /// Reports datagrams of this socket from now on.
    pub(super) fn watch(&mut self, socket: &UdpSocket) -> Seat {
        let seat = Seat(self.seats);
        // Not within the life of a process.
        self.seats += 1;
        let registered =
            self.poll.registry().register(&mut SourceFd(&socket.as_raw_fd()), Token(seat.0), Interest::READABLE);
        if let Err(error) = registered {
            tracing::warn!(%error, "a call's packets are looked for at every tick only");
        }
        seat
    }

    /// Ends that, before the socket is closed.
    pub(super) fn forget(&self, socket: &UdpSocket) {
        // Never watched, if that failed.
        let _ = self.poll.registry().deregister(&mut SourceFd(&socket.as_raw_fd()));
    }

    /// Waits for `tick` or, by the packet, for whatever comes before it: `due`, the waker, or datagrams, whose sockets
    /// are given to `readable`.
    pub(super) fn wait(&mut self, tick: Instant, due: Option<Instant>, mut readable: impl FnMut(Seat)) {
        let now = Instant::now();
        if self.rhythm == Rhythm::Tick {
            return thread::sleep(tick.saturating_duration_since(now));
        }
        let until = due.map_or(tick, |due| due.min(tick));
        match self.poll.poll(&mut self.events, Some(until.saturating_duration_since(now))) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return,
            Err(error) => {
                tracing::error!(%error, "a media thread cannot wait for packets and works by the tick");
                self.set(Rhythm::Tick);
                return;
            }
        }
        self.events.iter().filter(|event| event.token() != WAKER).for_each(|event| readable(Seat(event.token().0)));
    }

    /// Takes the load of the last second.
    pub(super) fn observe(&mut self, share: f32) {
        let rhythm = self.rhythm.after(share);
        if rhythm != self.rhythm {
            tracing::debug!(?rhythm, share, "a media thread changes its rhythm");
            self.set(rhythm);
        }
    }

    fn set(&mut self, rhythm: Rhythm) {
        self.rhythm = rhythm;
        self.waker.listen(rhythm == Rhythm::Packet);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{net::Ipv4Addr, time::Duration};

    use super::*;

    /// Longer than any test waits.
    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn load_decides_and_does_not_flutter() {
        let mut rhythm = Rhythm::Packet;
        let mut check = |share: f32, expect: Rhythm| {
            rhythm = rhythm.after(share);
            assert_eq!(rhythm, expect, "after {share}");
        };
        check(0.1, Rhythm::Packet);
        check(0.39, Rhythm::Packet);
        check(0.4, Rhythm::Tick);
        check(0.3, Rhythm::Tick);
        check(0.25, Rhythm::Tick);
        check(0.24, Rhythm::Packet);
        check(0.3, Rhythm::Packet);
    }

    #[test]
    fn a_datagram_ends_the_wait_and_names_its_socket() {
        let mut waiting = Waiting::new().unwrap();
        let sockets: Vec<UdpSocket> = (0..3).map(|_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).collect();
        let seats: Vec<Seat> = sockets.iter().map(|socket| waiting.watch(socket)).collect();
        sockets[0].send_to(b"packet", sockets[2].local_addr().unwrap()).unwrap();
        let mut readable = Vec::new();
        waiting.wait(Instant::now() + LONG, None, |seat| readable.push(seat));
        assert_eq!(readable, [seats[2]]);
        waiting.forget(&sockets[2]);
        sockets[0].send_to(b"packet", sockets[2].local_addr().unwrap()).unwrap();
        waiting.wait(Instant::now() + LONG, Some(Instant::now()), |seat| panic!("{seat:?} is forgotten"));
    }

    #[test]
    fn the_waker_ends_the_wait_before_and_during_it() {
        let mut waiting = Waiting::new().unwrap();
        let waker = waiting.waker().clone();
        waker.wake();
        waiting.wait(Instant::now() + LONG, None, |seat| panic!("{seat:?} has no packet"));
        let waking = thread::spawn(move || waker.wake());
        waiting.wait(Instant::now() + LONG, None, |seat| panic!("{seat:?} has no packet"));
        waking.join().unwrap();
    }

    #[test]
    fn by_the_tick_nothing_but_the_tick_wakes() {
        let mut waiting = Waiting::new().unwrap();
        waiting.observe(0.9);
        waiting.waker().wake();
        let tick = Instant::now() + Duration::from_millis(20);
        waiting.wait(tick, Some(Instant::now()), |seat| panic!("{seat:?} has no packet"));
        assert!(Instant::now() >= tick);
    }
}
