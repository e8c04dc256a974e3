//! What must survive a restart: calls, their events, and the hang-ups that came first.
//!
//! One trait; SQL lives only behind it. The store assigns the per-call sequence of events (gapless from 1, whoever writes)
//! and decides who is first to claim a call. It knows nothing of the contract's types: an event is bytes and a few columns.
//!
//! Each database has a folder with its SQL; what they return is made into the same rows in `rows.rs`. Every implementation
//! passes the same tests, see `contract.rs`.

mod contents;
#[cfg(test)]
mod contract;
mod copy;
mod database;
mod error;
#[cfg(test)]
mod key_contract;
mod keys;
mod lease;
#[cfg(test)]
pub(crate) mod memory;
#[cfg(test)]
mod migrations;
mod postgres;
mod rows;
mod search;
#[cfg(test)]
mod search_contract;
mod search_sql;
mod sqlite;
mod text;

use async_trait::async_trait;
use voicebridge_core::{
    call_life::Signalling,
    identity::{CallId, Caller, Wacid},
    labels::{LabelChange, Labels},
    payloads::Payloads,
    termination::Termination,
};

pub use contents::Contents;
pub use copy::{CopyError, copy};
pub use database::{Database, Owner, POSTGRES, SQLITE};
pub use error::{Cause, StoreError};
pub use keys::{Creation, KeyRow, KeyStore, NewKey, Revocation, Settings};
pub use lease::Lease;
pub use postgres::Postgres;
pub use search::{CallFilter, CallOrder, CallPlace, CallState, CallerKey, Search};
pub use sqlite::{CallsLock, LockError, Sqlite};

/// How long a hang-up without a call is remembered. Connects older than a minute are dropped by age anyway.
pub const TOMBSTONE_RETENTION_MS: i64 = 60 * 60 * 1_000;

/// Who holds the signalling of a call, and how its session began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// We do.
    Managed,
    /// An API caller that reports the stages.
    SelfStaged,
    /// An API caller that may never report any.
    SelfImmediate,
}

impl Holder {
    const ALL: [Self; 3] = [Self::Managed, Self::SelfStaged, Self::SelfImmediate];

    /// Who talks to Meta.
    #[must_use]
    pub const fn signalling(self) -> Signalling {
        match self {
            Self::Managed => Signalling::Managed,
            Self::SelfStaged | Self::SelfImmediate => Signalling::SelfHeld,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Managed => "managed",
            Self::SelfStaged => "self-staged",
            Self::SelfImmediate => "self-immediate",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|holder| holder.word() == word)
    }
}

/// A call at the moment it is claimed.
#[derive(Clone, Debug)]
pub struct NewCall {
    /// Ours, and new.
    pub call_id: CallId,
    /// Meta's.
    pub wacid: Wacid,
    /// Who talks to Meta.
    pub holder: Holder,
    /// As [`voicebridge_core::call_life::Phase::word`].
    pub phase: &'static str,
    /// The business number's id; may be empty.
    pub phone_number_id: String,
    /// As far as known.
    pub caller: Caller,
    /// Noted from the beginning.
    pub labels: Labels,
    /// What came along.
    pub payloads: Payloads,
    /// The webhook's arrival: the zero of the timeline.
    pub received_at_ms: i64,
    /// End of the ring budget.
    pub ring_until_ms: i64,
}

/// What became of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Ours: nobody had Meta's id before.
    Claimed,
    /// Meta's id is known already, as that of this call.
    Duplicate(CallId),
    /// Its end came before it.
    Tombstoned,
}

/// Meta's word that a call is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tombstone {
    /// When it came.
    pub hung_up_at_ms: i64,
    /// `FAILED`.
    pub failed: bool,
    /// Meta's code.
    pub error_code: Option<i64>,
}

/// What the store knew of a call whose end came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HangUpOutcome {
    /// Nothing: the connect, should it come, is not started.
    Unknown,
    /// It is live.
    Live(CallId),
    /// Its record is closed.
    Ended(CallId),
}

