//! The end of the caller's turn is never reported: it is told, and the caller is answered.

use voicebridge_session::{Agent, BargeIn, Command, Input, Reversible};

use crate::harness::{Start, World, audio_delta, committed, response_created, speech_started, speech_stopped};

fn reversible() -> Agent {
    Agent { barge_in: BargeIn::Reversible(Reversible::default()), ..Agent::default() }
}

fn speaking(agent: Agent) -> World {
    let mut world = World::active_with(Start { agent, ..Start::default() });
    world.server(&speech_started(0));
    world.caller_speaks_ms(1_000);
    world
}

/// The caller says nothing, and his side shows that it is there.
fn quiet_s(world: &mut World, seconds: u64) {
    for _ in 0..seconds {
        world.caller_is_quiet_ms(1_000);
        world.input(Input::TransportAlive);
    }
}

#[test]
fn speech_whose_end_is_never_reported_is_told_and_answered_after_a_minute() {
    for agent in [Agent::default(), reversible()] {
        let mut world = speaking(agent);
        quiet_s(&mut world, 58);
        assert!(world.incidents().is_empty() && world.requests("response.create").is_empty());
        quiet_s(&mut world, 2);
        assert_eq!(world.incidents(), [("PROVIDER_ERROR", "speech_not_ended".to_owned())]);
        assert_eq!(world.requests("response.create").len(), 1, "the answer is asked for");
        quiet_s(&mut world, 20);
        assert_eq!(world.ending().1, "PROVIDER_LOST", "and waited for like any other");
    }
}

#[test]
fn what_an_operator_wants_said_goes_out_with_the_cause_told() {
    let mut world = speaking(Agent::default());
    world.command(Command::Say("Your taxi is here.".into()));
    quiet_s(&mut world, 60);
    assert_eq!(world.incidents(), [("PROVIDER_ERROR", "speech_not_ended".to_owned())]);
    let creates = world.requests("response.create");
    assert!(creates[0].to_string().contains("Your taxi is here."), "{creates:?}");
}

#[test]
fn a_turn_that_is_never_part_of_the_conversation_is_told_and_answered() {
    let mut world = speaking(reversible());
    world.server(&speech_stopped(1_000));
    quiet_s(&mut world, 5);
    assert_eq!(world.incidents(), [("PROVIDER_ERROR", "turn_not_taken".to_owned())]);
    assert_eq!(world.requests("response.create").len(), 1);
}

#[test]
fn speech_that_was_answered_although_its_end_was_not_reported_is_not_answered_again() {
    let mut world = speaking(Agent::default());
    world.reply("R1", "A1", "Yes.", 1_000);
    quiet_s(&mut world, 65);
    assert!(world.requests("response.create").is_empty());
}

#[test]
fn a_turn_whose_end_is_reported_is_told_of_by_nobody() {
    for agent in [Agent::default(), reversible()] {
        let mut world = speaking(agent);
        world.server(&speech_stopped(1_000));
        world.server(&committed());
        world.server(&response_created("R1"));
        world.server(&audio_delta("R1", "A1", 500));
        world.finish_reply("R1", "A1", "Yes.");
        quiet_s(&mut world, 70);
        assert!(world.incidents().is_empty(), "{:?}", world.incidents());
    }
}
