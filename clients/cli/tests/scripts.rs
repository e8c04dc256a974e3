//! What the lint makes of a machine that lacks its tools: a finding, not a step passed over.

#![allow(clippy::unwrap_used)]

use std::{
    os::unix::fs::symlink,
    path::Path,
    process::{Command, Output},
};

/// Runs a script where only these programs are to be had.
fn run(script: &str, programs: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    for program in programs {
        let found = std::env::var_os("PATH").unwrap();
        let found = std::env::split_paths(&found).map(|path| path.join(program)).find(|path| path.is_file()).unwrap();
        symlink(found, folder.path().join(program)).unwrap();
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    Command::new("bash").arg(root.join("scripts").join(script)).env("PATH", folder.path()).output().unwrap()
}

#[test]
fn a_missing_tool_is_a_finding_of_the_lint() {
    const SHELL: [&str; 9] = ["bash", "env", "dirname", "grep", "sort", "mktemp", "rm", "git", "sed"];
    for (script, tool) in [("check-contracts", "npm"), ("check-generated", "npm"), ("check-purity", "cargo")] {
        let output = run(script, &SHELL);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success(),
            "{script} passes without {tool}: {}",
            String::from_utf8_lossy(&output.stdout)
        );
        assert!(said.contains(tool), "{script}: {said}");
    }
    let output = run("lint", &SHELL);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!output.status.success(), "{said}");
    for part in ["format", "purity", "contracts", "generated code", "clippy"] {
        assert!(said.contains(&format!("lint: {part}")), "each is named: {said}");
    }
}
