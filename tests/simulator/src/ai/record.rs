//! What a session leaves behind for a test to look at.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::speech::Recognised;

/// One connection, in order of arrival; refused ones too.
#[derive(Clone, Debug, Default)]
pub struct SessionRecord {
    /// From 0 in order of connection.
    pub index: usize,
    /// `sess_...`; empty when the session never began.
    pub id: String,
    /// The `model` of the query.
    pub model: String,
    /// Headers of the upgrade in lower case. The bearer is replaced by `Bearer ***`.
    pub headers: BTreeMap<String, String>,
    /// When the connection opened: what other moments count from.
    pub opened: Option<Instant>,
    /// Status of the upgrade: 101, or the refusal.
    pub http_status: u16,
    /// Instructions in force.
    pub instructions: String,
    /// Effective configuration last confirmed by `session.updated`.
    pub config: serde_json::Value,
    /// Types of the client's events but for appends, in order.
    pub events: Vec<String>,
    /// 24 kHz audio appended, the first 10 minutes of it.
    pub pcm: Vec<i16>,
    /// How it was appended.
    pub appends: Appends,
    /// When `speech_started` was sent, since the connection opened.
    pub speech_started: Vec<Duration>,
    /// What the caller said.
    pub utterances: Vec<Utterance>,
    /// What the AI said.
    pub replies: Vec<ReplyRecord>,
    /// Truncations asked for and granted.
    pub truncates: Vec<Truncation>,
    /// Items deleted.
    pub deletes: Vec<String>,
    /// Items the client created, as it sent them.
    pub created_items: Vec<serde_json::Value>,
    /// Cancellations asked for by the client: the response cancelled, or `None` when none was active.
    pub cancels: Vec<Option<String>>,
    /// Every error event sent to the client.
    pub violations: Vec<Violation>,
    /// How and when the connection ended; `None` while it is open.
    pub closed: Option<String>,
}

/// Longest recording kept per session, samples (10 minutes). What comes later is processed and not kept.
pub(super) const MAX_RECORDED_SAMPLES: usize = 10 * 60 * 24_000;

/// Pieces whose time is kept, in either direction of a session. Of later ones only the audio is.
const MAX_PIECES: usize = 60_000;

/// Audio that passed the socket in one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// When, since the connection opened: as it was read, or before it was written.
    pub at: Duration,
    /// How much.
    pub samples: usize,
}

/// How audio was appended. Times are milliseconds since the connection opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Appends {
    /// Appends accepted.
    pub count: u64,
    /// Samples in them, at 24 kHz.
    pub samples: u64,
    /// Appends before the first `session.updated` was sent.
    pub before_update: u64,
    /// How many had which size, bytes of audio.
    pub sizes: BTreeMap<usize, u64>,
    /// First and last arrival.
    pub interval: Option<Interval>,
    /// Longest time between two arrivals.
    pub longest_gap_ms: u64,
    /// Each of them.
    pub pieces: Vec<Piece>,
}

/// Two moments, milliseconds since the connection opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    /// The first.
    pub first_ms: u64,
    /// The last.
    pub last_ms: u64,
}

impl Appends {
    pub(super) fn note(&mut self, samples: usize, bytes: usize, now: Duration, updated: bool) {
        let now_ms = now.as_millis() as u64;
        self.count += 1;
        self.samples += samples as u64;
        self.before_update += u64::from(!updated);
        *self.sizes.entry(bytes).or_default() += 1;
        let interval = self.interval.get_or_insert(Interval { first_ms: now_ms, last_ms: now_ms });
        self.longest_gap_ms = self.longest_gap_ms.max(now_ms - interval.last_ms);
        interval.last_ms = now_ms;
    }
}

pub(super) fn note_piece(pieces: &mut Vec<Piece>, at: Duration, samples: usize) {
    if pieces.len() < MAX_PIECES {
        pieces.push(Piece { at, samples });
    }
}

/// One committed turn of the caller. Offsets are milliseconds of audio appended.
#[derive(Clone, Debug, PartialEq)]
pub struct Utterance {
    /// The user item.
    pub item_id: String,
    /// Where it begins, padding included.
    pub start_ms: u64,
    /// Where it ends.
    pub end_ms: u64,
    /// Which fixture it is; `None` until recognised, or when it is none.
    pub recognised: Option<Recognised>,
}

/// One response.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplyRecord {
    /// `resp_...`.
    pub response_id: String,
    /// The item that carries the audio.
    pub item_id: String,
    /// The fixture said; `echo` in echo mode.
    pub name: String,
    /// Its words.
    pub transcript: String,
    /// Audio sent, which is less than the fixture when cancelled.
    pub pcm: Vec<i16>,
    /// As it was sent.
    pub pieces: Vec<Piece>,
    /// `in_progress`, `completed`, `cancelled`, `incomplete`, `failed`.
    pub status: String,
    /// `turn_detected`, `client_cancelled`, ...; empty when completed.
    pub reason: String,
    /// The tool called in the same response.
    pub tool: Option<String>,
    /// When it was created, milliseconds since the connection opened.
    pub created_ms: u64,
    /// When its first audio was sent.
    pub first_audio_ms: Option<u64>,
    /// When `response.done` was sent.
    pub done_ms: Option<u64>,
}

/// A truncation that was granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Truncation {
    /// The item.
    pub item_id: String,
    /// Where it was cut.
    pub audio_end_ms: u64,
    /// How much of it had been sent.
    pub item_ms: u64,
}

/// An error event sent to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// `invalid_request_error`, ...
    pub kind: String,
    /// `unknown_parameter`, ...; some real errors have none.
    pub code: Option<String>,
    /// For a person.
    pub message: String,
    /// The parameter at fault.
    pub param: Option<String>,
    /// `event_id` of the client's event.
    pub event_id: Option<String>,
}
