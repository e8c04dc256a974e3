//! The AI's voice as it comes: whatever it is cut into and whatever it is called.

use super::*;

#[test]
fn a_sample_cut_in_two_is_heard_whole() {
    let mut bench = Bench::ready();
    bench.created("R1", None);
    let samples: Vec<i16> = (1..=240).collect();
    let bytes: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    for piece in bytes.chunks(37) {
        bench.delta("R1", "A", piece);
    }
    assert_eq!(bench.heard(), samples);
    assert!(bench.errors().is_empty(), "{:?}", bench.errors());
}

#[test]
fn half_a_sample_does_not_leak_into_another_item() {
    let mut bench = Bench::ready();
    bench.created("R1", None);
    bench.delta("R1", "A", &[1, 0, 2]);
    bench.delta("R1", "B", &[3, 0, 4, 0]);
    assert_eq!(bench.heard(), [1, 3, 4]);
    bench.delta("R1", "A", &[0]);
    assert_eq!(bench.heard(), [1, 3, 4, 2], "and its other half is still joined");

    bench.delta("R1", "C", &[5]);
    bench.server(json!({"type": "response.output_audio.done", "response_id": "R1", "item_id": "C"}));
    bench.delta("R1", "C", &[6, 0]);
    assert_eq!(bench.heard(), [1, 3, 4, 2, 6], "over with its item");
}

#[test]
fn half_a_sample_is_dropped_by_an_interruption() {
    let mut bench = Bench::ready();
    bench.created("R1", None);
    bench.delta("R1", "A", &[1, 0, 2]);
    bench.command(ProviderCommand::Interrupt(&[]));
    bench.done("R1", "cancelled");
    bench.created("R2", None);
    bench.delta("R2", "A", &[7, 0]);
    assert_eq!(bench.heard(), [1, 7]);
}

#[test]
fn beta_names_are_heard_and_named_once() {
    let mut bench = Bench::ready();
    bench.created("R1", None);
    for base64 in ["AQA=", "AgA="] {
        bench.server(json!({"type": "response.audio.delta", "response_id": "R1", "item_id": "A", "delta": base64}));
    }
    bench.server(
        json!({"type": "response.audio_transcript.delta", "response_id": "R1", "item_id": "A", "delta": "Hel"}),
    );
    bench.server(
        json!({"type": "response.audio_transcript.done", "response_id": "R1", "item_id": "A", "transcript": "Hello"}),
    );
    bench.server(json!({"type": "response.audio.done", "response_id": "R1", "item_id": "A"}));
    assert_eq!(bench.heard(), [1, 2]);
    assert!(bench.events.contains(&ProviderEvent::AudioDone { item: "A".into() }));
    let texts = bench.events.iter().filter(|event| matches!(event, ProviderEvent::AgentText { .. })).count();
    assert_eq!(texts, 2);
    let errors = bench.errors();
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert_eq!(errors[0].0, "beta_event_names");
    assert!(errors[0].1.contains("beta protocol"), "{}", errors[0].1);
}

#[test]
fn half_a_surrogate_pair_costs_a_character_and_not_the_message() {
    let mut bench = Bench::ready();
    bench.created("R1", None);
    let text = |body: &str| {
        format!(
            r#"{{"type":"response.output_audio_transcript.done","response_id":"R1","item_id":"A","transcript":"{body}"}}"#
        )
    };
    for (body, words) in [
        (r"so \ud83d then", "so \u{fffd} then"),
        (r"so \ude00 then", "so \u{fffd} then"),
        (r"\ud83d\ud83d\ude00", "\u{fffd}\u{1f600}"),
        (r"\\ud83d \ud83d", "\\ud83d \u{fffd}"),
        (r"\ud83dA", "\u{fffd}A"),
    ] {
        bench.events.clear();
        bench.server_text(&text(body));
        let [ProviderEvent::AgentText { text, .. }] = bench.events.make_contiguous() else {
            panic!("{body}: {:?}", bench.events)
        };
        assert_eq!(text, words);
    }
    bench.events.clear();
    bench.server_text(r#"{"type":"response.output_audio.delta","response_id":"R1","item_id":"\ud83d","delta":"AQA="}"#);
    assert_eq!(bench.heard(), [1]);
}
