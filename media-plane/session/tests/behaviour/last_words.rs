//! The caller speaks while the AI hangs up: a "bye" does not keep the call, a question does.

use serde_json::json;
use voicebridge_session::{Agent, BargeIn, ProviderClosed, Reversible, TerminationResult};

use crate::harness::{
    Start, World, audio_delta, audio_done, committed, response_created, response_created_for, response_done,
    response_failed, speech_started, speech_stopped, text_done, tool_call, user_words,
};

const FAREWELL: &str = "Goodbye and thank you for calling.";

fn immediate() -> Agent {
    Agent::default()
}

fn reversible() -> Agent {
    Agent { barge_in: BargeIn::Reversible(Reversible::default()), ..Agent::default() }
}

/// Two seconds of goodbye with the tool call in one response, half a second of which was played.
fn hanging_up(agent: Agent) -> World {
    let mut world = World::active_with(Start { agent, ..Start::default() });
    say_goodbye(&mut world, "R1", "A1");
    world.caller_is_quiet_ms(500);
    world
}

fn say_goodbye(world: &mut World, response: &str, item: &str) {
    world.server(&response_created(response));
    world.server(&audio_delta(response, item, 2_000));
    world.server(&audio_done(response, item));
    world.server(&text_done(response, item, FAREWELL));
    world.server(&tool_call(response, "end_call"));
    world.server(&response_done(response, "completed"));
}

/// A turn of the caller's, so many milliseconds of it voice.
fn turn(world: &mut World, voice_ms: u64) {
    world.server(&speech_started(1_000));
    world.caller_speaks_ms(voice_ms);
    world.caller_is_quiet_ms(500);
    world.server(&speech_stopped(2_000));
    world.server(&committed());
}

fn is_over(world: &mut World) -> bool {
    world.caller_is_quiet_ms(4_000);
    world.session.termination().is_some()
}

fn told_of_keeping(world: &World) -> usize {
    let outputs = world.requests("conversation.item.create");
    outputs.iter().filter(|create| create["item"]["output"].as_str().is_some_and(|it| it.contains("not ended"))).count()
}

#[test]
fn a_bye_over_the_farewell_does_not_keep_the_call() {
    for agent in [immediate(), reversible()] {
        let mut world = hanging_up(agent);
        world.server(&speech_started(9_000));
        world.caller_speaks_ms(300);
        world.server(&speech_stopped(9_400));
        world.server(&user_words("Bye!"));
        world.caller_is_quiet_ms(4_000);
        assert_eq!(world.ending(), (TerminationResult::Completed, "AGENT_HANGUP".into(), String::new()));
        assert_eq!(world.session.statistics().played_ms, 2_000, "heard whole");
        assert_eq!(told_of_keeping(&world), 0);
    }
}

#[test]
fn words_that_are_no_goodbye_keep_the_call_and_are_answered() {
    for agent in [immediate(), reversible()] {
        let mut world = hanging_up(agent);
        world.server(&speech_started(1_000));
        world.caller_speaks_ms(600);
        assert!(world.voice_ms(0) > 1_000, "the farewell goes on until the words are known");
        world.caller_is_quiet_ms(300);
        world.server(&speech_stopped(2_000));
        world.server(&committed());
        let sent = world.ports.rtp.len();
        world.server(&user_words("Wait, what about my order?"));
        assert_eq!(told_of_keeping(&world), 1);
        world.caller_is_quiet_ms(1_000);
        assert!(world.voice_ms(sent) <= 40, "silent at once");
        world.server(&response_created("R2"));
        world.server(&audio_delta("R2", "A2", 500));
        world.finish_reply("R2", "A2", "It is on its way.");
        assert!(!is_over(&mut world), "the call goes on");
        assert_eq!(world.transcripts().last().unwrap().1, "It is on its way.");
        say_goodbye(&mut world, "R3", "A3");
        assert!(is_over(&mut world), "and can be hung up on later");
    }
}

