//! The lists in the documentation against the sources: nothing that exists is missing, nothing that is listed is gone.

#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use clap::{Args, CommandFactory as _, FromArgMatches as _};

/// Upper-case words with underscores in string literals that are no reasons and no variables.
const OTHER_WORDS: [&str; 14] = [
    // Meta's words and the milestones' names.
    "USER_INITIATED",
    "BUSINESS_INITIATED",
    "WA_CALL_CONNECT",
    "WA_CALL_PRE_ACCEPTED",
    "WA_CALL_ACCEPTED",
    "VOICE_BRIDGE_SESSION_CREATED",
    "OPENAI_SESSION_CREATED",
    "MEDIA_BRIDGE_ACTIVE",
    // A phase's row in the store, a socket option, what cargo sets, what the demo hands on to its processes, where XDG keeps
    // what programs leave behind.
    "XDG_STATE_HOME",
    "PRE_ACCEPTING",
    "TCP_NODELAY",
    "CARGO_PKG_VERSION",
    "LD_LIBRARY_PATH",
    "RUST_BACKTRACE",
];
/// Beginnings of further such words: enum values of the contract.
const OTHER_PREFIXES: [&str; 3] = ["SIGNALLING_STAGE_", "STAGE_", "CALL_PHASE_"];
/// Reasons without an underscore.
const SHORT_REASONS: [&str; 2] = ["UNAUTHENTICATED", "INTERNAL"];
/// Reasons that no plane gives: the clients of other languages say them.
const CLIENT_REASONS: [&str; 1] = ["CURSOR_MISSING"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// The sources of what ships, without their tests.
fn sources() -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    let folders = ["media-plane/audio", "media-plane/session", "media-plane/node", "control-plane/core"];
    for folder in folders.iter().chain(&["control-plane/server", "clients/cli", "proto/telemetry"]) {
        collect(&root().join(folder).join("src"), &mut files);
    }
    assert!(files.len() > 50, "found only {} files", files.len());
    files
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let shipped = text.split("#[cfg(test)]\nmod tests {").next().unwrap().to_owned();
            (path, shipped)
        })
        .collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() && name != "tests" {
            collect(&path, files);
        } else if name.ends_with(".rs") && name != "tests.rs" && !name.ends_with("_tests.rs") && name != "properties.rs"
        {
            files.push(path);
        }
    }
}

/// String literals without escapes, comments left out.
fn literals(text: &str) -> Vec<String> {
    text.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .flat_map(|line| line.split('"').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

fn is_word(text: &str) -> bool {
    text.contains('_')
        && text.starts_with(|first: char| first.is_ascii_uppercase())
        && !text.ends_with('_')
        && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
}

/// Variables: what `.env.example` sets.
fn documented_variables() -> BTreeSet<String> {
    let example = read(".env.example");
    example
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| Some(line.split_once('=')?.0.to_owned()))
        .collect()
}

/// Names after `env = "`, and those read from the environment by name.
fn variables_read() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (_, text) in sources() {
        for marker in ["env = \"", "read(\"", "env::var(\"", "var_os(\""] {
            names.extend(text.split(marker).skip(1).filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())));
        }
    }
    names.retain(|name| is_word(name) || name == "PORT");
    names
}

#[test]
fn every_reason_has_a_page_and_every_page_a_reason() {
    let variables = documented_variables();
    let mut reasons = BTreeSet::from(CLIENT_REASONS.map(str::to_owned));
    for (path, text) in sources() {
        // It repeats the pages.
        if path.ends_with("telemetry/src/labels.rs") {
            continue;
        }
        for word in literals(&text) {
            let other = OTHER_WORDS.contains(&word.as_str())
                || OTHER_PREFIXES.iter().any(|prefix| word.starts_with(prefix))
                || variables.contains(&word);
            if SHORT_REASONS.contains(&word.as_str()) || (is_word(&word) && !other) {
                reasons.insert(word);
            }
        }
    }
    let pages: BTreeSet<String> = fs::read_dir(root().join("docs/errors"))
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .filter(|name| name != "README")
        .collect();
    let index = read("docs/errors/README.md");
    let missing: Vec<_> = reasons.difference(&pages).collect();
    let orphaned: Vec<_> = pages.difference(&reasons).collect();
    let unlisted: Vec<_> = pages.iter().filter(|page| !index.contains(&format!("[{page}]({page}.md)"))).collect();
    assert!(missing.is_empty(), "reasons without a page in docs/errors: {missing:?}");
    assert!(orphaned.is_empty(), "pages in docs/errors that no source names: {orphaned:?}");
    assert!(unlisted.is_empty(), "pages missing in docs/errors/README.md: {unlisted:?}");
}

