//! Media nodes: who is there, how they are reached, and how their events are followed.

mod client;
mod fleet;
mod follower;
mod registry;
mod service;

pub use client::{Client, Clients};
pub(crate) use fleet::Fleet;
pub(crate) use follower::{Followed, NodeNews, follow};
pub use registry::{Liveness, Registry};
pub(crate) use service::Nodes;
