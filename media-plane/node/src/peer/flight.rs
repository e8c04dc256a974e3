//! Sends the last DTLS flight again and again until the handshake moves on.
//!
//! Meta drops a ClientHello until it has our SDP, and any flight may be lost. The engine itself retransmits only after
//! a second (RFC 6347, section 4.2.4.1, names that as the usual first value), which a caller hears as lost first words;
//! Meta asks for 50 to 100 ms. So the datagrams of the last flight are kept and repeated, bytes unchanged: a receiver that
//! did get them drops the copies by its replay window.
//!
//! It does not know DTLS: a flight is what the engine sent at one moment.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::Bytes;

/// Time between two sendings of one flight.
const REPEAT_EVERY: Duration = Duration::from_millis(60);
/// A flight is repeated at most this often: 10 s, and the engine gives up a handshake after 8.
const MAX_REPEATS: u32 = 166;
/// Datagrams kept of one flight. A handshake with a P-256 certificate needs two; more is not repeated.
const MAX_DATAGRAMS: usize = 8;

/// The last flight, until [`Flight::settle`].
#[derive(Debug, Default)]
pub(super) struct Flight {
    datagrams: Vec<(SocketAddr, Bytes)>,
    emitted_at: Option<Instant>,
    next: Option<Instant>,
    repeats: u32,
    settled: bool,
}

impl Flight {
    /// The engine sent a DTLS datagram. One sent at another moment than the last begins a new flight.
    pub(super) fn sent(&mut self, now: Instant, to: SocketAddr, bytes: &Bytes) {
        if self.settled {
            return;
        }
        if self.emitted_at != Some(now) {
            self.datagrams.clear();
            self.emitted_at = Some(now);
            self.repeats = 0;
        }
        if self.datagrams.len() < MAX_DATAGRAMS {
            self.datagrams.push((to, bytes.clone()));
        }
        self.next = Some(now + REPEAT_EVERY);
    }

    /// The handshake is over, one way or the other: nothing is repeated any more.
    pub(super) fn settle(&mut self) {
        self.settled = true;
        self.next = None;
        self.datagrams = Vec::new();
    }

    /// The flight, if it is time to send it again.
    pub(super) fn due(&mut self, now: Instant) -> &[(SocketAddr, Bytes)] {
        match self.next {
            Some(next) if next <= now => {
                self.repeats += 1;
                self.next = (self.repeats < MAX_REPEATS).then(|| now + REPEAT_EVERY);
                &self.datagrams
            }
            _ => &[],
        }
    }

    /// When [`Flight::due`] has something next.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.next
    }
}
