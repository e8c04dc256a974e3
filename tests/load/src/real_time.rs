//! What the demo measured through the real programs in real time: from the caller's mouth through an AI that echoes to the
//! caller's ear.
//!
//! It shares its machine with what it measures, so how late the simulated caller itself was stands beside it.

use crate::table::{Floor, Table};
use anyhow::Context as _;
use std::path::Path;

/// The part of the demo's `--json` that is of interest; milliseconds.
#[derive(serde::Deserialize)]
struct Demo {
    speed: Speed,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Speed {
    mouth_to_ear: Option<Spread>,
    own_delay: Option<Spread>,
}

#[derive(serde::Deserialize)]
struct Spread {
    p50_ms: f64,
    p95_ms: f64,
    max_ms: f64,
}

pub(crate) fn read(demo: &Path, table: &mut Table) -> anyhow::Result<()> {
    let text = std::fs::read(demo).with_context(|| format!("read {}", demo.display()))?;
    let Demo { speed } = serde_json::from_slice(&text).context("this is not what the demo says with --json")?;
    report(&speed, table)
}

fn report(speed: &Speed, table: &mut Table) -> anyhow::Result<()> {
    let Spread { p50_ms, p95_ms, max_ms } =
        speed.mouth_to_ear.as_ref().context("the demo could not measure from mouth to ear")?;
    let own = speed.own_delay.as_ref().map_or(f64::NAN, |own| own.max_ms);
    table.section("Real time, through the real programs");
    let beside = format!("p95 {p95_ms:.1} ms, longest {max_ms:.1} ms; the caller itself was late by up to {own:.1} ms");
    table.row("mouth to ear, median", *p50_ms, Floor::AtMost(50.0), (1, " ms"), beside);
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_demos_words_are_understood() {
        let spread = |p50_ms: f64| format!(r#"{{"p50_ms":{p50_ms},"p95_ms":61.0,"max_ms":64.0}}"#);
        let check = |p50_ms: f64, holds: bool| {
            let (ear, own) = (spread(p50_ms), spread(1.0));
            let text = format!(r#"{{"holds":true,"calls":[],"speed":{{"mouthToEar":{ear},"ownDelay":{own}}}}}"#);
            let mut table = Table::default();
            report(&serde_json::from_str::<Demo>(&text).unwrap().speed, &mut table).unwrap();
            assert_eq!(table.holds(), holds, "{table}");
        };
        check(49.0, true);
        check(58.8, false);
        let nothing: Demo = serde_json::from_str(r#"{"speed":{"mouthToEar":null,"ownDelay":null}}"#).unwrap();
        assert!(report(&nothing.speed, &mut Table::default()).is_err());
    }
}
