//! The result: one row per target, with its figure, its target, its floor and what else belongs beside it.
//!
//! A floor is what the same costs with as little as possible between: no figure of ours can be better, and how far above
//! it we are is what we add.

use std::{fmt, path::Path};

/// A target and how far it was met.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Row {
    what: String,
    figure: String,
    /// Empty where the figure is for comparison only.
    target: String,
    floor: String,
    beside: String,
    holds: bool,
}

/// All rows, in sections.
#[derive(Debug, Default, serde::Serialize)]
pub struct Table {
    sections: Vec<Section>,
}

#[derive(Debug, serde::Serialize)]
struct Section {
    title: String,
    rows: Vec<Row>,
}

/// What a figure is held against.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    /// Fails above it.
    AtMost(f64),
    /// Fails below it.
    AtLeast(f64),
    /// For comparison.
    None,
}

impl Target {
    fn holds(self, figure: f64) -> bool {
        match self {
            Self::AtMost(most) => figure <= most,
            Self::AtLeast(least) => figure >= least,
            Self::None => true,
        }
    }
}

/// What a row says besides figure and target.
#[derive(Clone, Debug, Default)]
pub struct Beside {
    /// Of the figure; none where nothing can be measured below it.
    pub floor: Option<f64>,
    /// What else belongs beside it.
    pub words: String,
}

impl From<String> for Beside {
    fn from(words: String) -> Self {
        Self { floor: None, words }
    }
}

impl Table {
    /// Begins a section.
    pub fn section(&mut self, title: &str) {
        self.sections.push(Section { title: title.to_owned(), rows: Vec::new() });
    }

    /// Adds a row to the last section. `decimals` and `unit` are of figure, target and floor.
    ///
    /// # Panics
    ///
    /// Before the first section.
    pub fn row(&mut self, what: &str, figure: f64, target: Target, form: (usize, &str), beside: impl Into<Beside>) {
        let (decimals, unit) = form;
        let text = |value: f64| format!("{value:.decimals$}{unit}");
        let Beside { floor, words } = beside.into();
        let row = Row {
            what: what.to_owned(),
            figure: text(figure),
            target: match target {
                Target::AtMost(most) => format!("<= {}", text(most)),
                Target::AtLeast(least) => format!(">= {}", text(least)),
                Target::None => String::new(),
            },
            floor: floor.map(text).unwrap_or_default(),
            beside: words,
            // Not a number holds against nothing.
            holds: figure.is_finite() && target.holds(figure),
        };
        self.sections.last_mut().expect("a section is begun before its rows").rows.push(row);
    }

    /// Whether every target was met.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.rows().all(|row| row.holds)
    }

    fn rows(&self) -> impl Iterator<Item = &Row> {
        self.sections.iter().flat_map(|section| &section.rows)
    }

    /// Writes it as JSON.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        std::fs::write(path, serde_json::to_vec_pretty(self)?)?;
        Ok(())
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widest = |name: &str, of: fn(&Row) -> &str| {
            self.rows().map(|row| of(row).chars().count()).chain([name.len()]).max().unwrap_or(0)
        };
        let what = widest("", |row| &row.what);
        let figure = widest("figure", |row| &row.figure);
        let target = widest("target", |row| &row.target);
        let floor = widest("floor", |row| &row.floor);
        for section in &self.sections {
            writeln!(f, "\n{}", section.title)?;
            let head =
                format!("  {:what$}  {:>figure$}  {:target$}          {:>floor$}", "", "figure", "target", "floor");
            writeln!(f, "{head}")?;
            for row in &section.rows {
                let verdict = match (row.target.is_empty(), row.holds) {
                    (true, true) => "",
                    (false, true) => "ok",
                    (_, false) => "MISSED",
                };
                let line = format!(
                    "  {:what$}  {:>figure$}  {:target$}  {verdict:6}  {:>floor$}  {}",
                    row.what, row.figure, row.target, row.floor, row.beside
                );
                writeln!(f, "{}", line.trim_end())?;
            }
        }
        let failed = self.rows().filter(|row| !row.holds).count();
        let passed = self.rows().filter(|row| row.holds && !row.target.is_empty()).count();
        writeln!(f, "\n{passed} passed, {failed} failed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_target_is_seen() {
        let mut table = Table::default();
        table.section("delays");
        let beside = Beside { floor: Some(2.5), words: "the tick".to_owned() };
        table.row("added", 4.0, Target::AtMost(6.0), (1, " ms"), beside);
        table.row("beside", 400.0, Target::None, (0, ""), "seen elsewhere".to_owned());
        assert!(table.holds());
        table.row("duration", 9.9, Target::AtLeast(10.0), (2, " s"), String::new());
        assert!(!table.holds());
        let text = table.to_string();
        assert!(text.contains("MISSED") && text.ends_with("\n1 passed, 1 failed\n"), "{text}");
        assert!(text.contains("2.5 ms  the tick"), "{text}");
        let mut nothing = Table::default();
        nothing.section("delays");
        nothing.row("added", f64::NAN, Target::AtMost(6.0), (1, " ms"), String::new());
        assert!(!nothing.holds() && nothing.to_string().ends_with("\n0 passed, 1 failed\n"));
    }
}
