//! Ids in the shape of the real ones, unique in the server and the same on every run.

use std::fmt::Write as _;

/// Source of ids of one session.
pub(super) struct Ids {
    session: usize,
    issued: u64,
}

impl Ids {
    pub(super) const fn new(session: usize) -> Self {
        Self { session, issued: 0 }
    }

    /// `item_`, `resp_`, `event_`, `call_`, `sess_`, `conv_` and so on.
    pub(super) fn next(&mut self, prefix: &str) -> String {
        self.issued += 1;
        let mut id = String::with_capacity(prefix.len() + 14);
        write!(id, "{prefix}_{:04x}{:08x}", self.session, self.issued).expect("a String takes every write");
        id
    }
}
