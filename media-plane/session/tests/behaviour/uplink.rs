//! The caller's voice to the AI: one append per 20 ms, at once; what is not audio is counted.

use crate::harness::{DTMF, World, session_created, session_updated};

#[test]
fn one_append_for_each_packet_in_the_same_call() {
    let mut world = World::active();
    let mut expected = world.ports.appends.len();
    for _ in 0..50 {
        world.caller_speaks_ms(20);
        expected += 1;
        assert_eq!(world.ports.appends.len(), expected);
    }
    assert!(world.ports.appends.iter().all(|(_, samples)| *samples == 480));
    assert_eq!(world.session.statistics().received_ms, 1_000);
}

#[test]
fn before_the_configuration_is_confirmed_audio_is_dropped_and_counted() {
    let mut world = World::call();
    world.accept();
    world.opened();
    world.server(&session_created());
    world.caller_speaks_ms(400);
    assert!(world.ports.appends.is_empty());
    assert_eq!(world.session.statistics().packets_received, 20);
    assert_eq!(world.session.statistics().received_ms, 0);
    world.server(&session_updated());
    world.caller_speaks_ms(100);
    assert_eq!(world.ports.appends.len(), 5, "no burst of what came before");
}

#[test]
fn nothing_reaches_the_ai_before_the_call_is_accepted() {
    let mut world = World::ready();
    world.caller_speaks_ms(200);
    assert!(world.ports.appends.is_empty());
}

#[test]
fn dtmf_unknown_and_broken_packets_are_counted_and_skipped() {
    let mut world = World::active();
    world.caller_speaks_ms(100);
    world.rtp(DTMF, &[5, 0x0a, 0, 160]);
    world.rtp(96, &[1, 2, 3]);
    world.rtp(96, &[1, 2, 3]);
    world.caller_sends(&[]);
    world.caller_sends(&[0xff; 1_400]);
    world.run_ms(20);
    let statistics = world.session.statistics();
    assert_eq!(statistics.packets_discarded, 4, "{statistics:?}");
    assert_eq!(statistics.packets_lost, 0, "{statistics:?}");
    world.caller_speaks_ms(100);
    assert!(world.session.statistics().received_ms >= 180);
}
