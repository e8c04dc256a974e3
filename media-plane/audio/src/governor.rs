//! Encoder complexity of a shard, by how busy its thread is.
//!
//! Flow: once in a while the shard says which share of its time it was busy; [`Governor::observe`] gives the complexity
//! all its encoders are to use from their next frame on, one of [`COMPLEXITIES`]. libopus takes a change at any frame border without a click.
//! Down quickly, because a shard that is late is heard; up slowly, one step at a time. A step up that had to be taken
//! back makes the next try wait twice as long.
//!
//! Not here: measuring, the encoders, how many calls a shard takes.

use crate::{Time, opus::COMPLEXITIES};
use std::time::Duration;

/// How the governor decides.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GovernorSettings {
    /// Never less; one of [`COMPLEXITIES`].
    pub floor: u8,
    /// Never more; one of [`COMPLEXITIES`]. Where it begins.
    pub ceiling: u8,
    /// Busier than this: less complexity. A share of 1.
    pub high_load: f32,
    /// Less busy than this for [`Self::raise_after`]: more complexity.
    pub low_load: f32,
    /// Wait before a step up.
    pub raise_after: Duration,
}

impl Default for GovernorSettings {
    /// From 6, good speech, to 2, above 65 % of a core.
    fn default() -> Self {
        Self { floor: 2, ceiling: 6, high_load: 0.65, low_load: 0.45, raise_after: Duration::from_secs(10) }
    }
}

/// Settings that contradict themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GovernorError {
    /// Both are [`COMPLEXITIES`], and the floor not above the ceiling.
    #[error("complexity from {floor} to {ceiling} is not a range between two of 0 to 3 and 6 to 10")]
    Range {
        /// As given.
        floor: u8,
        /// As given.
        ceiling: u8,
    },
    /// Loads are shares of 1, the low one well below the high one.
    #[error("the low load must be below the high load, and both between 0 and 1")]
    Loads,
}

/// The load is averaged over about this long.
const AVERAGED_OVER: Duration = Duration::from_millis(500);
/// Between two steps down, so that the first one shows.
const LOWER_EVERY: Duration = Duration::from_millis(500);
/// So busy that two steps are taken at a time.
const OVERLOAD: f32 = 0.9;
/// A step up that is taken back within this time was one too many.
const TAKEN_BACK_WITHIN: Duration = Duration::from_secs(30);
/// The wait before a step up doubles this often at most.
const MAX_DOUBLINGS: u32 = 5;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct Governor {
    settings: GovernorSettings,
    /// In [`COMPLEXITIES`]: the floor, the ceiling, and what is in force.
    floor: usize,
    ceiling: usize,
    level: usize,
    load: f32,
    observed: Option<Time>,
    lowered: Option<Time>,
    raised: Option<Time>,
    calm_since: Option<Time>,
    doublings: u32,
}

impl Default for Governor {
    /// With the default settings.
    fn default() -> Self {
        Self::new(GovernorSettings::default()).expect("the default settings are valid")
    }
}

impl Governor {
    /// Begins at the ceiling.
    ///
    /// # Errors
    /// [`GovernorError`].
    pub fn new(settings: GovernorSettings) -> Result<Self, GovernorError> {
        let GovernorSettings { floor, ceiling, high_load, low_load, .. } = settings;
        let level = |complexity| COMPLEXITIES.iter().position(|&known| known == complexity);
        let (Some(lowest), Some(highest), true) = (level(floor), level(ceiling), floor <= ceiling) else {
            return Err(GovernorError::Range { floor, ceiling });
        };
        if !(0.0 < low_load && low_load < high_load && high_load <= 1.0) {
            return Err(GovernorError::Loads);
        }
        Ok(Self {
            settings,
            floor: lowest,
            ceiling: highest,
            level: highest,
            load: 0.0,
            observed: None,
            lowered: None,
            raised: None,
            calm_since: None,
            doublings: 0,
        })
    }

    /// Never less and never more, as set.
    #[must_use]
    pub const fn bounds(&self) -> (u8, u8) {
        (self.settings.floor, self.settings.ceiling)
    }

    /// The complexity in force.
    #[must_use]
    pub const fn complexity(&self) -> u8 {
        COMPLEXITIES[self.level]
    }

    /// Takes the share of time the shard was busy since the last observation, 0 to 1. Returns the complexity to use.
    pub fn observe(&mut self, now: Time, load: f32) -> u8 {
        self.average(now, load.clamp(0.0, 1.0));
        if self.load > self.settings.high_load {
            self.calm_since = None;
            self.lower(now);
        } else if self.load < self.settings.low_load {
            let since = *self.calm_since.get_or_insert(now);
            if now.since(since) >= self.settings.raise_after * 2u32.pow(self.doublings) {
                self.raise(now);
            }
        } else {
            self.calm_since = None;
        }
        self.complexity()
    }

    fn average(&mut self, now: Time, load: f32) {
        let weight = match self.observed.replace(now) {
            None => 1.0,
            Some(before) => (now.since(before).as_secs_f32() / AVERAGED_OVER.as_secs_f32()).min(1.0),
        };
        self.load += (load - self.load) * weight;
    }

