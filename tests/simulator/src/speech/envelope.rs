//! Energy envelopes: how loud a recording is over time, in all and in four bands.
//!
//! A hop is 5 ms; each value covers about 25 ms around it, so that two recordings which differ by less than a
//! hop still agree. The plain envelope is the RMS amplitude. The bands are compressed (square root), so that
//! quiet consonants weigh something beside loud vowels.

/// Time between two values, milliseconds.
pub(super) const HOP_MS: usize = 5;
const HOP_SAMPLES: usize = HOP_MS * super::SAMPLES_PER_MS;

/// Bands, Hz. They end well below the 8 kHz of wideband speech, which narrow codecs and resamplers leave alone.
const BANDS_HZ: [(f32, f32); BANDS] = [(150.0, 550.0), (550.0, 1_200.0), (1_200.0, 2_400.0), (2_400.0, 5_000.0)];
pub(super) const BANDS: usize = 4;

/// Weights of the hops around a value.
const SMOOTHING: [f32; 5] = [1.0, 4.0, 6.0, 4.0, 1.0];

/// How loud a recording is over time.
#[derive(Clone, Debug)]
pub(super) struct Envelope {
    /// RMS amplitude of the whole signal per hop.
    pub(super) plain: Vec<f32>,
    /// Compressed amplitude of each band per hop.
    pub(super) bands: [Vec<f32>; BANDS],
}

impl Envelope {
    pub(super) fn of(pcm: &[i16]) -> Self {
        let plain =
            smooth(&hop_power(pcm.iter().map(|&sample| f32::from(sample)))).into_iter().map(f32::sqrt).collect();
        let bands = BANDS_HZ.map(|(low_hz, high_hz)| {
            let mut filter = BandPass::new(low_hz, high_hz);
            let filtered = pcm.iter().map(|&sample| filter.process(f32::from(sample)));
            smooth(&hop_power(filtered)).into_iter().map(|power| power.sqrt().sqrt()).collect()
        });
        Self { plain, bands }
    }

    /// Length in hops.
    pub(super) fn len(&self) -> usize {
        self.plain.len()
    }

    /// The hops of `range`; silence where it leaves the recording.
    pub(super) fn slice(&self, range: std::ops::Range<i64>) -> Self {
        let cut = |values: &[f32]| {
            let at = |hop: i64| usize::try_from(hop).ok().and_then(|hop| values.get(hop)).copied();
            range.clone().map(|hop| at(hop).unwrap_or(0.0)).collect()
        };
        Self { plain: cut(&self.plain), bands: self.bands.each_ref().map(|band| cut(band)) }
    }

    /// Every `factor`th value of what the mean over `factor` hops makes of it, for a coarse search.
    pub(super) fn decimate(&self, factor: usize) -> Self {
        let coarse = |values: &[f32]| {
            values.chunks(factor).map(|chunk| chunk.iter().sum::<f32>() / chunk.len() as f32).collect()
        };
        Self { plain: coarse(&self.plain), bands: self.bands.each_ref().map(|band| coarse(band)) }
    }
}

fn hop_power(samples: impl Iterator<Item = f32>) -> Vec<f32> {
    let (mut hops, mut sum, mut count) = (Vec::new(), 0.0_f32, 0_usize);
    for sample in samples {
        sum += sample * sample;
        count += 1;
        if count == HOP_SAMPLES {
            hops.push(sum / count as f32);
            (sum, count) = (0.0, 0);
        }
    }
    if count > 0 {
        hops.push(sum / HOP_SAMPLES as f32);
    }
    hops
}

fn smooth(hops: &[f32]) -> Vec<f32> {
    let reach = SMOOTHING.len() / 2;
    let total: f32 = SMOOTHING.iter().sum();
    (0..hops.len())
        .map(|centre| {
            let taps = SMOOTHING.iter().enumerate();
            let at =
                |tap: usize| (centre + tap).checked_sub(reach).and_then(|hop| hops.get(hop)).copied().unwrap_or(0.0);
            taps.map(|(tap, weight)| weight * at(tap)).sum::<f32>() / total
        })
        .collect()
}

