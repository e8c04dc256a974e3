//! How bad one direction of a network is. Plain data, checked once.

use crate::{GilbertElliott, Jitter};
use std::time::Duration;

/// A sender's clock may be off by this much: ten times the worst quartz.
const MAX_DRIFT_PPM: i32 = 1_000;
/// Longest delay of each kind.
const MAX_DELAY: Duration = Duration::from_secs(10);

/// Which packets never arrive.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Loss {
    /// None.
    #[default]
    None,
    /// Each with this probability, whatever happened to others.
    Random(f64),
    /// In bursts.
    Bursty(GilbertElliott),
}

/// Packets held back so that later ones overtake them, beside what jitter does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reorder {
    /// Share of packets.
    pub share: f64,
    /// How long.
    pub held_back: Duration,
}

/// One direction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Profile {
    /// Which packets are lost.
    pub loss: Loss,
    /// What every packet takes.
    pub delay: Duration,
    /// What it takes beyond that.
    pub jitter: Jitter,
    /// Packets held back.
    pub reorder: Option<Reorder>,
    /// Share of packets that arrive twice, the copy with jitter of its own.
    pub duplicate: f64,
    /// How much faster (positive) or slower the sender's clock is than the receiver's, parts per million: the time it
    /// believes to send at is stretched accordingly. In virtual time this is drift of the sender; a packet already on a
    /// real socket can be held back but not hurried, so there the delay takes the drift up until it is used up.
    pub drift_ppm: i32,
}

impl Default for Profile {
    fn default() -> Self {
        Self::CLEAN
    }
}

/// A profile that no network has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// Not between 0 and 1.
    #[error("{name} is not a probability")]
    Probability {
        /// Of what.
        name: &'static str,
    },
    /// Bursts shorter than a packet, or too short for the loss.
    #[error("bursts are too short for the loss")]
    Burst,
    /// Longer than ten seconds.
    #[error("{name} is longer than {} s", MAX_DELAY.as_secs())]
    Delay {
        /// Of what.
        name: &'static str,
    },
    /// More than 1000 ppm.
    #[error("drift is more than {MAX_DRIFT_PPM} ppm")]
    Drift,
}

impl Profile {
    /// Everything arrives at once.
    pub const CLEAN: Self = Self {
        loss: Loss::None,
        delay: Duration::ZERO,
        jitter: Jitter::NONE,
        reorder: None,
        duplicate: 0.0,
        drift_ppm: 0,
    };

    /// # Errors
    /// The first thing no network has.
    pub fn check(&self) -> Result<(), ProfileError> {
        match &self.loss {
            Loss::None => {}
            Loss::Random(loss) => probability("loss", *loss)?,
            Loss::Bursty(model) => model.check()?,
        }
        probability("duplicate", self.duplicate)?;
        if let Some(reorder) = &self.reorder {
            probability("reorder", reorder.share)?;
        }
        let held_back = self.reorder.map_or(Duration::ZERO, |reorder| reorder.held_back);
        for (name, value) in [("delay", self.delay), ("jitter", self.jitter.spread), ("reorder", held_back)] {
            if value > MAX_DELAY {
                return Err(ProfileError::Delay { name });
            }
        }
        if self.drift_ppm.abs() > MAX_DRIFT_PPM {
            return Err(ProfileError::Drift);
        }
        Ok(())
    }

    /// The moment the sender's clock calls `sent`, on the receiver's.
    pub(crate) fn true_time(&self, sent: Duration) -> Duration {
        let nanos = sent.as_nanos() as i128;
        let shifted = nanos - nanos * i128::from(self.drift_ppm) / 1_000_000;
        Duration::from_nanos(shifted.max(0) as u64)
    }
}

pub(crate) fn probability(name: &'static str, value: f64) -> Result<(), ProfileError> {
    if (0.0..=1.0).contains(&value) { Ok(()) } else { Err(ProfileError::Probability { name }) }
}
