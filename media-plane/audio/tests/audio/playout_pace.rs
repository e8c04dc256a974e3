//! How playout copes with the pace of providers: held back as long as bursts need and no longer, memory given back.

use crate::common::Numbers;
use voicebridge_audio::{
    FRAME_SAMPLES, Time,
    playout::{Playout, PlayoutSettings, PlayoutSlot},
};

const FRAME_MS: u64 = 20;

/// What a reply came to: from its first chunk to its first frame, and times it ran dry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Told {
    held_ms: u64,
    underruns: u64,
}

/// Plays a reply whose chunks come at these milliseconds, each so long. A chunk that comes with a tick comes before it.
fn reply(playout: &mut Playout, name: &str, chunks: &[(u64, u64)]) -> Told {
    reply_at(playout, 0, name, chunks)
}

/// As [`reply`], with the first tick so long after the first chunk.
fn reply_at(playout: &mut Playout, phase_ms: u64, name: &str, chunks: &[(u64, u64)]) -> Told {
    let underruns = playout.statistics().underruns;
    let mut chunks = chunks.iter().peekable();
    let mut out = [0; FRAME_SAMPLES];
    let mut first_frame = None;
    let mut now_ms = 0;
    let at = Time::from_millis;
    loop {
        while let Some(&(_, long_ms)) = chunks.next_if(|&&(at_ms, _)| at_ms <= now_ms) {
            playout.push(at(now_ms), name, &vec![1_000; long_ms as usize * 24]).unwrap();
            if chunks.peek().is_none() {
                playout.finish(name);
            }
        }
        if now_ms % FRAME_MS == phase_ms && playout.next_frame(at(now_ms), &mut out) == PlayoutSlot::Frame {
            first_frame.get_or_insert(now_ms);
        }
        if playout.is_idle() && chunks.peek().is_none() {
            let underruns = playout.statistics().underruns - underruns;
            return Told { held_ms: first_frame.expect("it was played"), underruns };
        }
        now_ms += 1;
    }
}

/// Real time in chunks of `long_ms`, each up to `jitter_ms` late.
fn real_time(seed: u64, long_ms: u64, jitter_ms: u64) -> Vec<(u64, u64)> {
    let mut numbers = Numbers::new(seed);
    let mut at_ms = 0;
    (0..4_000 / long_ms)
        .map(|index| {
            let due_ms = index * long_ms + if index > 0 { numbers.below(jitter_ms + 1) } else { 0 };
            at_ms = due_ms.max(at_ms);
            (at_ms, long_ms)
        })
        .collect()
}

/// Four seconds of audio within half a second.
fn fast() -> Vec<(u64, u64)> {
    (0..20).map(|index| (index * 25, 200)).collect()
}

#[test]
fn a_provider_faster_than_real_time_is_not_held_back() {
    let mut playout = Playout::new(PlayoutSettings::default());
    for round in 0..5 {
        assert_eq!(reply(&mut playout, &round.to_string(), &fast()), Told { held_ms: 0, underruns: 0 });
    }
    assert_eq!(playout.statistics().hold_ms, Some(0));
}

#[test]
fn an_even_provider_in_real_time_is_held_back_by_one_frame() {
    let mut playout = Playout::new(PlayoutSettings::default());
    assert_eq!(reply(&mut playout, "first", &real_time(1, 20, 0)).held_ms, 40, "the prefill of 60 ms");
    for round in 0..5 {
        let told = reply(&mut playout, &round.to_string(), &real_time(1, 20, 0));
        assert_eq!(told, Told { held_ms: 20, underruns: 0 });
    }
}

#[test]
fn a_provider_in_real_time_waits_for_the_next_frame_that_is_surely_complete() {
    for phase_ms in 0..FRAME_MS {
        let settings = PlayoutSettings { prefill_ms: 40, prefill_patience_ms: 5, ..PlayoutSettings::default() };
        let mut playout = Playout::new(settings);
        // Nobody is punctual to the millisecond.
        let chunks = |round: u64| real_time(round, 20, 3);
        let expected_ms = if phase_ms < 5 { phase_ms + FRAME_MS } else { phase_ms };
        let first = reply_at(&mut playout, phase_ms, "first", &chunks(0));
        assert_eq!(first, Told { held_ms: expected_ms, underruns: 0 }, "ticks {phase_ms} ms after the chunks");
        for round in 1..5 {
            let told = reply_at(&mut playout, phase_ms, &round.to_string(), &chunks(round));
            let most_ms = phase_ms + if phase_ms < 8 { FRAME_MS } else { 0 };
            assert_eq!(told, Told { held_ms: most_ms, underruns: 0 }, "ticks {phase_ms} ms after the chunks");
        }
    }
}

