//! The network between a caller and the business, when it is to be a bad one: media is lost, delayed and reordered as a
//! profile says, by the real clock.
//!
//! Only RTP and RTCP: setting up has its own tests, and a call that never came about says nothing of its sound. What
//! comes in is impaired before the relay sees it, what goes out after the engine has sealed it.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use tokio::{net::UdpSocket, sync::Notify, task::JoinHandle};
use voicebridge_netem::{LinkStatistics, Profile, ProfileError, Wire};

use super::{observe::Kind, relay::Relay};

/// How bad it is, each way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Network {
    /// From the caller to the business.
    pub to_business: Profile,
    /// From the business to the caller.
    pub from_business: Profile,
    /// The same seed loses the same packets.
    pub seed: u64,
}

/// What it did to a call's media.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetworkReport {
    /// From the caller to the business.
    pub to_business: LinkStatistics,
    /// From the business to the caller.
    pub from_business: LinkStatistics,
}

type Datagrams = Wire<(SocketAddr, Vec<u8>)>;

/// Both directions of one call.
#[derive(Debug)]
pub(super) struct Wires {
    origin: Instant,
    outbound: Mutex<Datagrams>,
    inbound: Mutex<Datagrams>,
    /// Something left.
    left: Notify,
}

impl Wires {
    pub(super) fn new(network: Network) -> Result<Self, ProfileError> {
        Ok(Self {
            origin: Instant::now(),
            outbound: Mutex::new(Wire::new(network.to_business, network.seed)?),
            // Another stream of numbers than the other way.
            inbound: Mutex::new(Wire::new(network.from_business, !network.seed)?),
            left: Notify::new(),
        })
    }

    pub(super) const fn concerns(kind: Kind) -> bool {
        matches!(kind, Kind::Rtp | Kind::Rtcp)
    }

    pub(super) fn leave(&self, now: Instant, to: SocketAddr, datagram: &[u8]) {
        lock(&self.outbound).send(self.since(now), (to, datagram.to_vec()));
        self.left.notify_one();
    }

    pub(super) fn arrive(&self, now: Instant, from: SocketAddr, datagram: &[u8]) {
        lock(&self.inbound).send(self.since(now), (from, datagram.to_vec()));
    }

    /// The next datagram that has come through by now.
    pub(super) fn arrived(&self, now: Instant) -> Option<(SocketAddr, Vec<u8>)> {
        lock(&self.inbound).take(self.since(now)).map(|(_, packet)| packet)
    }

    /// When the next one comes through.
    pub(super) fn next_arrival(&self) -> Option<Instant> {
        lock(&self.inbound).due().map(|due| self.origin + due)
    }

    pub(super) fn report(&self) -> NetworkReport {
        NetworkReport {
            to_business: lock(&self.outbound).statistics(),
            from_business: lock(&self.inbound).statistics(),
        }
    }

    fn since(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.origin)
    }
}

/// The task that sends what has come through; ends with the socket.
#[derive(Debug)]
pub(super) struct Sender(JoinHandle<()>);

impl Sender {
    pub(super) fn start(relay: &Arc<Relay>, io: &Arc<UdpSocket>) -> Self {
        Self(tokio::spawn(deliver(Arc::downgrade(relay), Arc::clone(io))))
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn deliver(relay: Weak<Relay>, io: Arc<UdpSocket>) {
    while let Some(relay) = relay.upgrade() {
        let Some(wires) = relay.wires() else { return };
        let due = lock(&wires.outbound).due().map(|due| wires.origin + due);
        match due {
            // `notify_one` keeps a permit: what leaves between the look and the wait ends the wait.
            None => wires.left.notified().await,
            Some(due) => tokio::select! {
                () = wires.left.notified() => {}
                () = tokio::time::sleep_until(due.into()) => {}
            },
        }
        let now = wires.since(Instant::now());
        loop {
            let next = lock(&wires.outbound).take(now);
            let Some((_, (to, datagram))) = next else { break };
            if !relay.is_ended() {
                // A socket that is full loses it, as any network might.
                drop(io.try_send_to(&datagram, to));
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
