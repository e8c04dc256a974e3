//! docs/limits.md against the sources: each value in it is that of the constant or setting it names, and every bound among the
//! settings and in the structures of limits has a row.
//!
//! A row's place reads: crate, file, then names of constants or of fields of a structure of limits, all but the crate in
//! backticks; or a variable. What a row says of more than its names, and rows without a name, are for people to keep true.

#![allow(clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Folders of the crates by the word the page has for them.
const CRATES: [(&str, &str); 8] = [
    ("server", "control-plane/server/src"),
    ("core", "control-plane/core/src"),
    ("node", "media-plane/node/src"),
    ("session", "media-plane/session/src"),
    ("audio", "media-plane/audio/src"),
    ("telemetry", "proto/telemetry/src"),
    ("text", "proto/text/src"),
    ("cli", "clients/cli/src"),
];
/// Where edge functions are; the page leaves it out.
const EDGE: &str = "deploy/supabase/functions";
/// Structures whose `Default` is a list of bounds: each field has a row.
const STRUCTURES: [&str; 3] =
    ["control-plane/server/src/config.rs", "media-plane/session/src/limits.rs", "proto/telemetry/src/listener.rs"];
/// Fields of them that bound nothing: they say how often something is done.
const RHYTHMS: [&str; 2] = ["statistics_ms", "retention_round"];
/// Whose defaults are words or computed.
const IN_WORDS: [&str; 4] =
    ["VOICEBRIDGE_CANDIDATES", "VOICEBRIDGE_MAX_SESSIONS", "VOICEBRIDGE_OPUS_COMPLEXITY", "VOICEBRIDGE_UDP_PORTS"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// A time in milliseconds, or a plain number; bytes are one.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Value {
    Millis(f64),
    Number(f64),
}

impl Value {
    fn combine(self, other: Self, with: fn(f64, f64) -> f64) -> Self {
        use Value::{Millis, Number};
        match (self, other) {
            (Number(a), Number(b)) => Number(with(a, b)),
            (Millis(a) | Number(a), Millis(b) | Number(b)) => Millis(with(a, b)),
        }
    }
}

/// Constants and defaults of every source, as written: file, name, expression.
struct Sources(BTreeMap<PathBuf, BTreeMap<String, String>>);

impl Sources {
    fn read() -> Self {
        let mut files = Vec::new();
        for folder in CRATES.iter().map(|(_, folder)| *folder).chain([EDGE]) {
            collect(&root().join(folder), &mut files);
        }
        let names = |path: &PathBuf| {
            let text = fs::read_to_string(path).unwrap();
            // Attributes of tests that are not a module at the end do not occur.
            let shipped = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
            constants(shipped).chain(defaults(shipped)).collect()
        };
        Self(files.iter().map(|path| (path.strip_prefix(root()).unwrap().to_owned(), names(path))).collect())
    }

    fn value(&self, file: &Path, name: &str) -> Option<Value> {
        let expression = self.0.get(file)?.get(name)?;
        let value = self.evaluate(file, expression)?;
        Some(match value {
            Value::Number(number) if name.ends_with("_ms") || name.ends_with("_MS") => Value::Millis(number),
            value => value,
        })
    }

    /// Sums, products and times of numbers and names; nothing else occurs.
    fn evaluate(&self, file: &Path, expression: &str) -> Option<Value> {
        let expression = expression.trim();
        for (sign, with) in [(" + ", (|a, b| a + b) as fn(f64, f64) -> f64), (" * ", |a, b| a * b)] {
            if let Some((left, right)) = split_outside(expression, sign) {
                return Some(self.evaluate(file, left)?.combine(self.evaluate(file, right)?, with));
            }
        }
        if let Some(call) = expression.strip_prefix("Duration::from_") {
            let (unit, of) = call.strip_suffix(')')?.split_once('(')?;
            let (Value::Number(of) | Value::Millis(of)) = self.evaluate(file, of)?;
            let millis = match unit {
                "secs" => 1_000.0,
                "millis" => 1.0,
                _ => return None,
            };
            return Some(Value::Millis(of * millis));
        }
        if expression.starts_with(|first: char| first.is_ascii_digit()) {
            return expression.replace('_', "").parse().ok().map(Value::Number);
        }
        // A name of this file, or the only one of it.
        let name = expression.rsplit("::").next()?;
        if self.0.get(file)?.contains_key(name) {
            return self.value(file, name);
        }
        let mut elsewhere = self.0.iter().filter(|(_, names)| names.contains_key(name));
        let (elsewhere, others) = (elsewhere.next()?, elsewhere.next());
        others.is_none().then(|| self.value(elsewhere.0, name))?
    }
}

