//! Allocations of this thread, by what was being done.

use serde::{Deserialize, Serialize};
use std::cell::Cell;

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The peer takes a datagram.
    PeerIn,
    /// The peer takes a packet to be sent, and gives out datagrams.
    PeerOut,
    /// The session takes a packet, which ends at the provider.
    SessionIn,
    /// The session does what is due, which ends at the peer.
    SessionOut,
    /// The session takes a message of the provider.
    Message,
}

/// Rust's allocations; libopus makes none once its states are there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Allocations {
    pub(crate) peer_in: u64,
    pub(crate) peer_out: u64,
    pub(crate) session_in: u64,
    pub(crate) session_out: u64,
    pub(crate) message: u64,
}

thread_local! {
    static COUNTS: Cell<bool> = const { Cell::new(false) };
    static ALLOCATIONS: Cell<[u64; 5]> = const { Cell::new([0; 5]) };
    /// Of the parts that are over, within the one at hand.
    static WITHIN: Cell<u64> = const { Cell::new(0) };
}

/// Begins to count, at nothing.
pub(crate) fn begin() {
    COUNTS.set(true);
    ALLOCATIONS.set([0; 5]);
}

/// Ends that; what was counted.
pub(crate) fn end() -> Allocations {
    COUNTS.set(false);
    let [peer_in, peer_out, session_in, session_out, message] = ALLOCATIONS.get();
    Allocations { peer_in, peer_out, session_in, session_out, message }
}

/// Does it, counted as `part` but for what is counted as another within it.
pub(crate) fn measured<R>(part: Part, act: impl FnOnce() -> R) -> R {
    if !COUNTS.get() {
        return act();
    }
    let outside = WITHIN.replace(0);
    let mut result = None;
    let total = allocation_counter::measure(|| result = Some(act())).count_total;
    let mut allocations = ALLOCATIONS.get();
    allocations[part as usize] += total - WITHIN.get();
    ALLOCATIONS.set(allocations);
    WITHIN.set(outside + total);
    result.expect("it was done")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hint::black_box;

    #[test]
    fn what_is_counted_within_is_not_counted_twice() {
        let allocate = |times: usize| (0..times).for_each(|_| drop(black_box(Box::new(1))));
        let both = || {
            measured(Part::SessionOut, || {
                allocate(3);
                measured(Part::PeerOut, || allocate(2));
                measured(Part::PeerOut, || allocate(2));
            });
        };
        both();
        begin();
        both();
        both();
        let expected = Allocations { session_out: 6, peer_out: 8, ..Allocations::default() };
        assert_eq!(end(), expected);
        both();
        begin();
        assert_eq!(end(), Allocations::default(), "it begins at nothing");
    }
}
