//! One response at a time: ours waits for the server's own, is asked for again after a refusal, and is not waited for
//! for ever.

use voicebridge_session::Command;

use crate::harness::{
    World, audio_delta, response_created, response_created_for, response_done, response_failed, server_error,
    speech_started,
};

fn say(world: &mut World, text: &str) {
    world.command(Command::Say(text.into()));
}

#[test]
fn ours_waits_until_the_servers_response_is_done() {
    let mut world = World::active();
    world.server(&response_created("V1"));
    say(&mut world, "One moment please.");
    assert!(world.requests("response.create").is_empty());
    world.server(&response_done("V1", "completed"));
    let creates = world.requests("response.create");
    assert_eq!(creates.len(), 1);
    assert!(creates[0]["response"]["instructions"].as_str().unwrap().ends_with("One moment please."));
}

#[test]
fn ours_is_asked_for_again_after_losing_the_race() {
    let mut world = World::active();
    say(&mut world, "One moment please.");
    let create = world.requests("response.create")[0].clone();
    world.server(&response_created("V1"));
    let event_id = create["event_id"].as_str().unwrap();
    world.server(&server_error("conversation_already_has_active_response", "in progress", Some(event_id)));
    assert_eq!(world.requests("response.create").len(), 1);
    world.server(&response_done("V1", "completed"));
    let creates = world.requests("response.create");
    assert_eq!(creates.len(), 2);
    assert_eq!(creates[1]["response"]["instructions"], create["response"]["instructions"]);
    assert_ne!(creates[1]["event_id"], create["event_id"]);
    assert!(world.incidents().is_empty(), "part of the game");
}

#[test]
fn commands_queue_in_order() {
    let mut world = World::active();
    for (index, words) in ["first", "second", "third"].iter().enumerate() {
        say(&mut world, words);
        assert_eq!(world.requests("response.create").len(), 1, "after {index}");
    }
    for (index, words) in ["first", "second", "third"].iter().enumerate() {
        let create = (*world.requests("response.create").last().unwrap()).clone();
        assert!(create["response"]["instructions"].as_str().unwrap().ends_with(words));
        world.server(&response_created_for(&format!("R{index}"), &create));
        world.server(&response_done(&format!("R{index}"), "completed"));
    }
    assert_eq!(world.requests("response.create").len(), 3);
}

#[test]
fn an_interruption_before_ours_began_cancels_it_when_it_does() {
    let mut world = World::active();
    say(&mut world, "A long explanation.");
    let create = world.requests("response.create")[0].clone();
    world.server(&speech_started(100));
    assert!(world.requests("response.cancel").is_empty());
    world.server(&response_created_for("R1", &create));
    assert_eq!(world.requests("response.cancel")[0]["response_id"], "R1");
    world.server(&audio_delta("R1", "A1", 500));
    world.run_ms(1_000);
    assert_eq!(world.voice_ms(0), 0);
}

#[test]
fn what_never_begins_is_asked_for_twice_more_and_then_refused() {
    let mut world = World::active();
    say(&mut world, "Hello?");
    world.caller_speaks_ms(4_000);
    assert_eq!(world.incidents(), [("PROVIDER_ERROR", "response_timeout".to_owned())]);
    assert_eq!(world.requests("response.create").len(), 2);
    world.caller_speaks_ms(6_000);
    assert_eq!(world.incidents(), vec![("PROVIDER_ERROR", "response_timeout".to_owned()); 3]);
    assert_eq!(world.requests("response.create").len(), 3);
    world.run_ms(8_000);
    assert!(world.session.termination().is_none(), "it was an operator's, whom the incidents tell");
}

#[test]
fn a_failed_reply_is_tried_again_twice_after_the_pauses_of_a_refused_one() {
    let mut world = World::active();
    world.server(&response_created("V1"));
    world.server(&response_failed("V1", "server_error"));
    for (id, pause_ms, count) in [("R1", 1_000, 1), ("R2", 2_000, 2)] {
        world.run_ms(pause_ms - 10);
        assert_eq!(world.requests("response.create").len(), count - 1);
        world.run_ms(20);
        assert_eq!(world.requests("response.create").len(), count);
        let create = (*world.requests("response.create").last().unwrap()).clone();
        world.server(&response_created_for(id, &create));
        world.server(&response_failed(id, "server_error"));
    }
    assert_eq!(world.incidents().last().unwrap(), &("PROVIDER_LOST", "server_error".to_owned()));
}

#[test]
fn a_rate_limit_is_waited_out() {
    let mut world = World::active();
    world.server(&serde_json::json!({"type": "rate_limits.updated", "rate_limits": [
        {"name": "requests", "limit": 100, "remaining": 99, "reset_seconds": 600.0},
        {"name": "tokens", "limit": 40000, "remaining": 0, "reset_seconds": 3.5}]}));
    world.server(&response_created("V1"));
    world.server(&response_failed("V1", "rate_limit_exceeded"));
    world.run_ms(3_400);
    assert!(world.requests("response.create").is_empty());
    world.run_ms(200);
    assert_eq!(world.requests("response.create").len(), 1);
    assert_eq!(world.incidents(), [("PROVIDER_ERROR", "rate_limit_exceeded".to_owned())]);
}
