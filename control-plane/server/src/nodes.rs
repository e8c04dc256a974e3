//! Media nodes: who is there, how they are reached, and how their events are followed.
//!
//! A node opens a stream (`service`), says what it is (`beat`) under an id of its own (`identity`) at an address it may
//! announce (`address`), and is in the `registry` from then on. The `sweeper` collects signs of life (`signs`) and has nodes
//! probed (`probe`); the `detector` decides which are lost.

mod address;
mod beat;
mod client;
mod detector;
mod fleet;
mod follower;
mod identity;
mod liveness;
mod probe;
mod registry;
mod service;
mod signs;
mod sweeper;

pub use address::{Listed, NodeAddresses};
pub use beat::Beat;
pub use client::{Client, Clients};
pub use detector::Loss;
pub(crate) use fleet::Fleet;
pub(crate) use follower::{Followed, Following, NodeNews, follow};
pub use identity::{IdTaken, SecretHash};
pub use liveness::Liveness;
pub use probe::{ProbeDue, ProbeOutcome};
pub use registry::{LostNode, Registry, Sweep};
pub(crate) use service::Nodes;
pub use signs::HeardChannel;
pub(crate) use sweeper::sweep;
