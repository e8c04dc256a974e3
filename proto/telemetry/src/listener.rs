//! What a listener grants to whoever connects: how many connections, and how long each may keep us waiting.
//!
//! [`Incoming`] counts connections and turns away those above the bounds, [`Connection`] ends those that say nothing or take
//! nothing, [`body`] ends requests whose body does not come, and [`server`] sets what hyper and tonic look after themselves:
//! heads of requests and silence between them over HTTP/1.1 (30 s, hyper's own), signs of life and age over HTTP/2.
//!
//! Answers that go on, event streams and a node's registration among them, are ended by none of this while their peer lives.

pub mod body;
mod connection;
mod incoming;
mod open_files;
mod places;

use std::time::Duration;

use tonic::transport::Server;

pub use connection::Connection;
pub use incoming::Incoming;

/// The bounds of one listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Open connections in all. One more is closed at once and counted.
    pub connections: usize,
    /// Of one address, a network of 64 bits over IPv6. One more is closed at once and counted.
    pub connections_per_address: usize,
    /// From a connection's beginning until it has said which HTTP it speaks.
    pub opening: Duration,
    /// For which a peer may take nothing of what it is sent.
    pub stalled: Duration,
    /// From a request's head to the end of its body.
    pub body: Duration,
    /// Where a body is a stream of messages: between two of them.
    pub between_messages: Duration,
    /// Silence after which a peer is asked for a sign of life, and how long it may take to give one.
    pub probe: Duration,
    /// Age at which a connection takes no further requests; those under way go on.
    pub age: Duration,
}

/// Connections in all when nothing else is set.
pub const CONNECTIONS: usize = 8_192;
/// Connections of one address when nothing else is set. Behind a proxy all callers have one.
pub const CONNECTIONS_PER_ADDRESS: usize = 4_096;

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connections: CONNECTIONS,
            connections_per_address: CONNECTIONS_PER_ADDRESS,
            opening: Duration::from_secs(10),
            stalled: Duration::from_secs(60),
            body: Duration::from_secs(10),
            between_messages: Duration::from_secs(60),
            probe: Duration::from_secs(20),
            age: Duration::from_secs(3_600),
        }
    }
}

/// A server within the bounds, for HTTP/1.1 and HTTP/2, with `streams` requests and event streams on one connection.
#[must_use]
pub fn server(bounds: &Bounds, streams: u32) -> Server {
    Server::builder()
        .accept_http1(true)
        .max_concurrent_streams(streams)
        // A peer that has vanished would keep its event streams' places until TCP gives up.
        .http2_keepalive_interval(Some(bounds.probe))
        .http2_keepalive_timeout(Some(bounds.probe))
        // One that only answers our probes would be there for ever.
        .max_connection_age(bounds.age)
}

#[cfg(test)]
mod tests;
