//! Conversations that have gone wrong with systems of this kind, from their first message to how they have to end.

use voicebridge_session::{EventKind, ProviderClosed, Speaker, TerminationResult};

use crate::harness::{
    World, audio_delta, audio_done, committed, response_created, response_done, speech_started, speech_stopped,
    text_delta, text_done, tool_call, user_words,
};

/// The caller speaks for a second and a half; the server reports it and takes it for a turn.
fn turn(world: &mut World) {
    world.server(&speech_started(0));
    world.caller_speaks_ms(1_000);
    world.caller_is_quiet_ms(500);
    world.server(&speech_stopped(1_500));
    world.server(&committed());
}

/// When the caller heard a voice or a sound of ours: the beginning of each stretch, milliseconds.
fn sounds(world: &World) -> Vec<u64> {
    let heard = world.heard(0);
    let loud = heard.chunks(480).map(|frame| voicebridge_audio::level::rms_dbfs(frame) > -50.0);
    let mut starts = Vec::new();
    let mut quiet_frames = 50;
    for (index, loud) in loud.enumerate() {
        if loud && quiet_frames >= 10 {
            starts.push(world.ports.rtp[index].at_ms);
        }
        quiet_frames = if loud { 0 } else { quiet_frames + 1 };
    }
    starts
}

/// The longest silence that nothing among the events explains, milliseconds: nobody speaks, and no incident is told.
fn longest_unexplained_silence_ms(world: &World) -> u64 {
    let told = world.ports.events.iter().filter(|event| {
        let kind = &event.kind;
        matches!(
            kind,
            EventKind::Incident { .. }
                | EventKind::CallerSpeechStarted { .. }
                | EventKind::CallerSpeechStopped { .. }
                | EventKind::Ended { .. }
        )
    });
    let mut moments: Vec<u64> = told.map(|event| event.at.as_millis()).chain(sounds(world)).collect();
    moments.sort_unstable();
    moments.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
}

#[test]
fn three_turns_that_the_server_swallows() {
    let mut world = World::active();
    world.caller_is_quiet_ms(1_000);
    let mut committed_at = Vec::new();
    for _ in 0..3 {
        turn(&mut world);
        committed_at.push(world.ports.now_ms);
        world.caller_is_quiet_ms(6_400);
    }
    world.caller_is_quiet_ms(15_000);
    let sounds = sounds(&world);
    for at in committed_at {
        let cue = sounds.iter().any(|sound| (1_480..=1_560).contains(&sound.saturating_sub(at)));
        assert!(cue, "a cue 1.5 s after {at}: {sounds:?}");
    }
    assert!(!world.requests("response.create").is_empty(), "an answer is asked for");
    assert_eq!(world.transcripts().last().unwrap().1, "I am sorry, I have to end this call.");
    assert_eq!(world.ending().1, "PROVIDER_LOST");
    let silence_ms = longest_unexplained_silence_ms(&world);
    assert!(silence_ms <= 4_000, "{silence_ms} ms");
}

#[test]
fn a_reply_that_begins_and_says_nothing() {
    let mut world = World::active();
    turn(&mut world);
    world.server(&response_created("R1"));
    world.caller_is_quiet_ms(20_000);
    assert_eq!(world.requests("response.cancel")[0]["response_id"], "R1", "cancelled first");
    let kinds = world.request_kinds(0);
    let position = |kind: &str| kinds.iter().position(|other| *other == kind);
    let cancelled = position("response.cancel").unwrap();
    assert!(position("response.create").is_none_or(|asked| cancelled < asked), "{kinds:?}");
    assert_eq!(world.ending().1, "PROVIDER_LOST");
    let silence_ms = longest_unexplained_silence_ms(&world);
    assert!(silence_ms <= 4_000, "{silence_ms} ms");
}

#[test]
fn a_reply_that_stops_in_the_middle_of_its_words() {
    let mut world = World::active();
    turn(&mut world);
    world.server(&response_created("R1"));
    world.server(&audio_delta("R1", "A1", 2_000));
    world.server(&text_delta("R1", "A1", "one two three four"));
    world.caller_is_quiet_ms(1_000);
    world.closed(ProviderClosed::Closed { code: 1_011, reason: "server error" });
    world.caller_is_quiet_ms(8_000);
    assert_eq!(
        world.transcripts(),
        [
            (Speaker::Agent, "one two".into(), true),
            (Speaker::Agent, "I am sorry, I have to end this call.".into(), false)
        ]
    );
    let (result, reason, code) = world.ending();
    assert_eq!((result, &*reason, &*code), (TerminationResult::Failed, "PROVIDER_LOST", "closed_1011"));
}

#[test]
fn a_goodbye_into_the_goodbye() {
    let mut world = World::active();
    world.server(&response_created("R1"));
    world.server(&audio_delta("R1", "A1", 2_000));
    world.server(&audio_done("R1", "A1"));
    world.server(&text_done("R1", "A1", "Thank you for your call. Goodbye!"));
    world.server(&tool_call("R1", "end_call"));
    world.server(&response_done("R1", "completed"));
    world.caller_is_quiet_ms(800);
    world.server(&speech_started(9_000));
    world.caller_speaks_ms(400);
    world.server(&speech_stopped(9_400));
    world.server(&committed());
    world.server(&response_created("R2"));
    world.server(&user_words("Bye!"));
    world.server(&audio_delta("R2", "A2", 1_500));
    world.server(&response_done("R2", "cancelled"));
    world.caller_is_quiet_ms(3_000);
    assert_eq!(world.ending(), (TerminationResult::Completed, "AGENT_HANGUP".into(), String::new()));
    assert_eq!(world.session.statistics().played_ms, 2_000, "its words, whole, and no others");
    let words: Vec<_> = world.transcripts().into_iter().map(|(speaker, text, _)| (speaker, text)).collect();
    let farewell = "Thank you for your call. Goodbye!".to_owned();
    assert_eq!(words, [(Speaker::Caller, "Bye!".to_owned()), (Speaker::Agent, farewell)]);
}

#[test]
fn a_long_farewell_that_comes_after_the_hang_up() {
    let mut world = World::active();
    world.server(&response_created("R1"));
    world.server(&tool_call("R1", "end_call"));
    for _ in 0..7 {
        world.server(&audio_delta("R1", "A1", 2_000));
        world.caller_is_quiet_ms(400);
    }
    world.finish_reply("R1", "A1", "All the best to you and yours, until next time.");
    world.caller_is_quiet_ms(13_000);
    assert_eq!(world.ending().1, "AGENT_HANGUP");
    assert_eq!(world.session.statistics().played_ms, 14_000);
    assert!(!world.transcripts()[0].2, "not cut");
}
