//! Which media nodes to try for a caller, in order.
//!
//! Meta's relay is near the *user*, so the node should be too: the rules name regions for the caller's country or number
//! prefix, and within a region the least loaded node goes first. Nodes that cannot take a call are left out. Nodes of
//! other regions stay on the list as a last resort: a call far away is better than a call turned down. So do nodes that
//! have lost some of their media threads, after all that have not, and after those the nodes that were full at their last
//! beat: a slot may have been given back since, and the node itself decides.
//!
//! Rules, as in `VOICEBRIDGE_PLACEMENT`: `keys=regions` separated by `;`. Keys are ISO 3166 countries (`BR`), number
//! prefixes (`+1787` or `1787`) or `*` for everybody else; regions are in order of preference:
//! `BR,AR=sa;DE,FR=eu,us;*=us`. The longest matching prefix wins over the country, the country over `*`.

use std::collections::BTreeMap;

use phonenumber::metadata::DATABASE;

use crate::identity::{PhoneNumber, UserId};

/// What is known of a node when a call is to be placed.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeView {
    /// Unique per process start.
    pub node_id: String,
    /// Its region's name, as the rules use it.
    pub region: String,
    /// Sessions running, those just placed and not yet reported included.
    pub live_sessions: u32,
    /// Its bound.
    pub max_sessions: u32,
    /// Takes no more calls.
    pub draining: bool,
    /// Its registration stands and its beats come in.
    pub alive: bool,
    /// Busiest media thread, 0 to 1.
    pub media_load: f32,
    /// Its media threads; 0 when it is too old to say.
    pub media_threads: u32,
    /// Of these, how many have died or hang.
    pub media_threads_lost: u32,
}

impl NodeView {
    const fn can_take(&self) -> bool {
        let has_threads = self.media_threads == 0 || self.media_threads_lost < self.media_threads;
        self.alive && !self.draining && self.max_sessions > 0 && has_threads
    }

    const fn is_impaired(&self) -> bool {
        self.media_threads_lost > 0
    }

    const fn was_full(&self) -> bool {
        self.live_sessions >= self.max_sessions
    }

    /// The scarcer of slots and processor, 0 (idle) to 1 (full).
    fn load(&self) -> f32 {
        let slots = self.live_sessions as f32 / self.max_sessions.max(1) as f32;
        if self.media_load.is_finite() { slots.max(self.media_load) } else { slots }
    }
}

/// A rule that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("placement rule {rule:?}: {problem}")]
pub struct RuleError {
    rule: String,
    problem: &'static str,
}

/// Preferred regions by country and prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    by_country: BTreeMap<String, Vec<String>>,
    by_prefix: BTreeMap<String, Vec<String>>,
    otherwise: Vec<String>,
}

impl Rules {
    /// Reads the syntax of the module's page. An empty text is no rules at all.
    ///
    /// # Errors
    /// Names the first rule that cannot be read.
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        let mut rules = Self::default();
        for rule in text.split(';').map(str::trim).filter(|rule| !rule.is_empty()) {
            let fail = |problem| RuleError { rule: rule.to_owned(), problem };
            let (keys, regions) = rule.split_once('=').ok_or_else(|| fail("wants KEYS=REGIONS"))?;
            let regions: Vec<String> =
                regions.split(',').map(str::trim).filter(|region| !region.is_empty()).map(str::to_owned).collect();
            if regions.is_empty() {
                return Err(fail("names no region"));
            }
            for key in keys.split(',').map(str::trim) {
                rules.add(key, &regions).map_err(fail)?;
            }
        }
        Ok(rules)
    }

    fn add(&mut self, key: &str, regions: &[String]) -> Result<(), &'static str> {
        let digits = key.strip_prefix('+').unwrap_or(key);
        let twice = if key == "*" {
            !std::mem::replace(&mut self.otherwise, regions.to_vec()).is_empty()
        } else if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
            self.by_prefix.insert(digits.to_owned(), regions.to_vec()).is_some()
        } else if key.len() == 2 && key.bytes().all(|b| b.is_ascii_alphabetic()) {
            self.by_country.insert(key.to_ascii_uppercase(), regions.to_vec()).is_some()
        } else {
            return Err("a key is a two-letter country, a number prefix or *");
        };
        if twice { Err("a key is given twice") } else { Ok(()) }
    }

    /// Preferred regions for a caller, best first; empty when nothing is preferred.
    #[must_use]
    pub fn regions(&self, number: Option<&PhoneNumber>, user: Option<&UserId>) -> &[String] {
        let by_prefix = number.and_then(|number| {
            self.by_prefix
                .iter()
                .filter(|(prefix, _)| number.digits().starts_with(prefix.as_str()))
                .max_by_key(|(prefix, _)| prefix.len())
                .map(|(_, regions)| regions)
        });
        by_prefix.or_else(|| self.of_country(number, user)).unwrap_or(&self.otherwise)
    }

    fn of_country(&self, number: Option<&PhoneNumber>, user: Option<&UserId>) -> Option<&Vec<String>> {
        if self.by_country.is_empty() {
            return None;
        }
        self.by_country.get(&caller_country(number, user)?)
    }
}

