//! What the benchmarks share: recorded speech, a session and a peer in the middle of a call, and the caller at the other end.
//!
//! [`talk`] alone knows how a session is set up and what it acts on, [`pair`] how a peer is made: two trees are compared by
//! the same drive with no more than these two files adapted.

// Of a call's caller, as the node's own tests have it.
#[path = "../../../media-plane/node/tests/support/caller.rs"]
pub mod caller;
pub mod pair;
pub mod speech;
pub mod table;
pub mod talk;