#[test]
fn bursts_are_learned_and_heard_no_more() {
    for (long_ms, jitter_ms) in [(20, 60), (20, 120), (100, 100), (200, 150), (500, 200)] {
        for seed in 0..6 {
            let mut playout = Playout::new(PlayoutSettings::default());
            let mut last = Told { held_ms: 0, underruns: 0 };
            let mut underruns = 0;
            for round in 0..30 {
                last = reply(&mut playout, &round.to_string(), &real_time(seed * 100 + round, long_ms, jitter_ms));
                underruns += if round >= 3 { last.underruns } else { 0 };
            }
            assert!(underruns <= 8, "chunks of {long_ms} ms, {jitter_ms} ms late: {underruns} underruns in 27 replies");
            assert!(last.held_ms <= jitter_ms + 40, "held back {} ms for {jitter_ms} ms", last.held_ms);
        }
    }
}

#[test]
fn what_was_learned_is_forgotten_when_the_provider_is_better() {
    let mut playout = Playout::new(PlayoutSettings::default());
    for round in 0..5 {
        reply(&mut playout, &round.to_string(), &real_time(round, 20, 150));
    }
    let held = playout.statistics().hold_ms;
    assert!(held >= Some(100), "{held:?}");
    let holds: Vec<u64> = (0..20).map(|round| reply(&mut playout, &format!("fast {round}"), &fast()).held_ms).collect();
    assert!(holds.windows(2).all(|pair| pair[1] <= pair[0]) && holds[19] == 0, "{holds:?}");
}

#[test]
fn a_stall_is_not_learned() {
    let mut playout = Playout::new(PlayoutSettings::default());
    reply(&mut playout, "even", &real_time(1, 20, 0));
    let stalled: Vec<_> =
        real_time(1, 20, 0).iter().map(|&(at, long)| (at + if at > 2_000 { 1_500 } else { 0 }, long)).collect();
    let told = reply(&mut playout, "stalled", &stalled);
    assert_eq!(told.underruns, 1);
    assert!((1_400..=1_540).contains(&playout.statistics().underrun_ms), "{}", playout.statistics().underrun_ms);
    assert_eq!(reply(&mut playout, "next", &real_time(1, 20, 0)).held_ms, 20);
}

#[test]
fn a_fixed_prefill_stays() {
    let mut playout = Playout::new(PlayoutSettings { max_hold_ms: 0, ..PlayoutSettings::default() });
    for round in 0..5 {
        assert_eq!(reply(&mut playout, &round.to_string(), &real_time(1, 20, 0)).held_ms, 40);
    }
    assert_eq!(playout.statistics().hold_ms, None);
}

#[test]
fn memory_follows_what_is_queued() {
    let mut playout = Playout::new(PlayoutSettings::default());
    let minute = vec![5; 24_000];
    (0..60).for_each(|_| playout.push(Time::ZERO, "long", &minute).unwrap());
    playout.finish("long");
    let queued = 60 * 48_000;
    assert!((queued..queued + 20_000).contains(&playout.held_bytes()), "{} bytes", playout.held_bytes());
    let mut out = [0; FRAME_SAMPLES];
    for played_s in 1..=60 {
        (0..50).for_each(|_| assert_eq!(playout.next_frame(Time::ZERO, &mut out), PlayoutSlot::Frame));
        let left = queued - played_s * 48_000;
        assert!(playout.held_bytes() <= left + 330_000, "{} bytes with {left} queued", playout.held_bytes());
    }
    assert!(playout.is_idle() && playout.held_bytes() <= 310_000);

    (0..60).for_each(|_| playout.push(Time::ZERO, "cut", &minute).unwrap());
    playout.flush();
    assert!(playout.held_bytes() <= 310_000, "an interruption gives it back");
    for index in 0..60 {
        playout.push(Time::ZERO, &index.to_string(), &[1; 10]).unwrap();
    }
    assert!(playout.held_bytes() <= 60 * 20_000 + 310_000);
}
