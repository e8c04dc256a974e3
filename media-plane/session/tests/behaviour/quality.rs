//! How good the call sounded is said every five seconds and at its end, with the cause of what was wrong; and the far
//! side's reports decide on error correction.

use voicebridge_audio::opus::Packet;
use voicebridge_session::{EventKind, Input, Quality, ReceiverReport, Termination, TerminationResult};

use crate::harness::{World, audio_delta, response_created, speech_stopped};

fn periods(world: &World) -> Vec<Quality> {
    world
        .kinds()
        .filter_map(|kind| match kind {
            EventKind::Quality(quality) => Some(quality.clone()),
            _ => None,
        })
        .collect()
}

fn end(world: &mut World) -> Option<Quality> {
    world.input(Input::End(Termination {
        result: TerminationResult::Completed,
        reason: "USER_HANGUP".into(),
        message: String::new(),
        upstream_code: String::new(),
    }));
    world.ending();
    match world.kinds().last() {
        Some(EventKind::Ended { quality, .. }) => quality.as_deref().cloned(),
        other => panic!("{other:?}"),
    }
}

fn report(world: &mut World, lost_percent: u32, round_trip_ms: u32) {
    let fraction_lost = (lost_percent * 256 / 100) as u8;
    let round_trip_ms = Some(round_trip_ms);
    world.input(Input::ReceiverReport(ReceiverReport { fraction_lost, jitter_ms: 7, round_trip_ms }));
}

#[test]
fn a_good_call_has_a_good_score_and_no_cause() {
    let mut world = World::active();
    for _ in 0..10 {
        world.caller_speaks_ms(1_000);
        report(&mut world, 0, 60);
    }
    let periods = periods(&world);
    assert_eq!(periods.len(), 2);
    for period in &periods {
        assert_eq!((period.period_ms, period.cause.as_str()), (5_000, ""));
        assert!(period.uplink.mos > 4.2 && period.downlink.mos > 4.2, "{period:?}");
        assert_eq!((period.uplink.loss_percent, period.uplink.missing_ms), (0.0, 0));
        assert_eq!((period.downlink.round_trip_ms, period.downlink.jitter_ms), (Some(60), 7));
    }
    let whole = end(&mut world).unwrap();
    assert_eq!((whole.period_ms, whole.cause.as_str(), whole.reports), (10_000, "", 10));
}

#[test]
fn loss_on_the_way_to_us_is_named_in_its_period() {
    let mut world = World::active();
    world.caller_speaks_ms(5_000);
    for packet in 0..250 {
        if packet % 10 == 0 {
            world.caller_loses_a_packet();
            world.run_ms(20);
        } else {
            world.caller_speaks_ms(20);
        }
    }
    let periods = periods(&world);
    assert_eq!(periods[0].cause, "");
    assert!((9.0..=11.0).contains(&periods[1].uplink.loss_percent), "{:?}", periods[1]);
    assert!(periods[1].cause.starts_with("relay to us lost"), "{}", periods[1].cause);
    assert!(periods[1].uplink.mos < periods[0].uplink.mos - 0.5, "{periods:?}");
    assert!((450..=550).contains(&periods[1].uplink.missing_ms), "{:?}", periods[1].uplink);
    assert!(end(&mut world).unwrap().cause.starts_with("relay to us lost"));
}

#[test]
fn loss_on_the_way_to_the_caller_is_what_the_far_side_reports() {
    let mut world = World::active();
    for _ in 0..5 {
        world.caller_speaks_ms(1_000);
        report(&mut world, 25, 80);
    }
    let period = &periods(&world)[0];
    assert!((24.0..=26.0).contains(&period.downlink.loss_percent), "{period:?}");
    assert!(period.cause.ends_with("to relay lost 25 %"), "{}", period.cause);
    assert!(period.uplink.mos > period.downlink.mos + 0.5);
}

#[test]
fn a_model_that_answers_late_is_named_without_lowering_the_score() {
    let mut world = World::active();
    world.caller_speaks_ms(1_000);
    world.server(&speech_stopped(500));
    world.caller_speaks_ms(2_900);
    world.server(&response_created("R1"));
    world.server(&audio_delta("R1", "A1", 2_000));
    world.caller_speaks_ms(2_000);
    let period = &periods(&world)[0];
    assert_eq!(period.cause, "model answered 1.9 s late");
    assert!(period.downlink.mos > 4.2);
}

#[test]
fn a_model_that_sends_too_slowly_is_named() {
    let mut world = World::active();
    world.server(&response_created("R1"));
    for _ in 0..6 {
        world.server(&audio_delta("R1", "A1", 200));
        world.caller_speaks_ms(700);
    }
    world.caller_speaks_ms(1_000);
    let period = &periods(&world)[0];
    assert!(period.cause.starts_with("playout underran"), "{}", period.cause);
    assert!(period.downlink.missing_ms > 2_000, "{period:?}");
}

#[test]
fn a_call_in_which_audio_never_flowed_has_no_quality() {
    let mut world = World::ready();
    assert_eq!(end(&mut world), None);
}

/// Share of the packets of a two-second reply that carry error correction, percent.
fn protected(world: &mut World, response: &str) -> usize {
    let sent = world.ports.rtp.len();
    world.reply(response, response, "Fine.", 2_000);
    world.run_ms(2_000);
    let packets = &world.ports.rtp[sent..];
    packets.iter().filter(|packet| Packet::parse(&packet.payload).unwrap().carries_fec()).count() * 100 / packets.len()
}

#[test]
fn error_correction_comes_with_reported_loss_and_goes_with_it() {
    let mut world = World::active();
    assert_eq!(protected(&mut world, "R1"), 0, "nothing was reported");
    report(&mut world, 10, 60);
    let share = protected(&mut world, "R2");
    assert!(share >= 50, "{share} %");
    for _ in 0..60 {
        report(&mut world, 0, 60);
        world.caller_speaks_ms(1_000);
    }
    let share = protected(&mut world, "R3");
    assert!(share <= 1, "{share} %: at most the first packet, for the last frame of the reply before");
}

#[test]
fn complexity_changes_within_a_reply_without_a_gap() {
    let mut world = World::active();
    world.reply("R1", "A1", "Fine.", 2_000);
    for complexity in [0, 9, 255, 3] {
        world.run_ms(300);
        world.input(Input::Complexity(complexity));
    }
    world.run_ms(1_000);
    let voice = world.voice_ms(0);
    assert!((1_960..=2_060).contains(&voice), "{voice}");
}