#[test]
fn the_answer_to_a_goodbye_is_not_heard() {
    let mut world = hanging_up(immediate());
    turn(&mut world, 200);
    world.server(&response_created("R2"));
    assert_eq!(world.requests("response.cancel").last().unwrap()["response_id"], "R2");
    world.server(&audio_delta("R2", "A2", 3_000));
    world.server(&user_words("Okay, bye bye, thank you!"));
    world.server(&response_done("R2", "cancelled"));
    assert!(is_over(&mut world));
    assert_eq!(world.session.statistics().played_ms, 2_000, "the farewell, and nothing more");
    assert_eq!(world.ending().1, "AGENT_HANGUP");
}

#[test]
fn an_answer_that_was_stopped_before_the_words_were_known_is_asked_for_again() {
    let mut world = hanging_up(immediate());
    turn(&mut world, 400);
    world.server(&response_created("R2"));
    world.server(&response_done("R2", "cancelled"));
    assert!(world.requests("response.create").is_empty());
    world.server(&user_words("Sorry, one more thing."));
    let creates = world.requests("response.create");
    assert_eq!(creates.len(), 1);
    let create = creates[0].clone();
    world.server(&response_created_for("R3", &create));
    world.server(&audio_delta("R3", "A3", 500));
    world.finish_reply("R3", "A3", "Yes?");
    assert!(!is_over(&mut world));
    assert_eq!(world.transcripts().last().unwrap().1, "Yes?");
}

#[test]
fn the_words_of_an_earlier_turn_decide_nothing() {
    let mut world = hanging_up(immediate());
    world.server(&speech_started(1_000));
    world.server(&json!({"type": "conversation.item.input_audio_transcription.completed", "item_id": "U0",
        "content_index": 0, "transcript": "When do you open tomorrow?"}));
    world.caller_speaks_ms(200);
    world.server(&speech_stopped(1_400));
    world.server(&user_words("Bye."));
    assert!(is_over(&mut world));
}

#[test]
fn nothing_said_and_an_echo_of_ours_do_not_keep_the_call() {
    for words in ["", " ... ", "Thank you for calling.", "and thank you"] {
        let mut world = hanging_up(immediate());
        turn(&mut world, 1_500);
        world.server(&user_words(words));
        assert!(is_over(&mut world), "{words:?}");
    }
}

#[test]
fn without_words_voice_decides_after_a_second_and_a_half() {
    for (voice_ms, ends) in [(800, true), (1_600, false)] {
        for agent in [immediate(), reversible()] {
            let mut world = hanging_up(agent);
            turn(&mut world, voice_ms);
            world.caller_is_quiet_ms(1_400);
            assert!(world.session.termination().is_none(), "words may still come");
            assert_eq!(told_of_keeping(&world), 0);
            world.caller_is_quiet_ms(200);
            assert_eq!(told_of_keeping(&world), usize::from(!ends), "{voice_ms} ms");
            world.reply("R2", "A2", "Yes?", 500);
            assert_eq!(is_over(&mut world), ends, "{voice_ms} ms");
        }
    }
}

#[test]
fn a_call_is_kept_at_most_twice() {
    let mut world = hanging_up(immediate());
    for round in 2..5 {
        turn(&mut world, 400);
        world.server(&user_words("Wait, there is something else."));
        assert_eq!(told_of_keeping(&world), (round - 1).min(2));
        if round == 4 {
            break;
        }
        let (response, item) = (format!("R{round}"), format!("A{round}"));
        say_goodbye(&mut world, &response, &item);
        world.caller_is_quiet_ms(500);
    }
    assert!(is_over(&mut world), "the third time it ends");
    assert_eq!(world.ending().1, "AGENT_HANGUP");
}

#[test]
fn the_call_does_not_end_while_the_caller_speaks() {
    let mut world = hanging_up(immediate());
    world.server(&speech_started(1_000));
    world.caller_speaks_ms(6_000);
    assert!(world.session.termination().is_none(), "the farewell was over after 2 s");
    world.server(&speech_stopped(7_000));
    world.server(&user_words("Thank you so much, you too, have a nice day, bye bye."));
    world.run_ms(300);
    assert!(world.session.termination().is_some());
}

