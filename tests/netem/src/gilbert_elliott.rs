//! Loss in bursts: the Gilbert-Elliott model (Gilbert 1960, Elliott 1963), as in `tc netem loss gemodel`: a chain of two
//! states, each with its own loss.

use crate::{Numbers, ProfileError};

/// The chain. It begins in the good state.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GilbertElliott {
    /// Probability per packet of going from good to bad.
    pub worsen: f64,
    /// Probability per packet of going from bad to good.
    pub recover: f64,
    /// Loss while good.
    pub good_loss: f64,
    /// Loss while bad.
    pub bad_loss: f64,
}

impl GilbertElliott {
    /// The simple Gilbert model: nothing is lost while good, everything while bad; `loss` overall, in bursts of
    /// `mean_burst` packets on average, geometrically distributed.
    ///
    /// # Errors
    /// [`ProfileError::Probability`] for a loss outside 0 to below 1, [`ProfileError::Burst`] for bursts shorter than a
    /// packet or so short that so much cannot be lost in them.
    pub fn bursts(loss: f64, mean_burst: f64) -> Result<Self, ProfileError> {
        if !(0.0..1.0).contains(&loss) {
            return Err(ProfileError::Probability { name: "loss" });
        }
        if !mean_burst.is_finite() || mean_burst < 1.0 {
            return Err(ProfileError::Burst);
        }
        let recover = 1.0 / mean_burst;
        // In balance: worsen * (1 - loss) = recover * loss.
        let worsen = recover * loss / (1.0 - loss);
        if worsen > 1.0 {
            return Err(ProfileError::Burst);
        }
        Ok(Self { worsen, recover, good_loss: 0.0, bad_loss: 1.0 })
    }

    /// Loss in the long run.
    #[must_use]
    pub fn mean_loss(&self) -> f64 {
        let moves = self.worsen + self.recover;
        if moves == 0.0 {
            return self.good_loss;
        }
        (self.worsen * self.bad_loss + self.recover * self.good_loss) / moves
    }

    pub(crate) fn check(&self) -> Result<(), ProfileError> {
        for (name, value) in [
            ("worsen", self.worsen),
            ("recover", self.recover),
            ("good_loss", self.good_loss),
            ("bad_loss", self.bad_loss),
        ] {
            crate::profile::probability(name, value)?;
        }
        Ok(())
    }

    /// The next packet: whether it is lost. Draws two numbers.
    pub(crate) fn loses(&self, bad: &mut bool, numbers: &mut Numbers) -> bool {
        *bad = if *bad { !numbers.chance(self.recover) } else { numbers.chance(self.worsen) };
        numbers.chance(if *bad { self.bad_loss } else { self.good_loss })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bursts_have_the_loss_asked_for() {
        let check = |loss: f64, burst: f64| {
            let model = GilbertElliott::bursts(loss, burst).expect("a model");
            assert!((model.mean_loss() - loss).abs() < 1e-12, "{loss} {burst}");
        };
        check(0.0, 1.0);
        check(0.1, 4.0);
        check(0.5, 2.0);
        for (loss, burst) in [(1.0, 3.0), (-0.1, 3.0), (f64::NAN, 3.0), (0.1, 0.9), (0.1, f64::INFINITY), (0.9, 1.0)] {
            assert!(GilbertElliott::bursts(loss, burst).is_err(), "{loss} {burst}");
        }
    }
}
