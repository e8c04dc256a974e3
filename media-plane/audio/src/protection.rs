//! When our own packets carry in-band FEC, by the loss the far side reports.
//!
//! Flow: every RTCP receiver report gives its fraction lost to [`Protection::report`]; what comes back, if anything, is to
//! be put into the encoder. On at the first sign of loss, because a report is seconds old already; off only after the loss
//! was gone for [`CLEAN_MS`], because FEC takes a fifth of the bits from the voice and loss comes in waves.
//!
//! **Levels.** libopus adds FEC only where bit rate, bandwidth and expected loss together make it worthwhile. Measured
//! with 1.6.1 in wideband at 20 kbit/s, as WhatsApp asks for: none up to an expected loss of 5 %, in nearly every packet of
//! a voice from 6 % on. So the lowest level that is ever set is 10 %. At 16 kbit/s and below it never adds any.
//!
//! Not here: RTCP, the encoder, loss on the way to us (see the uplink).

use crate::Time;

/// Smoothed loss that switches FEC on, percent.
const ON_PERCENT: f32 = 0.75;
/// Smoothed loss that counts as none, percent.
const CLEAN_PERCENT: f32 = 0.4;
/// For this long there is no loss before FEC is switched off.
pub const CLEAN_MS: u64 = 20_000;
/// Part of the difference that a report moves the smoothed loss by: up, and down.
const RISE: f32 = 0.5;
const FALL: f32 = 0.2;
/// What the encoder is told to expect, percent, and the smoothed loss from which on.
const LEVELS: [(f32, u8); 4] = [(0.0, 10), (8.0, 15), (13.0, 20), (18.0, 25)];
/// A level is left downwards this much below where it begins, percent.
const MARGIN_PERCENT: f32 = 2.0;

/// What to set in the encoder: [`crate::opus::EncoderSettings::fec`] and `expected_loss_percent`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Advice {
    /// Whether packets carry FEC.
    pub fec: bool,
    /// Loss it is dimensioned for; 0 without FEC.
    pub expected_loss_percent: u8,
}

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub struct Protection {
    smoothed_percent: f32,
    /// Index of the level in force; `None`: no FEC.
    level: Option<usize>,
    clean_since: Option<Time>,
}

impl Protection {
    /// Takes the fraction lost of a receiver report (RFC 3550, section 6.4.1: 256ths). `Some` if the encoder is to be
    /// changed.
    pub fn report(&mut self, now: Time, fraction_lost: u8) -> Option<Advice> {
        let before = self.advice();
        let percent = f32::from(fraction_lost) * 100.0 / 256.0;
        let pace = if percent > self.smoothed_percent { RISE } else { FALL };
        self.smoothed_percent += (percent - self.smoothed_percent) * pace;
        self.level = self.decide(now);
        let advice = self.advice();
        (advice != before).then_some(advice)
    }

    /// What is in force.
    #[must_use]
    pub fn advice(&self) -> Advice {
        self.level.map_or_else(Advice::default, |level| Advice { fec: true, expected_loss_percent: LEVELS[level].1 })
    }

    /// Loss as it is believed at present, percent.
    #[must_use]
    pub const fn smoothed_percent(&self) -> f32 {
        self.smoothed_percent
    }

    fn decide(&mut self, now: Time) -> Option<usize> {
        let loss = self.smoothed_percent;
        if loss >= CLEAN_PERCENT {
            self.clean_since = None;
        } else if self.level.is_some() {
            let since = *self.clean_since.get_or_insert(now);
            if now.since(since).as_millis() as u64 >= CLEAN_MS {
                self.clean_since = None;
                return None;
            }
        }
        let reached = LEVELS.iter().rposition(|&(from, _)| loss >= from).unwrap_or(0);
        match self.level {
            None if loss < ON_PERCENT => None,
            // Down by one level a report, and only when clearly below.
            Some(level) if reached < level && loss > LEVELS[level].0 - MARGIN_PERCENT => Some(level),
            Some(level) if reached < level => Some(level - 1),
            _ => Some(reached),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds a report of so many percent every five seconds; returns how often the encoder was changed.
    fn feed(protection: &mut Protection, from_s: u64, percents: impl IntoIterator<Item = f32>) -> usize {
        let reports = percents.into_iter().enumerate();
        let changes = reports.filter_map(|(index, percent)| {
            let now = Time::from_millis((from_s + index as u64 * 5) * 1_000);
            protection.report(now, (percent * 2.56).round() as u8)
        });
        changes.count()
    }

    fn advice(fec: bool, expected_loss_percent: u8) -> Advice {
        Advice { fec, expected_loss_percent }
    }

    #[test]
    fn on_at_once_and_off_when_it_is_gone() {
        let mut protection = Protection::default();
        assert_eq!(feed(&mut protection, 0, [0.0; 20]), 0);
        assert_eq!(protection.report(Time::from_millis(100_000), 13), Some(advice(true, 10)), "5 %, one report");
        assert_eq!(feed(&mut protection, 105, [5.0; 20]), 0, "steady loss changes nothing");
        // It fades below the threshold within some reports, then 20 s pass.
        assert_eq!(feed(&mut protection, 205, [0.0; 12]), 0);
        assert_eq!(protection.advice(), advice(true, 10));
        assert_eq!(feed(&mut protection, 265, [0.0; 8]), 1);
        assert_eq!(protection.advice(), advice(false, 0));
    }

    #[test]
    fn levels_follow_the_loss() {
        let check = |percent: f32, expect: u8| {
            let mut protection = Protection::default();
            let changes = feed(&mut protection, 0, [percent; 30]);
            assert_eq!(protection.advice(), advice(expect > 0, expect), "{percent} %");
            assert!(changes <= 4, "{changes} changes at a steady {percent} %");
        };
        check(0.0, 0);
        check(0.4, 0);
        check(1.0, 10);
        check(5.0, 10);
        check(10.0, 15);
        check(15.0, 20);
        check(30.0, 25);
        check(99.0, 25);
    }

    #[test]
    fn loss_around_a_border_does_not_flap() {
        let around = |middle: f32| (0..200).map(move |index| middle + if index % 2 == 0 { 0.5 } else { -0.5 });
        for middle in [0.8, 1.0, 8.0, 13.0, 18.0] {
            let mut protection = Protection::default();
            let changes = feed(&mut protection, 0, around(middle));
            assert!(changes <= 4, "{changes} changes around {middle} %");
        }
        // Waves of loss every 30 s keep it on.
        let mut protection = Protection::default();
        let waves = (0..200).map(|index| if index % 6 == 0 { 6.0 } else { 0.0 });
        assert!(feed(&mut protection, 0, waves) <= 2);
        assert!(protection.advice().fec);
    }

    #[test]
    fn comes_down_level_by_level() {
        let mut protection = Protection::default();
        feed(&mut protection, 0, [30.0; 10]);
        let mut seen = vec![protection.advice().expected_loss_percent];
        for index in 0..40 {
            if let Some(advice) = protection.report(Time::from_millis(50_000 + index * 5_000), 0) {
                seen.push(advice.expected_loss_percent);
            }
        }
        assert_eq!(seen, [25, 20, 15, 10, 0]);
    }
}
