//! How the AI behaves on the calls that one delivery begins: on those of particular callers or to particular numbers, and on
//! the rest. Checked by whoever makes it; knows nothing of the request it came in.

use voicebridge_core::{
    identity::{PhoneNumber, UserId},
    webhook::Connect,
};
use voicebridge_proto::types::v1::Agent;

/// Of the calls that fit. What is not given fits every call.
#[derive(Clone, Debug, Default)]
pub(crate) struct CallerAgent {
    pub(crate) phone_number: Option<PhoneNumber>,
    pub(crate) user_id: Option<UserId>,
    pub(crate) phone_number_id: Option<String>,
    pub(crate) agent: Option<Agent>,
}

impl CallerAgent {
    fn fits(&self, connect: &Connect) -> bool {
        let caller = &connect.caller;
        let by_number = self.phone_number.is_some() && self.phone_number == caller.phone_number;
        let by_id = self.user_id.is_some() && self.user_id == caller.user_id;
        let is_of_any = self.phone_number.is_none() && self.user_id.is_none();
        let is_to_it = self.phone_number_id.is_none() || self.phone_number_id == connect.phone_number_id;
        (is_of_any || by_number || by_id) && is_to_it
    }
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Agents {
    pub(crate) of_callers: Vec<CallerAgent>,
    pub(crate) of_the_rest: Option<Agent>,
}

impl Agents {
    /// The first that fits, else that of the rest. None: as the agent file says.
    pub(super) fn of(&self, connect: &Connect) -> Option<Agent> {
        let fits = self.of_callers.iter().find(|of_caller| of_caller.fits(connect));
        fits.map_or_else(|| self.of_the_rest.clone(), |of_caller| of_caller.agent.clone())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use voicebridge_core::{
        identity::{Caller, Wacid},
        payloads::Payloads,
    };

    use super::*;

    fn agent(language: &str) -> Option<Agent> {
        Some(Agent { language: language.to_owned(), ..Agent::default() })
    }

    fn of_caller(phone_number: &str, user_id: &str, phone_number_id: &str, language: &str) -> CallerAgent {
        CallerAgent {
            phone_number: PhoneNumber::parse(phone_number),
            user_id: UserId::parse(user_id),
            phone_number_id: Some(phone_number_id.to_owned()).filter(|id| !id.is_empty()),
            agent: agent(language),
        }
    }

    #[track_caller]
    fn check(caller: (&str, &str), number: &str, expect: &str) {
        let agents = Agents {
            of_callers: vec![
                of_caller("5511900000001", "BR.1", "", "pt"),
                of_caller("5511900000001", "", "", "en"),
                of_caller("5511900000002", "", "106", "es"),
                of_caller("", "IN.3", "", "hi"),
                of_caller("", "", "107", "de"),
            ],
            of_the_rest: agent("fr"),
        };
        let connect = Connect {
            wacid: Wacid::parse("wacid.x").unwrap(),
            phone_number_id: Some(number.to_owned()).filter(|id| !id.is_empty()),
            caller: Caller { phone_number: PhoneNumber::parse(caller.0), user_id: UserId::parse(caller.1), name: None },
            payloads: Payloads::default(),
            timestamp_s: None,
            sdp_offer: String::new(),
        };
        assert_eq!(agents.of(&connect).unwrap().language, expect, "{caller:?} {number}");
    }

    #[test]
    fn the_first_that_fits_counts_and_what_is_not_known_fits_nobody() {
        check(("5511900000001", "BR.1"), "106", "pt");
        check(("5511900000001", ""), "106", "pt");
        check(("", "BR.1"), "106", "pt");
        check(("5511900000001", "BR.2"), "106", "pt");
        check(("5511900000002", ""), "106", "es");
        check(("5511900000002", ""), "107", "de");
        check(("5511900000002", ""), "", "fr");
        check(("5511900000003", "IN.3"), "106", "hi");
        check(("", ""), "106", "fr");
        check(("", ""), "107", "de");
    }
}
