//! What callgrind wrote: the instructions each function ran itself, and those that ran in its calls of others.
//!
//! The format is that of Valgrind's manual, "Callgrind Format Specification": names are given once with a number and by the
//! number from then on; a line of cost is a position and a count; the line behind `calls=` is what the callee ran with all
//! it called.

use anyhow::{Context as _, ensure};
use std::collections::HashMap;

/// A function of one object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Function {
    pub(crate) name: String,
    /// The program or library it is in, by its whole path.
    pub(crate) object: String,
}

/// A call of `callee` by `caller`, all of them together. Both count the profile's functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) caller: usize,
    pub(crate) callee: usize,
    /// What ran in them, calls of the callee's included.
    pub(crate) instructions: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Profile {
    /// With what each ran itself.
    pub(crate) functions: Vec<(Function, u64)>,
    pub(crate) calls: Vec<Call>,
}

/// Names by number, of one kind.
#[derive(Default)]
struct Names(HashMap<u32, String>);

impl Names {
    /// `(12) name`, or `(12)` for one that was named before.
    fn read(&mut self, text: &str) -> anyhow::Result<String> {
        let Some((number, name)) = text.strip_prefix('(').and_then(|text| text.split_once(')')) else {
            return Ok(text.to_owned());
        };
        let number = number.parse()?;
        match name.trim_start() {
            "" => self.0.get(&number).cloned().with_context(|| format!("name {number} was not given before")),
            name => {
                self.0.insert(number, name.to_owned());
                Ok(name.to_owned())
            }
        }
    }
}

/// What is read of a file so far.
#[derive(Default)]
struct Reader {
    profile: Profile,
    known: HashMap<Function, usize>,
    edges: HashMap<(usize, usize), u64>,
    objects: Names,
    names: Names,
    object: String,
    /// Of the callee, if it is another.
    callees_object: Option<String>,
    function: Option<usize>,
    callee: Option<usize>,
    /// The next line is of the callee.
    of_callee: bool,
    total: Option<u64>,
}

/// Reads a whole file; its own total must be what is found.
pub(crate) fn read(text: &str) -> anyhow::Result<Profile> {
    let mut reader = Reader::default();
    for line in text.lines() {
        match line.split_once(['=', ':']).filter(|(key, _)| !key.starts_with(is_position)) {
            Some((key, value)) => reader.property(key, value)?,
            None => reader.cost(line)?,
        }
    }
    let Reader { mut profile, edges, total, .. } = reader;
    let found: u64 = profile.functions.iter().map(|(_, own)| own).sum();
    let total = total.context("the file has no end")?;
    ensure!(found == total, "{found} instructions found of {total}");
    let edges = edges.into_iter().map(|((caller, callee), instructions)| Call { caller, callee, instructions });
    profile.calls = edges.collect();
    profile.calls.sort_by_key(|call| (call.caller, call.callee));
    Ok(profile)
}

impl Reader {
    fn property(&mut self, key: &str, value: &str) -> anyhow::Result<()> {
        match key {
            "ob" => self.object = self.objects.read(value)?,
            "cob" => self.callees_object = Some(self.objects.read(value)?),
            "fn" => {
                let (name, object) = (self.names.read(value)?, self.object.clone());
                self.function = Some(self.index(&name, object));
            }
            "cfn" => {
                let object = self.callees_object.take().unwrap_or_else(|| self.object.clone());
                let name = self.names.read(value)?;
                self.callee = Some(self.index(&name, object));
            }
            "calls" => self.of_callee = true,
            "events" => ensure!(value.trim() == "Ir", "instructions alone are counted, not {value}"),
            "totals" => self.total = Some(value.trim().parse()?),
            // Files, and what the whole is.
            _ => {}
        }
        Ok(())
    }

    fn cost(&mut self, line: &str) -> anyhow::Result<()> {
        let (Some(count), Some(function)) = (line.split_ascii_whitespace().nth(1), self.function) else {
            return Ok(());
        };
        let count: u64 = count.parse()?;
        if std::mem::take(&mut self.of_callee) {
            let callee = self.callee.context("a call names its callee")?;
            *self.edges.entry((function, callee)).or_default() += count;
        } else {
            self.profile.functions[function].1 += count;
        }
        Ok(())
    }

    /// A function that calls itself is one function, however deep.
    fn index(&mut self, name: &str, object: String) -> usize {
        let name = name.split_once('\'').map_or(name, |(name, _)| name).to_owned();
        let function = Function { name, object };
        *self.known.entry(function).or_insert_with_key(|function| {
            self.profile.functions.push((function.clone(), 0));
            self.profile.functions.len() - 1
        })
    }
}

/// How a line of cost begins: a line's number, or its distance from the last one's.
fn is_position(first: char) -> bool {
    first.is_ascii_digit() || matches!(first, '+' | '-' | '*')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const FILE: &str = "version: 1\ncreator: callgrind-3.19.0\npositions: line\nevents: Ir\nsummary: 190\n\n\
        ob=(1) /bin/program\nfl=(1) /src/a.rs\nfn=(1) a::run\n16 20\n+2 30\nfi=(2) /rustc/core/iter.rs\n5 40\n\
        fe=(1)\ncob=(2) /lib/libc.so.6\ncfi=(3) ???\ncfn=(2) malloc\ncalls=3 0\n* 60\n* 10\n\
        cfn=(3) a::run'2\ncalls=1 16\n* 7\n\nob=(2)\nfl=(3)\nfn=(2)\n0 60\n\nob=(1)\nfl=(1)\nfn=(1)\n-1 30\n\ntotals: 190\n";

    #[test]
    fn a_function_has_what_it_ran_itself_and_what_it_called() {
        let profile = read(FILE).unwrap();
        let function =
            |name: &str, object: &str, own| (Function { name: name.to_owned(), object: object.to_owned() }, own);
        let expected = [function("a::run", "/bin/program", 130), function("malloc", "/lib/libc.so.6", 60)];
        assert_eq!(profile.functions, expected);
        let call = |caller, callee, instructions| Call { caller, callee, instructions };
        assert_eq!(profile.calls, [call(0, 0, 7), call(0, 1, 60)]);
    }

    #[test]
    fn a_file_that_is_not_whole_is_refused() {
        let check = |text: String, expect: &str| {
            let error = read(&text).unwrap_err().to_string();
            assert!(error.contains(expect), "{error}");
        };
        check(FILE.replace("totals: 190\n", ""), "no end");
        check(FILE.replace("\n+2 30", ""), "160 instructions found of 190");
        check(FILE.replace("events: Ir", "events: Ir Dr"), "Ir Dr");
        check(FILE.replace("ob=(1)\nfl", "ob=(7)\nfl"), "name 7");
    }
}
