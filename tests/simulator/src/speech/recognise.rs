//! Which fixture is in a recording.
//!
//! Every fixture is laid over the recording at every lag; the one whose bands agree best wins. When no whole
//! fixture fits, beginnings are tried, because an interrupted reply was heard only up to somewhere.

use super::{
    SAMPLES_PER_MS,
    correlate::{Fit, Searchable},
    envelope::{Envelope, HOP_MS},
    fixture::{Fixture, fixtures},
    segment::{Segment, segments},
};

/// Below this the best fixture is a coincidence and nothing was recognised.
const RECOGNISED: f32 = 0.6;
/// From here on a whole fixture is certain, and beginnings are not tried.
const CERTAIN: f32 = 0.85;
/// A beginning shorter than this fits too much by chance, hops.
const SHORTEST_BEGINNING: usize = 500 / HOP_MS;
/// How far a fixture may reach beyond the ends of a recording, hops: its quiet edges may have been cut.
const MARGIN: usize = 200 / HOP_MS;
/// What remains of a segment on either side of a fixture is searched again when it is longer than this.
const REST_SAMPLES: usize = 600 * SAMPLES_PER_MS;

/// A fixture found in a recording.
#[derive(Clone, Debug, PartialEq)]
pub struct Recognised {
    /// Which.
    pub name: String,
    /// Correlation of the plain envelopes, -1 to 1. Intact speech through a codec has 0.95 and more.
    pub correlation: f32,
    /// Mean correlation of the envelopes of four bands, -1 to 1; decides which fixture it is.
    pub score: f32,
    /// Where its first sample is in the recording, milliseconds; negative when it was cut off.
    pub start_ms: i64,
    /// Where its last sample is in the recording, milliseconds.
    pub end_ms: i64,
    /// How much of it, from its beginning, was looked for: 1 is all.
    pub portion: f32,
}

/// The fixture in a recording, or nothing.
#[must_use]
pub fn recognise(pcm: &[i16]) -> Option<Recognised> {
    recognise_among(pcm, fixtures())
}

/// As [`recognise`], among fixtures of one's own choice.
#[must_use]
pub fn recognise_among(pcm: &[i16], among: &[Fixture]) -> Option<Recognised> {
    let envelope = Envelope::of(pcm);
    let whole = rank_envelope(&envelope, among).into_iter().next();
    if whole.as_ref().is_some_and(|best| best.score >= CERTAIN) {
        return whole;
    }
    let beginning = beginning(&envelope, among).filter(|best| best.score >= CERTAIN);
    beginning.or(whole).filter(|best| best.score >= RECOGNISED)
}

/// All fixtures by how well they fit, the best first.
#[must_use]
pub fn rank(pcm: &[i16], among: &[Fixture]) -> Vec<Recognised> {
    rank_envelope(&Envelope::of(pcm), among)
}

/// Every fixture in a recording with pauses, in order.
#[must_use]
pub fn recognise_all(pcm: &[i16]) -> Vec<Recognised> {
    let mut found = Vec::new();
    let mut open: Vec<Segment> = segments(pcm).into_iter().rev().collect();
    while let Some(segment) = open.pop() {
        let Some(mut best) = recognise(&pcm[segment.start..segment.end]) else { continue };
        best.start_ms += segment.start_ms() as i64;
        best.end_ms += segment.start_ms() as i64;
        // Utterances less than a pause apart came as one segment: what the first find left is searched again.
        let sample = |ms: i64| (usize::try_from(ms).unwrap_or(0) * SAMPLES_PER_MS).clamp(segment.start, segment.end);
        let before = Segment { start: segment.start, end: sample(best.start_ms) };
        let after = Segment { start: sample(best.end_ms), end: segment.end };
        open.extend([after, before].into_iter().filter(|rest| rest.end - rest.start > REST_SAMPLES));
        found.push(best);
    }
    found.sort_by_key(|recognised| recognised.start_ms);
    found
}

fn rank_envelope(envelope: &Envelope, among: &[Fixture]) -> Vec<Recognised> {
    let recording = Searchable::new(envelope);
    let fit = |fixture: &Fixture| recording.best_fit(&Searchable::new(fixture.envelope()), MARGIN);
    let mut ranked: Vec<_> =
        among.iter().map(|fixture| describe(fixture, fit(fixture), fixture.envelope().len())).collect();
    ranked.sort_by(|a, b| b.score.total_cmp(&a.score));
    ranked
}

/// The fixture whose beginning is as long as the recording and fits it best.
fn beginning(envelope: &Envelope, among: &[Fixture]) -> Option<Recognised> {
    let heard = envelope.len();
    if heard < SHORTEST_BEGINNING {
        return None;
    }
    let recording = Searchable::new(envelope);
    let longer = among.iter().filter(|fixture| fixture.envelope().len() > heard);
    let fits = longer.map(|fixture| {
        let cut = fixture.envelope().slice(0..heard as i64);
        describe(fixture, recording.best_fit(&Searchable::new(&cut), MARGIN), heard)
    });
    fits.max_by(|a, b| a.score.total_cmp(&b.score))
}

fn describe(fixture: &Fixture, fit: Fit, hops: usize) -> Recognised {
    let start_ms = fit.at * HOP_MS as i64;
    Recognised {
        name: fixture.name.clone(),
        correlation: fit.plain,
        score: fit.bands,
        start_ms,
        end_ms: start_ms + (hops * HOP_MS) as i64,
        portion: hops as f32 / fixture.envelope().len() as f32,
    }
}

#[cfg(test)]
#[path = "recognise_tests.rs"]
mod tests;
