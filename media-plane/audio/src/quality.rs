//! How good a stretch of a call sounded, and what spoilt it most: a mean opinion score by the wideband E-model (ITU-T
//! G.107.1) for each direction, and the dominant cause in words.
//!
//! Flow: [`assess`] takes what one direction measured over a period (five seconds, or the whole call) and gives rating,
//! score and cause; [`dominant`] picks the cause to name for both directions.
//!
//! The E-model plans networks; on a live call its score is an estimate. What it does not know (an AI that answers late) is
//! a cause, weighed beside the others, but does not lower the score.
//!
//! Not here: collecting the counters, periods, events.

mod cause;
mod emodel;

pub use cause::Cause;
pub use emodel::{MAX_RATING, mos};

use crate::{codec::Codec, resample};
use emodel::{Impairment, delay_impairment};

/// Which way audio went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the caller, by the relay, to us and the AI.
    Uplink,
    /// From the AI and us, by the relay, to the caller.
    Downlink,
}

/// What one direction measured over a period.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// Which way.
    pub direction: Direction,
    /// The codec on the wire.
    pub codec: Codec,
    /// Its bit rate, bit/s; of no meaning for G.711.
    pub bitrate_bps: u32,
    /// Whether its packets carry in-band FEC.
    pub fec: bool,
    /// Length of the period, milliseconds.
    pub period_ms: u64,
    /// Packets lost on the network: own sequence numbers upwards, receiver reports downwards. Percent.
    pub loss_percent: f32,
    /// Audio of the period that the listener did not get: concealed, or silent where something was lost or late,
    /// milliseconds. Known upwards; downwards only the far side knows.
    pub missing_ms: Option<u64>,
    /// Interarrival jitter, milliseconds.
    pub jitter_ms: u32,
    /// Between us and the relay, milliseconds. `None` before the first report.
    pub round_trip_ms: Option<u32>,
    /// Audio held back by us: the uplink's wait, playout's prefill, milliseconds.
    pub buffer_ms: u32,
    /// By how much the AI's slowest answer came later than an answer should, milliseconds.
    pub provider_late_ms: u32,
    /// Times playout ran dry within a reply.
    pub underruns: u32,
    /// Silence within replies because of it, milliseconds.
    pub underrun_ms: u64,
}

impl Measured {
    /// A period in which nothing went wrong.
    #[must_use]
    pub const fn clean(direction: Direction, codec: Codec, period_ms: u64) -> Self {
        Self {
            direction,
            codec,
            bitrate_bps: 20_000,
            fec: false,
            period_ms,
            loss_percent: 0.0,
            missing_ms: None,
            jitter_ms: 0,
            round_trip_ms: None,
            buffer_ms: 0,
            provider_late_ms: 0,
            underruns: 0,
            underrun_ms: 0,
        }
    }
}

/// How good it was.
#[derive(Clone, Debug, PartialEq)]
pub struct Assessment {
    /// Transmission rating R of the wideband scale, 0 to 129.
    pub rating: f32,
    /// Mean opinion score, 1 to 4.5.
    pub mos: f32,
    /// One-way delay the rating is for, without the network beyond the relay, milliseconds.
    pub delay_ms: f32,
    /// What spoilt it most; `None` if nothing is worth naming.
    pub cause: Option<Cause>,
    /// By how many points of R.
    pub cause_points: f32,
}

/// Less than this many points of R are not worth naming: about a tenth of the score.
const WORTH_NAMING_POINTS: f32 = 4.0;
/// Part of a network's loss that in-band FEC leaves, where only the far side knows. Estimate: bursts and the first packet
/// of silence.
const LEFT_BY_FEC: f32 = 0.35;
/// The far side holds audio back for about twice its jitter. Estimate.
const FAR_BUFFER_JITTERS: f32 = 2.0;
/// Packetisation.
const PACKET_MS: f32 = crate::FRAME_MS as f32;
/// Look-ahead of Opus in its speech mode (RFC 6716, section 2: 5 ms of SILK, 1.5 ms of resampling).
const OPUS_LOOKAHEAD_MS: f32 = 6.5;
/// An AI this late weighs nothing, and by this many points of R for every second more, up to the most. Estimate.
const LATENESS_FREE_MS: f32 = 300.0;
const LATENESS_POINTS_A_SECOND: f32 = 12.0;
const LATENESS_MOST_POINTS: f32 = 60.0;

