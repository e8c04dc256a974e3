//! For tests: a PostgreSQL of their own in a temporary folder, with TLS by a CA of its own, and pgbouncer before it.
//!
//! One server serves all tests of a binary, each with a database of its own ([`database`]); a test that stops it starts its
//! own ([`Server::start`]). They end, and their folders go, when the process of the test does, however it ends.
//!
//! Knows nothing of voicebridge: databases are empty.

#![warn(missing_docs)]

mod certificates;
mod child;
mod pooler;
mod server;

use std::sync::OnceLock;

pub use certificates::Authority;
pub use pooler::Pooler;
pub use server::Server;

/// The one server of this process.
pub fn shared() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(Server::start)
}

/// URL of a new, empty database of the one server of this process.
pub fn database() -> String {
    shared().database()
}
