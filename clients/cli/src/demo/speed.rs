//! How fast it was: setting up, keeping the pace, and the way from mouth to ear.

use std::time::Duration;

use voicebridge_proto::types::v1::Stage;
use voicebridge_simulator::{
    delay,
    meta::{CallRecord, Moment},
};

use super::evidence::Evidence;

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
    /// From the caller's packet leaving its socket to the packet with that sound in it coming there, through an AI that
    /// echoes.
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
            mouth_to_ear: echo.and_then(|echo| Spread::of(delay::mouth_to_ear(echo).into_iter().map(ms).collect())),
        }
    }
}

pub(crate) fn longest_gap(record: &CallRecord) -> Option<Duration> {
    record.gaps_over(Duration::ZERO).iter().map(|gap| gap.length).max()
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
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
}
