//! A reply of which next to nothing comes, or that breaks off in the middle: the caller is answered all the same.

use voicebridge_session::Speaker;

use crate::harness::{
    World, audio_delta, committed, g711_delta, response_created, response_created_for, response_done, speech_started,
    speech_stopped, tool_call,
};

fn asked() -> World {
    let mut world = World::active();
    world.server(&speech_started(0));
    world.caller_speaks_ms(1_000);
    world.caller_is_quiet_ms(500);
    world.server(&speech_stopped(1_500));
    world.server(&committed());
    world
}

fn silences(world: &World) -> usize {
    world.incidents().iter().filter(|(reason, _)| *reason == "PROVIDER_SILENT").count()
}

#[test]
fn audio_without_a_sample_is_no_answer() {
    for bytes in [&[][..], &[7]] {
        let mut world = asked();
        world.server(&response_created("R1"));
        world.server(&g711_delta("R1", "A1", bytes));
        world.caller_is_quiet_ms(4_100);
        assert_eq!(silences(&world), 1, "{} bytes", bytes.len());
    }
}

#[test]
fn a_moment_of_sound_of_a_response_nobody_knows_is_no_answer() {
    let mut world = asked();
    world.server(&audio_delta("R9", "A9", 20));
    world.caller_is_quiet_ms(4_300);
    assert_eq!(silences(&world), 1);
    assert_eq!(world.requests("response.create").len(), 1);
    world.caller_is_quiet_ms(6_200);
    assert_eq!(world.incidents().last().unwrap(), &("PROVIDER_LOST", "no_answer".to_owned()));
}

#[test]
fn a_reply_that_ends_with_a_moment_of_sound_is_still_owed() {
    let mut world = asked();
    world.server(&response_created("R1"));
    world.server(&audio_delta("R1", "A1", 180));
    world.finish_reply("R1", "A1", "");
    world.caller_is_quiet_ms(4_100);
    assert_eq!(silences(&world), 0, "counted from its end");
    world.caller_is_quiet_ms(300);
    assert_eq!(silences(&world), 1);
}

#[test]
fn a_short_word_is_an_answer() {
    let mut world = asked();
    world.server(&response_created("R1"));
    world.server(&audio_delta("R1", "A1", 120));
    world.finish_reply("R1", "A1", "Yes.");
    world.caller_is_quiet_ms(15_000);
    assert!(world.incidents().is_empty(), "{:?}", world.incidents());
}

#[test]
fn a_reply_that_breaks_off_is_asked_for_again() {
    let mut world = asked();
    world.server(&response_created("R1"));
    world.server(&audio_delta("R1", "A1", 1_000));
    world.caller_is_quiet_ms(8_100);
    assert_eq!(world.requests("response.cancel").len(), 1);
    world.caller_is_quiet_ms(1_000);
    let create = (*world.requests("response.create").last().expect("asked for again")).clone();
    let sent = world.ports.rtp.len();
    world.server(&response_created_for("R2", &create));
    world.server(&audio_delta("R2", "A2", 1_000));
    world.finish_reply("R2", "A2", "As I said.");
    world.caller_is_quiet_ms(15_000);
    assert!((980..=1_060).contains(&world.voice_ms(sent)), "{}", world.voice_ms(sent));
    assert_eq!(world.requests("response.create").len(), 1, "once");
    assert!(world.session.termination().is_none());
}

#[test]
fn a_reply_that_breaks_off_and_does_not_come_again_ends_with_an_apology() {
    let mut world = asked();
    world.server(&response_created("R1"));
    world.server(&audio_delta("R1", "A1", 1_000));
    world.caller_is_quiet_ms(30_000);
    assert_eq!(world.ending().1, "PROVIDER_LOST");
    assert_eq!(world.transcripts().last().unwrap().1, "I am sorry, I have to end this call.");
}

#[test]
fn a_greeting_of_a_moment_is_said_by_a_clip() {
    for ends in [true, false] {
        for late in [true, false] {
            let mut world = World::ready();
            let create = world.requests("response.create")[0].clone();
            if late {
                world.accept();
            }
            world.server(&response_created_for("R1", &create));
            world.server(&audio_delta("R1", "A1", 20));
            if ends {
                world.server(&response_done("R1", "completed"));
            }
            if !late {
                world.accept();
            }
            world.caller_is_quiet_ms(14_000);
            let greeting = (Speaker::Agent, "Hello, how can I help you?".to_owned(), false);
            assert_eq!(world.transcripts(), [greeting], "ends {ends}, late {late}");
            assert!(world.session.termination().is_none());
        }
    }
}

#[test]
fn a_hang_up_with_next_to_no_sound_gets_a_goodbye() {
    for sound in [&[][..], &[7], &[0; 960]] {
        let mut world = World::active();
        world.server(&response_created("R1"));
        world.server(&g711_delta("R1", "A1", sound));
        world.server(&tool_call("R1", "end_call"));
        world.server(&response_done("R1", "completed"));
        assert_eq!(world.requests("response.create").len(), 1, "after {} bytes", sound.len());
    }
}
