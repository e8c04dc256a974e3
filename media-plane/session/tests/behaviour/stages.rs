//! Stages come twice, late, or in the wrong order; the end comes once.

use voicebridge_session::{EventKind, Input, Stage, State, Termination, TerminationResult};

use crate::harness::{World, session_updated};

fn hang_up() -> Termination {
    Termination {
        result: TerminationResult::Completed,
        reason: "USER_HANGUP".into(),
        message: "the caller hung up".into(),
        upstream_code: String::new(),
    }
}

#[test]
fn repeated_stages_change_nothing() {
    let mut world = World::ready();
    for _ in 0..3 {
        world.input(Input::Advance(Stage::AnswerDelivered));
    }
    assert_eq!(world.session.stage(), Some(Stage::AnswerDelivered));
    world.accept();
    let events = world.ports.events.len();
    for stage in [Stage::Accepted, Stage::AnswerDelivered, Stage::Accepted] {
        world.input(Input::Advance(stage));
    }
    world.input(Input::TransportConnected);
    assert_eq!(world.ports.events.len(), events);
    assert_eq!(world.ports.rtp.len(), 1);
    assert_eq!(world.session.stage(), Some(Stage::Accepted));
}

#[test]
fn a_transport_that_comes_before_its_stage_is_remembered() {
    let mut world = World::ready();
    world.input(Input::TransportConnected);
    world.run_ms(100);
    assert!(world.ports.rtp.is_empty());
    world.input(Input::Advance(Stage::Accepted));
    assert_eq!(world.session.state(), State::Active);
}

#[test]
fn the_first_termination_stands_and_nothing_follows() {
    let mut world = World::active();
    world.run_ms(1_000);
    world.input(Input::End(hang_up()));
    assert_eq!(world.ending(), (TerminationResult::Completed, "USER_HANGUP".into(), String::new()));
    let (events, packets) = (world.ports.events.len(), world.ports.rtp.len());
    let other = Termination { reason: "API_HANGUP".into(), ..hang_up() };
    world.input(Input::End(other));
    world.input(Input::Advance(Stage::Accepted));
    world.input(Input::TransportFailed("closed"));
    world.opened();
    world.server(&session_updated());
    world.caller_sends(&[1, 2, 3]);
    world.run_ms(60_000);
    assert_eq!((world.ports.events.len(), world.ports.rtp.len()), (events, packets));
    assert_eq!(world.session.state(), State::Ended);
    assert_eq!(world.session.termination().unwrap().reason, "USER_HANGUP");
    assert!(!world.session.may_connect());
}

#[test]
fn the_end_says_how_long_it_was_and_what_it_cost() {
    let mut world = World::active();
    world.caller_speaks_ms(2_000);
    world.reply("R1", "A1", "Yes.", 300);
    world.run_ms(1_000);
    world.input(Input::End(hang_up()));
    match world.kinds().last().unwrap() {
        EventKind::Ended { duration_ms, usage, statistics, .. } => {
            assert_eq!(*duration_ms, 3_000);
            assert_eq!(
                (
                    usage.input_text_tokens,
                    usage.output_audio_tokens,
                    usage.cached_text_tokens + usage.cached_audio_tokens
                ),
                (119, 91, 64)
            );
            assert_eq!((statistics.received_ms, statistics.played_ms), (2_000, 300));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_end_before_acceptance_has_no_duration() {
    let mut world = World::call();
    world.run_ms(700);
    world.input(Input::End(Termination { result: TerminationResult::Abandoned, ..hang_up() }));
    assert!(matches!(world.kinds().last(), Some(EventKind::Ended { duration_ms: 0, .. })));
    assert!(world.ports.rtp.is_empty());
}
