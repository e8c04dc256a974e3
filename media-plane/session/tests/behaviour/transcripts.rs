//! Both sides' words: pieces while they come, final once said and heard.

use serde_json::json;
use voicebridge_session::{EventKind, Input, Limits, Speaker, Termination, TerminationResult};

use crate::harness::{World, speech_started, speech_stopped, text_delta};

#[test]
fn the_callers_words_come_in_pieces_and_then_whole() {
    let mut world = World::active();
    world.server(&speech_started(300));
    world.server(&speech_stopped(1_900));
    let kind = "conversation.item.input_audio_transcription";
    world.server(&json!({"type": format!("{kind}.delta"), "item_id": "U1", "content_index": 0, "delta": "Good \"mor"}));
    world.server(&json!({"type": format!("{kind}.delta"), "item_id": "U1", "content_index": 0, "delta": "ning\""}));
    world.server(&json!({"type": format!("{kind}.completed"), "item_id": "U1", "content_index": 0,
        "transcript": "Good \"morning\"", "usage": {"type": "duration", "seconds": 1.6}}));
    world.server(&json!({"type": format!("{kind}.completed"), "item_id": "U2", "content_index": 0,
        "transcript": "Olá", "usage": {"type": "tokens", "total_tokens": 40, "input_tokens": 30, "output_tokens": 10}}));
    let partial: Vec<&str> = world
        .kinds()
        .filter_map(|kind| match kind {
            EventKind::PartialTranscript { speaker: Speaker::Caller, delta, .. } => Some(delta.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(partial, ["Good \"mor", "ning\""]);
    assert_eq!(
        world.transcripts(),
        [(Speaker::Caller, "Good \"morning\"".into(), false), (Speaker::Caller, "Olá".into(), false)]
    );
    assert_eq!((world.session.usage().transcription_ms, world.session.usage().transcription_tokens), (1_600, 40));
    assert!(world.kinds().any(|kind| *kind == EventKind::CallerSpeechStarted { audio_ms: 300 }));
    assert!(world.kinds().any(|kind| *kind == EventKind::CallerSpeechStopped { audio_ms: 1_900 }));
}

#[test]
fn the_agents_words_are_final_when_they_were_heard() {
    let mut world = World::active();
    world.reply("R1", "A1", "It is a quarter past nine.", 1_500);
    world.run_ms(1_000);
    assert!(world.transcripts().is_empty(), "generated is not heard");
    world.run_ms(1_000);
    assert_eq!(world.transcripts(), [(Speaker::Agent, "It is a quarter past nine.".into(), false)]);
}

#[test]
fn a_hang_up_in_the_middle_leaves_what_was_heard() {
    let mut world = World::active();
    world.reply("R1", "A1", "one two three four five six seven eight", 4_000);
    world.run_ms(2_000);
    world.input(Input::End(Termination {
        result: TerminationResult::Completed,
        reason: "USER_HANGUP".into(),
        message: "the caller hung up".into(),
        upstream_code: String::new(),
    }));
    let transcripts = world.transcripts();
    assert_eq!(transcripts.len(), 1);
    assert!(transcripts[0].2 && transcripts[0].1.starts_with("one two three"), "{transcripts:?}");
    assert!(!transcripts[0].1.contains("six"), "{transcripts:?}");
    world.ending();
}

#[test]
fn words_without_a_voice_are_not_said() {
    let mut world = World::active();
    world.server(&crate::harness::response_created("R1"));
    world.server(&text_delta("R1", "A1", "thinking aloud"));
    world.server(&crate::harness::response_done("R1", "completed"));
    world.run_ms(500);
    assert!(world.transcripts().is_empty());
}

/// An event says only so much, whoever says it: one that is too large for its reader is lost, and everything after it.
#[test]
fn words_of_both_sides_are_bounded_in_pieces_and_as_a_whole() {
    let mut world = World::active();
    let most = Limits::default().transcript_bytes;
    let words = "é".repeat(most);
    let user = "conversation.item.input_audio_transcription";
    world.server(&json!({"type": format!("{user}.delta"), "item_id": "u1", "delta": words}));
    world.server(&json!({"type": format!("{user}.completed"), "item_id": "u1", "transcript": words}));
    world.server(&json!({"type": "response.created", "response": {"id": "r1", "status": "in_progress"}}));
    world.server(&json!({"type": "response.output_audio_transcript.delta", "response_id": "r1", "item_id": "i1",
        "delta": words}));
    let said: Vec<usize> = world
        .kinds()
        .filter_map(|kind| match kind {
            EventKind::PartialTranscript { delta, .. } => Some(delta.len()),
            EventKind::Transcript { text, .. } => Some(text.len()),
            _ => None,
        })
        .collect();
    assert_eq!(said, [most; 3]);
}
