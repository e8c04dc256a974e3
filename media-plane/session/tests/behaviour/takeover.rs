//! Another connection to an AI takes over in the middle of a call: the caller hears no gap, and the call goes on.

use voicebridge_session::{
    Agent, ConnectionId, ConnectionInput, EventKind, Input, Milestone, ProviderClosed, Speaker, SuccessorError,
    Termination, TerminationResult,
    provider::{
        Provider,
        embedded::Embedded,
        openai::{OpenAi, OpenAiSettings},
    },
};

use crate::harness::{
    OFFER, Start, World, audio_delta, audio_done, committed, response_created, response_done, session_created,
    session_updated, speech_started, speech_stopped, text_delta, text_done, tool_call,
};

const FIRST: ConnectionId = ConnectionId(0);
const SECOND: ConnectionId = ConnectionId(1);
const LOST: ProviderClosed<'_> = ProviderClosed::Closed { code: 1006, reason: "" };

fn openai() -> Box<dyn Provider> {
    Box::new(OpenAi::new(OpenAiSettings::default()))
}

/// A successor is dialled.
fn dialled(world: &mut World, provider: Box<dyn Provider>) -> Result<ConnectionId, SuccessorError> {
    let now = world.now();
    world.session.open_successor(now, provider, &mut world.ports)
}

/// And has confirmed its configuration.
fn ready(world: &mut World) {
    world.connection_of(SECOND, ConnectionInput::Opened);
    world.server_of(SECOND, &session_created());
    world.server_of(SECOND, &session_updated());
}

/// In the middle of a reply of four seconds whose generation goes on.
fn speaking() -> World {
    let mut world = World::active();
    world.server(&response_created("R1"));
    world.server(&audio_delta("R1", "A1", 4_000));
    world.server(&text_delta("R1", "A1", "one two three four"));
    world.caller_speaks_ms(1_000);
    world
}

fn hang_up(world: &mut World) {
    world.input(Input::End(Termination {
        result: TerminationResult::Completed,
        reason: "USER_HANGUP".into(),
        message: String::new(),
        upstream_code: String::new(),
    }));
}

#[test]
fn a_second_connection_takes_over_in_the_middle_of_a_reply() {
    let mut world = speaking();
    assert_eq!(dialled(&mut world, openai()), Ok(SECOND));
    assert_eq!(world.ports.opened, [FIRST, SECOND]);
    world.caller_speaks_ms(500);
    assert!(world.ports.appended_to.iter().all(|id| *id == FIRST), "not before it is ready");
    let (appends, requests) = (world.ports.appended_to.len(), world.ports.requests.len());
    ready(&mut world);
    assert_eq!(world.ports.closed, [FIRST]);
    assert_eq!(world.request_kinds(requests), ["session.update"], "and no second greeting");

    // What the first one still says is nobody's any more.
    world.server(&audio_delta("R1", "A1", 3_000));
    world.server(&response_done("R1", "completed"));
    world.closed(LOST);
    world.caller_speaks_ms(3_000);
    assert!(
        world.ports.appended_to[appends..].iter().all(|id| *id == SECOND),
        "the caller's voice goes to the new one"
    );
    assert_eq!(world.ports.appended_to.len() - appends, 150, "every frame of it");
    assert_eq!(world.session.statistics().played_ms, 4_000, "what had come of the reply is played");
    assert_eq!(world.transcripts(), [(Speaker::Agent, "one two three four".into(), false)]);

    world.server_of(SECOND, &response_created("R1"));
    world.server_of(SECOND, &audio_delta("R1", "B1", 1_000));
    world.server_of(SECOND, &audio_done("R1", "B1"));
    world.server_of(SECOND, &text_done("R1", "B1", "five"));
    world.server_of(SECOND, &response_done("R1", "completed"));
    world.caller_speaks_ms(1_500);
    assert_eq!(world.transcripts().last().unwrap().1, "five", "and speaks");
    assert_eq!(world.session.statistics().longest_send_gap_ms, 20);
    assert!(world.incidents().is_empty());
    let milestones =
        world.kinds().filter(|kind| matches!(kind, EventKind::Milestone(Milestone::ProviderSessionCreated)));
    assert_eq!(milestones.count(), 1);
    let ready = world.kinds().filter(|kind| matches!(kind, EventKind::ProviderReady { .. })).count();
    assert_eq!(ready, 2);
    hang_up(&mut world);
    assert_eq!(world.ending().1, "USER_HANGUP");
    assert_eq!(world.ports.closed, [FIRST, SECOND]);
}

