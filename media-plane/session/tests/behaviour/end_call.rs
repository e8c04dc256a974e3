//! The AI hangs up: its farewell is heard to the end first, and a caller who speaks into it keeps the call.

use voicebridge_session::{Agent, ProviderClosed, TerminationResult};

use crate::harness::{
    Start, World, audio_delta, audio_done, response_created, response_created_for, response_done, speech_started,
    speech_stopped, text_done, tool_call, user_words,
};

fn hung_up() -> (TerminationResult, String, String) {
    (TerminationResult::Completed, "AGENT_HANGUP".into(), String::new())
}

/// A response that says goodbye for two seconds and then calls the tool.
fn saying_goodbye() -> World {
    let mut world = World::active();
    world.server(&response_created("R1"));
    world.server(&audio_delta("R1", "A1", 2_000));
    world.server(&audio_done("R1", "A1"));
    world.server(&text_done("R1", "A1", "Goodbye and thank you."));
    world.server(&tool_call("R1", "end_call"));
    world.server(&response_done("R1", "completed"));
    world
}

#[test]
fn the_farewell_is_heard_before_the_end() {
    let mut world = saying_goodbye();
    world.run_ms(1_500);
    assert!(world.session.termination().is_none(), "still speaking");
    world.run_ms(2_000);
    assert_eq!(world.ending(), hung_up());
    assert_eq!(world.session.statistics().played_ms, 2_000);
    assert_eq!(world.transcripts()[0].1, "Goodbye and thank you.");
    assert!(world.requests("response.create").is_empty(), "it has said goodbye already");
    let packets = world.ports.rtp.len() as u64;
    assert!((2_150..2_400).contains(&(packets * 20)), "{packets} packets");
}

#[test]
fn a_hang_up_without_a_word_gets_one() {
    let mut world = World::active();
    world.server(&response_created("R1"));
    world.server(&tool_call("R1", "end_call"));
    let before = world.ports.requests.len();
    world.server(&response_done("R1", "completed"));
    assert_eq!(world.request_kinds(before), ["conversation.item.create", "response.create"]);
    let output = &world.ports.requests[before]["item"];
    assert_eq!((&output["type"], &output["call_id"]), (&"function_call_output".into(), &"call_1".into()));
    let create = world.ports.requests[before + 1].clone();
    assert_eq!(create["response"]["tool_choice"], "none", "or it may call again instead of speaking");
    world.run_ms(1_000);
    assert!(world.session.termination().is_none());
    world.server(&response_created_for("R2", &create));
    world.server(&audio_delta("R2", "A2", 800));
    world.finish_reply("R2", "A2", "Bye!");
    world.run_ms(2_000);
    assert_eq!(world.ending(), hung_up());
    assert_eq!(world.session.statistics().played_ms, 800);
}

#[test]
fn a_caller_who_speaks_keeps_the_call() {
    let mut world = saying_goodbye();
    world.run_ms(1_000);
    let before = world.ports.requests.len();
    world.server(&speech_started(900));
    assert!(world.request_kinds(before).is_empty(), "not before the words are known");
    world.server(&speech_stopped(1_600));
    world.server(&user_words("Wait, please!"));
    assert_eq!(world.request_kinds(before), ["conversation.item.create", "conversation.item.truncate"]);
    let output = world.ports.requests[before]["item"]["output"].as_str().unwrap();
    assert!(output.contains("not ended"), "{output}");
    world.caller_speaks_ms(1_000);
    world.reply("R2", "A2", "Of course.", 500);
    world.caller_speaks_ms(12_000);
    assert!(world.session.termination().is_none());
    world.server(&response_created("R3"));
    world.server(&audio_delta("R3", "A3", 500));
    world.server(&tool_call("R3", "end_call"));
    world.finish_reply("R3", "A3", "Bye now.");
    world.run_ms(3_000);
    assert_eq!(world.ending(), hung_up(), "and can be hung up on later");
}

