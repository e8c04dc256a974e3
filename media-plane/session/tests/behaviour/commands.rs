//! What an operator may have done on a live call.

use voicebridge_session::{Command, Input, provider::embedded::Embedded};

use crate::harness::{Start, World};

#[test]
fn say_and_inject_reach_the_model() {
    let mut world = World::active();
    let before = world.ports.requests.len();
    world.input(Input::Command(Command::InjectText("The \"order\" has shipped".into())));
    assert_eq!(world.request_kinds(before), ["conversation.item.create", "response.create"]);
    let item = &world.ports.requests[before]["item"];
    assert_eq!((&item["role"], &item["content"][0]["text"]), (&"user".into(), &"The \"order\" has shipped".into()));
}

#[test]
fn refused_while_the_ai_is_not_ready_or_the_call_is_ending() {
    let mut world = World::call();
    world.input(Input::Command(Command::Say("Hello".into())));
    assert_eq!(world.incidents(), [("COMMAND_REFUSED", String::new())]);
    world.input(Input::Command(Command::Interrupt));
    assert_eq!(world.incidents().len(), 1);
}

#[test]
fn the_embedded_ai_says_that_it_cannot_say_any_text() {
    let mut world = World::new(Start { provider: Box::new(Embedded::new()), ..Start::default() });
    world.accept();
    world.input(Input::Command(Command::Say("Hello".into())));
    assert_eq!(world.incidents(), [("PROVIDER_ERROR", "unsupported_command".to_owned())]);
}
