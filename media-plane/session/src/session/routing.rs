//! Who hears whom: a small matrix with a row for each pair, and a row for each recorder.
//!
//! A row of samples says at what gain one end is heard by the other; a row of packets hands on what a leg receives and
//! sends, as it is, with the time of the call, so that nothing is decoded or encoded for it. At unity gain, the usual one, a
//! piece of audio goes through as it came: nothing is copied.
//!
//! At most [`MAX_ROWS`] rows. Does not mix: at an end that hears one other there is nothing to mix.

use std::time::Duration;

use voicebridge_audio::{playout::EndedItem, uplink::Span};

use crate::ports::{RtpIn, RtpOut};

/// Rows of a call; further ones are refused.
pub const MAX_ROWS: usize = 16;

/// One leg of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LegId(pub u32);

/// The caller's leg, with which a session begins.
pub const CALLER: LegId = LegId(0);

/// Who speaks, or hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Party {
    /// The person on this leg.
    Leg(LegId),
    /// The AI on the connection that speaks.
    Ai,
}

/// By how much samples are made louder or softer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gain(f32);

impl Gain {
    /// As it is.
    pub const UNITY: Self = Self(1.0);
    /// Silence: time goes on, and nothing is heard.
    pub const MUTE: Self = Self(0.0);

    /// A factor from 0 to 4, that is up to 12 dB; others are brought into that range, and what is no number to unity.
    #[must_use]
    pub const fn factor(factor: f32) -> Self {
        if factor.is_nan() { Self::UNITY } else { Self(factor.clamp(0.0, 4.0)) }
    }
}

/// A row of the matrix.
pub enum Row {
    /// `from` is heard by `to`, at this gain. One row for each pair; another one for it takes the place of the first.
    Samples {
        /// Who speaks.
        from: Party,
        /// Who hears.
        to: Party,
        /// How loud.
        gain: Gain,
    },
    /// What a leg receives and sends goes to `sink`, too.
    Packets {
        /// Whose packets.
        leg: LegId,
        /// Who takes them.
        sink: Box<dyn PacketSink>,
    },
}

/// Names a row until it is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RowId(u32);

/// Why a row was not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// There are [`MAX_ROWS`] already.
    #[error("a call has at most {MAX_ROWS} rows")]
    Full,
    /// The session has no such leg.
    #[error("the session has no leg {0:?}")]
    NoSuchLeg(LegId),
    /// An end hears itself, or two ends that nothing carries audio between.
    #[error("nothing carries audio from {0:?} to {1:?}")]
    NoSuchPath(Party, Party),
}

/// Takes the packets of a leg: a recorder. Called on the media thread, for each packet; must not block.
pub trait PacketSink: Send {
    /// A packet that was received or sent, `at` this time of the call, which counts from the moment that audio flows.
    fn packet(&mut self, at: Duration, packet: LegPacket<'_>);

    /// So much of an item of the AI's was heard by the person, up to this time of the call.
    fn heard(&mut self, _at: Duration, _item: &EndedItem) {}

    /// A stretch of the person's voice that the AI heard is not what the person's side sent.
    fn filled(&mut self, _span: &Span) {}
}

/// A packet of a leg.
#[derive(Clone, Copy, Debug)]
pub enum LegPacket<'a> {
    /// As received.
    Received(RtpIn<'a>),
    /// As sent.
    Sent(RtpOut<'a>),
}

/// See the module.
pub struct Routing {
    rows: Vec<(RowId, Row)>,
    next_id: u32,
    scratch: Vec<i16>,
}

impl Routing {
    /// The caller and the AI hear each other.
    pub(crate) fn conversation() -> Self {
        let mut routing = Self { rows: Vec::new(), next_id: 0, scratch: Vec::new() };
        for (from, to) in [(Party::Leg(CALLER), Party::Ai), (Party::Ai, Party::Leg(CALLER))] {
            routing.insert(Row::Samples { from, to, gain: Gain::UNITY });
        }
        routing
    }

    /// Adds a row, in force from the next packet or piece of audio on.
    ///
    /// # Errors
    /// [`RowError`]; nothing has changed then.
    pub fn add(&mut self, row: Row) -> Result<RowId, RowError> {
        match &row {
            Row::Packets { leg: CALLER, .. } => {}
            Row::Packets { leg, .. } => return Err(RowError::NoSuchLeg(*leg)),
            Row::Samples { from: Party::Leg(CALLER), to: Party::Ai, .. }
            | Row::Samples { from: Party::Ai, to: Party::Leg(CALLER), .. } => {}
            Row::Samples { from, to, .. } => return Err(RowError::NoSuchPath(*from, *to)),
        }
        if let Row::Samples { from, to, .. } = row {
            let same = |other: &Row| matches!(other, Row::Samples { from: f, to: t, .. } if (*f, *t) == (from, to));
            self.rows.retain(|(_, other)| !same(other));
        }
        if self.rows.len() == MAX_ROWS {
            return Err(RowError::Full);
        }
        Ok(self.insert(row))
    }

    /// Removes a row. Without a row of samples an end is not heard; its time goes on.
    pub fn remove(&mut self, id: RowId) -> Option<Row> {
        let position = self.rows.iter().position(|(other, _)| *other == id)?;
        Some(self.rows.remove(position).1)
    }

    fn insert(&mut self, row: Row) -> RowId {
        let id = RowId(self.next_id);
        self.next_id += 1;
        self.rows.push((id, row));
        id
    }

    /// What `to` hears of this audio of `from`.
    pub(crate) fn heard<'a>(&'a mut self, from: Party, to: Party, pcm: &'a [i16]) -> &'a [i16] {
        let row = self.rows.iter().find_map(|(_, row)| match row {
            Row::Samples { from: f, to: t, gain } if (*f, *t) == (from, to) => Some(*gain),
            _ => None,
        });
        let Gain(factor) = row.unwrap_or(Gain::MUTE);
        if factor == 1.0 {
            return pcm;
        }
        self.scratch.clear();
        // Saturates.
        self.scratch.extend(pcm.iter().map(|&sample| (f32::from(sample) * factor) as i16));
        &self.scratch
    }

    /// Hands a packet of a leg to all who record it.
    pub(crate) fn packet(&mut self, leg: LegId, at: Duration, packet: LegPacket<'_>) {
        self.sinks(leg).for_each(|sink| sink.packet(at, packet));
    }

    /// Tells them of what the person heard of an item.
    pub(crate) fn item_heard(&mut self, leg: LegId, at: Duration, item: &EndedItem) {
        self.sinks(leg).for_each(|sink| sink.heard(at, item));
    }

    /// Tells them of a stretch that the person's side did not send.
    pub(crate) fn filled(&mut self, leg: LegId, span: &Span) {
        self.sinks(leg).for_each(|sink| sink.filled(span));
    }

    fn sinks(&mut self, leg: LegId) -> impl Iterator<Item = &mut Box<dyn PacketSink>> {
        self.rows.iter_mut().filter_map(move |(_, row)| match row {
            Row::Packets { leg: of, sink } if *of == leg => Some(sink),
            _ => None,
        })
    }
}

impl std::fmt::Debug for Routing {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_list().entries(self.rows.iter().map(|(_, row)| row)).finish()
    }
}

impl std::fmt::Debug for Row {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Samples { from, to, gain } => write!(formatter, "{from:?} -> {to:?} x {}", gain.0),
            Self::Packets { leg, .. } => write!(formatter, "{leg:?} -> packets"),
        }
    }
}
