//! Pearson's correlation of a short envelope with every stretch of a longer one.
//!
//! The mean is removed and the level divided out, so neither a constant gain nor a noise floor matters.

use super::envelope::{BANDS, Envelope};

/// A coarse search looks at one value in four (20 ms), the fine one around its winner at every hop.
const COARSE: usize = 4;

/// How well a template fits at its best place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fit {
    /// Where the template begins in the recording, hops; negative when it begins before it.
    pub(super) at: i64,
    /// Mean correlation of the bands, -1 to 1: tells fixtures apart.
    pub(super) bands: f32,
    /// Correlation of the plain envelope, -1 to 1: how intact the speech is.
    pub(super) plain: f32,
}

/// An envelope at both resolutions, ready to be searched.
pub(super) struct Searchable<'a> {
    fine: &'a Envelope,
    coarse: Envelope,
}

impl<'a> Searchable<'a> {
    pub(super) fn new(fine: &'a Envelope) -> Self {
        Self { fine, coarse: fine.decimate(COARSE) }
    }

    /// Where `template` fits best, if it may reach `margin` hops beyond either end of the recording.
    pub(super) fn best_fit(&self, template: &Searchable<'_>, margin: usize) -> Fit {
        let margin_coarse = margin.div_ceil(COARSE) as i64;
        let last = (self.coarse.len() as i64 - template.coarse.len() as i64).max(0) + margin_coarse;
        let (coarse_at, _) = best(-margin_coarse..=last, |at| band_score(&self.coarse, &template.coarse, at));
        let centre = coarse_at * COARSE as i64;
        let reach = COARSE as i64;
        let (at, bands) = best(centre - reach..=centre + reach, |at| band_score(self.fine, template.fine, at));
        let plain = pearson(&self.fine.plain, &template.fine.plain, at);
        Fit { at, bands, plain }
    }
}

fn best(lags: impl Iterator<Item = i64>, score: impl Fn(i64) -> f32) -> (i64, f32) {
    lags.map(|at| (at, score(at))).fold((0, -1.0), |best, next| if next.1 > best.1 { next } else { best })
}

fn band_score(recording: &Envelope, template: &Envelope, at: i64) -> f32 {
    let bands = recording.bands.iter().zip(&template.bands);
    bands.map(|(recording, template)| pearson(recording, template, at)).sum::<f32>() / BANDS as f32
}

/// Correlation of `template` with as much of `recording` from `at` on; outside the recording is silence.
/// 0 when either does not vary.
fn pearson(recording: &[f32], template: &[f32], at: i64) -> f32 {
    let (from, to) = (at.max(0) as usize, (at + template.len() as i64).clamp(0, recording.len() as i64) as usize);
    let heard = recording.get(from..to).unwrap_or_default();
    let skipped = (from as i64 - at) as usize;
    let (mut sum_x, mut sum_xx, mut sum_xy) = (0.0_f32, 0.0_f32, 0.0_f32);
    for (x, y) in heard.iter().zip(template.get(skipped..).unwrap_or_default()) {
        sum_x += x;
        sum_xx += x * x;
        sum_xy += x * y;
    }
    let (sum_y, sum_yy) = template.iter().fold((0.0_f32, 0.0_f32), |(sum, squares), y| (sum + y, squares + y * y));
    let count = template.len() as f32;
    let covariance = count * sum_xy - sum_x * sum_y;
    let (variance_x, variance_y) = (count * sum_xx - sum_x * sum_x, count * sum_yy - sum_y * sum_y);
    if variance_x <= f32::EPSILON || variance_y <= f32::EPSILON {
        return 0.0;
    }
    covariance / (variance_x.sqrt() * variance_y.sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn correlation_ignores_level_and_offset() {
        let template = [1.0, 3.0, 2.0, 5.0, 1.0];
        let recording: Vec<f32> = template.iter().map(|value| 7.0 * value + 11.0).collect();
        assert!((pearson(&recording, &template, 0) - 1.0).abs() < 1e-5);
    }

    #[test]
    fn correlation_finds_the_opposite_and_the_unrelated() {
        let template = [1.0, 2.0, 3.0, 4.0];
        assert!((pearson(&[4.0, 3.0, 2.0, 1.0], &template, 0) + 1.0).abs() < 1e-5);
        assert_eq!(pearson(&[2.0; 4], &template, 0), 0.0);
        assert_eq!(pearson(&[1.0, 2.0], &template, 9), 0.0);
        assert_eq!(pearson(&[1.0, 2.0], &template, -9), 0.0);
    }

    #[test]
    fn a_template_may_begin_before_the_recording() {
        let template = [0.0, 0.0, 1.0, 5.0, 2.0];
        assert!((pearson(&[1.0, 5.0, 2.0], &template, -2) - 1.0).abs() < 1e-5);
    }
}
