//! Every path ends: each limit has its reason.

use voicebridge_session::{
    Agent, EventKind, Input, Limits, ReceiverReport, SignallingMode, Stage, Termination, TerminationResult,
};

use crate::harness::{Start, World, audio_delta, response_created_for};

fn ended_at(world: &World) -> u64 {
    world.ports.events.iter().find(|event| matches!(event.kind, EventKind::Ended { .. })).unwrap().at.as_millis()
}

fn check(world: &World, result: TerminationResult, reason: &str, at_ms: u64) {
    let (actual, why, _) = world.ending();
    assert_eq!((actual, why.as_str()), (result, reason));
    assert_eq!(ended_at(world), at_ms);
}

/// Nobody answers what it asks for.
fn without_greeting() -> Agent {
    Agent::parse("greeting: \"\"\n").unwrap()
}

#[test]
fn the_transport_has_ten_seconds_from_the_answers_delivery() {
    let mut world = World::ready_with(Start { agent: without_greeting(), ..Start::default() });
    world.run_ms(3_000);
    world.input(Input::Advance(Stage::AnswerDelivered));
    world.run_ms(20_000);
    check(&world, TerminationResult::Failed, "MEDIA_CONNECTION_TIMEOUT", 13_000);
}

#[test]
fn in_immediate_mode_from_the_start() {
    let mut world =
        World::ready_with(Start { agent: without_greeting(), mode: SignallingMode::Immediate, ..Start::default() });
    world.run_ms(20_000);
    check(&world, TerminationResult::Failed, "MEDIA_CONNECTION_TIMEOUT", 10_000);
}

#[test]
fn an_unanswered_call_ends_a_minute_after_its_webhook() {
    let mut world = World::ready_with(Start { agent: without_greeting(), elapsed_ms: 1_500, ..Start::default() });
    world.input(Input::Advance(Stage::AnswerDelivered));
    world.input(Input::TransportConnected);
    world.run_ms(100_000);
    check(&world, TerminationResult::Failed, "RING_TIMEOUT", 58_500);
}

#[test]
fn an_ai_that_never_confirms() {
    let mut world = World::call();
    world.opened();
    world.run_ms(20_000);
    check(&world, TerminationResult::Failed, "PROVIDER_SESSION_FAILED", 10_000);
    assert_eq!(world.ending().2, "timeout");
}

#[test]
fn a_caller_who_never_sends() {
    let mut world = World::active();
    world.run_ms(30_000);
    check(&world, TerminationResult::Failed, "MEDIA_TIMEOUT", 20_000);
}

#[test]
fn a_caller_who_stops_sending_has_longer() {
    let mut world = World::active();
    world.caller_speaks_ms(1_000);
    world.run_ms(70_000);
    check(&world, TerminationResult::Failed, "MEDIA_TIMEOUT", 60_980);
}

/// Reports of the far side, one each 5 s, and no packet of audio.
fn reports_for_ms(world: &mut World, ms: u64) {
    for _ in 0..ms / 5_000 {
        world.input(Input::ReceiverReport(ReceiverReport::default()));
        world.run_ms(5_000);
    }
}

#[test]
fn a_muted_caller_whose_transport_lives_keeps_the_call() {
    let mut world = World::active();
    reports_for_ms(&mut world, 120_000);
    assert!(world.session.termination().is_none(), "joined muted");
    let mut world = World::active();
    world.caller_speaks_ms(1_000);
    reports_for_ms(&mut world, 120_000);
    assert!(world.session.termination().is_none(), "muted in the call");
    world.run_ms(60_000);
    assert_eq!(world.ending().1, "MEDIA_TIMEOUT", "a minute after the last report");
}

#[test]
fn a_caller_who_is_silent_for_very_long_is_a_setting() {
    let limits = Limits { silent_caller_ms: 90_000, ..Limits::default() };
    let mut world = World::active_with(Start { limits, ..Start::default() });
    world.caller_speaks_ms(1_000);
    reports_for_ms(&mut world, 100_000);
    check(&world, TerminationResult::Failed, "MEDIA_TIMEOUT", 90_980);
    let message = &world.session.termination().unwrap().message;
    assert!(message.contains("no audio"), "{message}");

    let limits = Limits { silent_caller_ms: 0, ..limits };
    let mut world = World::active_with(Start { limits, ..Start::default() });
    reports_for_ms(&mut world, 600_000);
    assert!(world.session.termination().is_none(), "0 is never");
}

#[test]
fn a_lost_transport() {
    let mut world = World::active();
    world.run_ms(500);
    world.input(Input::TransportFailed("consent expired"));
    check(&world, TerminationResult::Failed, "MEDIA_TRANSPORT_LOST", 500);
    let message = &world.session.termination().unwrap().message;
    assert!(message.contains("consent expired"), "{message}");
}

#[test]
fn a_transport_that_fails_before_it_is_up() {
    let mut world = World::ready();
    world.input(Input::Advance(Stage::AnswerDelivered));
    world.run_ms(2_000);
    world.input(Input::TransportFailed("fingerprint mismatch"));
    check(&world, TerminationResult::Failed, "MEDIA_CONNECTION_TIMEOUT", 2_000);
    let message = &world.session.termination().unwrap().message;
    assert!(message.contains("fingerprint mismatch"), "{message}");
}

#[test]
fn a_caller_who_closes_the_transport_has_hung_up() {
    let mut world = World::active();
    world.run_ms(500);
    world.input(Input::TransportClosed);
    world.input(Input::TransportClosed);
    world.run_ms(3_000);
    check(&world, TerminationResult::Completed, "USER_HANGUP", 2_500);
}

