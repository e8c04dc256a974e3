//! The agent file reaches the AI, bounds the call, and is refused as a whole when it is wrong.

use std::{collections::BTreeMap, path::Path};

use voicebridge_proto::types::v1::TerminationResult;
use voicebridge_simulator::meta::EndedBy;
use voicebridge_system_tests::{Process, SOON, Setup, termination};

use crate::talk::{assert_ended, assert_no_violations, sensible_ai, stays};

const SHORT_CALLS: &str = "\
instructions: You sell bicycles and nothing else.
voice: cedar
greeting: Hello, bicycle shop.
language: en
max_duration_s: 6
turn_detection:
  type: server_vad
  silence_duration_ms: 350
";

const MISTAKES: &str = "\
instructions: Fine.
max_duration_s: forever
colour: blue
turn_detection:
  type: telepathy
";

fn written(folder: &Path, text: &str) -> BTreeMap<String, String> {
    let path = folder.join("agent.yaml");
    std::fs::write(&path, text).unwrap();
    [("VOICEBRIDGE_AGENT".to_owned(), path.display().to_string())].into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_agent_is_what_the_file_says_and_the_call_ends_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let node = written(folder.path(), SHORT_CALLS);
    let world = Setup { ai: Some(sensible_ai()), node, ..Setup::default() }.start().await;
    let record = world.meta.call(stays()).await.unwrap().finish().await;
    let call = world.calls.ended(&record.call_id).await;
    assert_eq!(record.ended_by, EndedBy::BusinessTerminated);
    assert_ended(&call, "MAX_DURATION_REACHED", "");
    assert_eq!(termination(&call).result(), TerminationResult::Completed);

    let session = world.ai().sessions().remove(0);
    assert!(session.instructions.contains("You sell bicycles"), "{}", session.instructions);
    let audio = &session.config["audio"];
    assert_eq!(audio["output"]["voice"], "cedar", "{audio}");
    assert_eq!(audio["input"]["turn_detection"]["silence_duration_ms"], 350, "{audio}");
    assert_eq!(audio["input"]["transcription"]["languages"], serde_json::json!(["en"]), "{audio}");
    assert_no_violations(&record, &session);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mistakes_in_the_file_are_named_all_at_once_by_line() {
    let folder = tempfile::tempdir().unwrap();
    let mut process =
        Process::start("voicebridge-media", "refused", &written(folder.path(), MISTAKES), folder.path()).unwrap();
    let status = process.end(SOON).await;
    let log = process.log();
    assert!(!status.success(), "{log}");
    for part in ["VOICEBRIDGE_AGENT", "max_duration_s", "line 2", "colour", "line 3", "turn_detection.type", "line 5"] {
        assert!(log.contains(part), "{part} is not in: {log}");
    }
}