/// Rates one direction over a period. Numbers that make no sense (not finite, negative, more audio missing than there
/// was) are taken for the nearest that does.
#[must_use]
pub fn assess(measured: &Measured) -> Assessment {
    let m = measured;
    let loss = if m.loss_percent.is_finite() { m.loss_percent.clamp(0.0, 100.0) } else { 0.0 };
    let share = |ms: u64| (ms as f32 * 100.0 / m.period_ms.max(1) as f32).min(100.0);
    let coding = Impairment::of(m.codec, m.bitrate_bps);
    // Upwards we know what could not be heard: what the loss does not explain came too late.
    let (lost, late) = match m.missing_ms {
        Some(missing) => (share(missing).min(loss), (share(missing) - loss).max(0.0)),
        None if m.fec => (loss * LEFT_BY_FEC, 0.0),
        None => (loss, 0.0),
    };
    let dry = share(m.underrun_ms);
    let missing = (lost + late + dry).min(100.0);
    let quality = coding.with_loss(missing);
    // The points that missing audio costs, by what made it be missing.
    let points_of = |part: f32| if missing > 0.0 { (quality - coding.base) * part / missing } else { 0.0 };

    let network_ms = m.round_trip_ms.unwrap_or(0) as f32 / 2.0;
    let far_ms = if m.direction == Direction::Downlink { m.jitter_ms as f32 * FAR_BUFFER_JITTERS } else { 0.0 };
    let codec_ms = if m.codec == Codec::Opus { OPUS_LOOKAHEAD_MS } else { resample::DELAY_MS as f32 };
    let delay_ms = network_ms + far_ms + codec_ms + PACKET_MS + m.buffer_ms as f32;
    let delay = delay_impairment(delay_ms);
    let delay_cause = if m.buffer_ms as f32 > network_ms + far_ms {
        Cause::HeldBack { direction: m.direction, buffer_ms: m.buffer_ms }
    } else if far_ms > network_ms {
        Cause::Jitter { direction: m.direction, jitter_ms: m.jitter_ms }
    } else {
        Cause::RoundTrip { round_trip_ms: m.round_trip_ms.unwrap_or(0) }
    };
    let lateness = (m.provider_late_ms as f32 - LATENESS_FREE_MS).max(0.0) / 1_000.0 * LATENESS_POINTS_A_SECOND;

    let candidates = [
        (points_of(lost), Cause::Loss { direction: m.direction, percent: loss }),
        (points_of(late), Cause::Jitter { direction: m.direction, jitter_ms: m.jitter_ms }),
        (points_of(dry), Cause::Underrun { times: m.underruns, silent_ms: m.underrun_ms }),
        (delay, delay_cause),
        (lateness.min(LATENESS_MOST_POINTS), Cause::ProviderLate { late_ms: m.provider_late_ms }),
    ];
    let worst =
        candidates.into_iter().max_by(|a, b| a.0.total_cmp(&b.0)).filter(|(points, _)| *points >= WORTH_NAMING_POINTS);
    let narrow = matches!(m.codec, Codec::G711(_)).then_some((coding.base, Cause::NarrowBand));
    let (cause_points, cause) = worst.or(narrow).map_or((0.0, None), |(points, cause)| (points, Some(cause)));

    let rating = (MAX_RATING - quality - delay).clamp(0.0, MAX_RATING);
    Assessment { rating, mos: mos(rating), delay_ms, cause, cause_points }
}

/// The cause to name for a call: of the direction it cost more. The band of a codec is named only if nothing else is.
#[must_use]
pub fn dominant<'q>(qualities: impl IntoIterator<Item = &'q Assessment>) -> Option<&'q Cause> {
    let weight = |quality: &Assessment| match quality.cause {
        Some(Cause::NarrowBand) | None => 0.0,
        Some(_) => quality.cause_points,
    };
    let worst =
        qualities.into_iter().filter(|quality| quality.cause.is_some()).max_by(|a, b| weight(a).total_cmp(&weight(b)));
    worst.and_then(|quality| quality.cause.as_ref())
}

#[cfg(test)]
mod tests;
