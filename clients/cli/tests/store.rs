//! The commands that work on a database, as somebody at a terminal meets them.

#![allow(clippy::unwrap_used)]

use std::process::{Command, Output};

fn voicebridge(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_voicebridge")).args(arguments).env_remove("DATABASE_URL").output().unwrap()
}

#[track_caller]
fn succeeds(arguments: &[&str]) -> String {
    let output = voicebridge(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[track_caller]
fn fails(arguments: &[&str]) -> String {
    let output = voicebridge(arguments);
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_database_is_migrated_and_copied_once() {
    let folder = tempfile::tempdir().unwrap();
    let from = format!("sqlite://{}", folder.path().join("calls.db").display());
    let (to, shared) = (voicebridge_postgres::database(), voicebridge_postgres::shared());
    for database in [&from, &to, &to] {
        assert!(succeeds(&["migrate", "--database", database]).contains("up to date"));
    }
    // Empty, but for what a control plane makes when it first starts.
    let copied = succeeds(&["store", "copy", &from, &to]);
    assert!(copied.contains("Copied 0 calls, 0 events"), "{copied}");
    shared.sql(to.rsplit('/').next().unwrap(), "INSERT INTO voicebridge.own_keys (name, key) VALUES ('cursors', 'x')");
    let refused = fails(&["store", "copy", &from, &to]);
    assert!(refused.contains("nothing was copied") && refused.contains("not empty"), "{refused}");
}

#[test]
fn what_cannot_be_copied_is_said_without_the_password() {
    let to = "postgres://user:hunter2@127.0.0.1:1/calls";
    for (from, to, why) in [
        ("sqlite:///no/such/calls.db", to, "no database"),
        (to, "sqlite://x.db", "must begin with sqlite://"),
        ("sqlite://x.db", "mysql://user:hunter2@db/calls", "must begin with postgres://"),
    ] {
        let said = fails(&["store", "copy", from, to]);
        assert!(said.contains(why) && !said.contains("hunter2"), "{said}");
    }
}
