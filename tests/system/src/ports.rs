//! Free ports for processes under test.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};

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

/// A range of UDP ports for one node, as `VOICEBRIDGE_UDP_PORTS` wants it: it begins where the system has just found a
/// free one, so ranges hardly meet. Where they do it is harmless: a node takes the next port when one is taken.
///
/// # Panics
///
/// The operating system has no port left.
#[must_use]
pub fn udp_range() -> String {
    let free = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.local_addr());
    let first = free.expect("there is a free UDP port").port().min(u16::MAX - UDP_PORTS_PER_NODE);
    format!("{first}-{}", first + UDP_PORTS_PER_NODE - 1)
}
