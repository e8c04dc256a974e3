//! Which events a subscriber wants.

use voicebridge_core::identity::{CallId, PhoneNumber};
use voicebridge_proto::types::v1::EventKind;

use super::Entry;

/// A set of kinds. Empty: all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kinds(u64);

impl Kinds {
    fn bit(kind: EventKind) -> u64 {
        u32::try_from(i32::from(kind)).ok().and_then(|number| 1_u64.checked_shl(number)).unwrap_or(0)
    }

    pub(crate) fn add(&mut self, kind: EventKind) {
        self.0 |= Self::bit(kind);
    }

    fn has(self, kind: EventKind) -> bool {
        self.0 == 0 || self.0 & Self::bit(kind) != 0
    }
}

/// What all must be true of an event.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    /// Of this call; `None`: of all.
    pub(crate) call_id: Option<CallId>,
    pub(crate) kinds: Kinds,
    /// Of one of these numbers; empty: of any.
    pub(crate) phone_number_ids: Vec<String>,
    /// From one of these callers; empty: from any.
    pub(crate) callers: Vec<PhoneNumber>,
}

impl Filter {
    /// Also for an event that cannot be read, if its call fits: nobody is to miss it without knowing.
    pub(crate) fn passes(&self, entry: &Entry) -> bool {
        self.is_of_call(entry)
            && (entry.event.is_none() || self.kinds.has(entry.kind))
            && (self.phone_number_ids.is_empty() || self.phone_number_ids.contains(&entry.phone_number_id))
            && (self.callers.is_empty() || self.callers.iter().any(|caller| caller.digits() == entry.caller_phone))
    }

    /// It is of the one call, if this is about one.
    pub(crate) fn is_of_call(&self, entry: &Entry) -> bool {
        self.call_id.as_ref().is_none_or(|call_id| *call_id == entry.call_id)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[track_caller]
    fn check(filter: &Filter, expect: bool) {
        let entry = Entry::example(1, 0);
        assert_eq!(filter.passes(&entry), expect, "{filter:?}");
        let mut unreadable = entry;
        (unreadable.event, unreadable.kind) = (None, EventKind::Unspecified);
        let any_kind = Filter { kinds: Kinds::default(), ..filter.clone() };
        assert_eq!(filter.passes(&unreadable), any_kind.passes(&unreadable), "no kind hides what is unreadable");
    }

    fn kinds(kinds: &[EventKind]) -> Filter {
        let mut set = Kinds::default();
        kinds.iter().for_each(|kind| set.add(*kind));
        Filter { kinds: set, ..Filter::default() }
    }

    #[test]
    fn every_part_must_fit() {
        let call = |id: &str| Filter { call_id: Some(crate::ids::example(id)), ..Filter::default() };
        let numbers = |ids: &[&str]| Filter {
            phone_number_ids: ids.iter().map(|id| (*id).to_owned()).collect(),
            ..Filter::default()
        };
        let callers = |numbers: &[&str]| Filter {
            callers: numbers.iter().map(|number| PhoneNumber::parse(number).unwrap()).collect(),
            ..Filter::default()
        };
        check(&Filter::default(), true);
        check(&call("a"), true);
        check(&call("b"), false);
        check(&kinds(&[EventKind::CallEnded, EventKind::Transcript]), true);
        check(&kinds(&[EventKind::CallEnded]), false);
        check(&numbers(&["105", "106"]), true);
        check(&numbers(&["105"]), false);
        check(&callers(&["+5511900000001"]), true);
        check(&callers(&["5511900000002"]), false);
        check(&Filter { kinds: kinds(&[EventKind::Incident]).kinds, ..call("a") }, false);
    }

    #[test]
    fn every_kind_has_a_place_of_its_own() {
        let all: Vec<_> = (1..64).filter_map(|number| EventKind::try_from(number).ok()).collect();
        assert!(all.len() >= 20, "{all:?}");
        for kind in &all {
            let only = kinds(&[*kind]).kinds;
            assert!(all.iter().all(|other| only.has(*other) == (other == kind)), "{kind:?}");
        }
        assert!((64..1_000).all(|number| EventKind::try_from(number).is_err()), "more than a word can hold");
    }
}
