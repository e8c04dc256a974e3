//! No key and no token configured anywhere: the programs of one machine and user find each other, and nobody else does.

use std::{collections::BTreeMap, os::unix::fs::PermissionsExt as _, path::Path, time::Duration};

use secrecy::ExposeSecret as _;
use voicebridge_simulator::meta::EndedBy;
use voicebridge_system_tests::{Process, SOON, Setup, World, eventually};

use crate::talk::{hangs_up_at_once, sensible_ai};

/// How long a command may take.
const COMMAND: Duration = Duration::from_secs(15);

/// Planes without a token between them.
async fn world() -> World {
    let none: BTreeMap<_, _> = [("VOICEBRIDGE_NODE_TOKEN".to_owned(), String::new())].into();
    Setup { ai: Some(sensible_ai()), control: none.clone(), node: none, ..Setup::default() }.start().await
}

/// Whether `voicebridge ARGUMENTS` of a user with this state folder succeeds, and what it says.
async fn command(arguments: &[&str], url: &str, state: &Path) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    let variables = [("VOICEBRIDGE_URL", url), ("VOICEBRIDGE_STATE_DIR", state.to_str().unwrap())];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let mut process = Process::start_with("voicebridge", arguments, "command", &variables, folder.path()).unwrap();
    let status = process.end(COMMAND).await;
    (status.success(), process.log())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn planes_and_commands_of_one_user_need_no_configuration() {
    let world = world().await;
    let record = world.meta.call(hangs_up_at_once()).await.unwrap().finish().await;
    assert_eq!(record.ended_by, EndedBy::Caller, "the planes know each other: the call was answered");
    let call_id = world.calls.ended(&record.call_id).await.call_id;
    let url = format!("http://{}", world.address());
    let (succeeded, said) = command(&["calls", "--json"], &url, &world.state_dir()).await;
    assert!(succeeded && said.contains(&call_id), "{said}");

    // Another user of this machine, to whom the folder is closed.
    let other = tempfile::tempdir().unwrap();
    let (succeeded, said) = command(&["calls", "--json"], &url, other.path()).await;
    assert!(!succeeded && !said.contains(&call_id), "{said}");
    for names in ["UNAUTHENTICATED", "/local-key", "VOICEBRIDGE_API_KEY"] {
        assert!(said.contains(names), "{said}");
    }
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for file in ["local-key", "local-node-token"] {
        assert_eq!(mode(&world.state_dir().join(file)), 0o600, "{file}");
    }
    assert_eq!(mode(&world.state_dir()), 0o700);
    // And nothing of it is in a log.
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_opens_the_events_without_the_key() {
    let world = world().await;
    let url = format!("http://{}", world.address());
    let (succeeded, said) = command(&["keys", "token", "--link"], &url, &world.state_dir()).await;
    assert!(succeeded, "{said}");
    opens(said.lines().find(|line| line.starts_with("http")).unwrap(), &said).await;
    assert!(!said.contains(world.local_key().expose_secret()), "{said}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn serve_prints_a_link_that_opens() {
    let folder = tempfile::tempdir().unwrap();
    let variables = [
        ("HOME", folder.path().to_str().unwrap()),
        ("XDG_STATE_HOME", ""),
        ("VOICEBRIDGE_PROVIDER", "embedded"),
        ("VOICEBRIDGE_PUBLIC_IP", "127.0.0.1"),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--media-listen", "127.0.0.1:0"];
    let mut serve = Process::start_with("voicebridge", &arguments, "serve", &variables, folder.path()).unwrap();
    let link = eventually("the link", SOON, || {
        let log = serve.log();
        let link = log.split_whitespace().find(|word| word.contains("access_token=")).map(str::to_owned);
        async move { link }
    })
    .await;
    opens(&link, &serve.log()).await;
    let key = std::fs::read_to_string(folder.path().join(".local/state/voicebridge/local-key")).unwrap();
    assert!(!serve.log().contains(key.trim()), "the key is never logged");
    let origin = link.split("/events").next().unwrap();
    let refused = reqwest::get(format!("{origin}/sessions")).await.unwrap().text().await.unwrap();
    assert!(refused.contains("~/.local/state/voicebridge/local-key"), "{refused}");
    serve.terminate();
    assert!(serve.end(COMMAND).await.success());
}

/// A browser with this link gets the events.
async fn opens(link: &str, said: &str) {
    voicebridge_telemetry::install_tls();
    let answer = reqwest::get(link).await.unwrap();
    assert_eq!(answer.status(), 200, "{link}: {said}");
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
}