/// What changed about a call; `None` leaves a column as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// As [`voicebridge_core::call_life::Phase::word`].
    pub phase: Option<&'static str>,
    /// Where its session is, or may be. A new session counts its events anew.
    pub session: Option<SessionPlace>,
    /// When it was answered; the first one stands.
    pub accepted_at_ms: Option<i64>,
    /// Stands from now on; the first one does.
    pub termination: Option<Termination>,
    /// Closes the record: nothing is written to it afterwards.
    pub ended_at_ms: Option<i64>,
}

impl Change {
    /// What `later` changes as well.
    fn merge(&mut self, later: Self) {
        let Self { phase, session, accepted_at_ms, termination, ended_at_ms } = later;
        self.phase = phase.or(self.phase);
        self.session = session.or(self.session.take());
        self.accepted_at_ms = self.accepted_at_ms.or(accepted_at_ms);
        self.termination = self.termination.take().or(termination);
        self.ended_at_ms = self.ended_at_ms.or(ended_at_ms);
    }
}

/// What is written of a live call in one go: events that follow those before, and what changed with them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Write {
    /// Events of this call stored so far. Tells the same write, repeated because its answer got lost, from one that comes
    /// from somebody who does not know the call's events.
    pub after: u64,
    /// In their order.
    pub events: Vec<NewEvent>,
    /// Applied together with them.
    pub change: Change,
}

impl Write {
    /// Nothing to be written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.change == Change::default()
    }

    /// Adds what is to be written after it, in the same go.
    pub fn add(&mut self, events: impl IntoIterator<Item = NewEvent>, change: Change) {
        self.events.extend(events);
        self.change.merge(change);
    }

    /// Events of this call stored afterwards.
    const fn last(&self) -> u64 {
        self.after + self.events.len() as u64
    }

    /// Of the last event of a node among them.
    fn node_sequence(&self) -> Option<u64> {
        self.events.iter().filter_map(|event| event.node_sequence).max()
    }
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// Stored, by this request or by the same one before.
    Stored {
        /// Of its last event; `None` without events.
        position: Option<u64>,
    },
    /// The call is unknown or closed, or has other events than the writer thinks: nothing was stored.
    Refused,
}

/// What became of a change of labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Labelled {
    /// These are the call's labels now.
    Changed(Labels),
    /// They would be too many: nothing was changed.
    TooMany,
    /// There is no such call.
    Unknown,
}

/// Where a session is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionPlace {
    /// Ours.
    pub session_id: String,
    /// The node's.
    pub node_id: String,
    /// Its gRPC address.
    pub node_url: String,
    /// Its region.
    pub region: String,
}

/// A call as stored.
#[derive(Clone, Debug)]
pub struct CallRow {
    /// Order of claiming.
    pub ordinal: i64,
    /// Ours.
    pub call_id: CallId,
    /// Meta's.
    pub wacid: Wacid,
    /// Who talks to Meta.
    pub holder: Holder,
    /// As [`voicebridge_core::call_life::Phase::word`].
    pub phase: String,
    /// The business number's id.
    pub phone_number_id: String,
    /// As far as known.
    pub caller: Caller,
    /// Noted so far.
    pub labels: Labels,
    /// What came along so far.
    pub payloads: Payloads,
    /// The zero of the timeline.
    pub received_at_ms: i64,
    /// End of the ring budget.
    pub ring_until_ms: i64,
    /// None before a node was asked.
    pub session: Option<SessionPlace>,
    /// None before it was answered.
    pub accepted_at_ms: Option<i64>,
    /// None while it lives.
    pub ended_at_ms: Option<i64>,
    /// Stands, once there.
    pub termination: Option<Termination>,
    /// Last event, 0 for none.
    pub last_sequence: u64,
    /// Last event of the node, 0 for none.
    pub node_sequence: u64,
}

impl CallRow {
    /// As it is right after its claim.
    #[must_use]
    pub fn claimed(call: NewCall, ordinal: i64) -> Self {
        Self {
            ordinal,
            call_id: call.call_id,
            wacid: call.wacid,
            holder: call.holder,
            phase: call.phase.to_owned(),
            phone_number_id: call.phone_number_id,
            caller: call.caller,
            labels: call.labels,
            payloads: call.payloads,
            received_at_ms: call.received_at_ms,
            ring_until_ms: call.ring_until_ms,
            session: None,
            accepted_at_ms: None,
            ended_at_ms: None,
            termination: None,
            last_sequence: 0,
            node_sequence: 0,
        }
    }
}

