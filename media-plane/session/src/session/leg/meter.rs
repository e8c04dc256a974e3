//! How good the call sounds: what each direction measured over a period, rated, with the cause of what was wrong.
//!
//! Flow: counters are read at the end of every period and compared with those at its beginning; the far side's receiver
//! reports, and the time the AI took to answer, are collected in between. The whole call is rated in the same way at its
//! end.
//!
//! Does not rate: see `voicebridge_audio::quality`.

use std::time::Duration;

use voicebridge_audio::{
    FRAME_MS, Time,
    codec::Codec,
    quality::{self, Direction, Measured},
    uplink::UplinkStatistics,
};

use crate::{
    event::{DirectionQuality, Quality},
    ports::ReceiverReport,
};

/// From the end of the caller's words to the first of the answer: what people do not notice as a pause.
const ANSWER_IN: Duration = Duration::from_millis(1_000);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    active: Option<Time>,
    since: Option<Time>,
    began: Counters,
    period: Collected,
    call: Collected,
    /// The caller's words ended, and nothing of the answer has come.
    asked: Option<Time>,
}

/// What only grows.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counters {
    pub(crate) up: UplinkStatistics,
    pub(crate) underruns: u64,
    pub(crate) dry_slots: u64,
}

/// What the audio is sent with at present.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) codec: Codec,
    pub(crate) bitrate_bps: u32,
    pub(crate) is_protected: bool,
    pub(crate) prefill_ms: u32,
}

/// What was noted between.
#[derive(Clone, Copy, Debug, Default)]
struct Collected {
    reports: u32,
    /// Sum over the reports, 256ths.
    lost: u64,
    jitter_ms: u32,
    round_trip_ms: Option<u32>,
    latest_answer: Duration,
}

impl Collected {
    fn report(&mut self, report: &ReceiverReport) {
        self.reports = self.reports.saturating_add(1);
        self.lost += u64::from(report.fraction_lost);
        self.jitter_ms = self.jitter_ms.max(report.jitter_ms);
        self.round_trip_ms = report.round_trip_ms.or(self.round_trip_ms);
    }

    fn loss_percent(&self) -> f32 {
        self.lost as f32 * 100.0 / 256.0 / self.reports.max(1) as f32
    }

    fn provider_late_ms(&self) -> u32 {
        self.latest_answer.saturating_sub(ANSWER_IN).as_millis() as u32
    }
}

impl Meter {
    pub(crate) fn start(&mut self, now: Time) {
        self.active = Some(now);
        self.since = Some(now);
    }

    pub(crate) fn on_report(&mut self, report: &ReceiverReport) {
        self.period.report(report);
        self.call.report(report);
    }

    /// The caller stopped speaking.
    pub(crate) fn on_asked(&mut self, now: Time) {
        self.asked = Some(now);
    }

    /// The caller goes on: there is nothing to answer yet.
    pub(crate) fn on_asking(&mut self) {
        self.asked = None;
    }

    /// Audio of the AI came.
    pub(crate) fn on_answered(&mut self, now: Time) {
        if let Some(asked) = self.asked.take() {
            let took = now.since(asked);
            self.period.latest_answer = self.period.latest_answer.max(took);
            self.call.latest_answer = self.call.latest_answer.max(took);
        }
    }

    /// The period that ends now. `None` if audio does not flow.
    pub(crate) fn period(&mut self, now: Time, counters: Counters, terms: &Terms) -> Option<Quality> {
        let since = self.since.replace(now)?;
        let collected = std::mem::take(&mut self.period);
        let began = std::mem::replace(&mut self.began, counters);
        Some(assess(now.since(since), &began, &counters, &collected, terms))
    }

    /// The whole call. `None` if audio never flowed.
    pub(crate) fn call(&self, now: Time, counters: &Counters, terms: &Terms) -> Option<Quality> {
        let active = self.active?;
        Some(assess(now.since(active), &Counters::default(), counters, &self.call, terms))
    }
}

fn assess(period: Duration, from: &Counters, to: &Counters, collected: &Collected, terms: &Terms) -> Quality {
    let period_ms = period.as_millis() as u64;
    let bitrate_bps = terms.bitrate_bps;
    let clean = |direction| Measured { bitrate_bps, ..Measured::clean(direction, terms.codec, period_ms) };
    let lost = to.up.packets_lost.saturating_sub(from.up.packets_lost);
    let received = to.up.packets_received.saturating_sub(from.up.packets_received);
    // What was concealed is part of it.
    let missing_ms = to.up.missing_ms.saturating_sub(from.up.missing_ms);
    let uplink = Measured {
        loss_percent: lost as f32 * 100.0 / (lost + received).max(1) as f32,
        missing_ms: Some(missing_ms),
        jitter_ms: to.up.jitter_ms,
        round_trip_ms: collected.round_trip_ms,
        ..clean(Direction::Uplink)
    };
    let underruns = to.underruns.saturating_sub(from.underruns) as u32;
    let downlink = Measured {
        fec: terms.is_protected,
        loss_percent: collected.loss_percent(),
        jitter_ms: collected.jitter_ms,
        round_trip_ms: collected.round_trip_ms,
        buffer_ms: terms.prefill_ms,
        provider_late_ms: collected.provider_late_ms(),
        underruns,
        underrun_ms: to.dry_slots.saturating_sub(from.dry_slots) * FRAME_MS,
        ..clean(Direction::Downlink)
    };
    let (up, down) = (quality::assess(&uplink), quality::assess(&downlink));
    let cause = quality::dominant([&up, &down]).map(ToString::to_string).unwrap_or_default();
    let direction = |measured: &Measured, rated: &quality::Assessment| DirectionQuality {
        loss_percent: measured.loss_percent,
        jitter_ms: measured.jitter_ms,
        round_trip_ms: measured.round_trip_ms,
        missing_ms: measured.missing_ms.unwrap_or(measured.underrun_ms),
        buffer_ms: measured.buffer_ms,
        mos: rated.mos,
        cause: rated.cause.as_ref().map(ToString::to_string).unwrap_or_default(),
    };
    Quality {
        period_ms,
        uplink: direction(&uplink, &up),
        downlink: direction(&downlink, &down),
        reports: collected.reports,
        cause,
    }
}