#[test]
fn the_caller_can_interrupt_what_the_first_one_was_saying() {
    let mut world = speaking();
    dialled(&mut world, openai()).unwrap();
    ready(&mut world);
    let sent = world.ports.rtp.len();
    world.server_of(SECOND, &speech_started(100));
    world.caller_speaks_ms(500);
    assert!(world.voice_ms(sent) <= 40);
    assert_eq!(world.barge_ins().len(), 1);
}

#[test]
fn an_answer_that_the_first_one_owed_is_asked_of_the_second() {
    let mut world = World::active();
    world.server(&speech_started(0));
    world.caller_speaks_ms(1_000);
    world.server(&speech_stopped(1_000));
    world.server(&committed());
    dialled(&mut world, openai()).unwrap();
    ready(&mut world);
    assert_eq!(world.ports.requests.last().unwrap()["type"], "response.create");
    assert_eq!(world.ports.requested_of.last(), Some(&SECOND));
}

#[test]
fn a_successor_saves_a_call_whose_connection_is_lost_meanwhile() {
    let mut world = speaking();
    dialled(&mut world, openai()).unwrap();
    world.closed(LOST);
    world.caller_speaks_ms(1_000);
    assert!(world.incidents().is_empty() && world.session.termination().is_none());
    ready(&mut world);
    world.caller_speaks_ms(1_000);
    assert_eq!(world.ports.appended_to.last(), Some(&SECOND));
    hang_up(&mut world);
    assert_eq!(world.ending().1, "USER_HANGUP");
}

#[test]
fn a_successor_that_fails_changes_nothing_unless_it_was_the_last_hope() {
    let mut world = speaking();
    dialled(&mut world, openai()).unwrap();
    world.connection_of(SECOND, ConnectionInput::Closed(ProviderClosed::Refused { status: 503, body: "" }));
    assert_eq!(world.incidents(), [("PROVIDER_ERROR", "http_503".to_owned())]);
    assert_eq!(world.ports.closed, [SECOND]);
    world.caller_speaks_ms(1_000);
    assert_eq!(world.ports.appended_to.last(), Some(&FIRST));

    // Connections have new ids.
    assert_eq!(dialled(&mut world, openai()), Ok(ConnectionId(2)));
    world.closed(LOST);
    world.caller_speaks_ms(9_900);
    assert_eq!(world.incidents().len(), 1);
    world.caller_speaks_ms(200);
    assert_eq!(world.incidents().last().unwrap(), &("PROVIDER_LOST", "closed_1006".to_owned()), "why it was lost");
    world.run_ms(8_000);
    assert_eq!(world.ending().1, "PROVIDER_LOST");
}

#[test]
fn an_ai_in_process_takes_over_at_once() {
    let mut world = speaking();
    assert_eq!(dialled(&mut world, Box::new(Embedded::new())), Ok(SECOND));
    assert_eq!(world.ports.closed, [FIRST]);
    world.caller_is_quiet_ms(6_000);
    let last = &world.transcripts().last().unwrap().1.clone();
    assert_eq!(last, "I see. Tell me more.", "it heard the caller, and answered");
}

#[test]
fn a_farewell_asked_of_the_first_one_is_said_by_the_second() {
    let mut world = World::active();
    world.server(&response_created("R1"));
    world.server(&tool_call("R1", "end_call"));
    world.server(&response_done("R1", "completed"));
    dialled(&mut world, openai()).unwrap();
    ready(&mut world);
    let create = world.ports.requests.last().unwrap();
    assert!(create["response"]["instructions"].as_str().unwrap().contains("Say goodbye"), "{create}");
    assert_eq!(world.ports.requested_of.last(), Some(&SECOND));
}

#[test]
fn what_cannot_take_over_is_not_opened() {
    let mut world = speaking();
    dialled(&mut world, openai()).unwrap();
    assert_eq!(dialled(&mut world, openai()), Err(SuccessorError::Pending));
    hang_up(&mut world);
    assert_eq!(dialled(&mut world, openai()), Err(SuccessorError::Ended));

    let agent = Agent::parse("g711:\n  passthrough: true\n").unwrap();
    let offer = OFFER
        .replace("SAVPF 111", "SAVPF 0")
        .replace("a=rtpmap:111 opus/48000/2", "a=rtpmap:0 PCMU/8000")
        .replace("a=fmtp:111 maxaveragebitrate=20000;maxplaybackrate=16000;minptime=20;useinbandfec=1\r\n", "");
    let mut world = World::active_with(Start { agent, offer, ..Start::default() });
    assert_eq!(dialled(&mut world, Box::new(Embedded::new())), Err(SuccessorError::Format));
    assert_eq!(world.ports.opened, [FIRST]);
}