#[test]
fn a_caller_who_closes_the_transport_before_the_answer_has_given_up() {
    let mut world = World::ready();
    world.input(Input::Advance(Stage::AnswerDelivered));
    world.input(Input::TransportConnected);
    world.run_ms(1_000);
    world.input(Input::TransportClosed);
    world.run_ms(3_000);
    check(&world, TerminationResult::Abandoned, "CALLER_ABANDONED", 3_000);
}

#[test]
fn signalling_that_follows_the_close_in_time_decides() {
    let mut world = World::active();
    world.run_ms(500);
    world.input(Input::TransportClosed);
    world.run_ms(1_900);
    world.input(Input::End(Termination {
        result: TerminationResult::Failed,
        reason: "META_FAILED".into(),
        message: String::new(),
        upstream_code: "138001".into(),
    }));
    check(&world, TerminationResult::Failed, "META_FAILED", 2_400);
}

fn with_a_limit_of_5_s() -> World {
    let agent = Agent::parse("max_duration_s: 5\n").unwrap();
    let mut world = World::active_with(Start { agent, ..Start::default() });
    world.caller_speaks_ms(5_000);
    world
}

#[test]
fn the_longest_duration_ends_with_a_goodbye() {
    let mut world = with_a_limit_of_5_s();
    let create = (*world.requests("response.create").last().unwrap()).clone();
    assert!(create["response"]["instructions"].as_str().unwrap().contains("Say goodbye"), "{create}");
    assert_eq!(create["response"]["tool_choice"], "none");
    let sent = world.ports.rtp.len();
    world.server(&response_created_for("R1", &create));
    world.server(&audio_delta("R1", "A1", 1_000));
    world.finish_reply("R1", "A1", "Goodbye!");
    world.run_ms(5_000);
    let (result, reason, _) = world.ending();
    assert_eq!((result, reason.as_str()), (TerminationResult::Completed, "MAX_DURATION_REACHED"));
    assert!((6_200..6_500).contains(&ended_at(&world)), "{}", ended_at(&world));
    assert!(world.voice_ms(sent) >= 980);
    assert_eq!(world.transcripts().last().unwrap().1, "Goodbye!");
}

/// The AI is in the middle of a reply of so many milliseconds when the longest duration is reached.
fn speaking_at_the_limit(ms: usize) -> World {
    let agent = Agent::parse("max_duration_s: 5\n").unwrap();
    let mut world = World::active_with(Start { agent, ..Start::default() });
    world.caller_speaks_ms(3_000);
    world.reply("R1", "A1", "a long explanation", ms);
    world.caller_speaks_ms(2_500);
    world
}

#[test]
fn what_is_being_said_at_the_longest_duration_is_finished_before_the_goodbye() {
    let mut world = speaking_at_the_limit(12_000);
    assert!(world.requests("response.create").is_empty(), "not yet");
    world.caller_is_quiet_ms(10_000);
    let create = (*world.requests("response.create").last().unwrap()).clone();
    assert!(create["response"]["instructions"].as_str().unwrap().contains("Say goodbye"), "{create}");
    world.server(&response_created_for("R2", &create));
    world.server(&audio_delta("R2", "A2", 3_000));
    world.finish_reply("R2", "A2", "Goodbye!");
    world.run_ms(5_000);
    assert_eq!(world.ending().1, "MAX_DURATION_REACHED");
    assert_eq!(world.session.statistics().played_ms, 15_000, "the reply and the goodbye, whole");
    let words: Vec<_> = world.transcripts().into_iter().map(|(_, text, cut)| (text, cut)).collect();
    assert_eq!(words, [("a long explanation".to_owned(), false), ("Goodbye!".to_owned(), false)]);
}

#[test]
fn a_reply_that_goes_on_after_the_longest_duration_is_cut_for_the_goodbye() {
    let mut world = speaking_at_the_limit(60_000);
    world.caller_is_quiet_ms(14_000);
    assert!(world.requests("response.create").is_empty(), "it has 15 s");
    world.caller_is_quiet_ms(1_000);
    let create = (*world.requests("response.create").last().unwrap()).clone();
    let played_ms = world.session.statistics().played_ms;
    assert!((16_900..=17_100).contains(&played_ms), "{played_ms}");
    let sent = world.ports.rtp.len();
    world.server(&response_created_for("R2", &create));
    world.server(&audio_delta("R2", "A2", 3_000));
    world.finish_reply("R2", "A2", "Goodbye!");
    world.run_ms(5_000);
    assert_eq!(world.ending().1, "MAX_DURATION_REACHED");
    assert!((2_980..=3_060).contains(&world.voice_ms(sent)), "{}", world.voice_ms(sent));
}

#[test]
fn a_goodbye_that_does_not_come_is_not_waited_for_for_ever() {
    let agent = Agent::parse("max_duration_s: 5\n").unwrap();
    let limits = Limits { farewell_ms: 2_500, ..Limits::default() };
    let mut world = World::active_with(Start { agent, limits, ..Start::default() });
    world.caller_speaks_ms(5_000);
    world.run_ms(20_000);
    check(&world, TerminationResult::Completed, "MAX_DURATION_REACHED", 7_500);
}

#[test]
fn limits_are_settings() {
    let limits = Limits { transport_ms: 700, ..Limits::default() };
    let mut world = World::ready_with(Start { limits, ..Start::default() });
    world.input(Input::Advance(Stage::Accepted));
    world.run_ms(5_000);
    check(&world, TerminationResult::Failed, "MEDIA_CONNECTION_TIMEOUT", 700);
}