#[test]
fn the_wait_for_the_farewell_is_bounded() {
    let mut world = World::active();
    world.server(&response_created("R1"));
    world.server(&tool_call("R1", "end_call"));
    world.run_ms(9_900);
    assert!(world.session.termination().is_none());
    assert_eq!(world.requests("response.create").len(), 1, "the silent response is given up, a farewell asked for");
    world.run_ms(4_000);
    assert_eq!(world.ending(), hung_up());
}

#[test]
fn a_farewell_of_fourteen_seconds_is_played_to_its_end() {
    let mut world = World::active();
    world.server(&response_created("R1"));
    world.server(&tool_call("R1", "end_call"));
    for _ in 0..7 {
        world.server(&audio_delta("R1", "A1", 2_000));
        world.run_ms(400);
    }
    world.finish_reply("R1", "A1", "Goodbye, and all the best for you and yours.");
    world.run_ms(20_000);
    assert_eq!(world.ending(), hung_up());
    assert_eq!(world.session.statistics().played_ms, 14_000);
    assert!(!world.transcripts()[0].2, "not cut: {:?}", world.transcripts());
}

#[test]
fn a_farewell_that_is_generated_no_faster_than_it_is_said_is_played_to_its_end() {
    let mut world = World::active();
    world.server(&response_created("R1"));
    world.server(&tool_call("R1", "end_call"));
    for _ in 0..30 {
        world.server(&audio_delta("R1", "A1", 500));
        world.run_ms(500);
    }
    world.finish_reply("R1", "A1", "Goodbye.");
    world.run_ms(2_000);
    assert_eq!(world.ending(), hung_up());
    assert_eq!(world.session.statistics().played_ms, 15_000);
}

#[test]
fn last_words_without_an_end_are_cut_after_a_minute() {
    let mut world = World::active();
    world.server(&response_created("R1"));
    world.server(&tool_call("R1", "end_call"));
    for _ in 0..70 {
        world.server(&audio_delta("R1", "A1", 1_000));
        world.caller_speaks_ms(1_000);
    }
    assert_eq!(world.ending(), hung_up());
    let played_ms = world.session.statistics().played_ms;
    assert!((59_000..=60_000).contains(&played_ms), "{played_ms}");
}

#[test]
fn an_ai_lost_while_it_hangs_up_is_no_failure() {
    let mut world = saying_goodbye();
    world.run_ms(500);
    world.closed(ProviderClosed::Closed { code: 1006, reason: "" });
    world.run_ms(3_000);
    assert_eq!(world.ending(), hung_up());
    assert_eq!(world.session.statistics().played_ms, 2_000, "the farewell is still heard");
}

#[test]
fn a_farewell_whose_end_was_lost_with_the_ai_is_over_once_it_was_played() {
    for code in [1006, 1011] {
        let mut world = World::active();
        world.server(&response_created("R1"));
        world.server(&tool_call("R1", "end_call"));
        world.server(&audio_delta("R1", "A1", 2_000));
        world.run_ms(500);
        world.closed(ProviderClosed::Closed { code, reason: "" });
        world.run_ms(2_000);
        assert!(world.session.termination().is_some(), "{code}: dead air after the last words");
        assert_eq!(world.ending(), hung_up());
        assert_eq!(world.session.statistics().played_ms, 2_000);
    }
}

#[test]
fn a_tool_nobody_offered_is_answered_and_the_ai_goes_on() {
    let agent = Agent::parse("end_call:\n  enabled: false\n").unwrap();
    for (agent, tool) in [(Agent::default(), "order_pizza"), (agent, "end_call")] {
        let mut world = World::active_with(Start { agent, ..Start::default() });
        world.server(&response_created("R1"));
        world.server(&tool_call("R1", tool));
        let before = world.ports.requests.len();
        world.server(&response_done("R1", "completed"));
        assert_eq!(world.request_kinds(before), ["response.create"]);
        let output = world.requests("conversation.item.create")[0]["item"]["output"].as_str().unwrap();
        assert!(output.contains("no such tool"), "{output}");
        world.run_ms(5_000);
        assert!(world.session.termination().is_none());
    }
}
