//! Short linear ramps that keep a cut from clicking.
//!
//! Does not conceal anything: see the uplink for that.

/// Length of a ramp: 5 ms at 24 kHz, too short to be heard as a fade, long enough not to be heard as a click.
pub(crate) const RAMP_SAMPLES: usize = 120;

/// Scales `pcm` by a gain going in a straight line from `from` before its first sample to `to` at its last.
pub(crate) fn scale(pcm: &mut [i16], from: f32, to: f32) {
    let step = (to - from) / pcm.len().max(1) as f32;
    let mut gain = from;
    for sample in pcm {
        gain += step;
        *sample = (f32::from(*sample) * gain) as i16;
    }
}

/// Raises the first `samples` of `pcm` from gain `from` to full.
pub(crate) fn rise_within(pcm: &mut [i16], samples: usize, from: f32) {
    let end = pcm.len().min(samples);
    scale(&mut pcm[..end], from, 1.0);
}

/// Fills `tail` from the last sample handed out to silence: goes on with `upcoming` as far as it reaches, then holds its last
/// value, all of it falling to zero.
pub(crate) fn tail(tail: &mut [i16], last: i16, upcoming: impl Iterator<Item = i16>) {
    let mut held = last;
    let mut upcoming = upcoming;
    for sample in &mut *tail {
        held = upcoming.next().unwrap_or(held);
        *sample = held;
    }
    scale(tail, 1.0, 0.0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ramps_have_no_step() {
        let mut pcm = [10_000; 480];
        rise_within(&mut pcm, RAMP_SAMPLES, 0.0);
        assert!(pcm.windows(2).all(|pair| (pair[1] - pair[0]).abs() <= 84), "rises evenly");
        assert_eq!(pcm[RAMP_SAMPLES..], [10_000; 360]);

        let mut end = [0; RAMP_SAMPLES];
        tail(&mut end, 10_000, std::iter::empty());
        let tail = end;
        assert!(tail.windows(2).all(|pair| pair[1] <= pair[0]));
        assert!(tail[0] > 9_900);
        assert_eq!(tail[RAMP_SAMPLES - 1], 0);
    }

    #[test]
    fn a_tail_goes_on_with_what_was_coming() {
        let mut end = [0; RAMP_SAMPLES];
        tail(&mut end, 0, [12_000, -12_000].into_iter().cycle().take(60));
        let tail = end;
        assert!(tail[0] > 11_800 && tail[1] < -11_700);
        assert!(tail[60..].iter().all(|&sample| sample <= 0), "holds the last value");
    }
}
