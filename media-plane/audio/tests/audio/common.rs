//! What the tests of this crate share: a signal that behaves like speech, packets of it, a recorder, seeded numbers.

use std::f64::consts::TAU;
use voicebridge_audio::{
    SAMPLE_RATE_HZ,
    opus::{Encoder, EncoderSettings},
    uplink::{FrameSource, UplinkFrame},
};

/// Voiced syllables: harmonics of a gliding pitch under a moving formant, four syllables a second with a short closure
/// between them. Never repeats itself, so that it correlates with itself at no other offset.
pub(crate) fn speech(ms: usize) -> Vec<i16> {
    let rate = f64::from(SAMPLE_RATE_HZ);
    let mut phase = 0.0;
    (0..ms * SAMPLE_RATE_HZ as usize / 1_000)
        .map(|index| {
            let t = index as f64 / rate;
            let pitch = 130.0 + 25.0 * (TAU * 0.31 * t).sin() + 15.0 * (TAU * 0.83 * t).sin();
            phase += TAU * pitch / rate;
            let formant = 900.0 + 500.0 * (TAU * 1.7 * t).sin() + 300.0 * (TAU * 0.43 * t).sin();
            let voice: f64 = (1..=24)
                .map(|harmonic| {
                    let distance = (pitch * f64::from(harmonic) - formant) / 600.0;
                    (phase * f64::from(harmonic)).sin() * (-distance * distance).exp()
                })
                .sum();
            let syllable = (TAU * 2.0 * t).sin().abs().powf(0.6);
            (voice * syllable * 4_000.0).clamp(-32_000.0, 32_000.0) as i16
        })
        .collect()
}

/// Packets of `ptime_ms` each.
pub(crate) fn encode(pcm: &[i16], ptime_ms: usize, settings: EncoderSettings) -> Vec<Vec<u8>> {
    let mut encoder = Encoder::new(settings).unwrap();
    let mut out = [0; 1_500];
    pcm.chunks_exact(ptime_ms * 24)
        .map(|frame| {
            let bytes = encoder.encode(frame, &mut out).unwrap();
            out[..bytes].to_vec()
        })
        .collect()
}

/// Keeps what an uplink forwards, and checks what holds for every piece of it.
#[derive(Default)]
pub(crate) struct Recorder {
    pub(crate) pcm: Vec<i16>,
    pub(crate) sources: Vec<FrameSource>,
}

impl Recorder {
    pub(crate) fn take(&mut self, frame: UplinkFrame<'_>) {
        if frame.source == FrameSource::Silence {
            assert!(frame.pcm.iter().all(|&sample| sample == 0));
        }
        self.take_any(frame);
    }

    /// Silence behind a resampler is not all zeros.
    pub(crate) fn take_any(&mut self, frame: UplinkFrame<'_>) {
        assert!((1..=480).contains(&frame.pcm.len()), "{} samples", frame.pcm.len());
        self.pcm.extend_from_slice(frame.pcm);
        self.sources.extend(std::iter::repeat_n(frame.source, frame.pcm.len()));
    }

    pub(crate) fn samples(&self) -> usize {
        self.pcm.len()
    }

    pub(crate) fn of(&self, source: FrameSource) -> usize {
        self.sources.iter().filter(|&&each| each == source).count()
    }
}

/// Normalised correlation of two stretches of the same length.
pub(crate) fn correlation(a: &[i16], b: &[i16]) -> f64 {
    let dot = |x: &[i16], y: &[i16]| x.iter().zip(y).map(|(&p, &q)| f64::from(p) * f64::from(q)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt().max(1.0)
}

/// Seeded numbers (xorshift64*), the same everywhere.
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// Below `bound`; 0 for a bound of 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { (self.next() >> 16) % bound }
    }

    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// Property tests find the same cases in every run, unless PROPTEST_RNG_SEED or PROPTEST_CASES ask for others. Failing
/// ones are kept in `regressions`.
pub(crate) fn cases(cases: u32, regressions: &'static str) -> proptest::test_runner::Config {
    use proptest::test_runner::{Config, FileFailurePersistence, RngSeed};
    let mut config = Config::default();
    if config.rng_seed == RngSeed::Random {
        config.rng_seed = RngSeed::Fixed(0x766F_6963_6562);
    }
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = cases;
    }
    config.failure_persistence = Some(Box::new(FileFailurePersistence::Direct(regressions)));
    config
}
