//! What users of the API note on calls: a few names with values, for finding calls again.
//!
//! Does not know what they mean, nor where they are kept.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// Of one call.
pub const MAX_LABELS: usize = 16;
/// Longest name.
pub const MAX_NAME_BYTES: usize = 63;
/// Longest value.
pub const MAX_VALUE_BYTES: usize = 256;

/// Why something is no label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// More than [`MAX_LABELS`].
    #[error("must be at most {MAX_LABELS}")]
    TooMany,
    /// A name breaks its rule.
    #[error(
        "must have names of 1 to {MAX_NAME_BYTES} of a to z, 0 to 9, `_`, `-` and `.`, beginning with a letter or digit"
    )]
    Name,
    /// A value breaks its rule.
    #[error("must have values of at most {MAX_VALUE_BYTES} bytes without control characters")]
    Value,
    /// One cannot be set and removed.
    #[error("must not name what is set")]
    SetAndRemoved,
}

/// Labels of a call. `Debug` shows names only: values may be about persons.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Labels(BTreeMap<String, String>);

impl Labels {
    /// # Errors
    /// One of them breaks its rule, or there are too many.
    pub fn parse(pairs: impl IntoIterator<Item = (String, String)>) -> Result<Self, LabelError> {
        let labels: BTreeMap<_, _> = pairs.into_iter().collect();
        if labels.len() > MAX_LABELS {
            return Err(LabelError::TooMany);
        }
        if !labels.keys().all(|name| is_name(name)) {
            return Err(LabelError::Name);
        }
        let is_value = |value: &String| value.len() <= MAX_VALUE_BYTES && !value.chars().any(char::is_control);
        if !labels.values().all(is_value) {
            return Err(LabelError::Value);
        }
        Ok(Self(labels))
    }

    /// As they were when they were stored, by whatever rules held then.
    #[must_use]
    pub const fn stored(labels: BTreeMap<String, String>) -> Self {
        Self(labels)
    }

    /// In the order of their names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// None.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of these are among them.
    #[must_use]
    pub fn include(&self, others: &Self) -> bool {
        others.0.iter().all(|(name, value)| self.0.get(name) == Some(value))
    }

    /// With a change made to them; `None`: they would be too many.
    #[must_use]
    pub fn changed(mut self, change: &LabelChange) -> Option<Self> {
        self.0.retain(|name, _| !change.remove.contains(name));
        self.0.extend(change.set.0.clone());
        (self.0.len() <= MAX_LABELS).then_some(self)
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// What becomes of the labels of a call; others stay as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelChange {
    set: Labels,
    remove: BTreeSet<String>,
}

impl LabelChange {
    /// To be set, in place of a value that is there; and to be removed, if they are there.
    ///
    /// # Errors
    /// One of the names to be removed is none, or is to be set as well; or there are too many.
    pub fn new(set: Labels, remove: impl IntoIterator<Item = String>) -> Result<Self, LabelError> {
        let remove: BTreeSet<_> = remove.into_iter().collect();
        if remove.len() > MAX_LABELS {
            return Err(LabelError::TooMany);
        }
        if !remove.iter().all(|name| is_name(name)) {
            return Err(LabelError::Name);
        }
        if remove.iter().any(|name| set.0.contains_key(name)) {
            return Err(LabelError::SetAndRemoved);
        }
        Ok(Self { set, remove })
    }

    /// Names and values to be set.
    #[must_use]
    pub const fn set(&self) -> &Labels {
        &self.set
    }

    /// Names to be removed.
    pub fn remove(&self) -> impl ExactSizeIterator<Item = &str> {
        self.remove.iter().map(String::as_str)
    }
}

fn is_name(name: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    (1..=MAX_NAME_BYTES).contains(&name.len())
        && name.bytes().all(|b| is_plain(b) || matches!(b, b'_' | b'-' | b'.'))
        && name.bytes().next().is_some_and(is_plain)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn parse(pairs: &[(&str, &str)]) -> Result<Labels, LabelError> {
        Labels::parse(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn names_and_values_have_their_rules() {
        fn check(name: &str, value: &str, expect: Result<(), LabelError>) {
            assert_eq!(parse(&[(name, value)]).map(drop), expect, "{name:?} {value:?}");
        }
        check("campaign", "spring 2027 \u{1f338}", Ok(()));
        check("a.b-c_9", "", Ok(()));
        check(&"n".repeat(63), &"v".repeat(256), Ok(()));
        for name in ["", "Campaign", "a b", "\u{e4}", "-a", ".a", "a\u{0}", &"n".repeat(64)] {
            check(name, "", Err(LabelError::Name));
        }
        for value in ["a\nb", "\u{0}", &"v".repeat(257)] {
            check("a", value, Err(LabelError::Value));
        }
        let many = |count: u32| Labels::parse((0..count).map(|n| (n.to_string(), String::new())));
        assert!(many(16).is_ok());
        assert_eq!(many(17), Err(LabelError::TooMany));
    }

    #[test]
    fn a_change_sets_and_removes_and_leaves_the_rest() {
        let change = |set: &[(&str, &str)], remove: &[&str]| {
            LabelChange::new(parse(set).unwrap(), remove.iter().map(|name| (*name).to_owned()))
        };
        let labels = parse(&[("a", "1"), ("b", "2")]).unwrap();
        let changed = |set: &[_], remove: &[_]| labels.clone().changed(&change(set, remove).unwrap());
        assert_eq!(changed(&[("a", "3"), ("c", "4")], &["b", "gone"]), parse(&[("a", "3"), ("c", "4")]).ok());
        assert_eq!(changed(&[], &[]), Some(labels.clone()));
        let full: Vec<_> = (0..15).map(|n| (format!("n{n}"), String::new())).collect();
        let full = LabelChange::new(Labels::parse(full).unwrap(), ["a".to_owned()]).unwrap();
        assert_eq!(labels.clone().changed(&full).map(|labels| labels.0.len()), Some(16));
        let one_more = LabelChange::new(full.set.clone(), []).unwrap();
        assert_eq!(labels.changed(&one_more), None);
        assert_eq!(change(&[("a", "1")], &["a"]), Err(LabelError::SetAndRemoved));
        assert_eq!(change(&[], &["A"]), Err(LabelError::Name));
        assert_eq!(LabelChange::new(Labels::default(), (0..17).map(|n| n.to_string())), Err(LabelError::TooMany));
    }

    #[test]
    fn values_stay_out_of_debug_output() {
        let labels = parse(&[("a", "secret")]).unwrap();
        assert_eq!(format!("{labels:?}"), r#"{"a"}"#);
    }
}
