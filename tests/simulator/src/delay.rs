//! How long sound took from one socket to another, from what was recorded at both.
//!
//! Every 20 ms of what was said left one socket at a known moment. Where it lies in what was recorded behind the other is
//! found by its waveform, piece by piece, so that codecs and queues may move it as they like. It arrived with the packet
//! or message that holds its middle. So a delay is from the packet with a sound in it leaving to the packet with that
//! sound in it coming: what happens in between, the look-ahead of every codec on the way included, and not the 20 ms that
//! the sender needs to fill its packet, nor what a listener's own buffer adds.

use std::time::{Duration, Instant};

use voicebridge_audio::{FRAME_RTP_UNITS, FRAME_SAMPLES, level};

use crate::{
    ai::{Piece, ReplyRecord, SessionRecord},
    meta::CallRecord,
    speech::{SAMPLES_PER_MS, fixture, recognise_among},
};

/// What is looked for at a time: long enough to have one clear best place, short enough to notice a queue that ran dry.
const COMPARED: usize = 20 * FRAME_SAMPLES;
/// How far around where it is expected.
const REACH: usize = 25 * SAMPLES_PER_MS;
/// What is quieter tells nothing by its waveform; the recordings are at -20 dBFS.
const LOUD_DBFS: f32 = -35.0;
/// Below this it was not found. Speech through two codecs has 0.9 and more.
const FOUND: f64 = 0.7;

/// From the caller's socket through an AI that echoes to the caller's socket, for each frame the caller said.
#[must_use]
pub fn mouth_to_ear(record: &CallRecord) -> Vec<Duration> {
    let ear = Ear::of(record);
    said(record).flat_map(|(name, pcm, left)| between(name, pcm, left, &record.pcm_heard, |at| ear.came(at))).collect()
}

/// From the caller's socket to the AI's, for each frame the caller said.
#[must_use]
pub fn uplink(record: &CallRecord, session: &SessionRecord) -> Vec<Duration> {
    let ear = Passed::of(session, &session.appends.pieces);
    said(record).flat_map(|(name, pcm, left)| between(name, pcm, left, &session.pcm, |at| ear.at(at))).collect()
}

/// From the AI's socket to the caller's, for each frame of replies that were heard to their end: of those to something the
/// caller said, because a greeting is made before there is a call to play it to.
#[must_use]
pub fn downlink(session: &SessionRecord, record: &CallRecord) -> Vec<Duration> {
    let ear = Ear::of(record);
    let answers = session.replies.iter().skip(1).filter(|reply| reply.status == "completed");
    let of = |reply: &ReplyRecord| {
        let mouth = Passed::of(session, &reply.pieces);
        between(&reply.name, &reply.pcm, |at| mouth.at(at), &record.pcm_heard, |at| ear.came(at))
    };
    answers.flat_map(of).collect()
}

/// Where this much of a known recording begins in what was heard, to the sample; none if it is not there. Negative when
/// its beginning was not heard.
#[must_use]
pub fn place_of(name: &str, pcm: &[i16], heard: &[i16]) -> Option<i64> {
    let about = recognise_among(heard, std::slice::from_ref(fixture(name)?))?;
    place_around(about.start_ms, pcm, heard)
}

/// As [`place_of`], when it is known to some milliseconds.
#[must_use]
pub fn place_around(start_ms: i64, pcm: &[i16], heard: &[i16]) -> Option<i64> {
    let about = start_ms * SAMPLES_PER_MS as i64;
    let (offset, loud) = loud_pieces(pcm).next()?;
    nearest(loud, heard, about + offset as i64).map(|place| place - offset as i64)
}

/// What the caller said: its name, its sound, and when which sample of it left.
fn said(record: &CallRecord) -> impl Iterator<Item = (&str, &[i16], impl Fn(usize) -> Option<Instant>)> {
    record.spoken.iter().map(|spoken| {
        let left = |at: usize| record.sent.get(spoken.first_packet + at / FRAME_SAMPLES)?.left;
        (spoken.utterance.name(), spoken.utterance.pcm(), left)
    })
}

/// From one place to another, for each frame of a known recording: `left` and `came` say when which sample of what was
/// said and of what was `heard` passed. Frames that were not found are left out.
#[must_use]
pub fn between(
    name: &str,
    pcm: &[i16],
    left: impl Fn(usize) -> Option<Instant>,
    heard: &[i16],
    came: impl Fn(usize) -> Option<Instant>,
) -> Vec<Duration> {
    let mut delays = Vec::new();
    let Some(mut place) = place_of(name, pcm, heard) else { return delays };
    for (offset, piece) in loud_pieces(pcm) {
        let Some(found) = nearest(piece, heard, place + offset as i64) else { continue };
        place = found - offset as i64;
        for frame in (0..piece.len()).step_by(FRAME_SAMPLES) {
            let middle = offset + frame + FRAME_SAMPLES / 2;
            let came = usize::try_from(place + middle as i64).ok().and_then(&came);
            if let (Some(left), Some(came)) = (left(middle), came) {
                delays.push(came.saturating_duration_since(left));
            }
        }
    }
    delays
}

