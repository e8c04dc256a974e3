//! A virtual network between a sender of RTP and an uplink: loss, jitter, reordering, duplicates, outages, pauses of the
//! sender; all from a seed.

use crate::common::Numbers;

/// How bad it is.
#[derive(Clone, Debug)]
pub(crate) struct Conditions {
    pub(crate) seed: u64,
    pub(crate) ptime_ms: u64,
    pub(crate) first_sequence: u16,
    pub(crate) first_timestamp: u32,
    pub(crate) delay_ms: u64,
    /// Added to the delay, evenly distributed; more than the packet time reorders.
    pub(crate) jitter_ms: u64,
    pub(crate) loss_percent: u64,
    pub(crate) duplicate_percent: u64,
    /// The network holds everything back for a while, then delivers it at once: begin and length.
    pub(crate) freeze: Option<(u64, u64)>,
    /// Nothing sent in this time arrives.
    pub(crate) outage: Option<(u64, u64)>,
    /// The sender is quiet: timestamps go on, sequence numbers do not.
    pub(crate) pause: Option<(u64, u64)>,
    /// From here on everything takes longer.
    pub(crate) step: Option<(u64, u64)>,
    /// How long the trouble lasts; the network is steady after it.
    pub(crate) trouble_ms: u64,
    pub(crate) length_ms: u64,
}

/// A packet on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arrival {
    pub(crate) at_ms: u64,
    /// Which one of the sender's packets, by its place in the audio.
    pub(crate) index: usize,
    pub(crate) sequence: u16,
    pub(crate) timestamp: u32,
    /// Sent `sent_ms` after the sender began, when its audio was complete.
    pub(crate) sent_ms: u64,
}

impl Conditions {
    pub(crate) fn steady(ptime_ms: u64, length_ms: u64) -> Self {
        Self {
            seed: 1,
            ptime_ms,
            first_sequence: 65_500,
            first_timestamp: u32::MAX - 30_000,
            delay_ms: 20,
            jitter_ms: 0,
            loss_percent: 0,
            duplicate_percent: 0,
            freeze: None,
            outage: None,
            pause: None,
            step: None,
            trouble_ms: length_ms,
            length_ms,
        }
    }

    /// Longest a packet can be under way.
    pub(crate) fn max_delay_ms(&self) -> u64 {
        self.delay_ms + self.jitter_ms + self.freeze.map_or(0, |(_, long)| long) + self.step.map_or(0, |(_, more)| more)
    }

    /// All arrivals in order. The first packet always comes, before all others.
    pub(crate) fn arrivals(&self) -> Vec<Arrival> {
        let mut numbers = Numbers::new(self.seed);
        let within =
            |span: Option<(u64, u64)>, at: u64| span.is_some_and(|(from, long)| (from..from + long).contains(&at));
        let mut arrivals = Vec::new();
        let mut sequence = self.first_sequence;
        for index in 0..self.length_ms / self.ptime_ms {
            let begin_ms = index * self.ptime_ms;
            let sent_ms = begin_ms + self.ptime_ms;
            if index > 0 && within(self.pause, begin_ms) {
                continue;
            }
            let troubled = index > 0 && begin_ms < self.trouble_ms;
            let mut at_ms = sent_ms + self.delay_ms;
            at_ms += if troubled { numbers.below(self.jitter_ms + 1) } else { 0 };
            at_ms += self.step.map_or(0, |(from, more)| if begin_ms >= from { more } else { 0 });
            if within(self.freeze, at_ms) {
                at_ms = self.freeze.map_or(at_ms, |(from, long)| from + long);
            }
            let timestamp = self.first_timestamp.wrapping_add((begin_ms * 48) as u32);
            let arrival = Arrival { at_ms, index: index as usize, sequence, timestamp, sent_ms };
            sequence = sequence.wrapping_add(1);
            let lost = troubled && numbers.chance(self.loss_percent) || index > 0 && within(self.outage, begin_ms);
            if lost {
                continue;
            }
            arrivals.push(arrival);
            if troubled && numbers.chance(self.duplicate_percent) {
                arrivals.push(Arrival { at_ms: at_ms + numbers.below(60), ..arrival });
            }
        }
        arrivals.sort_by_key(|arrival| arrival.at_ms);
        arrivals
    }
}
