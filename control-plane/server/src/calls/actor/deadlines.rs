//! The call's deadlines: how long each kind is, and which fires next.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;
use voicebridge_core::call_life::DeadlineKind;

use crate::{clock::now_ms, config::Limits, convert, store::CallRow};

/// See the module.
pub(super) struct Deadlines {
    set: BTreeMap<DeadlineKind, Instant>,
    ring_until_ms: i64,
    patient_until_ms: i64,
    ending: Duration,
}

impl Deadlines {
    /// None of them set.
    pub(super) fn new(call: &CallRow, limits: &Limits) -> Self {
        Self {
            set: BTreeMap::new(),
            ring_until_ms: call.ring_until_ms,
            patient_until_ms: call.received_at_ms + convert::duration_ms(limits.accept_patience) as i64,
            ending: limits.ending,
        }
    }

    pub(super) fn set(&mut self, kind: DeadlineKind) {
        self.set.insert(kind, self.at(kind));
    }

    pub(super) fn clear(&mut self, kind: DeadlineKind) {
        self.set.remove(&kind);
    }

    pub(super) fn next(&self) -> Option<(DeadlineKind, Instant)> {
        self.set.iter().min_by_key(|(_, at)| **at).map(|(kind, at)| (*kind, *at))
    }

    /// When it would fire if it were set now.
    pub(super) fn at(&self, kind: DeadlineKind) -> Instant {
        let until = |at_ms: i64| Instant::now() + Duration::from_millis(convert::elapsed_ms(now_ms(), at_ms));
        match kind {
            DeadlineKind::Ring => until(self.ring_until_ms),
            DeadlineKind::Patience => until(self.patient_until_ms),
            DeadlineKind::Ending => Instant::now() + self.ending,
        }
    }
}
