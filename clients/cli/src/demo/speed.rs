//! How fast it was: setting up, keeping the pace, and the way from mouth to ear.

use std::time::Duration;

use voicebridge_proto::types::v1::Stage;
use voicebridge_simulator::{
    meta::{CallRecord, Moment},
    speech::{SAMPLE_RATE_HZ, fixture, recognise_among},
};

use super::evidence::Evidence;

const SAMPLES_PER_MS: i64 = SAMPLE_RATE_HZ as i64 / 1_000;
const FRAME_SAMPLES: usize = SAMPLE_RATE_HZ as usize / 50;
/// RTP time of one frame, 48 kHz units.
const FRAME_UNITS: u32 = 960;
/// The recogniser finds a place to about 5 ms; the waveform is compared this far around it.
const SEARCH_MS: i64 = 20;
/// A frame quieter than this says nothing about when it arrived; the recordings are at -20 dBFS.
const LOUD_DBFS: f64 = -35.0;
/// The part of an utterance whose waveform is compared: long enough to have one clear best place.
const COMPARED_MS: usize = 600;

/// The middle and the slow end of a row of measurements, milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub(crate) struct Spread {
    pub(crate) p50_ms: f64,
    pub(crate) p95_ms: f64,
    pub(crate) max_ms: f64,
}

impl Spread {
    pub(crate) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let at = |share: f64| values.get(((values.len() as f64 * share).ceil() as usize).max(1) - 1).copied();
        Some(Self { p50_ms: at(0.5)?, p95_ms: at(0.95)?, max_ms: values.last().copied()? })
    }
}

/// What the calls of the demo measured.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Speed {
    /// From the webhook leaving Meta to the first RTP packet reaching the caller.
    pub(crate) webhook_to_first_rtp: Option<Spread>,
    /// From the webhook reaching the control plane to the SDP answer: `StartSession` and what goes before it.
    pub(crate) webhook_to_answer: Option<Spread>,
    /// The longest time between two packets of one call, over all calls, at the caller.
    pub(crate) longest_gap: Option<Spread>,
    /// The most a simulated caller itself was late: when this is large, this machine was too slow to judge by.
    pub(crate) own_delay: Option<Spread>,
    /// From the caller's packet to the packet with that sound in it, through an AI that echoes.
    pub(crate) mouth_to_ear: Option<Spread>,
}

impl Speed {
    pub(crate) fn of(calls: &[Evidence], echo: Option<&CallRecord>) -> Self {
        let over = |value: fn(&Evidence) -> Option<f64>| Spread::of(calls.iter().filter_map(value).collect());
        Self {
            webhook_to_first_rtp: over(|call| Some(ms(call.record.timeline.since_webhook(Moment::FirstRtp)?))),
            webhook_to_answer: over(|call| {
                let created = call.call.timeline.iter().find(|entry| entry.stage() == Stage::VoiceBridgeSessionCreated);
                Some(created?.elapsed_ms as f64)
            }),
            longest_gap: over(|call| longest_gap(&call.record).map(ms)),
            own_delay: over(|call| Some(ms(call.record.worst_own_delay))),
            mouth_to_ear: echo.map(mouth_to_ear).and_then(Spread::of),
        }
    }
}

pub(crate) fn longest_gap(record: &CallRecord) -> Option<Duration> {
    record.gaps_over(Duration::ZERO).iter().map(|gap| gap.length).max()
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

/// For each loud frame the caller sent, how long until the packet came that holds its sound. Milliseconds.
fn mouth_to_ear(record: &CallRecord) -> Vec<f64> {
    let Some(first) = record.packets.first() else { return Vec::new() };
    // When the packet of each frame of `pcm_heard` came.
    let mut arrivals = vec![None; record.pcm_heard.len() / FRAME_SAMPLES];
    for packet in &record.packets {
        let index = (packet.timestamp.wrapping_sub(first.timestamp) / FRAME_UNITS) as usize;
        if let Some(slot @ None) = arrivals.get_mut(index) {
            *slot = Some(packet.at);
        }
    }
    let mut delays = Vec::new();
    for spoken in &record.spoken {
        let pcm = spoken.utterance.pcm();
        let Some(place) = place_of(spoken.utterance.name(), pcm, &record.pcm_heard) else { continue };
        for (index, frame) in pcm.chunks(FRAME_SAMPLES).enumerate().filter(|(_, frame)| is_loud(frame)) {
            // The middle of the frame stands for its sound.
            let heard = place + (index * FRAME_SAMPLES + frame.len() / 2) as i64;
            let arrival = usize::try_from(heard).ok().and_then(|at| *arrivals.get(at / FRAME_SAMPLES)?);
            let sent = record.sent.get(spoken.first_packet + index).map(|packet| packet.at);
            if let (Some(arrival), Some(sent)) = (arrival, sent) {
                delays.push(arrival.saturating_duration_since(sent).as_secs_f64() * 1_000.0);
            }
        }
    }
    delays
}

/// The sample of `heard` at which the utterance begins: by envelope, then by waveform.
fn place_of(name: &str, pcm: &[i16], heard: &[i16]) -> Option<i64> {
    let found = recognise_among(heard, std::slice::from_ref(fixture(name)?))?;
    let loud = pcm.chunks(FRAME_SAMPLES).position(is_loud)? * FRAME_SAMPLES;
    let sample = &pcm[loud..(loud + COMPARED_MS * SAMPLES_PER_MS as usize).min(pcm.len())];
    let around = found.start_ms * SAMPLES_PER_MS;
    let reach = SEARCH_MS * SAMPLES_PER_MS;
    (around - reach..=around + reach)
        .filter_map(|place| {
            let from = usize::try_from(place + loud as i64).ok()?;
            Some((place, alike(sample, heard.get(from..from + sample.len())?)))
        })
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .map(|(place, _)| place)
}

/// Normalised correlation of two stretches of the same length.
fn alike(a: &[i16], b: &[i16]) -> f64 {
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (&a, &b) in a.iter().zip(b) {
        let (a, b) = (f64::from(a), f64::from(b));
        ab += a * b;
        aa += a * a;
        bb += b * b;
    }
    ab / (aa * bb).sqrt().max(1.0)
}

fn is_loud(frame: &[i16]) -> bool {
    let power = frame.iter().map(|&sample| f64::from(sample).powi(2)).sum::<f64>() / frame.len().max(1) as f64;
    10.0 * (power / 32_768_f64.powi(2)).max(1e-12).log10() > LOUD_DBFS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreads() {
        assert_eq!(Spread::of(vec![]), None);
        assert_eq!(Spread::of(vec![7.0]), Some(Spread { p50_ms: 7.0, p95_ms: 7.0, max_ms: 7.0 }));
        let hundred = (1..=100).rev().map(f64::from).collect();
        assert_eq!(Spread::of(hundred), Some(Spread { p50_ms: 50.0, p95_ms: 95.0, max_ms: 100.0 }));
    }

    #[test]
    fn an_utterance_is_found_to_the_sample() {
        let fixture = fixture("opening-hours").unwrap();
        for lead in [0, 12_345, 48_000] {
            let mut heard = vec![0; lead];
            // At another volume, as a codec may leave it.
            heard.extend(fixture.pcm.iter().map(|sample| sample / 2));
            heard.resize(heard.len() + 24_000, 0);
            assert_eq!(place_of("opening-hours", &fixture.pcm, &heard), Some(lead as i64));
        }
        assert_eq!(place_of("opening-hours", &fixture.pcm, &vec![0; 96_000]), None);
    }
}