#[test]
fn every_page_says_cause_and_fix() {
    for entry in fs::read_dir(root().join("docs/errors")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(&path).unwrap();
        if name != "README" {
            assert!(text.starts_with(&format!("# {name}\n")), "{name}: the title is not the reason");
            assert!(text.contains("\n## Cause\n") && text.contains("\n## Fix\n"), "{name}: cause or fix is missing");
        }
    }
}

#[test]
fn the_example_lists_exactly_the_variables_that_are_read() {
    let documented = documented_variables();
    let mut read = variables_read();
    // Handed on to the demo's processes, of no meaning to us.
    for foreign in ["PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH", "RUST_BACKTRACE"] {
        read.remove(foreign);
    }
    let missing: Vec<_> = read.difference(&documented).collect();
    let gone: Vec<_> = documented.difference(&read).collect();
    assert!(missing.is_empty(), "variables missing in .env.example: {missing:?}");
    assert!(gone.is_empty(), "variables in .env.example that nothing reads: {gone:?}");
}

/// The settings of a program.
#[derive(Debug, clap::Parser)]
struct Settings<Raw: Args> {
    #[command(flatten)]
    raw: Raw,
}

/// What a program reads out of the example copied to `.env`, whatever else this process has in its environment.
fn of_the_example<Raw: Args>() -> Raw {
    let example = read(".env.example");
    let set: Vec<(&str, &str)> =
        example.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('=')).collect();
    let command = Settings::<Raw>::command();
    let given = command.get_arguments().filter_map(|argument| {
        let variable = argument.get_env()?.to_str().unwrap();
        let (_, value) = set.iter().find(|(name, _)| *name == variable).expect(variable);
        Some(format!("--{}={value}", argument.get_long().unwrap()))
    });
    let arguments: Vec<String> = std::iter::once("program".to_owned()).chain(given).collect();
    assert!(arguments.len() > 10, "{arguments:?}");
    let matches = Settings::<Raw>::command().get_matches_from(arguments);
    Settings::from_arg_matches(&matches).unwrap().raw
}

#[test]
fn the_example_copied_as_it_is_configures_both_programs() {
    let control = voicebridge_server::Config::resolve(of_the_example()).unwrap_or_else(|errors| panic!("{errors}"));
    let media = voicebridge_node::Config::resolve(of_the_example()).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(control.listen.to_string(), "0.0.0.0:3100");
    // It has no node token.
    assert_eq!(media.listen.to_string(), "127.0.0.1:3200");
}

/// How names of metrics begin.
const METRICS: [&str; 3] = ["voicebridge_control_", "voicebridge_media_", "voicebridge_connections_"];

#[test]
fn every_metric_is_explained() {
    let page = read("docs/telemetry.md");
    let named = |text: &str| -> BTreeSet<String> {
        let separators = |char: char| !(char.is_ascii_lowercase() || char.is_ascii_digit() || char == '_');
        let metric = |word: &&str| METRICS.iter().any(|prefix| word.starts_with(prefix));
        text.split(separators).filter(metric).map(str::to_owned).collect()
    };
    let counted: BTreeSet<String> =
        sources().iter().flat_map(|(_, text)| literals(text)).flat_map(|literal| named(&literal)).collect();
    let explained = named(&page);
    assert!(!counted.is_empty());
    assert_eq!(counted, explained, "left: in the sources, right: in docs/telemetry.md");
}

#[test]
fn links_lead_somewhere() {
    let mut pages: Vec<PathBuf> = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md"].map(|name| root().join(name)).into();
    let mut folders = vec![root().join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path);
            }
        }
    }
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target) {
            let path = target.split('#').next().unwrap();
            if path.is_empty() || path.contains("://") {
                continue;
            }
            assert!(page.parent().unwrap().join(path).exists(), "{}: {target} does not exist", page.display());
        }
    }
}
