//! Variation of the delay from packet to packet, on top of the constant part: never negative.

use crate::Numbers;
use std::time::Duration;

/// How delays are distributed. Packets are drawn for independently; those drawn to arrive before earlier ones overtake
/// them, unless [`Jitter::keeps_order`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distribution {
    /// Evenly between zero and the spread: as `tc netem delay` without a distribution, shifted so that the least is zero.
    Uniform,
    /// Exponential, its 95th percentile at the spread and cut off at twice the spread: most packets are hardly late, a
    /// few very much, as behind a queue that others fill now and then.
    Exponential,
}

/// The variable part of the delay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Jitter {
    /// See [`Distribution`]; zero is none.
    pub spread: Duration,
    /// The shape.
    pub distribution: Distribution,
    /// A packet never arrives before one sent earlier, as through a single queue: it arrives with it.
    pub keeps_order: bool,
}

impl Jitter {
    /// None.
    pub const NONE: Self = Self::uniform(Duration::ZERO);

    /// Even between zero and `spread`, overtaking allowed.
    #[must_use]
    pub const fn uniform(spread: Duration) -> Self {
        Self { spread, distribution: Distribution::Uniform, keeps_order: false }
    }

    /// The same without overtaking.
    #[must_use]
    pub const fn in_order(self) -> Self {
        Self { keeps_order: true, ..self }
    }

    /// For the next packet. Draws one number.
    pub(crate) fn draw(&self, numbers: &mut Numbers) -> Duration {
        let unit = numbers.unit();
        let share = match self.distribution {
            Distribution::Uniform => unit,
            // P(x > 1) = 1/20: the rate is ln 20.
            Distribution::Exponential => (-(1.0 - unit).ln() / 20_f64.ln()).min(2.0),
        };
        self.spread.mul_f64(share)
    }
}
