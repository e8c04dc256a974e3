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

#[derive(Debug, Default)]
pub(super) struct Spans {
    closed: VecDeque<Span>,
    open: Option<Span>,
    undecided: Option<(u64, u64)>,
    pub(super) missing: u64,
    pub(super) dropped: u64,
}

impl Spans {
    /// Audio of this kind follows `position` samples.
    pub(super) fn add(&mut self, position: u64, samples: u64, kind: SpanKind) {
        if samples == 0 {
            return;
        }
        if kind == SpanKind::Missing {
            self.missing += samples;
        }
        match &mut self.open {
            Some(open) if open.kind == kind && open.start_samples + open.samples == position => open.samples += samples,
            _ => {
                self.close();
                self.open = Some(Span { start_samples: position, samples, kind });
            }
        }
    }

    /// Silence follows of which only the next packet tells why.
    pub(super) fn add_undecided(&mut self, position: u64, samples: u64) {
        if samples > 0 {
            self.close();
            self.undecided.get_or_insert((position, 0)).1 += samples;
        }
    }

    /// Now it is known why.
    pub(super) fn decide(&mut self, kind: SpanKind) {
        if let Some((position, samples)) = self.undecided.take() {
            self.add(position, samples, kind);
        }
    }

    /// Audio as it was sent follows.
    pub(super) fn close(&mut self) {
        let Some(span) = self.open.take() else { return };
        if self.closed.len() == MAX_SPANS {
            self.closed.pop_front();
            self.dropped += 1;
        }
        self.closed.push_back(span);
    }

    pub(super) fn take(&mut self) -> Option<Span> {
        self.closed.pop_front()
    }
}
