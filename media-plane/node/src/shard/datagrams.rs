//! The datagrams of one step of a call, sent together at its end: a call has a socket of its own, so that this is what one
//! system call could take.

use std::net::{SocketAddr, UdpSocket};

use bytes::Bytes;

/// See the module.
#[derive(Debug, Default)]
pub struct Datagrams {
    waiting: Vec<(SocketAddr, Bytes)>,
}

impl Datagrams {
    /// Has it sent at the end of the step, after those before it.
    pub(super) fn push(&mut self, to: SocketAddr, bytes: Bytes) {
        self.waiting.push((to, bytes));
    }

    /// Sends all. A full buffer or a lost route drops a datagram, as the network might.
    pub(super) fn send(&mut self, socket: &UdpSocket) {
        for (to, bytes) in self.waiting.drain(..) {
            if let Err(error) = socket.send_to(&bytes, to) {
                metrics::counter!("voicebridge_media_datagrams_unsent_total").increment(1);
                tracing::debug!(%error, "sending");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn they_leave_in_order_and_once_whatever_becomes_of_one() {
        let [from, to] = [(); 2].map(|()| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        let mut datagrams = Datagrams::default();
        let address = to.local_addr().unwrap();
        datagrams.push(address, Bytes::from_static(b"first"));
        // Another family: the system refuses it.
        datagrams.push("[::1]:9".parse().unwrap(), Bytes::from_static(b"nowhere"));
        datagrams.push(address, Bytes::from_static(b"second"));
        datagrams.send(&from);
        datagrams.push(address, Bytes::from_static(b"third"));
        datagrams.send(&from);
        for expected in ["first", "second", "third"] {
            let mut buffer = [0; 16];
            let (length, _) = to.recv_from(&mut buffer).unwrap();
            assert_eq!(&buffer[..length], expected.as_bytes());
        }
    }
}
