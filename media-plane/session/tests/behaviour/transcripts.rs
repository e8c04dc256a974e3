//! Both sides' words: pieces while they come, final once said and heard.

use std::collections::BTreeMap;

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

/// As the contract says: what one has is cut to the offset and added to, and a hole is a hole.
fn put_together<'a>(pieces: impl Iterator<Item = &'a EventKind>) -> BTreeMap<&'a str, String> {
    let mut texts: BTreeMap<&str, String> = BTreeMap::new();
    for piece in pieces {
        let EventKind::PartialTranscript { item_id, delta, offset, .. } = piece else { panic!("{piece:?}") };
        let text = texts.entry(item_id).or_default();
        let hole = std::iter::repeat_n('_', (*offset as usize).saturating_sub(text.chars().count()));
        *text = text.chars().take(*offset as usize).chain(hole).chain(delta.chars()).collect();
    }
    texts
}

#[test]
fn a_piece_that_gets_lost_leaves_a_gap_and_shifts_nothing() {
    let mut world = World::active();
    let kind = "conversation.item.input_audio_transcription.delta";
    world.server(&json!({"type": "response.created", "response": {"id": "R1", "status": "in_progress"}}));
    for (user, agent) in [("Olá, ", "Bom "), ("é a ", "dia \u{1f338} "), ("Ana", "Ana")] {
        world.server(&json!({"type": kind, "item_id": "U1", "content_index": 0, "delta": user}));
        world.server(&text_delta("R1", "A1", agent));
    }
    let pieces: Vec<&EventKind> =
        world.kinds().filter(|kind| matches!(kind, EventKind::PartialTranscript { .. })).collect();
    assert_eq!(pieces.len(), 6);
    let whole = BTreeMap::from([("A1", "Bom dia \u{1f338} Ana".to_owned()), ("U1", "Olá, é a Ana".to_owned())]);
    assert_eq!(put_together(pieces.iter().copied()), whole);
    for lost in 0..pieces.len() {
        let rest = pieces.iter().enumerate().filter(|(n, _)| *n != lost).map(|(_, piece)| *piece);
        for (item, text) in put_together(rest) {
            let expect = &whole[item];
            let same = text.chars().zip(expect.chars()).all(|(got, told)| got == told || got == '_');
            assert!(same && text.chars().count() <= expect.chars().count(), "{lost}: {text} of {expect}");
        }
    }
    // What came twice changes nothing either.
    assert_eq!(put_together(pieces.iter().flat_map(|piece| [*piece, *piece])), whole);
}

#[test]
fn words_have_their_place_in_the_call_and_their_language() {
    let mut world = World::active();
    let began = world.now().as_millis();
    world.run_ms(3_000);
    world.server(&json!({"type": "input_audio_buffer.speech_started", "item_id": "U1", "audio_start_ms": 500}));
    world.server(&json!({"type": "input_audio_buffer.speech_stopped", "item_id": "U1", "audio_end_ms": 1_700}));
    world.reply("R1", "A1", "It is a quarter past nine.", 1_500);
    world.run_ms(700);
    let user = "conversation.item.input_audio_transcription.completed";
    world.server(&json!({"type": user, "item_id": "U1", "transcript": "Que horas são?",
        "languages": [{"code": "pt"}, {"code": "es"}], "usage": {"type": "tokens", "total_tokens": 9}}));
    world.run_ms(2_000);
    world.server(&json!({"type": user, "item_id": "unheard of", "transcript": "Sim", "languages": "pt"}));
    let places: Vec<_> = world
        .kinds()
        .filter_map(|kind| match kind {
            EventKind::Transcript { speaker, began, ended, language, .. } => {
                Some((*speaker, began.as_millis(), ended.as_millis(), language.clone()))
            }
            _ => None,
        })
        .collect();
    let near = |ms: u64, expect: u64| ms.abs_diff(began + expect) <= 100;
    let [(Speaker::Caller, from, to, language), agent, late] = places.as_slice() else { panic!("{places:?}") };
    assert!(near(*from, 500) && near(*to, 1_700), "when it was said, not when its words came: {places:?}");
    assert_eq!(language, "pt");
    assert!(
        agent.0 == Speaker::Agent && near(agent.1, 3_050) && near(agent.2, 4_550) && agent.3.is_empty(),
        "{places:?}"
    );
    assert!(late.1 == late.2 && near(late.1, 5_700) && late.3.is_empty(), "{places:?}");
}
