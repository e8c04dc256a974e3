//! Interarrival jitter as RFC 3550 defines it (section 6.4.1, appendix A.8).

use crate::{RTP_CLOCK_HZ, Time};

/// The estimate carries four fractional bits.
const FRACTION_BITS: u32 = 4;

#[derive(Debug, Default)]
pub(super) struct Jitter {
    transit: Option<u32>,
    /// RTP units, scaled by 16.
    scaled: u64,
}

impl Jitter {
    /// Takes a packet in order of arrival.
    pub(super) fn observe(&mut self, now: Time, timestamp: u32) {
        let transit = transit(now, timestamp);
        if let Some(before) = self.transit.replace(transit) {
            let difference = u64::from((transit.wrapping_sub(before) as i32).unsigned_abs());
            self.scaled = (self.scaled + difference).saturating_sub((self.scaled + 8) >> FRACTION_BITS);
        }
    }

    /// Begins with this packet on another clock; the estimate stays.
    pub(super) fn restart(&mut self, now: Time, timestamp: u32) {
        self.transit = Some(transit(now, timestamp));
    }

    pub(super) const fn millis(&self) -> u64 {
        (self.scaled >> FRACTION_BITS) * 1_000 / RTP_CLOCK_HZ as u64
    }
}

/// Arrival against timestamp, RTP units modulo 2^32: only differences mean anything.
pub(super) fn transit(now: Time, timestamp: u32) -> u32 {
    const MICROS: u64 = 125;
    /// In that time: few enough that 64 bits hold the product for longer than any process lives.
    const UNITS: u64 = RTP_CLOCK_HZ as u64 * MICROS / 1_000_000;
    const _: () = assert!(UNITS * 1_000_000 == RTP_CLOCK_HZ as u64 * MICROS);
    let arrival = now.as_micros() * UNITS / MICROS;
    (arrival as u32).wrapping_sub(timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jitter_ms(delays_ms: impl Iterator<Item = u64>) -> u64 {
        let mut jitter = Jitter::default();
        for (index, delay_ms) in delays_ms.enumerate() {
            let sent_ms = index as u64 * 20;
            // Starts close to the wrap on purpose.
            let timestamp = (u32::MAX - 5_000).wrapping_add(index as u32 * 960);
            jitter.observe(Time::from_millis(1_000 + sent_ms + delay_ms), timestamp);
        }
        jitter.millis()
    }

    #[test]
    fn transit_is_that_of_the_rtp_clock_however_long_a_process_lives() {
        for micros in (0..300).chain([1 << 32, (1 << 40) + 7, 100 * 365 * 86_400 * 1_000_000 + 1]) {
            let exact = u128::from(micros) * u128::from(RTP_CLOCK_HZ) / 1_000_000;
            assert_eq!(transit(Time::from_micros(micros), 5), (exact as u32).wrapping_sub(5), "{micros} us");
        }
    }

    #[test]
    fn follows_the_definition() {
        assert_eq!(jitter_ms([30; 200].into_iter()), 0, "constant delay is no jitter");
        // |D| is 10 for every pair, so the estimate tends to 10.
        let alternating = jitter_ms([0, 10].into_iter().cycle().take(200));
        assert!((9..=10).contains(&alternating), "{alternating}");
        let one_spike = jitter_ms((0..50).map(|index| if index == 49 { 160 } else { 0 }));
        assert!((9..=10).contains(&one_spike), "one sixteenth of the spike, not {one_spike}");
        let forgotten = jitter_ms((0..200).map(|index| if index == 49 { 160 } else { 0 }));
        assert_eq!(forgotten, 0);
    }
}