/// An event to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// The contract's name of the kind, e.g. `stage_reached`.
    pub kind: &'static str,
    /// When.
    pub occurred_at_ms: i64,
    /// The node's sequence; `None` for events of the control plane.
    pub node_sequence: Option<u64>,
    /// The contract's `Event`, encoded, with sequence 0 and without the call's id.
    pub payload: Vec<u8>,
}

/// An event as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEvent {
    /// Per call, gapless from 1.
    pub sequence: u64,
    /// The contract's `Event`, encoded, with sequence 0 and without the call's id.
    pub payload: Vec<u8>,
    /// It is the last one of its call.
    pub is_last: bool,
}

/// An event with what streams choose by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryRow {
    /// Among all events.
    pub position: u64,
    /// Whose it is.
    pub call_id: CallId,
    /// The business number's id; may be empty.
    pub phone_number_id: String,
    /// The caller's number in digits; may be empty.
    pub caller_phone: String,
    /// The event.
    pub event: StoredEvent,
}

/// Length of a database's own keys.
pub const KEY_BYTES: usize = 32;

/// Kind of the event that closes a record.
pub const LAST_KIND: &str = "call_ended";

/// The store. All methods are atomic; none retries.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Makes the call ours if nobody has one with its id of Meta's, and its end has not come already.
    async fn claim(&self, call: &NewCall) -> Result<Claim, StoreError>;

    /// Remembers that a call is over, so that neither its connect nor a restart brings it back.
    /// By Meta's id: a call that nobody claimed has none of ours.
    async fn record_hang_up(&self, wacid: &Wacid, tombstone: &Tombstone) -> Result<HangUpOutcome, StoreError>;

    /// The hang-up remembered for a call.
    async fn tombstone(&self, wacid: &Wacid) -> Result<Option<Tombstone>, StoreError>;

    /// Appends events to a live call and applies what changed with them, all or nothing. Repeated with the same [`Write`]
    /// it changes nothing and answers the same. Positions become visible in their order: who reads one has all below it.
    async fn write(&self, call_id: &CallId, write: &Write) -> Result<Written, StoreError>;

    /// Changes the labels of a call, whether it lives or not.
    async fn label(&self, call_id: &CallId, change: &LabelChange) -> Result<Labelled, StoreError>;

    /// Adds what came along with a call later, where it has none yet, whether it lives or not.
    async fn add_payloads(&self, call_id: &CallId, payloads: &Payloads) -> Result<(), StoreError>;

    /// One call.
    async fn call(&self, call_id: &CallId) -> Result<Option<CallRow>, StoreError>;

    /// One call by Meta's id.
    async fn call_by_wacid(&self, wacid: &Wacid) -> Result<Option<CallRow>, StoreError>;

    /// A page of calls.
    async fn calls(&self, search: &Search) -> Result<Vec<CallRow>, StoreError>;

    /// Events with a sequence above `after`, oldest first, at most `limit`.
    async fn events(&self, call_id: &CallId, after: u64, limit: u32) -> Result<Vec<StoredEvent>, StoreError>;

    /// Events of one kind, oldest first.
    async fn events_of_kind(&self, call_id: &CallId, kind: &str) -> Result<Vec<StoredEvent>, StoreError>;

    /// Events of one call or of all with a position above `after` and up to `through`, in order, at most `limit`.
    async fn history(
        &self,
        call_id: Option<&CallId>,
        after: u64,
        through: u64,
        limit: u32,
    ) -> Result<Vec<HistoryRow>, StoreError>;

    /// The highest position ever given, 0 for none.
    async fn last_position(&self) -> Result<u64, StoreError>;

    /// The database's own key of this name. `fresh` becomes it when there is none yet.
    async fn own_key(&self, name: &str, fresh: [u8; KEY_BYTES]) -> Result<[u8; KEY_BYTES], StoreError>;

    /// Deletes calls that ended before `before_ms`, with their events: at most `limit`, the first ended first. How many.
    async fn prune(&self, before_ms: i64, limit: u32) -> Result<u64, StoreError>;
}
