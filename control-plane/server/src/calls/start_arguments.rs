//! What a self-held call was started with, to tell a request that is repeated, as Meta's webhooks are, from one that asks for
//! something else under its id.
//!
//! Kept with the call's task: after a restart the row and the node know the most of it ([`differs_from_row`]).
//! Hashes only: an offer has ICE credentials in it, an agent what is personal. The time that has gone by is no argument.

use prost::Message as _;
use sha2::{Digest as _, Sha256};

use super::SelfHeldStart;
use crate::{
    convert,
    store::{CallRow, NewCall},
};

/// The fields, in the order in which a difference is told of.
const FIELDS: [&str; 9] = [
    "sdp_offer",
    "phone_number_id",
    "signalling_mode",
    "agent",
    "caller",
    "labels",
    "deeplink_payload",
    "cta_payload",
    "biz_opaque_callback_data",
];

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StartArguments([[u8; 32]; FIELDS.len()]);

impl StartArguments {
    pub(super) fn of(start: &SelfHeldStart) -> Self {
        let agent = start.agent.clone().unwrap_or_default();
        Self([
            digest(start.sdp_offer.as_bytes()),
            digest(start.phone_number_id.as_bytes()),
            digest(convert::mode(start.holder).as_str_name().as_bytes()),
            digest(&agent.encode_to_vec()),
            digest(&convert::caller_to_wire(&start.caller).encode_to_vec()),
            digest(&framed(start.labels.iter().flat_map(|(name, value)| [name, value]))),
            payload(start.payloads.deeplink.as_ref()),
            payload(start.payloads.cta.as_ref()),
            payload(start.payloads.biz_opaque.as_ref()),
        ])
    }

    /// The first field that is another one there.
    pub(super) fn difference(&self, other: &Self) -> Option<&'static str> {
        FIELDS.into_iter().zip(self.0.iter().zip(&other.0)).find_map(|(field, (a, b))| (a != b).then_some(field))
    }
}

/// The first field that is another one in the call's row, which knows the fewer.
pub(super) fn differs_from_row(new: &NewCall, row: &CallRow) -> Option<&'static str> {
    match (new.phone_number_id == row.phone_number_id, new.holder == row.holder) {
        (false, _) => Some("phone_number_id"),
        (_, false) => Some("signalling_mode"),
        _ => None,
    }
}

fn payload(text: Option<&String>) -> [u8; 32] {
    digest(text.map_or(&[][..], String::as_bytes))
}

/// The texts with their lengths, so that none can pass for two.
fn framed<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<u8> {
    texts.flat_map(|text| [&text.len().to_be_bytes(), text.as_bytes()].concat()).collect()
}

fn digest(content: &[u8]) -> [u8; 32] {
    Sha256::digest(content).into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use voicebridge_core::{
        identity::{Caller, PhoneNumber, Wacid},
        labels::Labels,
        payloads::Payloads,
    };
    use voicebridge_proto::types::v1::Agent;

    use super::*;
    use crate::store::Holder;

    fn start() -> SelfHeldStart {
        let variables = (0..8).map(|n| (format!("v{n}"), n.to_string())).collect();
        SelfHeldStart {
            wacid: Wacid::parse("wacid.A").unwrap(),
            sdp_offer: "v=0\r\n".to_owned(),
            caller: Caller { phone_number: PhoneNumber::parse("5511900000001"), ..Caller::default() },
            labels: Labels::default(),
            payloads: Payloads::default(),
            agent: Some(Agent { language: "pt".to_owned(), variables, ..Agent::default() }),
            holder: Holder::SelfStaged,
            phone_number_id: "106".to_owned(),
            elapsed: Duration::from_millis(5),
        }
    }

    #[test]
    fn what_is_said_again_is_the_same() {
        let again = SelfHeldStart { elapsed: Duration::from_secs(5), ..start() };
        assert_eq!(StartArguments::of(&start()).difference(&StartArguments::of(&again)), None);
        let plain = SelfHeldStart { agent: None, ..start() };
        let empty = SelfHeldStart { agent: Some(Agent::default()), ..start() };
        assert_eq!(StartArguments::of(&plain), StartArguments::of(&empty), "both are as the agent file says");
    }

    #[test]
    fn the_first_difference_has_a_name() {
        #[track_caller]
        fn check(other: SelfHeldStart, expect: &str) {
            assert_eq!(StartArguments::of(&start()).difference(&StartArguments::of(&other)), Some(expect));
        }
        check(SelfHeldStart { sdp_offer: "v=1\r\n".to_owned(), agent: None, ..start() }, "sdp_offer");
        check(SelfHeldStart { phone_number_id: String::new(), ..start() }, "phone_number_id");
        check(SelfHeldStart { holder: Holder::SelfImmediate, ..start() }, "signalling_mode");
        check(SelfHeldStart { caller: Caller::default(), ..start() }, "caller");
        let labels = Labels::parse([("team".to_owned(), "night".to_owned())]).unwrap();
        check(SelfHeldStart { labels, ..start() }, "labels");
        check(SelfHeldStart { payloads: Payloads::cleaned("", "menu", ""), ..start() }, "cta_payload");
        let mut other = start();
        other.agent.as_mut().unwrap().variables.insert("v0".to_owned(), "1".to_owned());
        check(other, "agent");
    }
}
