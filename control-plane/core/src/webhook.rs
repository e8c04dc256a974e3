//! Meta's webhook envelope -> notices about calls.
//!
//! One delivery may hold many entries, changes and calls; each becomes a notice of its own and none stops the others.
//! Fields we do not know are passed over and events we do not know come out as [`Notice::Ignored`] with their name, so
//! that Meta can add to the format without calls being lost. Only a body that is no JSON object is an error. Half a surrogate
//! pair, as in a name cut in the middle of an emoji, makes it none for JSON readers; it is replaced and the body read again.
//!
//! Does not check the signature (that is done on the raw bytes, before) and does not judge age or duplicates.
//! Source: Meta, "User-initiated calls" and "Reference" of the WhatsApp Business Calling API.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;
use voicebridge_text::{name, surrogates};

use crate::{
    identity::{Caller, PhoneNumber, UserId, Wacid},
    payloads::Payloads,
};

/// Most notices about calls taken from one delivery; the rest is reported as one ignored notice. Meta batches a few at most.
pub const MAX_NOTICES: usize = 1_000;
/// Most fields of others that are named of one delivery, each once: there may be thousands of messages before a call.
const MAX_FIELDS: usize = 16;

/// The body is not a webhook delivery.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// Not JSON.
    #[error("the body is not valid JSON")]
    Json(#[from] serde_json::Error),
    /// JSON, but no object.
    #[error("the body is JSON but not an object")]
    NotAnObject,
}

/// What one element of a delivery says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Somebody calls us.
    Connect(Box<Connect>),
    /// Meta ended a call.
    Terminate(Terminate),
    /// Not for us; `what` names it for the log.
    Ignored {
        /// The call it was about, when it named one.
        wacid: Option<Wacid>,
        /// E.g. `event call_recording_available` or `field messages`.
        what: String,
    },
}

/// A user-initiated call with its SDP offer.
#[derive(Clone, PartialEq, Eq)]
pub struct Connect {
    /// Meta's id.
    pub wacid: Wacid,
    /// The business number called, by Meta's id.
    pub phone_number_id: Option<String>,
    /// Who calls, as far as it is known.
    pub caller: Caller,
    /// What came along.
    pub payloads: Payloads,
    /// Unix seconds at Meta; `None` when missing or unreadable.
    pub timestamp_s: Option<u64>,
    /// The offer; empty when the delivery held none, which no node accepts.
    pub sdp_offer: String,
}

impl std::fmt::Debug for Connect {
    // The offer carries ICE credentials.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connect")
            .field("wacid", &self.wacid)
            .field("phone_number_id", &self.phone_number_id)
            .field("caller", &self.caller)
            .field("payloads", &self.payloads)
            .field("timestamp_s", &self.timestamp_s)
            .field("sdp_offer_bytes", &self.sdp_offer.len())
            .finish()
    }
}

/// Meta's word that a call is over, whoever ended it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terminate {
    /// Meta's id.
    pub wacid: Wacid,
    /// The business number, by Meta's id.
    pub phone_number_id: Option<String>,
    /// Unix seconds at Meta.
    pub timestamp_s: Option<u64>,
    /// `FAILED` in any spelling.
    pub failed: bool,
    /// Meta's error code, e.g. 138021, from the call or from the value around it.
    pub error_code: Option<i64>,
    /// What came along.
    pub payloads: Payloads,
}

/// Reads a delivery.
///
/// # Errors
/// Not JSON, or not an object. Nothing else: see the module's page.
pub fn parse(body: &[u8]) -> Result<Vec<Notice>, Malformed> {
    let Value::Object(delivery) = json(body)? else { return Err(Malformed::NotAnObject) };
    let Some(entries) = delivery.get("entry").and_then(Value::as_array) else {
        return Ok(vec![ignored(None, "delivery without entries")]);
    };
    let (mut notices, mut others) = (Vec::new(), BTreeSet::new());
    for change in entries.iter().flat_map(|entry| array(entry, "changes")) {
        let field = change.get("field").and_then(Value::as_str).unwrap_or_default();
        if field == "calls" {
            read_change(change, &mut notices);
        } else if others.len() < MAX_FIELDS {
            others.insert(loggable(field));
        }
        if notices.len() > MAX_NOTICES {
            notices.truncate(MAX_NOTICES);
            notices.push(ignored(None, "rest of an oversized batch"));
            break;
        }
    }
    notices.extend(others.iter().map(|field| ignored(None, &format!("field {field}"))));
    Ok(notices)
}

/// RFC 8259, section 8.2, leaves it to the receiver what to do with half a pair; serde_json refuses the whole text.
fn json(body: &[u8]) -> Result<Value, serde_json::Error> {
    serde_json::from_slice(body).or_else(|error| {
        let mended = std::str::from_utf8(body).ok().and_then(surrogates::mended);
        mended.map_or(Err(error), |mended| serde_json::from_str(&mended))
    })
}

