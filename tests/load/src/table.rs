//! The result: one row per target, with its figure, its floor and what belongs beside it.

use std::{fmt, path::Path};

/// A target and how far it was met.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct Row {
    what: String,
    figure: String,
    /// Empty where the figure is for comparison only.
    floor: String,
    beside: String,
    holds: bool,
}

/// All rows, in sections.
#[derive(Debug, Default, serde::Serialize)]
pub(crate) struct Table {
    sections: Vec<Section>,
}

#[derive(Debug, serde::Serialize)]
struct Section {
    title: String,
    rows: Vec<Row>,
}

/// What a figure is held against.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Floor {
    AtMost(f64),
    AtLeast(f64),
    /// For comparison.
    None,
}

impl Floor {
    fn holds(self, figure: f64) -> bool {
        match self {
            Self::AtMost(most) => figure <= most,
            Self::AtLeast(least) => figure >= least,
            Self::None => true,
        }
    }
}

impl Table {
    pub(crate) fn section(&mut self, title: &str) {
        self.sections.push(Section { title: title.to_owned(), rows: Vec::new() });
    }

    /// Adds a row to the last section. `decimals` and `unit` are of figure and floor.
    pub(crate) fn row(&mut self, what: &str, figure: f64, floor: Floor, form: (usize, &str), beside: String) {
        let (decimals, unit) = form;
        let text = |value: f64| format!("{value:.decimals$}{unit}");
        let row = Row {
            what: what.to_owned(),
            figure: text(figure),
            floor: match floor {
                Floor::AtMost(most) => format!("<= {}", text(most)),
                Floor::AtLeast(least) => format!(">= {}", text(least)),
                Floor::None => String::new(),
            },
            beside,
            // Not a number holds against nothing.
            holds: figure.is_finite() && floor.holds(figure),
        };
        self.sections.last_mut().expect("a section is begun before its rows").rows.push(row);
    }

    pub(crate) fn holds(&self) -> bool {
        self.sections.iter().flat_map(|section| &section.rows).all(|row| row.holds)
    }

    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        std::fs::write(path, serde_json::to_vec_pretty(self)?)?;
        Ok(())
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widest = |of: fn(&Row) -> &str| {
            let rows = self.sections.iter().flat_map(|section| &section.rows);
            rows.map(|row| of(row).chars().count()).max().unwrap_or(0)
        };
        let (what, figure, floor) = (widest(|row| &row.what), widest(|row| &row.figure), widest(|row| &row.floor));
        for section in &self.sections {
            writeln!(f, "\n{}", section.title)?;
            for row in &section.rows {
                let verdict = match (row.floor.is_empty(), row.holds) {
                    (true, true) => "",
                    (false, true) => "ok",
                    (_, false) => "MISSED",
                };
                let line = format!(
                    "  {:what$}  {:>figure$}  {:floor$}  {verdict:6}  {}",
                    row.what, row.figure, row.floor, row.beside
                );
                writeln!(f, "{}", line.trim_end())?;
            }
        }
        let missed = self.sections.iter().flat_map(|section| &section.rows).filter(|row| !row.holds).count();
        let floors = self.sections.iter().flat_map(|section| &section.rows).filter(|row| !row.floor.is_empty()).count();
        writeln!(f, "\n{} of {floors} floors held", floors - missed.min(floors))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_floor_is_seen() {
        let mut table = Table::default();
        table.section("delays");
        table.row("added", 4.0, Floor::AtMost(6.0), (1, " ms"), String::new());
        table.row("beside", 400.0, Floor::None, (0, ""), "seen elsewhere".to_owned());
        assert!(table.holds());
        table.row("duration", 9.9, Floor::AtLeast(10.0), (2, " s"), String::new());
        assert!(!table.holds());
        let text = table.to_string();
        assert!(text.contains("MISSED") && text.contains("1 of 2 floors held"), "{text}");
        let mut nothing = Table::default();
        nothing.section("delays");
        nothing.row("added", f64::NAN, Floor::AtMost(6.0), (1, " ms"), String::new());
        assert!(!nothing.holds());
    }
}