    fn lower(&mut self, now: Time) {
        if self.level == self.floor || self.lowered.is_some_and(|last| now.since(last) < LOWER_EVERY) {
            return;
        }
        if self.raised.take().is_some_and(|raised| now.since(raised) < TAKEN_BACK_WITHIN) {
            self.doublings = (self.doublings + 1).min(MAX_DOUBLINGS);
        }
        let steps = if self.load > OVERLOAD { 2 } else { 1 };
        self.level = self.level.saturating_sub(steps).max(self.floor);
        self.lowered = Some(now);
    }

    fn raise(&mut self, now: Time) {
        self.calm_since = Some(now);
        if self.level == self.ceiling {
            self.doublings = 0;
            return;
        }
        if self.raised.is_some_and(|raised| now.since(raised) >= TAKEN_BACK_WITHIN) {
            self.doublings = self.doublings.saturating_sub(1);
        }
        self.level += 1;
        self.raised = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Milliseconds of CPU per second of a call, by complexity: decoding, transport, and encoding while the AI speaks.
    const COST_MS: [f32; 11] = [3.2, 3.6, 4.0, 4.2, 4.4, 4.7, 5.6, 6.2, 7.0, 7.0, 7.0];

    /// Runs a shard for so many seconds with calls by time; returns the complexity at the end of each second.
    fn run(settings: GovernorSettings, seconds: u64, calls: impl Fn(u64) -> f32) -> Vec<u8> {
        let mut governor = Governor::new(settings).expect("settings are valid");
        let mut complexity = governor.complexity();
        let mut history = Vec::new();
        for tick in 0..seconds * 10 {
            // A little unsteady, as loads are.
            let noise = [0.0, 0.03, -0.02, 0.04, -0.05][tick as usize % 5];
            let load = calls(tick / 10) * COST_MS[usize::from(complexity)] / 1_000.0 + noise;
            complexity = governor.observe(Time::from_millis(tick * 100), load);
            if tick % 10 == 9 {
                history.push(complexity);
            }
        }
        history
    }

    fn changes(history: &[u8]) -> usize {
        history.windows(2).filter(|pair| pair[0] != pair[1]).count()
    }

    const WIDE: GovernorSettings = GovernorSettings {
        floor: 0,
        ceiling: 10,
        high_load: 0.65,
        low_load: 0.45,
        raise_after: Duration::from_secs(10),
    };

    #[test]
    fn few_calls_get_the_ceiling_and_many_the_floor() {
        assert_eq!(run(WIDE, 60, |_| 20.0).last(), Some(&10));
        let history = run(WIDE, 60, |_| 250.0);
        assert_eq!(history.last(), Some(&0));
        assert_eq!(history[4], 0, "within five seconds: {history:?}");
    }

    #[test]
    fn comes_back_when_the_rush_is_over() {
        let history = run(WIDE, 600, |second| if (60..120).contains(&second) { 180.0 } else { 40.0 });
        assert_eq!((history[59], history[110], history[599]), (10, 0, 10));
        assert_eq!(changes(&history[..59]), 0);
        let next = |level| COMPLEXITIES.iter().copied().find(|&other| other > level);
        let one_by_one = |pair: &[u8]| pair[1] == pair[0] || Some(pair[1]) == next(pair[0]);
        assert!(history[120..].windows(2).all(one_by_one), "{history:?}");
    }

    #[test]
    fn any_steady_load_settles() {
        for calls in (10..300).step_by(5) {
            let history = run(WIDE, 3_600, |_| calls as f32);
            let late = changes(&history[1_800..]);
            assert!(late <= 8, "{calls} calls: {late} changes in half an hour");
        }
    }

    #[test]
    fn stays_within_its_bounds() {
        let settings = GovernorSettings::default();
        let history = run(settings, 600, |second| if second % 60 < 30 { 400.0 } else { 1.0 });
        assert!(history.iter().all(|level| [2, 3, 6].contains(level)));
        let fixed = GovernorSettings { floor: 7, ceiling: 7, ..settings };
        assert!(run(fixed, 60, |_| 400.0).iter().all(|&level| level == 7));
    }

    #[test]
    fn the_default_is_no_contradiction() {
        let default = Governor::default();
        assert_eq!((default.bounds(), default.complexity()), ((2, 6), 6));
        assert!(Governor::new(GovernorSettings::default()).is_ok());
    }

    #[test]
    fn contradictions_are_refused() {
        let check = |settings, expect| assert_eq!(Governor::new(settings).map(|_| ()), Err(expect));
        for (floor, ceiling) in [(7, 6), (2, 5), (4, 8)] {
            check(GovernorSettings { floor, ceiling, ..WIDE }, GovernorError::Range { floor, ceiling });
        }
        check(GovernorSettings { ceiling: 11, ..WIDE }, GovernorError::Range { floor: 0, ceiling: 11 });
        check(GovernorSettings { low_load: 0.7, ..WIDE }, GovernorError::Loads);
        check(GovernorSettings { high_load: f32::NAN, ..WIDE }, GovernorError::Loads);
    }
}