fn read_change(change: &Value, notices: &mut Vec<Notice>) {
    let value = change.get("value").unwrap_or(&Value::Null);
    let before = notices.len();
    for call in array(value, "calls") {
        notices.push(read_call(call, value));
    }
    for status in array(value, "statuses") {
        let wacid = text(status, "id").and_then(|id| Wacid::parse(id).ok());
        notices.push(ignored(wacid, "status of a business-initiated call"));
    }
    if notices.len() == before {
        notices.push(ignored(None, "field calls without calls"));
    }
}

fn read_call(call: &Value, value: &Value) -> Notice {
    let Some(wacid) = text(call, "id").and_then(|id| Wacid::parse(id).ok()) else {
        return ignored(None, "call without a usable id");
    };
    let phone_number_id =
        value.get("metadata").and_then(|metadata| text(metadata, "phone_number_id")).map(str::to_owned);
    let timestamp_s = call.get("timestamp").and_then(seconds);
    match text(call, "event").unwrap_or_default() {
        "connect" => {
            // A business-initiated call brings an answer to an offer of ours; we have made none.
            if text(call, "direction").is_some_and(|d| d.eq_ignore_ascii_case("BUSINESS_INITIATED")) {
                return ignored(Some(wacid), "event connect of a business-initiated call");
            }
            let session = call.get("session").unwrap_or(&Value::Null);
            if text(session, "sdp_type").is_some_and(|kind| !kind.eq_ignore_ascii_case("offer")) {
                return ignored(Some(wacid), "event connect without an offer");
            }
            Notice::Connect(Box::new(Connect {
                caller: read_caller(call, value),
                payloads: read_payloads(call),
                sdp_offer: text(session, "sdp").unwrap_or_default().to_owned(),
                wacid,
                phone_number_id,
                timestamp_s,
            }))
        }
        "terminate" => Notice::Terminate(Terminate {
            failed: text(call, "status").is_some_and(|status| status.eq_ignore_ascii_case("FAILED")),
            error_code: error_code(call).or_else(|| error_code(value)),
            payloads: read_payloads(call),
            wacid,
            phone_number_id,
            timestamp_s,
        }),
        event => {
            let what = format!("event {}", loggable(event));
            ignored(Some(wacid), &what)
        }
    }
}

/// Number and ids may be in the call, in `contacts[]`, or hidden. A contact counts when it is the caller's or the only one.
fn read_caller(call: &Value, value: &Value) -> Caller {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Contact {
        wa_id: Option<String>,
        user_id: Option<String>,
        profile: Option<Profile>,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Profile {
        name: Option<String>,
    }

    let from = text(call, "from");
    let user_id = text(call, "from_user_id");
    let contacts: Vec<Contact> =
        array(value, "contacts").filter_map(|contact| Contact::deserialize(contact).ok()).collect();
    let only = contacts.len() == 1 && array(value, "calls").count() == 1;
    let contact = contacts
        .into_iter()
        .find(|contact| {
            only || (from.is_some() && contact.wa_id.as_deref() == from)
                || (user_id.is_some() && contact.user_id.as_deref() == user_id)
        })
        .unwrap_or_default();
    Caller {
        phone_number: from.or(contact.wa_id.as_deref()).and_then(PhoneNumber::parse),
        user_id: user_id.or(contact.user_id.as_deref()).and_then(UserId::parse),
        name: contact.profile.and_then(|profile| name::cleaned(&profile.name?)),
    }
}

fn read_payloads(call: &Value) -> Payloads {
    let of = |key| text(call, key).unwrap_or_default();
    Payloads::cleaned(of("deeplink_payload"), of("cta_payload"), of("biz_opaque_callback_data"))
}

fn error_code(holder: &Value) -> Option<i64> {
    array(holder, "errors").find_map(|error| error.get("code").and_then(Value::as_i64))
}

/// Strings of Unix seconds by Meta's word; a number is understood too.
fn seconds(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.trim().parse().ok())
}

fn array<'a>(holder: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    holder.get(key).and_then(Value::as_array).into_iter().flatten()
}

fn text<'a>(holder: &'a Value, key: &str) -> Option<&'a str> {
    holder.get(key).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// The name of a field or an event, fit for one log line.
fn loggable(text: &str) -> String {
    const LONGEST: usize = 64;
    if text.is_empty() {
        return "(none)".to_owned();
    }
    text.chars().filter(|c| !c.is_control()).take(LONGEST).collect()
}

fn ignored(wacid: Option<Wacid>, what: &str) -> Notice {
    Notice::Ignored { wacid, what: what.to_owned() }
}

#[cfg(test)]
mod tests;
