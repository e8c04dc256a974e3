//! What an operator may have done on a live call.

use voicebridge_session::{Command, CommandIdReused, EventKind, Limits, provider::embedded::Embedded};

use crate::harness::{Start, World, response_created_for, response_done};

#[test]
fn say_and_inject_reach_the_model() {
    let mut world = World::active();
    let before = world.ports.requests.len();
    world.command(Command::InjectText("The \"order\" has shipped".into()));
    assert_eq!(world.request_kinds(before), ["conversation.item.create", "response.create"]);
    let item = &world.ports.requests[before]["item"];
    assert_eq!((&item["role"], &item["content"][0]["text"]), (&"user".into(), &"The \"order\" has shipped".into()));
}

#[test]
fn refused_while_the_ai_is_not_ready_or_the_call_is_ending() {
    let mut world = World::call();
    world.command(Command::Say("Hello".into()));
    assert_eq!(world.incidents(), [("COMMAND_REFUSED", String::new())]);
    world.command(Command::Interrupt);
    assert_eq!(world.incidents().len(), 1);
}

#[test]
fn the_embedded_ai_says_that_it_cannot_say_any_text() {
    let mut world = World::new(Start { provider: Box::new(Embedded::new()), ..Start::default() });
    world.accept();
    world.command(Command::Say("Hello".into()));
    assert_eq!(world.incidents(), [("PROVIDER_ERROR", "unsupported_command".to_owned())]);
}

/// The ids that refused commands had.
fn refused(world: &World) -> Vec<String> {
    let kinds = world.kinds();
    kinds
        .filter_map(|kind| match kind {
            EventKind::Incident { reason: "COMMAND_REFUSED", command_id, .. } => Some(command_id.clone()),
            _ => None,
        })
        .collect()
}

#[test]
fn a_command_that_is_sent_again_is_not_carried_out_again() {
    let mut world = World::active();
    let say = |text: &str| Command::Say(text.to_owned());
    for time in 1..=3 {
        assert_eq!(world.command_as("retry", say("Hello")), Ok(()));
        assert_eq!(world.requests("response.create").len(), 1, "said once, sent {time} times");
        if time == 1 {
            // It was said; the next one would not have to wait.
            let create = world.requests("response.create")[0].clone();
            world.server(&response_created_for("R1", &create));
            world.server(&response_done("R1", "completed"));
        }
    }
    assert_eq!(world.command_as("retry", say("Bye")), Err(CommandIdReused));
    assert_eq!(world.command_as("retry", Command::Interrupt), Err(CommandIdReused));
    assert_eq!(world.requests("response.create").len(), 1, "another command under its id is not carried out");
    assert!(refused(&world).is_empty());
}

#[test]
fn a_refusal_names_the_command_and_stands() {
    let mut world = World::call();
    for _ in 0..2 {
        assert_eq!(world.command_as("early", Command::Say("Hello".into())), Ok(()));
    }
    world.command_as("again", Command::Say("Hello".into())).unwrap();
    assert_eq!(refused(&world), ["early", "again"], "decided once; whoever wants it still sends another");
}

#[test]
fn only_so_many_commands_are_remembered() {
    let limits = Limits { commands: 2, ..Limits::default() };
    let mut world = World::new(Start { limits, ..Start::default() });
    for id in ["a", "b", "c", "c", "b", "a"] {
        world.command_as(id, Command::Say("Hello".into())).unwrap();
    }
    assert_eq!(refused(&world), ["a", "b", "c", "a"], "the oldest was forgotten");
}
