//! Webhook bodies as Meta writes them, and their signature. Pure: the time stamps are arguments.
//!
//! Two habits of Meta's writer matter to a receiver that checks signatures: it escapes every non-ASCII character as
//! `\uXXXX` (lower case) and every slash as `\/`, and it signs the escaped bytes. A receiver that parses and writes the
//! JSON again before hashing fails on every such body.

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

/// The two ends of a call, as webhooks name them.
#[derive(Clone, Debug)]
pub(crate) struct Parties {
    pub(crate) call_id: String,
    /// The caller's number; users with a username may hide it, then it is absent from every webhook.
    pub(crate) from: Option<String>,
    /// Business-scoped id of the caller, `CC.digits`.
    pub(crate) from_user_id: String,
    pub(crate) profile_name: String,
    pub(crate) to: String,
    pub(crate) deeplink_payload: Option<String>,
    pub(crate) cta_payload: Option<String>,
}

/// The number that was called.
#[derive(Clone, Debug)]
pub(crate) struct Business {
    pub(crate) account_id: String,
    pub(crate) phone_number_id: String,
    pub(crate) display_phone_number: String,
}

/// How a call ended.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ending {
    /// Code and title of the failure; none means COMPLETED.
    pub(crate) failure: Option<(u32, &'static str)>,
    /// Unix seconds at which the call was accepted; none if it never was.
    pub(crate) start_time: Option<u64>,
    pub(crate) biz_opaque_callback_data: Option<String>,
}

/// The `value` of a `connect` change carrying the caller's offer.
pub(crate) fn connect(business: &Business, parties: &Parties, offer: &str, timestamp: u64) -> Value {
    let mut contact = json!({
        "profile": {"name": parties.profile_name, "username": parties.profile_name.to_lowercase()},
        "user_id": parties.from_user_id,
    });
    if let Some(from) = &parties.from {
        contact["wa_id"] = json!(from);
    }
    let mut call = call(parties, "connect", timestamp);
    call["from_user_id"] = json!(parties.from_user_id);
    call["session"] = json!({"sdp_type": "offer", "sdp": offer});
    let mut value = value(business);
    value["contacts"] = json!([contact]);
    value["calls"] = json!([call]);
    value
}

/// The `value` of a `terminate` change.
pub(crate) fn terminate(business: &Business, parties: &Parties, ending: &Ending, timestamp: u64) -> Value {
    let mut call = call(parties, "terminate", timestamp);
    call["status"] = json!(if ending.failure.is_some() { "FAILED" } else { "COMPLETED" });
    if let Some(start) = ending.start_time {
        call["start_time"] = json!(start.to_string());
        call["end_time"] = json!(timestamp.to_string());
        call["duration"] = json!(timestamp.saturating_sub(start));
    }
    if let Some(data) = &ending.biz_opaque_callback_data {
        call["biz_opaque_callback_data"] = json!(data);
    }
    let mut value = value(business);
    if let Some((code, title)) = ending.failure {
        let error = json!({"code": code, "title": title, "message": title, "error_data": {"details": title}});
        call["errors"] = json!([error]);
        let mut outer = error;
        outer["href"] = json!("https://developers.facebook.com/docs/whatsapp/cloud-api/support/error-codes/");
        value["errors"] = json!([outer]);
    }
    value["calls"] = json!([call]);
    value
}

/// The `value` of a change whose event no receiver knows yet.
pub(crate) fn unknown_event(business: &Business, parties: &Parties, event: &str, timestamp: u64) -> Value {
    let mut value = value(business);
    value["calls"] = json!([call(parties, event, timestamp)]);
    value
}

/// The whole body: one entry holding a change for each value.
pub(crate) fn envelope(business: &Business, values: &[Value]) -> Value {
    let changes: Vec<Value> = values.iter().map(|value| json!({"field": "calls", "value": value})).collect();
    json!({"object": "whatsapp_business_account", "entry": [{"id": business.account_id, "changes": changes}]})
}

fn value(business: &Business) -> Value {
    json!({
        "messaging_product": "whatsapp",
        "metadata": {
            "display_phone_number": business.display_phone_number,
            "phone_number_id": business.phone_number_id,
        },
    })
}

fn call(parties: &Parties, event: &str, timestamp: u64) -> Value {
    let mut call = json!({
        "id": parties.call_id,
        "to": parties.to,
        "event": event,
        "timestamp": timestamp.to_string(),
        "direction": "USER_INITIATED",
    });
    for (name, optional) in [
        ("from", &parties.from),
        ("deeplink_payload", &parties.deeplink_payload),
        ("cta_payload", &parties.cta_payload),
    ] {
        if let Some(text) = optional {
            call[name] = json!(text);
        }
    }
    call
}

