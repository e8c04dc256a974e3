//! One UDP port per call from a configured range.
//!
//! Meta is ICE-lite and many calls may come from one relay address, so two calls on one local port could not be told
//! apart. A port rests after use: what still arrives for the old call must not meet a new one.
//!
//! Flow: [`PortPool::open`] picks the next port that is neither taken, resting nor in use by somebody else, and binds it.
//! Dropping the [`Lease`] closes the socket and puts the port to rest.

mod ports;

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    ops::RangeInclusive,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use ports::PortTable;
use socket2::SockRef;

/// Kernel buffers asked for, bytes each way: 500 ms of a call's packets while its thread is busy, with room for the
/// kernel's own bookkeeping per packet. The kernel may grant less; a full buffer drops the newest packet.
const SOCKET_BUFFER_BYTES: usize = 256 * 1024;

/// Why no port could be had.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// All are taken or resting.
    #[error("all UDP ports of the range are in use or resting")]
    Exhausted,
    /// The system refused a socket for another reason than the port being taken.
    #[error("no UDP socket could be opened on {0}")]
    Socket(SocketAddr, #[source] io::Error),
}

/// The ports of a node. Cheap to clone; locked once per call.
#[derive(Clone, Debug)]
pub struct PortPool {
    ports: Arc<Mutex<PortTable>>,
    bind: IpAddr,
    rest: Duration,
}

/// A port in use, with its socket: non-blocking.
#[derive(Debug)]
pub struct Lease {
    /// Bound to [`Lease::port`].
    pub socket: UdpSocket,
    /// Announced to the caller.
    pub port: u16,
    pool: PortPool,
}

impl PortPool {
    /// `announced` decides the address to bind: itself when it is loopback, else all addresses of its family, because
    /// behind a 1:1 NAT the announced one is not ours.
    #[must_use]
    pub fn new(range: RangeInclusive<u16>, announced: IpAddr, rest: Duration) -> Self {
        let bind = match announced {
            loopback if loopback.is_loopback() => loopback,
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        Self { ports: Arc::new(Mutex::new(PortTable::new(range))), bind, rest }
    }

    /// Binds the next free port; ports that other programs hold are passed over.
    ///
    /// # Errors
    /// [`PortError`]; the pool is unchanged.
    pub fn open(&self, now: Instant) -> Result<Lease, PortError> {
        let tries = self.lock().len();
        for _ in 0..tries {
            let Some(port) = self.lock().take(now) else { return Err(PortError::Exhausted) };
            let address = SocketAddr::new(self.bind, port);
            match open_socket(address) {
                Ok(socket) => return Ok(Lease { socket, port, pool: self.clone() }),
                Err(error) => {
                    self.lock().give_back(port);
                    if error.kind() != io::ErrorKind::AddrInUse {
                        return Err(PortError::Socket(address, error));
                    }
                }
            }
        }
        Err(PortError::Exhausted)
    }

    /// The lock is never held across anything that can panic; a poisoned one is still consistent.
    fn lock(&self) -> std::sync::MutexGuard<'_, PortTable> {
        self.ports.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let until = Instant::now() + self.pool.rest;
        self.pool.lock().rest(self.port, until);
    }
}

fn open_socket(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(address)?;
    socket.set_nonblocking(true)?;
    let options = SockRef::from(&socket);
    options.set_recv_buffer_size(SOCKET_BUFFER_BYTES)?;
    options.set_send_buffer_size(SOCKET_BUFFER_BYTES)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// A port that nobody else gets while this lives, and a range that begins with it.
    fn held(ports: u16) -> (UdpSocket, RangeInclusive<u16>) {
        loop {
            let held = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let first = held.local_addr().unwrap().port();
            if let Some(last) = first.checked_add(ports - 1) {
                return (held, first..=last);
            }
        }
    }

    #[test]
    fn a_port_taken_by_another_program_is_passed_over() {
        let (other, range) = held(40);
        let first = *range.start();
        let pool = PortPool::new(range, Ipv4Addr::LOCALHOST.into(), Duration::from_secs(30));
        let now = Instant::now();
        let mut leases = Vec::new();
        while let Ok(lease) = pool.open(now) {
            assert_eq!(lease.socket.local_addr().unwrap(), SocketAddr::from((Ipv4Addr::LOCALHOST, lease.port)));
            leases.push(lease);
        }
        let ports: Vec<u16> = leases.iter().map(|lease| lease.port).collect();
        assert!(
            ports.is_sorted_by(|one, next| one < next) && ports.first().is_some_and(|&port| port > first),
            "{ports:?}"
        );
        assert!(matches!(pool.open(now), Err(PortError::Exhausted)));
        drop(other);
        assert_eq!(pool.open(now).unwrap().port, first);
    }

    #[test]
    fn a_port_rests_after_use() {
        let (other, range) = held(1);
        let first = *range.start();
        drop(other);
        let pool = PortPool::new(range, Ipv4Addr::LOCALHOST.into(), Duration::from_secs(30));
        let began = Instant::now();
        drop(pool.open(began).unwrap());
        assert!(matches!(pool.open(began + Duration::from_secs(20)), Err(PortError::Exhausted)));
        assert_eq!(pool.open(Instant::now() + Duration::from_secs(30)).unwrap().port, first);
    }

    #[test]
    fn an_announced_address_of_another_machine_is_not_bound() {
        let pool = PortPool::new(1..=1, IpAddr::from([203, 0, 113, 7]), Duration::ZERO);
        assert_eq!(pool.bind, IpAddr::from([0, 0, 0, 0]));
    }
}