/// Whole pieces that can be found again, with where they begin.
fn loud_pieces(pcm: &[i16]) -> impl Iterator<Item = (usize, &[i16])> {
    let pieces = pcm.chunks_exact(COMPARED).enumerate().map(|(index, piece)| (index * COMPARED, piece));
    pieces.filter(|(_, piece)| level::rms_dbfs(piece) > LOUD_DBFS)
}

/// Where `piece` fits best around `about`.
fn nearest(piece: &[i16], heard: &[i16], about: i64) -> Option<i64> {
    let reach = REACH as i64;
    (about - reach..=about + reach)
        .filter_map(|place| {
            let from = usize::try_from(place).ok()?;
            Some((place, alike(piece, heard.get(from..from + piece.len())?)))
        })
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .filter(|(_, alike)| *alike >= FOUND)
        .map(|(place, _)| place)
}

/// Normalised correlation of two stretches of the same length.
fn alike(a: &[i16], b: &[i16]) -> f64 {
    let (mut ab, mut aa, mut bb) = (0, 0, 0);
    for (&a, &b) in a.iter().zip(b) {
        let (a, b) = (i64::from(a), i64::from(b));
        ab += a * b;
        aa += a * a;
        bb += b * b;
    }
    ab as f64 / (aa as f64 * bb as f64).sqrt().max(1.0)
}

/// When the packet of which stretch of the recording came to the caller.
struct Ear(Vec<Option<Instant>>);

impl Ear {
    fn of(record: &CallRecord) -> Self {
        let mut arrivals = vec![None; record.pcm_heard.len() / FRAME_SAMPLES];
        let first = record.packets.first().map_or(0, |packet| packet.timestamp);
        for packet in &record.packets {
            let index = (packet.timestamp.wrapping_sub(first) / FRAME_RTP_UNITS) as usize;
            if let Some(slot @ None) = arrivals.get_mut(index) {
                *slot = Some(packet.at);
            }
        }
        Self(arrivals)
    }

    fn came(&self, at: usize) -> Option<Instant> {
        *self.0.get(at / FRAME_SAMPLES)?
    }
}

/// When which sample passed the AI's socket.
struct Passed {
    opened: Option<Instant>,
    /// Samples up to the end of each piece, and its time.
    ends: Vec<(usize, Duration)>,
}

impl Passed {
    fn of(session: &SessionRecord, pieces: &[Piece]) -> Self {
        let ends = pieces.iter().scan(0, |end, piece| {
            *end += piece.samples;
            Some((*end, piece.at))
        });
        Self { opened: session.opened, ends: ends.collect() }
    }

    fn at(&self, sample: usize) -> Option<Instant> {
        let index = self.ends.partition_point(|(end, _)| *end <= sample);
        Some(self.opened? + self.ends.get(index)?.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_utterance_is_found_to_the_sample() {
        let said = &fixture("opening-hours").expect("a fixture").pcm;
        for lead in [0, 12_345, 48_000] {
            let mut heard = vec![0; lead];
            // At another volume, as a codec may leave it.
            heard.extend(said.iter().map(|sample| sample / 2));
            heard.resize(heard.len() + 24_000, 0);
            assert_eq!(place_of("opening-hours", said, &heard), Some(lead as i64));
        }
        assert_eq!(place_of("opening-hours", said, &vec![0; 96_000]), None);
    }

    #[test]
    fn a_delay_is_from_packet_to_packet_and_follows_a_queue_that_ran_dry() {
        let said = &fixture("opening-hours").expect("a fixture").pcm;
        let start = Instant::now();
        let frame = Duration::from_millis(20);
        // Packets as they are spoken, heard 156 samples later within their packets, each 30 ms after it left; a frame of
        // silence gets between after a second.
        let (lookahead, gap) = (156, 50 * FRAME_SAMPLES);
        let mut heard = vec![0; lookahead];
        heard.extend(&said[..gap]);
        heard.resize(heard.len() + FRAME_SAMPLES, 0);
        heard.extend(&said[gap..]);
        let left = |at: usize| Some(start + frame * (at / FRAME_SAMPLES) as u32);
        let came = |at: usize| Some(start + frame * (at / FRAME_SAMPLES) as u32 + Duration::from_millis(30));
        let delays = between("opening-hours", said, left, &heard, came);
        let of = |ms: u64| delays.iter().filter(|delay| delay.as_millis() as u64 == ms).count();
        assert!(delays.len() > 60, "{}", delays.len());
        assert_eq!(of(30) + of(50), delays.len(), "{delays:?}");
        assert!(of(30) >= 20 && of(50) >= 20, "{} before, {} after", of(30), of(50));
    }

    #[test]
    fn a_sample_passes_with_its_piece() {
        let opened = Instant::now();
        let piece = |ms: u64, samples: usize| Piece { at: Duration::from_millis(ms), samples };
        let session = SessionRecord { opened: Some(opened), ..SessionRecord::default() };
        let passed = Passed::of(&session, &[piece(5, 480), piece(25, 100), piece(30, 0), piece(40, 480)]);
        let check = |sample: usize, ms: Option<u64>| {
            assert_eq!(passed.at(sample), ms.map(|ms| opened + Duration::from_millis(ms)), "sample {sample}");
        };
        check(0, Some(5));
        check(479, Some(5));
        check(480, Some(25));
        check(580, Some(40));
        check(1_059, Some(40));
        check(1_060, None);
    }
}
