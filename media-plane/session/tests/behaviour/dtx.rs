//! The caller falls silent without a packet: the AI's clock goes on, so that its voice detection sees the silence.

use crate::harness::World;

#[test]
fn silence_is_made_when_nothing_comes() {
    let mut world = World::active();
    world.caller_speaks_ms(500);
    let before = world.ports.appends.len();
    world.caller_is_quiet_ms(1_000);
    let samples: usize = world.ports.appends[before..].iter().map(|(_, samples)| samples).sum();
    let made_ms = samples / 24;
    assert!((840..=1_000).contains(&made_ms), "{made_ms} ms of 1000");
    let statistics = world.session.statistics();
    assert!(statistics.silence_ms >= 700, "{statistics:?}");
    assert!(statistics.concealed_ms <= 100, "{statistics:?}");
}

#[test]
fn what_the_ai_heard_is_the_calls_time_after_speech_resumes() {
    let mut world = World::active();
    world.caller_speaks_ms(1_000);
    world.caller_is_quiet_ms(2_000);
    world.caller_speaks_ms(1_000);
    let samples: usize = world.ports.appends.iter().map(|(_, samples)| samples).sum();
    let heard_ms = samples as i64 / 24;
    assert!((3_960..=4_060).contains(&heard_ms), "{heard_ms} ms for 4000 ms of call");
    assert_eq!(world.session.statistics().packets_late, 0);
}

#[test]
fn a_caller_who_has_sent_nothing_yet_is_silence() {
    let mut world = World::active();
    world.run_ms(1_000);
    let samples: usize = world.ports.appends.iter().map(|(_, samples)| samples).sum();
    assert!((880..=1_000).contains(&(samples / 24)), "{} ms", samples / 24);
}
