//! Agent files and requests over them: what they set, and which mistakes are named.

#![allow(clippy::unwrap_used)]

use super::*;

fn lines(yaml: &str) -> Vec<(u32, String)> {
    Agent::parse(yaml).unwrap_err().0.into_iter().map(|error| (error.line, error.field)).collect()
}

#[test]
fn the_built_in_file_sets_every_field() {
    let agent = Agent::default();
    assert!(agent.instructions.contains("end_call"), "{}", agent.instructions);
    assert_eq!(agent.voice, "marin");
    assert_eq!(agent.greeting, "Hello, how can I help you?");
    assert_eq!(agent.language, "");
    assert_eq!(
        agent.turn_detection,
        TurnDetection::ServerVad { threshold: 0.5, prefix_padding_ms: 300, silence_duration_ms: 500 }
    );
    assert_eq!(agent.barge_in, BargeIn::Immediate);
    assert_eq!(agent.dtmf, Dtmf { interrupts: true });
    assert_eq!(agent.g711, G711 { passthrough: false });
    assert_eq!(agent.max_duration_ms, 1_800_000);
    assert!(agent.end_call.enabled);
    assert!(agent.end_call.description.starts_with("Ends the phone call."));
}

#[test]
fn an_empty_file_is_the_default() {
    assert_eq!(Agent::parse("").unwrap(), Agent::default());
    assert_eq!(Agent::parse("# nothing but a comment\n").unwrap(), Agent::default());
}

#[test]
fn a_file_changes_only_what_it_names() {
    let agent = Agent::parse("voice: cedar\nlanguage: pt-BR\nturn_detection:\n  silence_duration_ms: 700\n").unwrap();
    assert_eq!(agent.voice, "cedar");
    assert_eq!(agent.primary_language(), "pt");
    assert_eq!(
        agent.turn_detection,
        TurnDetection::ServerVad { threshold: 0.5, prefix_padding_ms: 300, silence_duration_ms: 700 }
    );
    assert_eq!(agent.greeting, Agent::default().greeting);
}

#[test]
fn semantic_turn_detection_has_its_own_fields() {
    let agent = Agent::parse("turn_detection:\n  type: semantic_vad\n  eagerness: low\n").unwrap();
    assert_eq!(agent.turn_detection, TurnDetection::SemanticVad { eagerness: Eagerness::Low });
    assert_eq!(
        lines("turn_detection:\n  type: semantic_vad\n  threshold: 0.4\n  eagerness: sometimes\n"),
        [(3, "turn_detection.threshold".into()), (4, "turn_detection.eagerness".into())]
    );
    assert_eq!(lines("turn_detection:\n  eagerness: low\n"), [(2, "turn_detection.eagerness".into())]);
}

#[test]
fn barge_in_is_immediate_unless_the_file_says_otherwise() {
    let check = |yaml: &str, expected: BargeIn| assert_eq!(Agent::parse(yaml).unwrap().barge_in, expected, "{yaml}");
    let reversible = Reversible { hold_ms: 300, sustained_ms: 200, echo_guard_ms: 400, protect_greeting_ms: 0 };
    check("voice: cedar\n", BargeIn::Immediate);
    check("barge_in:\n  type: reversible\n", BargeIn::Reversible(reversible));
    check(
        "barge_in:\n  type: reversible\n  hold_ms: 500\n  sustained_ms: 400\n  protect_greeting_ms: 2000\n",
        BargeIn::Reversible(Reversible { hold_ms: 500, sustained_ms: 400, protect_greeting_ms: 2_000, ..reversible }),
    );
    assert_eq!(lines("barge_in:\n  hold_ms: 300\n"), [(2, "barge_in.hold_ms".into())], "not of immediate");
    assert_eq!(lines("barge_in:\n  type: later\n"), [(2, "barge_in.type".into())]);
    assert_eq!(
        lines("barge_in:\n  type: reversible\n  hold_ms: 50\n  echo_guard_ms: x\n"),
        [(3, "barge_in.hold_ms".into()), (4, "barge_in.echo_guard_ms".into())]
    );
    assert_eq!(
        lines("barge_in:\n  type: reversible\n  sustained_ms: 301\n"),
        [(3, "barge_in.sustained_ms".into())],
        "an echo could never be told from the caller"
    );
}

#[test]
fn keys_interrupt_unless_the_file_says_otherwise() {
    let interrupts = |yaml: &str| Agent::parse(yaml).unwrap().dtmf.interrupts;
    assert!(interrupts("voice: cedar\n"));
    assert!(!interrupts("dtmf:\n  interrupts: false\n"));
    assert_eq!(lines("dtmf:\n  interrupts: sometimes\n"), [(2, "dtmf.interrupts".into())]);
    assert_eq!(lines("dtmf:\n  digits: 3\n"), [(2, "dtmf.digits".into())]);
}

