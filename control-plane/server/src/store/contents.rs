//! How much a database holds, to compare a copy with what it was made of.

/// What a database holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// Calls.
    pub calls: i64,
    /// Events of them.
    pub events: i64,
    /// Labels of calls.
    pub labels: i64,
    /// Hang-ups remembered.
    pub tombstones: i64,
    /// API keys.
    pub keys: i64,
    /// Keys that the database made for itself.
    pub own_keys: i64,
    /// The highest position given so far.
    pub last_position: i64,
    /// The highest ordinal of a call given so far.
    pub last_ordinal: i64,
}

impl Contents {
    pub(super) fn named(&self) -> [(&'static str, i64); 8] {
        [
            ("calls", self.calls),
            ("events", self.events),
            ("labels", self.labels),
            ("tombstones", self.tombstones),
            ("API keys", self.keys),
            ("own keys", self.own_keys),
            ("the last position", self.last_position),
            ("the last ordinal", self.last_ordinal),
        ]
    }
}
