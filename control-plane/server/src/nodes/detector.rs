//! Whether a node is there: decided from its signs of life, the outcomes of probes, and time, which is an argument.
//!
//! A beat that is overdue, or a registration that ended, proves nothing: it has the node probed. A node is lost when a probe
//! shows that its process is gone, or when one stays unanswered and there was no sign of life for its whole term by then. A
//! sign of life that came after a probe was begun outweighs what the probe says. What this does not do: send probes, or tell
//! anybody.

use std::time::{Duration, Instant};

/// Durations a detector decides by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Between two beats of a node, and from the end of a probe to the next one.
    pub(super) beat: Duration,
    /// Silence after which a node may be lost.
    pub(super) lost_after: Duration,
}

impl Bounds {
    /// Silence after which a node is probed: one beat did not come, with half a beat for the way.
    fn overdue(self) -> Duration {
        self.beat * 3 / 2
    }

    /// Time between two looks at the nodes from which on we stood still ourselves; less is made up for by what waits to be
    /// heard.
    pub(super) fn stall(self) -> Duration {
        self.lost_after / 4
    }
}

/// What a probe found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// The node answered.
    Alive,
    /// Nothing came in time, or nothing that says who answered.
    Silent,
    /// Nobody listens at its address any more, or another process does.
    Gone,
}

/// Why a node is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// No sign of life for its whole term, nor an answer to the probe that followed.
    Silent,
    /// A probe found its process gone.
    Gone,
}

/// What is to be done about a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    Keep,
    /// The outcome is to be told by [`Detector::probed`].
    Probe,
    Lose(Loss),
}

/// What is known of one node.
#[derive(Debug)]
pub(super) struct Detector {
    /// Latest sign of life, or the moment its term began anew.
    heard: Instant,
    /// Silence it may keep.
    term: Duration,
    /// Something speaks against it: it is probed however lately it was heard.
    in_doubt: bool,
    /// When the probe under way was begun.
    probing: Option<Instant>,
    next_probe: Instant,
}

impl Detector {
    /// Of a node that was heard just now.
    pub(super) const fn new(now: Instant, term: Duration) -> Self {
        Self { heard: now, term, in_doubt: false, probing: None, next_probe: now }
    }

    /// A sign of life: an answer, an event, anything that only this node's process can have sent.
    pub(super) fn heard(&mut self, at: Instant) {
        self.heard = self.heard.max(at);
    }

    /// A beat of its registration, which settles every doubt.
    pub(super) fn beat(&mut self, now: Instant, term: Duration) {
        self.heard(now);
        self.term = term;
        self.in_doubt = false;
    }

    /// Something speaks against it, such as the end of its registration.
    pub(super) const fn doubt(&mut self) {
        self.in_doubt = true;
    }

    /// We did not listen for a while: what was not heard meanwhile says nothing, and its term begins anew.
    pub(super) fn forgive(&mut self, now: Instant) {
        self.heard(now);
    }

    /// To be asked again and again.
    pub(super) fn decide(&mut self, now: Instant, bounds: Bounds) -> Decision {
        if let Some(begun) = self.probing {
            // Whoever probes has a deadline of his own; should it fail, silence is what it found.
            if now.saturating_duration_since(begun) <= self.term {
                return Decision::Keep;
            }
            return self.probed(begun, Finding::Silent, now, bounds);
        }
        let silence = now.saturating_duration_since(self.heard);
        if (self.in_doubt || silence > bounds.overdue()) && now >= self.next_probe {
            self.probing = Some(now);
            return Decision::Probe;
        }
        Decision::Keep
    }

    /// What the probe begun at `begun` found. One that is not under way any more says nothing.
    pub(super) fn probed(&mut self, begun: Instant, finding: Finding, now: Instant, bounds: Bounds) -> Decision {
        if self.probing != Some(begun) {
            return Decision::Keep;
        }
        self.probing = None;
        self.next_probe = now + bounds.beat;
        let contradicted = self.heard > begun;
        match finding {
            Finding::Alive => {
                self.heard(now);
                self.in_doubt = false;
                Decision::Keep
            }
            Finding::Gone if !contradicted => Decision::Lose(Loss::Gone),
            Finding::Gone => {
                self.in_doubt = true;
                Decision::Keep
            }
            Finding::Silent => {
                let silence = now.saturating_duration_since(self.heard);
                if !contradicted && silence > self.term { Decision::Lose(Loss::Silent) } else { Decision::Keep }
            }
        }
    }
}

#[cfg(test)]
mod tests;
