//! Free ports for processes under test.

use std::{
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    sync::atomic::{AtomicU16, Ordering},
};

use anyhow::Context as _;
use socket2::{Domain, Socket, Type};

/// A TCP port of 127.0.0.1 that stays ours for as long as this value lives.
///
/// Bound with `SO_REUSEADDR` and never listening, the socket leaves a process that also sets the option (as tokio's
/// listener does) free to listen there, again after a restart too, while the kernel gives the number to nobody else.
#[derive(Debug)]
pub struct ReservedPort {
    port: u16,
    _socket: Socket,
}

impl ReservedPort {
    /// Any free one.
    ///
    /// # Errors
    ///
    /// The operating system has none.
    pub fn new() -> anyhow::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).context("open a socket to reserve a port")?;
        socket.set_reuse_address(true)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).context("reserve a port")?;
        let address = socket.local_addr()?.as_socket().context("a TCP socket has an internet address")?;
        Ok(Self { port: address.port(), _socket: socket })
    }

    /// Where a process is to listen.
    #[must_use]
    pub const fn address(&self) -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::LOCALHOST, self.port)
    }
}

/// Ports per node, more than any scenario has calls on one.
const UDP_PORTS_PER_NODE: u16 = 60;
const UDP_FIRST: u16 = 20_000;
const UDP_SLICES: u16 = 160;

/// A range of UDP ports for one node, as `VOICEBRIDGE_UDP_PORTS` wants it, below the ephemeral range.
///
/// Slices differ between the nodes of one test process. Overlap with another process on the machine is harmless: a
/// node takes the next port when one is taken.
#[must_use]
pub fn udp_range() -> String {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = (std::process::id() % u32::from(UDP_SLICES)) as u16;
    let slice = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % UDP_SLICES;
    let first = UDP_FIRST + slice * UDP_PORTS_PER_NODE;
    format!("{first}-{}", first + UDP_PORTS_PER_NODE - 1)
}