/// The bytes Meta sends for `value`: ASCII only.
pub(crate) fn encode(value: &Value) -> Vec<u8> {
    let text = value.to_string();
    let mut bytes = Vec::with_capacity(text.len() + text.len() / 8);
    for character in text.chars() {
        match character {
            '/' => bytes.extend_from_slice(b"\\/"),
            c if c.is_ascii() => bytes.push(c as u8),
            c => {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    bytes.extend_from_slice(format!("\\u{unit:04x}").as_bytes());
                }
            }
        }
    }
    bytes
}

/// The `X-Hub-Signature-256` header for `body`.
#[must_use]
pub fn signature(app_secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(app_secret.as_bytes()).expect("HMAC takes a key of any length");
    mac.update(body);
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn business() -> Business {
        Business {
            account_id: "366600000000001".into(),
            phone_number_id: "106000000000001".into(),
            display_phone_number: "15550001111".into(),
        }
    }

    fn parties() -> Parties {
        Parties {
            call_id: "wacid.X=".into(),
            from: Some("5511900000001".into()),
            from_user_id: "BR.13000000000000001".into(),
            profile_name: "Ana Fiúza".into(),
            to: "15550001111".into(),
            deeplink_payload: None,
            cta_payload: None,
        }
    }

    #[test]
    fn the_signature_is_hmac_sha256_in_hex() {
        // RFC 4231, test case 2.
        assert_eq!(
            signature("Jefe", b"what do ya want for nothing?"),
            "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn text_is_escaped_as_meta_escapes_it() {
        let bytes = encode(&json!({"name": "Ana Fiúza 🙂 a/b\r\n"}));
        assert_eq!(String::from_utf8(bytes.clone()).unwrap(), r#"{"name":"Ana Fi\u00faza \ud83d\ude42 a\/b\r\n"}"#);
        let read: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(read["name"], "Ana Fiúza 🙂 a/b\r\n");
        assert_ne!(signature("k", &bytes), signature("k", read.to_string().as_bytes()));
    }

    #[test]
    fn connect_carries_the_offer_and_strings_for_times() {
        let value = connect(&business(), &parties(), "v=0\r\n", 1_790_000_000);
        let call = &value["calls"][0];
        assert_eq!(call["event"], "connect");
        assert_eq!(call["timestamp"], "1790000000");
        assert_eq!(call["session"], json!({"sdp_type": "offer", "sdp": "v=0\r\n"}));
        assert_eq!(call["from"], "5511900000001");
        assert_eq!(value["contacts"][0]["wa_id"], "5511900000001");
        assert_eq!(value["metadata"]["phone_number_id"], "106000000000001");

        let hidden = Parties { from: None, ..parties() };
        let value = connect(&business(), &hidden, "", 1);
        assert!(value["calls"][0].get("from").is_none() && value["contacts"][0].get("wa_id").is_none());
        assert_eq!(value["calls"][0]["from_user_id"], "BR.13000000000000001");
    }

    #[test]
    fn terminate_tells_times_only_of_a_call_that_was_picked_up() {
        let ending = Ending {
            failure: Some((138_021, "No media received")),
            start_time: Some(1_790_000_013),
            biz_opaque_callback_data: Some("job-9".into()),
        };
        let value = terminate(&business(), &parties(), &ending, 1_790_000_033);
        let call = &value["calls"][0];
        assert_eq!(call["status"], "FAILED");
        assert_eq!((&call["start_time"], &call["end_time"]), (&json!("1790000013"), &json!("1790000033")));
        assert_eq!(call["duration"], json!(20));
        assert_eq!(call["errors"][0]["code"], json!(138_021));
        assert_eq!(value["errors"][0]["code"], json!(138_021));
        assert_eq!(call["biz_opaque_callback_data"], "job-9");

        let value = terminate(&business(), &parties(), &Ending::default(), 5);
        assert_eq!(value["calls"][0]["status"], "COMPLETED");
        for absent in ["start_time", "end_time", "duration", "errors"] {
            assert!(value["calls"][0].get(absent).is_none(), "{absent}");
        }
    }

    #[test]
    fn a_batch_is_one_entry_with_a_change_each() {
        let value = connect(&business(), &parties(), "", 1);
        let body = envelope(&business(), &[value.clone(), value]);
        assert_eq!(body["entry"].as_array().unwrap().len(), 1);
        assert_eq!(body["entry"][0]["changes"].as_array().unwrap().len(), 2);
        assert_eq!(body["entry"][0]["changes"][1]["field"], "calls");
    }
}
