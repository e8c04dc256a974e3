//! Levels of a stretch of audio.
//!
//! Does not weight by frequency: plain RMS against full scale.

/// Level of digital silence, as low as 16 bits can tell.
pub const SILENCE_DBFS: f32 = -96.0;

/// RMS level in dB relative to full scale (a full-scale square wave is 0). [`SILENCE_DBFS`] when empty or all zero.
#[must_use]
pub fn rms_dbfs(pcm: &[i16]) -> f32 {
    if pcm.is_empty() {
        return SILENCE_DBFS;
    }
    let energy: u64 = pcm.iter().map(|&sample| u64::from(square(sample))).sum();
    let mean = energy as f64 / pcm.len() as f64 / f64::from(i16::MAX).powi(2);
    if mean == 0.0 { SILENCE_DBFS } else { (10.0 * mean.log10()).max(f64::from(SILENCE_DBFS)) as f32 }
}

/// In 32 bits, which hold it: several at a time.
fn square(sample: i16) -> u32 {
    i32::from(sample).pow(2).unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels() {
        let check = |pcm: &[i16], dbfs: f32| {
            assert!((rms_dbfs(pcm) - dbfs).abs() < 0.05, "{} against {dbfs}", rms_dbfs(pcm));
        };
        check(&[], SILENCE_DBFS);
        check(&[0; 480], SILENCE_DBFS);
        check(&[i16::MAX, -i16::MAX], 0.0);
        check(&[i16::MIN; 10], 0.0);
        check(&[3_277, -3_277], -20.0);
        check(&[1], -90.3);
    }
}
