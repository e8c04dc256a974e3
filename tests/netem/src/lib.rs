//! A bad network from a seed. Pure: time is an argument, nothing is drawn but from the seed.
//!
//! Flow: a [`Profile`] says how bad one direction is; a [`Link`] draws from it what happens to each packet; a [`Wire`]
//! holds packets until they arrive. Tests in virtual time drive these directly, sockets of simulators with the real clock.
//!
//! Each mechanism draws from a stream of numbers of its own, the same number of times for every packet: the same seed
//! loses the same packets whatever the delay is set to.
//!
//! Not here: bandwidth and queues (speech of a call is far below any link's), sockets, clocks.

mod gilbert_elliott;
mod jitter;
mod link;
mod numbers;
mod profile;
mod wire;

pub use gilbert_elliott::GilbertElliott;
pub use jitter::{Distribution, Jitter};
pub use link::{Fate, Link, LinkStatistics};
pub use numbers::Numbers;
pub use profile::{Loss, Profile, ProfileError, Reorder};
pub use wire::{MAX_IN_FLIGHT, Wire};
