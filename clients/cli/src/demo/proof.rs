//! Whether a call was what it should have been: one finding per question, each with what was measured.

mod hearing;
mod protocol;
#[cfg(test)]
mod tests;

use super::evidence::Evidence;

/// Correlation of energy envelopes from which on speech counts as the one that was said.
pub(crate) const CORRELATION: f32 = 0.95;

/// The answer to one question about a call.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Finding {
    /// The question, as a statement that should be true.
    pub(crate) claim: &'static str,
    pub(crate) holds: bool,
    /// What was seen.
    pub(crate) detail: String,
}

impl Finding {
    fn new(claim: &'static str, holds: bool, detail: impl Into<String>) -> Self {
        Self { claim, holds, detail: detail.into() }
    }

    /// Holds when nothing is amiss.
    fn unless(claim: &'static str, amiss: Vec<String>, fine: impl Into<String>) -> Self {
        if amiss.is_empty() { Self::new(claim, true, fine) } else { Self::new(claim, false, amiss.join("; ")) }
    }
}

/// Everything there is to say about one call.
pub(crate) fn examine(evidence: &Evidence) -> Vec<Finding> {
    let mut findings = protocol::examine(evidence);
    match &evidence.session {
        Some(session) => findings.extend(hearing::examine(evidence, session)),
        None => findings.push(Finding::new("the AI had a session", false, "the AI never saw this call")),
    }
    findings
}
