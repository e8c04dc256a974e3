//! Who the code that everybody calls ran for.
//!
//! The rule: what a function of the standard library, of serde or of libc ran itself belongs to its callers, each by the
//! instructions that ran in its calls; where a caller is such a function too, to those who called that.

use crate::{
    owner::{Owner, Shared, Whose, whose},
    profile::Profile,
};
use std::collections::HashMap;

/// Calls in a row through such code that are followed.
const MAX_DEPTH: usize = 200;

/// Instructions by who they ran for and whose code they are; `None` is the owner's own.
pub(crate) type Shares = HashMap<(Owner, Option<Shared>), f64>;

pub(crate) fn shares(profile: &Profile) -> Shares {
    let whose: Vec<Whose> = profile.functions.iter().map(|(function, _)| whose(function)).collect();
    // Who called a function of everybody's, and which part of it ran for each.
    let mut callers: Vec<Vec<(usize, f64)>> = vec![Vec::new(); whose.len()];
    for call in profile.calls.iter().filter(|call| call.caller != call.callee) {
        if matches!(whose[call.callee], Whose::Shared(_)) {
            callers[call.callee].push((call.caller, call.instructions as f64));
        }
    }
    for callers in &mut callers {
        let sum: f64 = callers.iter().map(|(_, part)| part).sum();
        callers.iter_mut().for_each(|(_, part)| *part /= sum.max(1.0));
    }
    let mut shares = Shares::new();
    for (index, (_, own)) in profile.functions.iter().enumerate() {
        if let Whose::Owner(owner) = whose[index] {
            *shares.entry((owner, None)).or_default() += *own as f64;
        }
    }
    for code in [Shared::Std, Shared::Text, Shared::Libc, Shared::Counter] {
        let own =
            |index: usize| if whose[index] == Whose::Shared(code) { profile.functions[index].1 as f64 } else { 0.0 };
        let mut at: Vec<f64> = (0..whose.len()).map(own).collect();
        for _ in 0..MAX_DEPTH {
            let mut next = vec![0.0; at.len()];
            for (index, instructions) in at.into_iter().enumerate().filter(|(_, instructions)| *instructions > 0.0) {
                match whose[index] {
                    Whose::Owner(owner) => *shares.entry((owner, Some(code))).or_default() += instructions,
                    // Called by nobody: the loader, or where counting began.
                    Whose::Shared(_) if callers[index].is_empty() => {
                        *shares.entry((Owner::Other, Some(code))).or_default() += instructions;
                    }
                    Whose::Shared(_) => {
                        callers[index].iter().for_each(|(caller, part)| next[*caller] += instructions * part);
                    }
                }
            }
            at = next;
        }
        // Of a circle that nobody enters.
        *shares.entry((Owner::Other, Some(code))).or_default() += at.iter().sum::<f64>();
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Call, Function};

    #[test]
    fn what_everybody_calls_is_shared_by_what_ran_for_each() {
        let function = |name: &str, own| (Function { name: name.to_owned(), object: "program".to_owned() }, own);
        let call = |caller, callee, instructions| Call { caller, callee, instructions };
        let profile = Profile {
            functions: vec![
                function("voicebridge_audio::decode", 100),
                function("rtc::poll", 200),
                function("core::iter::fold", 40),
                function("core::slice::copy", 10),
                function("serde_json::de::parse", 8),
            ],
            calls: vec![call(0, 2, 60), call(1, 2, 20), call(2, 3, 10), call(2, 2, 5), call(1, 4, 8), call(1, 0, 160)],
        };
        let shares = shares(&profile);
        let check = |owner, code, expect: f64| {
            let found = shares.get(&(owner, code)).copied().unwrap_or_default();
            assert!((found - expect).abs() < 1e-6, "{owner:?} {code:?}: {found} for {expect}");
        };
        check(Owner::Audio, None, 100.0);
        check(Owner::Rtc, None, 200.0);
        check(Owner::Audio, Some(Shared::Std), 37.5);
        check(Owner::Rtc, Some(Shared::Std), 12.5);
        check(Owner::Rtc, Some(Shared::Text), 8.0);
        check(Owner::Audio, Some(Shared::Text), 0.0);
        check(Owner::Other, Some(Shared::Std), 0.0);
    }
}
