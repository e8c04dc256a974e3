//! Which stretches of the audio forwarded are not what the sender sent, for transcripts, recordings and quality.
//!
//! Silence made by the wall clock is undecided until the next packet says whether the sender was quiet or its audio was
//! lost or late.

use std::collections::VecDeque;

/// Spans kept until they are taken; the oldest go first.
pub const MAX_SPANS: usize = 256;

/// What a stretch of audio is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// Made up from what came before.
    Concealed,
    /// Silence in place of audio that was lost, or came too late.
    Missing,
    /// Silence because the sender sent nothing: DTX, mute.
    Quiet,
}

/// A stretch of the audio forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Samples forwarded before it, at 24 kHz.
    pub start_samples: u64,
    /// Its length.
    pub samples: u64,
    /// What it is.
    pub kind: SpanKind,
}

#[derive(Debug)]
pub(super) struct Spans {
    closed: VecDeque<Span>,
    open: Option<Span>,
    undecided: Option<(u64, u64)>,
    /// Made up by the wall clock since the last packet: perhaps in place of nothing.
    perhaps_missing: u64,
    /// Samples that stood for audio the sender sent.
    pub(super) missing: u64,
}

impl Default for Spans {
    /// With room for all it ever keeps.
    fn default() -> Self {
        Self { closed: VecDeque::with_capacity(MAX_SPANS), open: None, undecided: None, perhaps_missing: 0, missing: 0 }
    }
}

impl Spans {
    /// Audio of this kind follows `position` samples.
    pub(super) fn add(&mut self, position: u64, samples: u64, kind: SpanKind) {
        if kind != SpanKind::Quiet {
            self.missing += samples;
        }
        self.extend(position, samples, kind);
    }

    /// Concealment by the wall clock follows, and after it silence of which only the next packet tells why.
    pub(super) fn add_undecided(&mut self, position: u64, concealed: u64, silent: u64) {
        self.extend(position, concealed, SpanKind::Concealed);
        self.perhaps_missing += concealed;
        if silent > 0 {
            self.close();
            self.undecided.get_or_insert((position + concealed, 0)).1 += silent;
        }
    }

    fn extend(&mut self, position: u64, samples: u64, kind: SpanKind) {
        if samples == 0 {
            return;
        }
        match &mut self.open {
            Some(open) if open.kind == kind && open.start_samples + open.samples == position => open.samples += samples,
            _ => {
                self.close();
                self.open = Some(Span { start_samples: position, samples, kind });
            }
        }
    }

    /// Now it is known why.
    pub(super) fn decide(&mut self, kind: SpanKind) {
        let concealed = std::mem::take(&mut self.perhaps_missing);
        self.missing += if kind == SpanKind::Quiet { 0 } else { concealed };
        if let Some((position, samples)) = self.undecided.take() {
            self.add(position, samples, kind);
        }
    }

    /// Audio as it was sent follows.
    pub(super) fn close(&mut self) {
        let Some(span) = self.open.take() else { return };
        if self.closed.len() == MAX_SPANS {
            self.closed.pop_front();
        }
        self.closed.push_back(span);
    }

    pub(super) fn take(&mut self) -> Option<Span> {
        self.closed.pop_front()
    }
}
