//! What is said of a node to whoever follows one of its calls.

/// Whether a node is there, as seen by who follows one of its calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// It gave a sign of life, or nothing proves the contrary.
    Alive,
    /// Gone for good; a node that returns under the same id is a new registration.
    Lost,
}
