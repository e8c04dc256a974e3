//! What the binaries say about a configuration they cannot use, and what they never say.

use std::{collections::BTreeMap, time::Duration};

use voicebridge_system_tests::Process;

const SECRET: &str = "sk-2b7e151628aed2a6";

/// Runs a binary that cannot start, and returns what it said.
async fn refusal(binary: &str, variables: &[(&str, &str)]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let variables: BTreeMap<_, _> =
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let mut process = Process::start(binary, "refused", &variables, folder.path()).unwrap();
    let status = process.end(Duration::from_secs(15)).await;
    assert!(!status.success(), "{binary} started: {}", process.log());
    process.log()
}

fn assert_names(log: &str, variables: &[&str]) {
    for variable in variables {
        assert!(log.contains(variable), "{variable} is not named in: {log}");
    }
    assert!(!log.contains(SECRET), "a secret is in: {log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_control_plane_names_every_mistake_at_once() {
    let log = refusal(
        "voicebridge-control",
        &[
            ("VOICEBRIDGE_LISTEN", "not an address"),
            ("DATABASE_URL", "mysql://localhost/calls"),
            ("WHATSAPP_GRAPH_URL", "graph.facebook.com"),
            ("WHATSAPP_ACCESS_TOKEN", SECRET),
            ("VOICEBRIDGE_STALE_S", "soon"),
        ],
    )
    .await;
    assert_names(&log, &["VOICEBRIDGE_LISTEN", "DATABASE_URL", "WHATSAPP_GRAPH_URL", "VOICEBRIDGE_STALE_S"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_media_node_names_every_mistake_at_once() {
    let log = refusal(
        "voicebridge-media",
        &[
            ("VOICEBRIDGE_MEDIA_LISTEN", "not an address"),
            ("VOICEBRIDGE_UDP_PORTS", "30000-20000"),
            ("VOICEBRIDGE_PUBLIC_IP", "somewhere"),
            ("VOICEBRIDGE_PROVIDER", "oracle"),
            ("OPENAI_API_KEY", SECRET),
        ],
    )
    .await;
    assert_names(
        &log,
        &["VOICEBRIDGE_MEDIA_LISTEN", "VOICEBRIDGE_UDP_PORTS", "VOICEBRIDGE_PUBLIC_IP", "VOICEBRIDGE_PROVIDER"],
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_key_or_a_folder_for_a_local_one_nothing_starts() {
    // A service without a home.
    let nowhere = [("HOME", ""), ("XDG_STATE_HOME", "relative/paths/do/not/count")];
    let control = [("VOICEBRIDGE_LISTEN", "127.0.0.1:0"), ("DATABASE_URL", "sqlite::memory:")];
    let log = refusal("voicebridge-control", &[&nowhere[..], &control].concat()).await;
    assert_names(&log, &["VOICEBRIDGE_API_KEYS", "VOICEBRIDGE_STATE_DIR"]);
    let with_a_key = [("VOICEBRIDGE_API_KEYS", SECRET)];
    let log = refusal("voicebridge-control", &[&nowhere[..], &control, &with_a_key].concat()).await;
    assert_names(&log, &["VOICEBRIDGE_NODE_TOKEN", "VOICEBRIDGE_STATE_DIR"]);
    let media = [("VOICEBRIDGE_MEDIA_LISTEN", "127.0.0.1:0"), ("VOICEBRIDGE_PROVIDER", "embedded")];
    let log = refusal("voicebridge-media", &[&nowhere[..], &media].concat()).await;
    assert_names(&log, &["VOICEBRIDGE_NODE_TOKEN", "VOICEBRIDGE_STATE_DIR"]);
    for binary in ["voicebridge-control", "voicebridge-media"] {
        let log = refusal(binary, &[("VOICEBRIDGE_STATE_DIR", "not/absolute")]).await;
        assert!(log.contains("VOICEBRIDGE_STATE_DIR") && log.contains("absolute path"), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_media_node_that_is_reachable_from_outside_wants_a_token() {
    let log =
        refusal("voicebridge-media", &[("VOICEBRIDGE_MEDIA_LISTEN", "0.0.0.0:0"), ("OPENAI_API_KEY", SECRET)]).await;
    assert_names(&log, &["VOICEBRIDGE_NODE_TOKEN"]);
}
