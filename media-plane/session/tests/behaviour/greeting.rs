//! The greeting is prepared while the call is being answered and played from its first word after ACCEPTED.

use voicebridge_session::{Agent, Command, Speaker, TerminationResult};

use crate::harness::{
    Start, World, audio_delta, audio_done, response_created_for, response_done, server_error, session_created,
    session_updated, text_done,
};

#[test]
fn the_configuration_goes_out_when_the_socket_opens_and_the_greeting_when_it_is_confirmed() {
    let mut world = World::call();
    assert!(world.ports.requests.is_empty());
    world.opened();
    let update = &world.requests("session.update")[0]["session"];
    assert_eq!(update["type"], "realtime");
    assert_eq!(update["audio"]["input"]["format"]["rate"], 24_000);
    assert_eq!(update["audio"]["input"]["turn_detection"]["silence_duration_ms"], 500);
    assert_eq!(update["audio"]["input"]["transcription"]["model"], "gpt-transcribe");
    assert_eq!(update["audio"]["output"]["voice"], "marin");
    assert_eq!(update["tools"][0]["name"], "end_call");
    world.server(&session_created());
    assert!(world.requests("response.create").is_empty(), "not before the configuration is confirmed");
    assert!(!world.session.provider_ready());
    world.server(&session_updated());
    assert!(world.session.provider_ready());
    let create = world.requests("response.create")[0];
    let instructions = create["response"]["instructions"].as_str().unwrap();
    assert!(instructions.contains("Hello, how can I help you?"), "{instructions}");
    assert!(
        instructions.contains(Agent::default().instructions.trim_end()),
        "its own instructions replace the session's"
    );
    assert_eq!(create["response"]["tool_choice"], "none");
    world.server(&session_updated());
    assert_eq!(world.requests("response.create").len(), 1, "once");
}

#[test]
fn prepared_before_the_call_is_accepted_and_heard_whole_after() {
    let mut world = World::ready();
    let create = world.requests("response.create")[0].clone();
    world.server(&response_created_for("R1", &create));
    world.server(&audio_delta("R1", "A1", 1_000));
    world.server(&audio_done("R1", "A1"));
    world.server(&text_done("R1", "A1", "Hello, how can I help you?"));
    world.server(&response_done("R1", "completed"));
    world.run_ms(800);
    assert!(world.ports.rtp.is_empty());

    world.accept();
    world.run_ms(1_500);
    assert_eq!(world.session.statistics().played_ms, 1_000);
    let voice = world.voice_ms(0);
    assert!((980..=1_080).contains(&voice), "{voice} ms of voice");
    assert!(voicebridge_audio::level::rms_dbfs(&world.heard(0)[480..1_440]) > -40.0, "from the first word");
    assert_eq!(world.transcripts(), [(Speaker::Agent, "Hello, how can I help you?".into(), false)]);
}

#[test]
fn a_greeting_that_is_refused_three_times_is_said_by_a_clip() {
    let mut world = World::ready();
    world.accept();
    for count in 1..=3 {
        let create = (*world.requests("response.create").last().unwrap()).clone();
        assert_eq!(world.requests("response.create").len(), count);
        let text = "Rate limit reached for the model. Please try again in 1.2s.";
        world.server(&server_error("rate_limit_exceeded", text, create["event_id"].as_str()));
        world.caller_is_quiet_ms(1_300);
    }
    assert_eq!(world.requests("response.create").len(), 3);
    let codes: Vec<String> = world.incidents().into_iter().map(|(_, code)| code).collect();
    assert_eq!(codes, ["rate_limit_exceeded"; 3]);
    world.caller_is_quiet_ms(3_000);
    assert_eq!(world.transcripts(), [(Speaker::Agent, "Hello, how can I help you?".into(), false)]);
    assert!(world.voice_ms(0) > 1_000, "{} ms", world.voice_ms(0));
    assert!(world.session.termination().is_none());
}

#[test]
fn a_greeting_said_by_a_clip_is_not_waited_for_any_more() {
    for (code, text, attempts) in
        [("rate_limit_exceeded", "Please try again in 1s.", 3), ("invalid_value", "Invalid.", 1)]
    {
        let mut world = World::ready();
        world.accept();
        for _ in 0..attempts {
            let create = (*world.requests("response.create").last().unwrap()).clone();
            world.server(&server_error(code, text, create["event_id"].as_str()));
            world.caller_is_quiet_ms(1_100);
        }
        world.caller_is_quiet_ms(16_000);
        assert_eq!(world.transcripts().len(), 1, "{code}: {:?}", world.transcripts());
        let silent = world.incidents().iter().filter(|(reason, _)| *reason == "PROVIDER_SILENT").count();
        assert_eq!(silent, 0, "{code}");
        assert!(world.session.termination().is_none());
    }
}

#[test]
fn a_greeting_that_is_being_generated_when_audio_begins_to_flow_is_heard_once() {
    let mut world = World::ready();
    let create = world.requests("response.create")[0].clone();
    world.server(&response_created_for("R1", &create));
    world.accept();
    world.server(&audio_delta("R1", "A1", 1_000));
    world.server(&audio_done("R1", "A1"));
    world.server(&text_done("R1", "A1", "Hello, how can I help you?"));
    world.server(&response_done("R1", "completed"));
    world.caller_is_quiet_ms(16_000);
    assert_eq!(world.transcripts().len(), 1, "{:?}", world.transcripts());
    assert!(world.incidents().is_empty(), "{:?}", world.incidents());
}

#[test]
fn a_greeting_that_waits_for_the_call_to_be_answered_is_not_missed_for_what_came_after_it() {
    let mut world = World::ready();
    let create = world.requests("response.create")[0].clone();
    world.server(&response_created_for("R1", &create));
    world.server(&audio_delta("R1", "A1", 1_000));
    world.finish_reply("R1", "A1", "Hello, how can I help you?");
    world.command(Command::Say("One moment.".into()));
    let create = (*world.requests("response.create").last().unwrap()).clone();
    world.server(&response_created_for("R2", &create));
    world.accept();
    world.server(&response_done("R2", "cancelled"));
    world.caller_is_quiet_ms(16_000);
    assert!(world.incidents().is_empty(), "{:?}", world.incidents());
    assert_eq!(world.transcripts().len(), 1, "{:?}", world.transcripts());
}

#[test]
fn an_empty_greeting_lets_the_caller_begin() {
    let agent = Agent::parse("greeting: \"\"\n").unwrap();
    let world = World::ready_with(Start { agent, ..Start::default() });
    assert!(world.requests("response.create").is_empty());
}

#[test]
fn formats_that_are_not_what_was_asked_for_end_the_session() {
    let mut world = World::call();
    world.opened();
    let mut updated = session_updated();
    updated["session"]["audio"]["output"]["format"] = serde_json::json!({"type": "audio/pcmu"});
    world.server(&updated);
    assert_eq!(world.ending(), (TerminationResult::Failed, "PROVIDER_SESSION_FAILED".into(), "format_mismatch".into()));
}

#[test]
fn a_language_is_a_hint_for_model_and_transcription() {
    let agent = Agent::parse("language: pt-BR\nend_call:\n  enabled: false\n").unwrap();
    let world = World::ready_with(Start { agent, ..Start::default() });
    let session = &world.requests("session.update")[0]["session"];
    assert_eq!(session["audio"]["input"]["transcription"]["languages"], serde_json::json!(["pt"]));
    assert!(session["instructions"].as_str().unwrap().contains("pt-BR"));
    assert_eq!(session["tools"], serde_json::json!([]));
}
