//! Whole-system tests: the real binaries as child processes, Meta and the AI simulated in the test's own process.
//!
//! [`World`] is all of it for one scenario: a control plane, media nodes, a database file and both simulators, each
//! with ports of its own, so that scenarios run side by side. The binaries are configured by the documented variables
//! and nothing else. The scenarios are under `tests/`, one file per behaviour.
//!
//! Waiting is always for a condition ([`eventually`]), never for a while.

mod calls;
mod collector;
mod http;
mod ports;
mod process;
mod search;
mod wait;
mod world;

pub use calls::{Calls, Client, incidents, reached, said, termination};
pub use collector::Collector;
pub use http::{Answer, Http};
pub use ports::{ReservedPort, udp_range};
pub use process::Process;
pub use search::tokens_with;
pub use wait::{SOON, eventually};
pub use world::{Node, Setup, World};
