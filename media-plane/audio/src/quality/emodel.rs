//! The wideband E-model, reduced to what a packet network changes (ITU-T G.107.1, 06/2019).
//!
//! R = Ro,WB - Is,WB - Id,WB - Ie,eff,WB. With default values and without echo (the far side cancels it) Ro,WB - Is,WB is
//! 129, and Id,WB is the part of absolute delay.

use crate::codec::Codec;

/// R of a wideband connection without any impairment.
pub const MAX_RATING: f32 = 129.0;
/// R of the narrow-band scale at its best (G.107), which is what undisturbed G.711 has on the wideband scale too.
const NARROW_BAND_RATING: f32 = 93.2;
/// G.107.1, section 7.5: what Ie,eff,WB tends to when everything is lost.
const ALL_LOST: f32 = 95.0;

/// What a codec costs, and how well it bears loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Impairment {
    /// Ie,WB, points of R.
    pub(super) base: f32,
    /// Bpl: percent of loss at which half of what is left is gone.
    robustness: f32,
}

/// Ie,WB of Opus in wideband with variable bit rate, by kbit/s. To 13 kbit/s: measured by M. Alahmadi (2021), with the
/// `Opus_emodel` coefficients published beside it. Above: estimate, the same curve flattening towards what the best
/// wideband codecs have.
const OPUS: [(f32, f32); 7] =
    [(11.0, 28.4), (12.0, 23.3), (13.0, 20.0), (16.0, 14.0), (20.0, 10.0), (24.0, 8.0), (32.0, 6.0)];
/// Bpl of the same source at 13 kbit/s for bursty loss, which is what networks have. Estimate above.
const OPUS_ROBUSTNESS: f32 = 16.9;
/// Bpl of G.711 with concealment after its appendix I (ITU-T G.113, appendix I). For our concealment an estimate.
const G711_ROBUSTNESS: f32 = 25.1;

impl Impairment {
    pub(super) fn of(codec: Codec, bitrate_bps: u32) -> Self {
        match codec {
            Codec::Opus => Self { base: opus(bitrate_bps as f32 / 1_000.0), robustness: OPUS_ROBUSTNESS },
            Codec::G711(_) => Self { base: MAX_RATING - NARROW_BAND_RATING, robustness: G711_ROBUSTNESS },
        }
    }

    /// Ie,eff,WB with so many percent of audio missing, at random (BurstR = 1).
    pub(super) fn with_loss(self, percent: f32) -> f32 {
        self.base + (ALL_LOST - self.base) * percent / (percent + self.robustness)
    }
}

/// Between the points in a straight line, beyond them the nearest.
fn opus(kbps: f32) -> f32 {
    let next = OPUS.partition_point(|&(at, _)| at < kbps);
    match next {
        0 => OPUS[0].1,
        _ if next == OPUS.len() => OPUS[next - 1].1,
        _ => {
            let ((from, high), (to, low)) = (OPUS[next - 1], OPUS[next]);
            high + (low - high) * (kbps - from) / (to - from)
        }
    }
}

/// Idd: points of R for a one-way delay (G.107, equation 7-28, which G.107.1 takes over).
pub(super) fn delay_impairment(delay_ms: f32) -> f32 {
    if delay_ms <= 100.0 {
        return 0.0;
    }
    let x = (delay_ms / 100.0).log2();
    let root = |base: f32| (1.0 + base.powi(6)).powf(1.0 / 6.0);
    25.0 * (root(x) - 3.0 * root(x / 3.0) + 2.0)
}

/// Mean opinion score of a rating of the wideband scale (G.107.1, annex A): 1 to 4.5.
#[must_use]
pub fn mos(rating: f32) -> f32 {
    let narrow = rating / (MAX_RATING / 100.0);
    if narrow <= 0.0 {
        1.0
    } else if narrow >= 100.0 {
        4.5
    } else {
        (1.0 + 0.035 * narrow + narrow * (narrow - 60.0) * (100.0 - narrow) * 7e-6).max(1.0)
    }
}
