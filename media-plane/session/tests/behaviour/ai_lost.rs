//! The AI is refused or lost: before the call is answered the session ends, later the caller hears an apology first.

use voicebridge_session::{Agent, Input, ProviderClosed, SignallingMode, Speaker, Stage, TerminationResult};

use crate::harness::{Start, World, audio_delta, response_created, server_error, text_delta};

const LOST: ProviderClosed<'_> = ProviderClosed::Closed { code: 1006, reason: "" };

fn failed(reason: &str, code: &str) -> (TerminationResult, String, String) {
    (TerminationResult::Failed, reason.into(), code.into())
}

#[test]
fn refused_before_the_call_is_answered() {
    let check = |closed: ProviderClosed<'_>, code: &str| {
        let mut world = World::call();
        world.run_ms(100);
        world.closed(closed);
        assert_eq!(world.ending(), failed("PROVIDER_SESSION_FAILED", code));
        assert!(world.ports.rtp.is_empty());
    };
    check(ProviderClosed::Refused { status: 401, body: "" }, "invalid_api_key");
    check(ProviderClosed::Refused { status: 404, body: r#"{"error":{"code":"model_not_found"}}"# }, "model_not_found");
    check(ProviderClosed::Refused { status: 500, body: "" }, "http_500");
    check(ProviderClosed::Unreachable("connection refused"), "unreachable");
    check(LOST, "closed_1006");
}

#[test]
fn a_model_that_does_not_exist_names_those_that_do() {
    let mut world = World::call();
    world.opened();
    world.server(&server_error("model_not_found", "The model `gpt-5-realtime` does not exist", None));
    assert_eq!(world.ending(), failed("PROVIDER_SESSION_FAILED", "model_not_found"));
    let message = &world.session.termination().unwrap().message;
    assert!(message.contains("gpt-realtime-2.1") && message.contains("gpt-realtime-2.1-mini"), "{message}");
}

#[test]
fn lost_while_ringing_is_no_apology() {
    let mut world = World::ready();
    world.input(Input::Advance(Stage::AnswerDelivered));
    world.input(Input::TransportConnected);
    world.closed(LOST);
    assert_eq!(world.ending(), failed("PROVIDER_LOST", "closed_1006"));
    assert!(world.ports.rtp.is_empty());
}

#[test]
fn lost_in_the_middle_of_a_reply_is_an_apology_and_then_the_end() {
    let mut world = World::active();
    world.server(&response_created("R1"));
    world.server(&audio_delta("R1", "A1", 4_000));
    world.server(&text_delta("R1", "A1", "one two three four"));
    world.run_ms(2_000);
    let sent = world.ports.rtp.len();
    world.closed(LOST);
    assert_eq!(world.incidents(), [("PROVIDER_LOST", "closed_1006".to_owned())]);
    assert_eq!(world.ports.closed.len(), 1);
    world.run_ms(8_000);
    assert_eq!(world.ending(), failed("PROVIDER_LOST", "closed_1006"));
    let voice = world.voice_ms(sent);
    assert!((1_000..4_000).contains(&voice), "an apology of {voice} ms");
    let apology = "I am sorry, I have to end this call.";
    assert_eq!(
        world.transcripts(),
        [(Speaker::Agent, "one two".into(), true), (Speaker::Agent, apology.into(), false)]
    );
}

#[test]
fn the_apology_is_in_the_agents_language() {
    let agent = Agent::parse("language: pt-BR\n").unwrap();
    let mut world = World::active_with(Start { agent, ..Start::default() });
    world.closed(LOST);
    world.run_ms(8_000);
    assert_eq!(world.transcripts()[0].1, "Desculpe, preciso encerrar a ligação.");
    world.ending();
}

#[test]
fn refused_after_the_call_was_answered_is_an_apology_with_the_first_reason() {
    let mut world = World::call();
    world.accept();
    world.run_ms(500);
    world.closed(ProviderClosed::Refused { status: 401, body: "" });
    world.run_ms(8_000);
    assert_eq!(world.ending(), failed("PROVIDER_SESSION_FAILED", "invalid_api_key"));
    assert!(world.voice_ms(0) > 1_000);
}

#[test]
fn refused_in_immediate_mode_before_the_transport_is_up() {
    let mut world = World::new(Start { mode: SignallingMode::Immediate, ..Start::default() });
    world.closed(ProviderClosed::Unreachable("no route"));
    assert_eq!(world.ending(), failed("PROVIDER_SESSION_FAILED", "unreachable"));
}

#[test]
fn after_the_loss_the_provider_is_left_alone() {
    let mut world = World::active();
    world.closed(LOST);
    let appends = world.ports.appends.len();
    world.caller_speaks_ms(200);
    world.server(&response_created("R9"));
    world.closed(LOST);
    assert_eq!(world.ports.appends.len(), appends);
    assert_eq!(world.incidents().len(), 1);
    world.run_ms(8_000);
    assert_eq!(world.ending().1, "PROVIDER_LOST");
}