/// At the last place outside of parentheses.
fn split_outside<'a>(text: &'a str, sign: &str) -> Option<(&'a str, &'a str)> {
    let balanced = |text: &str| text.matches('(').count() == text.matches(')').count();
    let found = text.rmatch_indices(sign).find(|(at, _)| balanced(&text[..*at]));
    found.map(|(at, _)| (&text[..at], &text[at + sign.len()..]))
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs" || extension == "ts") {
            files.push(path);
        }
    }
}

/// `const NAME: Type = expression;`, in TypeScript without a type.
fn constants(text: &str) -> impl Iterator<Item = (String, String)> {
    text.split("const ").skip(1).filter_map(|rest| {
        let (declared, expression) = rest.split_once(" = ").or_else(|| rest.split_once(" =\n"))?;
        let name = declared.split(':').next()?;
        let is_name =
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
        is_name.then(|| Some((name.to_owned(), expression.split_once(';')?.0.to_owned())))?
    })
}

/// Fields of `fn default()`.
fn defaults(text: &str) -> impl Iterator<Item = (String, String)> {
    let bodies = text.split("fn default() -> Self {\n        Self {\n").skip(1);
    bodies.filter_map(|body| body.split_once("\n        }")).flat_map(|(fields, _)| fields.lines()).filter_map(|line| {
        let (name, expression) = line.trim().strip_suffix(',')?.split_once(": ")?;
        Some((name.to_owned(), expression.to_owned()))
    })
}

#[derive(Debug)]
struct Row {
    title: String,
    default: String,
    /// File and name of each constant.
    names: Vec<(PathBuf, String)>,
    variables: Vec<String>,
}

fn rows() -> Vec<Row> {
    let page = fs::read_to_string(root().join("docs/limits.md")).unwrap();
    let mut rows = Vec::new();
    for section in page.split("\n## ") {
        // Of languages whose sources this does not read.
        if section.starts_with("Clients") {
            continue;
        }
        rows.extend(section.lines().filter_map(row));
    }
    rows
}

fn is_constant(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
}

fn row(line: &str) -> Option<Row> {
    let cells: Vec<&str> = line.strip_prefix("| ")?.split(" | ").collect();
    let [title, default, place, ..] = cells[..] else { return None };
    let mut row =
        Row { title: title.to_owned(), default: default.to_owned(), names: Vec::new(), variables: Vec::new() };
    let (mut folder, mut file) = (EDGE, None);
    for word in place.split([' ', ',']).filter(|word| !word.is_empty()) {
        let Some(quoted) = word.strip_prefix('`').and_then(|word| word.strip_suffix('`')) else {
            folder = CRATES.iter().find(|(name, _)| *name == word).map_or(folder, |(_, path)| path);
            continue;
        };
        if quoted.starts_with("VOICE") || quoted.starts_with("WHATSAPP_") {
            row.variables.push(quoted.to_owned());
        } else {
            let path = |folder: &str| root().join(folder).join(quoted);
            let found = [(folder, "rs"), (EDGE, "ts")]
                .into_iter()
                .find(|(folder, extension)| path(folder).with_extension(extension).is_file());
            match (found, &file) {
                (Some((folder, extension)), _) => {
                    file = Some(Path::new(folder).join(quoted).with_extension(extension));
                }
                (None, Some(file)) => row.names.push((file.clone(), quoted.to_owned())),
                // A constant without its file, or a file that is not there: nobody would hold the row to anything.
                (None, None) if is_constant(quoted) || quoted.contains('/') => {
                    panic!("{title}: {folder}/{quoted} is no file")
                }
                // A field of a request.
                (None, None) => {}
            }
        }
    }
    Some(row)
}

/// Every quantity in a text; sizes joined by "and" are one as well.
fn quantities(text: &str) -> Vec<Value> {
    let words: Vec<&str> = text.split([' ', ',', ';', ':', '(', ')']).filter(|word| !word.is_empty()).collect();
    let mut found = Vec::new();
    let mut bytes = 0.0;
    for (at, word) in words.iter().enumerate() {
        let number = match *word {
            "a" | "an" => 1.0,
            word => match word.trim_end_matches('.').parse::<f64>() {
                Ok(number) => number,
                Err(_) => continue,
            },
        };
        let unit = words.get(at + 1).map_or("", |unit| unit.trim_end_matches(['.', '\'']));
        let value = match unit {
            "ms" => Value::Millis(number),
            "s" => Value::Millis(number * 1e3),
            "min" | "minute" => Value::Millis(number * 6e4),
            "h" | "hour" => Value::Millis(number * 36e5),
            "day" | "days" => Value::Millis(number * 864e5),
            "MiB" => Value::Number(number * 1_048_576.0),
            "KiB" => Value::Number(number * 1_024.0),
            _ if word.starts_with('a') => continue,
            _ => Value::Number(number),
        };
        if let (Value::Number(size), "MiB" | "KiB") = (value, unit) {
            bytes += size;
        }
        found.push(value);
    }
    found.push(Value::Number(bytes));
    found
}

