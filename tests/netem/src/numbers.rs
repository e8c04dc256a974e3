//! Seeded numbers: SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014), the same on
//! every machine.

/// A stream of numbers.
#[derive(Clone, Debug)]
pub struct Numbers(u64);

impl Numbers {
    /// The stream of `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A stream of its own beside others of the same seed.
    #[must_use]
    pub fn apart(seed: u64, stream: u64) -> Self {
        let mut begin = Self(seed ^ stream.wrapping_mul(0xD1B5_4A32_D192_ED03));
        Self(begin.next())
    }

    /// The next number, all 64 bits even.
    #[allow(clippy::should_implement_trait)] // it never ends, so it is no iterator
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Evenly distributed in `[0, 1)`.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// True with this probability; draws one number whatever it is.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_published_algorithm() {
        // First values for seed 1234567, as in the reference implementation's test vector.
        let mut numbers = Numbers::new(1_234_567);
        assert_eq!([numbers.next(), numbers.next()], [6_457_827_717_110_365_317, 3_203_168_211_198_807_973]);
    }

    #[test]
    fn is_even_and_streams_differ() {
        let mut numbers = Numbers::new(7);
        let mean = (0..100_000).map(|_| numbers.unit()).sum::<f64>() / 100_000.0;
        assert!((mean - 0.5).abs() < 0.005, "{mean}");
        assert_ne!(Numbers::apart(7, 1).next(), Numbers::apart(7, 2).next());
        assert_eq!(Numbers::apart(7, 1).next(), Numbers::apart(7, 1).next());
    }
}