#[test]
fn g711_passes_through_if_the_file_says_so() {
    assert!(Agent::parse("g711:\n  passthrough: true\n").unwrap().g711.passthrough);
    assert_eq!(lines("g711:\n  passthrough: sometimes\n"), [(2, "g711.passthrough".into())]);
    assert_eq!(lines("g711:\n  law: a\n"), [(2, "g711.law".into())]);
}

#[test]
fn every_mistake_is_reported_with_its_line() {
    let yaml = "voice: 7\ngreting: Hi\nturn_detection:\n  threshold: 1.5\n  silence_duration_ms: soon\n\
                max_duration_s: 0\nend_call:\n  enabled: maybe\n  descripton: x\nlanguage: portuguese_brazil\n";
    assert_eq!(
        lines(yaml),
        [
            (1, "voice".into()),
            (2, "greting".into()),
            (4, "turn_detection.threshold".into()),
            (5, "turn_detection.silence_duration_ms".into()),
            (6, "max_duration_s".into()),
            (8, "end_call.enabled".into()),
            (9, "end_call.descripton".into()),
            (10, "language".into()),
        ]
    );
    let text = Agent::parse(yaml).unwrap_err().to_string();
    assert!(
        text.starts_with("line 1: voice: expected a text, found a number\nline 2: greting: unknown field"),
        "{text}"
    );
}

#[test]
fn a_file_that_is_no_yaml_names_the_line() {
    let errors = Agent::parse("voice: marin\ngreeting: \"no end\n").unwrap_err();
    assert_eq!(errors.0.len(), 1);
    assert!(errors.0[0].line >= 2, "{errors}");
    assert_eq!(lines("- a\n- b\n"), [(1, String::new())]);
    assert_eq!(Agent::parse("voice: a\nvoice: b\n").unwrap_err().0[0].line, 2);
}

#[test]
fn sizes_are_bounded() {
    let long = "x".repeat(40_000);
    assert_eq!(lines(&format!("instructions: {long}\n")), [(1, "instructions".into())]);
    assert_eq!(lines(&format!("greeting: {long}\nvoice: \"\"\n")), [(1, "greeting".into()), (2, "voice".into())]);
}

#[test]
fn a_request_overlays_the_file() {
    let overlay =
        AgentOverlay { greeting: "Olá!".into(), language: "pt".into(), max_duration_ms: 60_500, ..Default::default() };
    let agent = Agent::default().overlay(&overlay).unwrap();
    assert_eq!((agent.greeting.as_str(), agent.language.as_str(), agent.max_duration_ms), ("Olá!", "pt", 60_500));
    assert_eq!(agent.voice, "marin");

    let bad = AgentOverlay { language: "!".into(), max_duration_ms: 999, ..Default::default() };
    let fields: Vec<String> =
        Agent::default().overlay(&bad).unwrap_err().0.into_iter().map(|error| error.field).collect();
    assert_eq!(fields, ["language", "max_duration_ms"]);
}

#[test]
fn a_request_fills_the_placeholders_of_the_file() {
    let file = "instructions: Call them {{caller_name}}. Hours {{hours}}.\ngreeting: Hi {{caller_name}}!\n";
    let overlay = |pairs: &[(&str, &str)]| AgentOverlay {
        variables: pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        ..AgentOverlay::default()
    };
    let filled = |overlay: &AgentOverlay| Agent::parse(file).unwrap().overlay(overlay);
    let agent = filled(&overlay(&[("caller_name", "Ana"), ("hours", "9 to 5")])).unwrap();
    assert_eq!((agent.instructions.as_str(), agent.greeting.as_str()), ("Call them Ana. Hours 9 to 5.", "Hi Ana!"));
    let agent = filled(&AgentOverlay::default()).unwrap();
    assert_eq!((agent.instructions.as_str(), agent.greeting.as_str()), ("Call them . Hours .", "Hi !"));
    // Those of the request's own texts as well.
    let own = AgentOverlay { greeting: "{{caller_name}}?".into(), ..overlay(&[("caller_name", "Ana")]) };
    assert_eq!(filled(&own).unwrap().greeting, "Ana?");
    // Short pieces may make a long text.
    let long = AgentOverlay { instructions: "{{x}}".repeat(40), ..overlay(&[("x", &"y".repeat(1_000))]) };
    let errors = filled(&long).unwrap_err();
    assert_eq!(errors.0.iter().map(|error| error.field.as_str()).collect::<Vec<_>>(), ["instructions"], "{errors}");
}