/// What `.env.example` has for a variable, as the unit in its name says.
fn example(variable: &str) -> Option<Value> {
    let text = fs::read_to_string(root().join(".env.example")).unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix(variable)?.strip_prefix('=')?.parse::<f64>().ok())?;
    Some(match variable.rsplit('_').next().unwrap() {
        "S" => Value::Millis(value * 1e3),
        "MS" => Value::Millis(value),
        "DAYS" => Value::Millis(value * 864e5),
        _ => Value::Number(value),
    })
}

#[test]
fn every_value_in_the_table_is_that_of_its_constant() {
    let (sources, mut wrong, mut checked) = (Sources::read(), Vec::new(), 0);
    for row in rows() {
        let said = quantities(&row.default);
        for (file, name) in &row.names {
            match sources.value(file, name) {
                None => wrong.push(format!("{}: there is no {name} in {}", row.title, file.display())),
                // Audio is told in seconds, and counted in bytes of 16-bit PCM at 24 kHz.
                Some(Value::Number(bytes)) if name == "playout_bytes" => {
                    assert!(said.contains(&Value::Millis(bytes / 48.0)), "{row:?}");
                }
                Some(value) if said.contains(&value) => checked += 1,
                Some(value) => wrong.push(format!("{}: {name} is {value:?}, not {}", row.title, row.default)),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(checked > 100, "only {checked} values could be told");
}

#[test]
fn every_setting_in_the_table_has_the_default_that_the_example_has() {
    let mut wrong = Vec::new();
    for row in rows() {
        for variable in row.variables.iter().filter(|name| !IN_WORDS.contains(&name.as_str())) {
            // Those of the edge functions are not in the example.
            if let Some(value) = example(variable)
                && !quantities(&row.default).contains(&value)
            {
                wrong.push(format!("{}: {variable} is {value:?}, not {}", row.title, row.default));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_bound_of_the_settings_and_of_the_structures_of_limits_has_a_row() {
    let (rows, sources) = (rows(), Sources::read());
    let named: BTreeSet<&str> = rows.iter().flat_map(|row| &row.names).map(|(_, name)| name.as_str()).collect();
    let variables: BTreeSet<&str> = rows.iter().flat_map(|row| &row.variables).map(String::as_str).collect();
    let mut missing = Vec::new();
    for file in STRUCTURES {
        let text = fs::read_to_string(root().join(file)).unwrap();
        for (field, _) in defaults(&text) {
            // Set by a variable of its own, which names it in the settings.
            let by_variable = text.contains(&format!("            {field}: errors."))
                || text.contains(&format!("                {field}: errors."))
                || ["transport_ms", "silent_caller_ms", "listener"].contains(&field.as_str());
            if !named.contains(field.as_str()) && !by_variable && !RHYTHMS.contains(&field.as_str()) {
                missing.push(format!("{field} of {file}"));
            }
        }
    }
    // Numbers, seconds, milliseconds, days.
    for file in sources.0.keys() {
        let is_settings = file.ends_with("server/src/config.rs") || file.ends_with("node/src/config.rs");
        if !is_settings {
            continue;
        }
        let text = fs::read_to_string(root().join(file)).unwrap();
        for kind in ["number", "seconds", "millis", "days"] {
            for call in text.split(&format!("errors.{kind}(")).skip(1) {
                let variable = call.split('"').nth(1).unwrap();
                // How many threads there are bounds nothing.
                if !variables.contains(variable) && variable != "VOICEBRIDGE_MEDIA_THREADS" {
                    missing.push(variable.to_owned());
                }
            }
        }
    }
    assert!(missing.is_empty(), "without a row in docs/limits.md: {missing:?}");
}

#[test]
fn a_wrong_value_would_be_seen() {
    let sources = Sources::read();
    let line = "| t | 3 MiB and 64 KiB, then 10 s | server `config` `MAX_BODY_BYTES`, `STALE_IN_NOTHING` | x |";
    let row = row(line).unwrap();
    let file = Path::new("control-plane/server/src/config.rs");
    assert_eq!(row.names[0], (file.to_owned(), "MAX_BODY_BYTES".to_owned()));
    let value = sources.value(file, "MAX_BODY_BYTES").unwrap();
    assert_eq!(value, Value::Number(3_211_264.0));
    assert!(quantities(&row.default).contains(&value) && !quantities("3 MiB").contains(&value));
    assert!(sources.value(&row.names[1].0, &row.names[1].1).is_none());
    assert_eq!(quantities("90 days"), [Value::Millis(7_776_000_000.0), Value::Number(0.0)]);
    assert_eq!(sources.evaluate(file, "2 * (3 + 4) + Duration::from_secs(1)"), None, "nothing is guessed");
}