#[test]
fn a_turn_whose_end_is_never_reported_is_over_when_no_voice_was_heard_for_long() {
    let mut world = hanging_up(immediate());
    world.server(&speech_started(1_000));
    world.caller_speaks_ms(300);
    world.caller_is_quiet_ms(9_500);
    assert!(world.session.termination().is_none());
    world.caller_is_quiet_ms(1_000);
    assert_eq!(world.ending().1, "AGENT_HANGUP");
}

#[test]
fn a_farewell_the_server_stops_for_a_bye_is_heard_as_far_as_it_came() {
    let mut world = World::active();
    world.server(&response_created("R1"));
    world.server(&tool_call("R1", "end_call"));
    world.server(&audio_delta("R1", "A1", 1_500));
    world.caller_is_quiet_ms(200);
    world.server(&speech_started(200));
    world.server(&response_done("R1", "cancelled"));
    world.caller_speaks_ms(200);
    world.server(&speech_stopped(700));
    world.server(&user_words("bye"));
    assert!(is_over(&mut world));
    assert_eq!(world.session.statistics().played_ms, 1_500);
}

#[test]
fn a_goodbye_at_the_longest_duration_plays_on_over_a_sound() {
    let agent = Agent::parse("max_duration_s: 5\n").unwrap();
    let mut world = World::active_with(Start { agent, ..Start::default() });
    world.caller_is_quiet_ms(5_000);
    let create = (*world.requests("response.create").last().unwrap()).clone();
    world.server(&response_created_for("R1", &create));
    world.server(&audio_delta("R1", "A1", 2_000));
    world.finish_reply("R1", "A1", "Goodbye!");
    world.caller_is_quiet_ms(500);
    turn(&mut world, 600);
    world.server(&user_words("No, wait!"));
    assert!(is_over(&mut world));
    assert_eq!(world.session.statistics().played_ms, 2_000);
    assert_eq!(world.ending().1, "MAX_DURATION_REACHED");
}

#[test]
fn a_goodbye_that_was_stopped_before_a_word_is_asked_for_once_more() {
    let agent = Agent::parse("max_duration_s: 5\n").unwrap();
    let mut world = World::active_with(Start { agent, ..Start::default() });
    world.caller_is_quiet_ms(5_000);
    for round in 1..=2 {
        let creates = world.requests("response.create");
        assert_eq!(creates.len(), round);
        let create = (*creates.last().unwrap()).clone();
        let id = format!("R{round}");
        world.server(&response_created_for(&id, &create));
        world.server(&response_done(&id, "cancelled"));
    }
    assert!(is_over(&mut world), "twice is enough");
    assert_eq!(world.requests("response.create").len(), 2);
}

#[test]
fn a_call_whose_ai_is_gone_cannot_be_kept() {
    let mut world = hanging_up(immediate());
    world.server(&speech_started(1_000));
    world.caller_speaks_ms(1_400);
    world.closed(ProviderClosed::Closed { code: 1006, reason: "" });
    world.caller_is_quiet_ms(4_000);
    let (result, reason, _) = world.ending();
    assert_eq!((result, reason.as_str()), (TerminationResult::Completed, "AGENT_HANGUP"));
}

#[test]
fn an_answer_that_fails_after_the_call_was_kept_is_asked_for_again() {
    let mut world = World::active();
    world.server(&response_created("R1"));
    world.server(&tool_call("R1", "end_call"));
    world.server(&response_done("R1", "completed"));
    let create = (*world.requests("response.create").last().unwrap()).clone();
    world.server(&response_created_for("R2", &create));
    world.server(&audio_delta("R2", "A2", 2_000));
    world.finish_reply("R2", "A2", FAREWELL);
    world.caller_is_quiet_ms(500);
    turn(&mut world, 400);
    world.server(&user_words("Wait, what about my order?"));
    world.server(&response_created("R3"));
    world.server(&response_failed("R3", "server_error"));
    world.caller_is_quiet_ms(1_100);
    assert_eq!(world.requests("response.create").len(), 2, "{:?}", world.incidents());
}
