//! Faults of the Graph API on demand: what goes wrong with which action, how often.
//!
//! Nothing goes wrong by itself. A fault is looked up per request, those of the call before those of the whole Meta.

use std::{collections::BTreeMap, time::Duration};

use super::order::Action;

/// What goes wrong with a request that would otherwise be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GraphFault {
    /// Refused with this code; 500..=599 are HTTP statuses without a code of their own. Nothing is applied.
    Refuse(u32),
    /// Answered this much later. Applied after the delay, just before the answer.
    Delay(Duration),
    /// Never answered, nothing applied.
    Hang,
    /// Applied, but the answer never arrives.
    LoseAnswer,
}

/// The faults waiting for requests.
#[derive(Clone, Debug, Default)]
pub struct Faults(BTreeMap<Action, (GraphFault, Option<u32>)>);

impl Faults {
    /// No faults.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Every request for `action` meets `fault`.
    #[must_use]
    pub fn always(mut self, action: Action, fault: GraphFault) -> Self {
        self.0.insert(action, (fault, None));
        self
    }

    /// The next `times` requests for `action` meet `fault`, later ones do not: a transient fault.
    #[must_use]
    pub fn times(mut self, action: Action, fault: GraphFault, times: u32) -> Self {
        self.0.insert(action, (fault, Some(times)));
        self
    }

    /// The fault for a request for `action` that arrives now.
    pub(crate) fn take(&mut self, action: Action) -> Option<GraphFault> {
        let (fault, left) = self.0.get_mut(&action)?;
        match left {
            None => Some(fault.clone()),
            Some(0) => None,
            Some(left) => {
                *left -= 1;
                Some(fault.clone())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transient_fault_passes() {
        let mut faults = Faults::none().times(Action::Accept, GraphFault::Refuse(2), 2);
        assert_eq!(faults.take(Action::PreAccept), None);
        assert_eq!(faults.take(Action::Accept), Some(GraphFault::Refuse(2)));
        assert_eq!(faults.take(Action::Accept), Some(GraphFault::Refuse(2)));
        assert_eq!(faults.take(Action::Accept), None);

        let mut faults = Faults::none().always(Action::Reject, GraphFault::Hang);
        assert_eq!(faults.take(Action::Reject), Some(GraphFault::Hang));
        assert_eq!(faults.take(Action::Reject), Some(GraphFault::Hang));
    }
}
