//! What the demo says: one block per call, the speed, and a verdict.

use std::io;

use serde_json::json;
use voicebridge_server::json as contract;

use super::{
    evidence::Evidence,
    proof::Finding,
    recordings::Recordings,
    speed::{Speed, Spread},
};
use crate::{
    describe,
    print::{DIM, ERROR, GOOD, TITLE, WARN, clean, outln},
    timeline,
};

/// One call with everything that was found out about it.
pub(crate) struct Result {
    pub(crate) evidence: Evidence,
    pub(crate) findings: Vec<Finding>,
    pub(crate) recordings: Recordings,
}

impl Result {
    pub(crate) fn holds(&self) -> bool {
        self.findings.iter().all(|finding| finding.holds)
    }
}

/// The block of one call.
pub(crate) fn call(number: usize, result: &Result) -> io::Result<()> {
    let Result { evidence, findings, recordings } = result;
    let caller = &evidence.caller;
    outln(&format!(
        "\n{TITLE}Call {number}{TITLE:#}  +{} {} in region {}: {}",
        caller.number,
        caller.name,
        clean(&evidence.call.region),
        caller.plot.words()
    ))?;
    outln(&format!("  {DIM}{}{DIM:#}\n", clean(&evidence.call.call_id)))?;
    for line in timeline::lines(&evidence.call, evidence.graph_times()) {
        outln(&line)?;
    }
    outln("")?;
    for said in &evidence.transcripts {
        outln(&format!("  {}", describe::transcript(said)))?;
    }
    outln("")?;
    for finding in findings {
        let mark = if finding.holds { format!("{GOOD}yes{GOOD:#}") } else { format!("{ERROR}NO {ERROR:#}") };
        outln(&format!("  {mark}  {}  {DIM}{}{DIM:#}", finding.claim, clean(&finding.detail)))?;
    }
    outln(&format!("  {DIM}{}{DIM:#}", recordings.heard_by_caller.display()))?;
    outln(&format!("  {DIM}{}{DIM:#}", recordings.heard_by_ai.display()))
}

/// The figures, each beside its goal.
pub(crate) fn speed(calls: usize, speed: &Speed) -> io::Result<()> {
    outln(&format!("\n{TITLE}Speed{TITLE:#} {DIM}({calls} calls at once, instant Graph API and AI){DIM:#}"))?;
    let rows: [(&str, Option<Spread>, Goal); 5] = [
        ("webhook to first RTP at the caller", speed.webhook_to_first_rtp, Goal::P95(200.0)),
        ("webhook to SDP answer, StartSession in it", speed.webhook_to_answer, Goal::P95(20.0)),
        ("mouth to ear through an echoing AI", speed.mouth_to_ear, Goal::P50(70.0)),
        ("longest gap between two packets", speed.longest_gap, Goal::Max(40.0)),
        ("delay of the simulated callers themselves", speed.own_delay, Goal::Max(20.0)),
    ];
    for (what, spread, goal) in rows {
        let Some(spread) = spread else {
            outln(&format!("  {what:<42}  {WARN}not measured{WARN:#}"))?;
            continue;
        };
        outln(&figures(what, &spread, goal))?;
    }
    outln(&format!(
        "  {DIM}Mouth to ear is of a further call, after those above: to a third node, in region `echo` (logs/media-echo.log),\n  \
         whose AI sends every sound straight back. It is the whole way of a sound, there and back.{DIM:#}"
    ))
}

/// One row. A goal that was missed is said in words too: colours do not survive a pipe.
fn figures(what: &str, spread: &Spread, goal: Goal) -> String {
    let (name, value, goal) = goal.judge(spread);
    let (style, mark) = if value <= goal { (GOOD, "") } else { (WARN, ", over") };
    let Spread { p50_ms, p95_ms, max_ms } = spread;
    format!(
        "  {what:<42}  {style}p50 {p50_ms:>6.1}  p95 {p95_ms:>6.1}  max {max_ms:>6.1} ms{mark}{style:#}  {DIM}(goal: {name} {goal:.0}){DIM:#}"
    )
}

/// Which figure of a spread has a goal, milliseconds.
#[derive(Clone, Copy)]
enum Goal {
    P50(f64),
    P95(f64),
    Max(f64),
}

impl Goal {
    /// Its name, what was measured, and what should not be exceeded.
    fn judge(self, spread: &Spread) -> (&'static str, f64, f64) {
        match self {
            Self::P50(goal) => ("p50", spread.p50_ms, goal),
            Self::P95(goal) => ("p95", spread.p95_ms, goal),
            Self::Max(goal) => ("max", spread.max_ms, goal),
        }
    }
}

/// Everything as one JSON object.
pub(crate) fn as_json(results: &[Result], speed: &Speed) -> serde_json::Value {
    let calls: Vec<_> = results
        .iter()
        .map(|result| {
            json!({
                "caller": { "number": result.evidence.caller.number, "region": result.evidence.caller.region },
                "plot": result.evidence.caller.plot.words(),
                "holds": result.holds(),
                "findings": result.findings,
                "recordings": result.recordings,
                "call": contract::value(&result.evidence.call),
                "transcripts": result.evidence.transcripts.iter().map(contract::value).collect::<Vec<_>>(),
            })
        })
        .collect();
    json!({ "holds": results.iter().all(Result::holds), "calls": calls, "speed": speed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_goal_is_said_without_colours_too() {
        let plain = |goal| {
            let spread = Spread { p50_ms: 20.0, p95_ms: 41.0, max_ms: 112.5 };
            anstream::adapter::strip_str(&figures("longest gap", &spread, goal)).to_string()
        };
        assert!(plain(Goal::Max(40.0)).ends_with("max  112.5 ms, over  (goal: max 40)"), "{}", plain(Goal::Max(40.0)));
        assert!(plain(Goal::P50(40.0)).ends_with("max  112.5 ms  (goal: p50 40)"), "{}", plain(Goal::P50(40.0)));
    }
}
