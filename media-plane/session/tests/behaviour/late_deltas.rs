//! What a cancelled response still sends is not heard, and does not leak into the next reply.

use voicebridge_session::{Agent, BargeIn, Reversible, Speaker};

use crate::harness::{
    Start, World, audio_delta, audio_done, committed, response_created, response_done, speech_started, speech_stopped,
    text_delta, text_done, tool_call,
};

fn interrupted() -> World {
    let mut world = World::active();
    world.server(&response_created("R1"));
    world.server(&audio_delta("R1", "A1", 2_000));
    world.server(&text_delta("R1", "A1", "one two three four"));
    world.run_ms(1_000);
    world.server(&speech_started(900));
    world.run_ms(100);
    world
}

#[test]
fn late_audio_and_words_of_a_cancelled_response_are_dropped() {
    let mut world = interrupted();
    let (sent, events) = (world.ports.rtp.len(), world.ports.events.len());
    world.server(&audio_delta("R1", "A1", 1_000));
    world.server(&text_delta("R1", "A1", " five six"));
    world.server(&audio_delta("R1", "A9", 1_000));
    world.server(&audio_done("R1", "A1"));
    world.server(&text_done("R1", "A1", "one two three four five six"));
    world.server(&tool_call("R1", "end_call"));
    assert_eq!(world.ports.events.len(), events, "nothing of it is reported");
    world.server(&response_done("R1", "cancelled"));
    world.run_ms(1_000);
    assert_eq!(world.voice_ms(sent), 0);
    assert_eq!(world.transcripts().len(), 1);
}

#[test]
fn late_audio_does_not_leak_into_the_next_reply() {
    let mut world = interrupted();
    world.server(&response_done("R1", "cancelled"));
    world.server(&response_created("R2"));
    let sent = world.ports.rtp.len();
    world.server(&audio_delta("R1", "A1", 3_000));
    world.server(&audio_delta("R2", "A2", 600));
    world.finish_reply("R2", "A2", "Yes.");
    world.run_ms(2_000);
    let voice = world.voice_ms(sent);
    assert!((580..=700).contains(&voice), "{voice} ms instead of 600");
    assert_eq!(world.transcripts().last().unwrap(), &(Speaker::Agent, "Yes.".into(), false));
}

#[test]
fn a_finished_response_that_was_flushed_stays_flushed() {
    let mut world = World::active();
    world.reply("R1", "A1", "one two three", 2_000);
    world.run_ms(500);
    world.server(&speech_started(400));
    let sent = world.ports.rtp.len();
    world.server(&audio_delta("R1", "A1", 500));
    world.run_ms(500);
    assert!(world.voice_ms(sent) <= 40);
}

#[test]
fn items_of_one_response_are_apart() {
    let mut world = World::active();
    world.server(&response_created("R1"));
    world.server(&audio_delta("R1", "A1", 400));
    world.server(&text_done("R1", "A1", "One moment."));
    world.server(&audio_delta("R1", "A2", 400));
    world.finish_reply("R1", "A2", "It is nine.");
    world.run_ms(1_500);
    assert_eq!(
        world.transcripts(),
        [(Speaker::Agent, "One moment.".into(), false), (Speaker::Agent, "It is nine.".into(), false)]
    );
}

#[test]
fn late_audio_of_a_response_that_is_over_does_not_make_the_ai_a_speaker_for_ever() {
    let agent = Agent { barge_in: BargeIn::Reversible(Reversible::default()), ..Agent::default() };
    let mut world = World::active_with(Start { agent, ..Start::default() });
    world.reply("R1", "A1", "one two three", 600);
    world.server(&audio_delta("R1", "A1", 200));
    world.server(&audio_delta("R1", "A2", 200));
    world.caller_is_quiet_ms(5_000);
    world.server(&speech_started(5_000));
    world.caller_speaks_ms(100);
    world.caller_is_quiet_ms(500);
    world.server(&speech_stopped(5_600));
    world.server(&committed());
    assert_eq!(world.requests("response.create").len(), 1, "the caller is answered");
    assert_eq!(world.session.statistics().played_ms, 600);
}
