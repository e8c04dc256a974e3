//! Rules of the contract that buf's linter does not know.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use prost_reflect::{DescriptorPool, FieldDescriptor, FileDescriptor, Kind};

fn files() -> Vec<FileDescriptor> {
    let pool = DescriptorPool::decode(voicebridge_proto::FILE_DESCRIPTOR_SET).unwrap();
    let files: Vec<_> = pool.files().filter(|file| file.package_name().starts_with("voicebridge.")).collect();
    assert!(files.len() > 5, "the contract is in the descriptors");
    files
}

/// Why a field is no duration as all durations are written.
fn other_unit(field: &FieldDescriptor) -> Option<&'static str> {
    const UNITS: [&str; 6] = ["_s", "_secs", "_seconds", "_us", "_minutes", "_duration"];
    match field.kind() {
        Kind::Message(message) if message.full_name() == "google.protobuf.Duration" => Some("is a Duration"),
        _ if UNITS.iter().any(|unit| field.name().ends_with(unit)) => Some("has another unit in its name"),
        Kind::Uint32 | Kind::Uint64 => None,
        _ if field.name().ends_with("_ms") => Some("is no whole number of milliseconds"),
        _ => None,
    }
}

#[test]
fn every_duration_is_a_whole_number_of_milliseconds() {
    let found: Vec<String> = files()
        .iter()
        .flat_map(FileDescriptor::messages)
        .flat_map(|message| message.fields().collect::<Vec<_>>())
        .filter_map(|field| Some(format!("{} {}", field.full_name(), other_unit(&field)?)))
        .collect();
    assert!(found.is_empty(), "{found:#?}");
}

/// Files that a file imports, and those that they import.
fn imported(file: &FileDescriptor, into: &mut BTreeSet<String>) {
    for dependency in file.dependencies() {
        if into.insert(dependency.name().to_owned()) {
            imported(&dependency, into);
        }
    }
}

/// Whoever uses the API would otherwise have the planes' own types to build against, and to be broken by.
#[test]
fn the_public_packages_import_nothing_of_the_internal_one() {
    const PUBLIC: [&str; 3] = ["voicebridge.control.v1", "voicebridge.types.v1", "voicebridge.options.v1"];
    let mut found = Vec::new();
    for file in files().iter().filter(|file| PUBLIC.contains(&file.package_name())) {
        let mut imports = BTreeSet::new();
        imported(file, &mut imports);
        let internal = imports.into_iter().filter(|name| name.starts_with("voicebridge/media/"));
        found.extend(internal.map(|name| format!("{} imports {name}", file.name())));
    }
    assert!(found.is_empty(), "{found:#?}");
    let packages: BTreeSet<_> = files().iter().map(|file| file.package_name().to_owned()).collect();
    let known = PUBLIC.into_iter().chain(["voicebridge.media.v1"]).map(str::to_owned).collect();
    assert_eq!(packages, known, "a package more is public or internal: say which");
}