/// A second order high-pass and a second order low-pass in series (Butterworth, bilinear transform).
struct BandPass {
    stages: [Biquad; 2],
}

impl BandPass {
    fn new(low_hz: f32, high_hz: f32) -> Self {
        Self { stages: [Biquad::high_pass(low_hz), Biquad::low_pass(high_hz)] }
    }

    fn process(&mut self, sample: f32) -> f32 {
        self.stages.iter_mut().fold(sample, |sample, stage| stage.process(sample))
    }
}

#[derive(Default)]
struct Biquad {
    b: [f32; 3],
    a: [f32; 2],
    state: [f32; 2],
}

impl Biquad {
    fn low_pass(cutoff_hz: f32) -> Self {
        let (cos, alpha) = Self::angle(cutoff_hz);
        Self::normalised([(1.0 - cos) / 2.0, 1.0 - cos, (1.0 - cos) / 2.0], cos, alpha)
    }

    fn high_pass(cutoff_hz: f32) -> Self {
        let (cos, alpha) = Self::angle(cutoff_hz);
        Self::normalised([f32::midpoint(1.0, cos), -(1.0 + cos), f32::midpoint(1.0, cos)], cos, alpha)
    }

    fn angle(cutoff_hz: f32) -> (f32, f32) {
        let omega = std::f32::consts::TAU * cutoff_hz / super::SAMPLE_RATE_HZ as f32;
        (omega.cos(), omega.sin() / std::f32::consts::SQRT_2)
    }

    fn normalised(b: [f32; 3], cos: f32, alpha: f32) -> Self {
        let a0 = 1.0 + alpha;
        Self { b: b.map(|b| b / a0), a: [-2.0 * cos / a0, (1.0 - alpha) / a0], state: [0.0; 2] }
    }

    /// Transposed direct form II.
    fn process(&mut self, input: f32) -> f32 {
        let output = self.b[0] * input + self.state[0];
        self.state[0] = self.b[1] * input - self.a[0] * output + self.state[1];
        self.state[1] = self.b[2] * input - self.a[1] * output;
        output
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(frequency_hz: f32, samples: usize) -> Vec<i16> {
        let step = std::f32::consts::TAU * frequency_hz / super::super::SAMPLE_RATE_HZ as f32;
        (0..samples).map(|sample| (8_000.0 * (step * sample as f32).sin()) as i16).collect()
    }

    #[test]
    fn a_tone_is_loudest_in_its_own_band() {
        for (band, frequency_hz) in [300.0, 800.0, 1_700.0, 3_500.0].into_iter().enumerate() {
            let envelope = Envelope::of(&tone(frequency_hz, 24_000));
            let loudness = envelope.bands.each_ref().map(|band| band.iter().sum::<f32>());
            let loudest = (0..BANDS).max_by(|a, b| loudness[*a].total_cmp(&loudness[*b]));
            assert_eq!(loudest, Some(band), "{frequency_hz} Hz: {loudness:?}");
        }
    }

    #[test]
    fn the_plain_envelope_is_the_rms_amplitude() {
        let envelope = Envelope::of(&tone(1_000.0, 24_000));
        assert_eq!(envelope.len(), 200);
        let middle = envelope.plain[100];
        assert!((middle - 8_000.0 / std::f32::consts::SQRT_2).abs() < 60.0, "{middle}");
    }

    #[test]
    fn a_slice_outside_the_recording_is_silence() {
        let envelope = Envelope::of(&tone(1_000.0, 2_400));
        let slice = envelope.slice(-2..22);
        assert_eq!((slice.len(), slice.plain[0], slice.plain[23]), (24, 0.0, 0.0));
        assert!(slice.plain[5] > 1_000.0);
    }
}