/// The caller's country, ISO 3166 upper case: from the number, else from the business-scoped user id, else the main
/// country of the number's calling code (+44 without a known range is GB).
///
/// The first call in a process loads the numbering plans, about 70 ms: see [`warm_up`].
#[must_use]
pub fn caller_country(number: Option<&PhoneNumber>, user: Option<&UserId>) -> Option<String> {
    let parsed = number.and_then(|number| phonenumber::parse(None, format!("+{}", number.digits())).ok());
    let exact = parsed.as_ref().and_then(|number| number.country().id()).map(|country| country.as_ref().to_owned());
    exact.or_else(|| user.and_then(UserId::country)).or_else(|| {
        let regions = DATABASE.region(&parsed?.country().code())?;
        // 001 is the plans' word for numbers of no country.
        regions.first().filter(|region| region.len() == 2).map(|region| (*region).to_owned())
    })
}

/// Loads the numbering plans, so that no caller waits for it. To be called once before calls are taken.
pub fn warm_up() {
    // Any number does.
    let _ = caller_country(PhoneNumber::parse("12125550123").as_ref(), None);
}

/// Nodes that may take a call, in the order to try them: those with a free slot first, of these the unimpaired, then by
/// preferred region, load, id.
#[must_use]
pub fn order<'a>(nodes: &'a [NodeView], regions: &[String]) -> Vec<&'a NodeView> {
    let rank = |node: &NodeView| regions.iter().position(|region| *region == node.region).unwrap_or(regions.len());
    let mut candidates: Vec<&NodeView> = nodes.iter().filter(|node| node.can_take()).collect();
    candidates.sort_by(|a, b| {
        (a.was_full(), a.is_impaired(), rank(a))
            .cmp(&(b.was_full(), b.is_impaired(), rank(b)))
            .then(a.load().total_cmp(&b.load()))
            .then_with(|| a.node_id.cmp(&b.node_id))
    });
    candidates
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn node(node_id: &str, region: &str, live_sessions: u32) -> NodeView {
        NodeView {
            node_id: node_id.to_owned(),
            region: region.to_owned(),
            live_sessions,
            max_sessions: 10,
            draining: false,
            alive: true,
            media_load: 0.0,
            media_threads: 4,
            media_threads_lost: 0,
        }
    }

    #[test]
    fn nodes_are_ordered() {
        fn check(nodes: &[NodeView], regions: &[&str], expect: &[&str]) {
            let regions: Vec<String> = regions.iter().map(|region| (*region).to_owned()).collect();
            let ids: Vec<_> = order(nodes, &regions).into_iter().map(|node| node.node_id.as_str()).collect();
            assert_eq!(ids, expect, "{regions:?} {nodes:?}");
        }
        let nodes = [node("a", "eu", 3), node("b", "sa", 5), node("c", "sa", 1), node("d", "us", 0)];
        check(&nodes, &[], &["d", "c", "a", "b"]);
        check(&nodes, &["sa"], &["c", "b", "d", "a"]);
        check(&nodes, &["eu", "us"], &["a", "d", "c", "b"]);
        check(&nodes, &["mars"], &["d", "c", "a", "b"]);
        check(&[], &["sa"], &[]);

        let full = node("a", "sa", 10);
        let draining = NodeView { draining: true, ..node("b", "sa", 0) };
        let dead = NodeView { alive: false, ..node("c", "sa", 0) };
        let zero = NodeView { max_sessions: 0, ..node("d", "sa", 0) };
        check(&[full, draining, dead, zero, node("e", "us", 9)], &["sa"], &["e", "a"]);

        let full = node("a", "sa", 10);
        let impaired = NodeView { media_threads_lost: 1, ..node("b", "sa", 0) };
        let broken = NodeView { media_threads_lost: 4, ..node("c", "sa", 0) };
        let old = NodeView { media_threads: 0, ..node("d", "eu", 0) };
        check(&[full, impaired, broken, old, node("e", "us", 9)], &["sa"], &["d", "e", "b", "a"]);

        let busy = NodeView { media_load: 0.9, ..node("a", "sa", 0) };
        let odd = NodeView { media_load: f32::NAN, ..node("b", "sa", 5) };
        check(&[busy, odd], &[], &["b", "a"]);
        check(&[node("b", "sa", 1), node("a", "sa", 1)], &[], &["a", "b"]);
    }

    #[test]
    fn countries_are_known() {
        fn check(number: &str, user: &str, expect: Option<&str>) {
            let country = caller_country(PhoneNumber::parse(number).as_ref(), UserId::parse(user).as_ref());
            assert_eq!(country.as_deref(), expect, "{number} {user}");
        }
        check("5511900000001", "", Some("BR"));
        check("4930123456", "BR.1", Some("DE"));
        check("12125550123", "", Some("US"));
        check("14165550123", "", Some("CA"));
        check("447700900001", "", Some("GB"));
        check("447700900001", "JE.1", Some("JE"));
        check("", "BR.13000000000000001", Some("BR"));
        check("80012340000", "", None);
        check("999", "AR.1", Some("AR"));
        check("", "", None);
        check("", "noprefix", None);
    }

    #[test]
    fn rules_are_read_and_applied() {
        fn check(rules: &str, number: &str, user: &str, expect: &[&str]) {
            let parsed = Rules::parse(rules).unwrap();
            let regions = parsed.regions(PhoneNumber::parse(number).as_ref(), UserId::parse(user).as_ref());
            assert_eq!(regions, expect, "{rules} for {number} {user}");
        }
        let rules = "BR,ar=sa; DE,FR = eu , us ;+1787=sa;1=us-east;*=us";
        check(rules, "5511900000001", "", &["sa"]);
        check(rules, "", "AR.1", &["sa"]);
        check(rules, "4930123456", "", &["eu", "us"]);
        check(rules, "17875550123", "", &["sa"]);
        check(rules, "12125550123", "", &["us-east"]);
        check(rules, "442071838750", "", &["us"]);
        check(rules, "", "", &["us"]);
        check("", "5511900000001", "", &[]);
        check("BR=sa", "4930123456", "", &[]);
    }

    #[test]
    fn bad_rules_are_named() {
        fn check(rules: &str, problem: &str) {
            let error = Rules::parse(rules).unwrap_err().to_string();
            assert!(error.contains(problem), "{rules}: {error}");
        }
        check("BR", "wants KEYS=REGIONS");
        check("BR=", "names no region");
        check("BR=sa;=us", "a key is");
        check("BRA=sa", "a key is");
        check("+=sa", "a key is");
        check("BR=sa;BR=us", "given twice");
        check("*=sa;*=us", "given twice");
    }
}
