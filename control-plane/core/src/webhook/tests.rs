//! Webhook bodies as Meta sends them, and as nobody should: what is read of each.

#![allow(clippy::unwrap_used)]

use super::*;

/// One word per notice, so that tables stay readable.
fn words(body: &str) -> Vec<String> {
    parse(body.as_bytes())
        .unwrap()
        .into_iter()
        .map(|notice| match notice {
            Notice::Connect(connect) => format!("connect {}", connect.wacid.as_str()),
            Notice::Terminate(end) => {
                format!("terminate {} failed={} code={:?}", end.wacid.as_str(), end.failed, end.error_code)
            }
            Notice::Ignored { wacid, what } => {
                format!("ignored {}: {what}", wacid.as_ref().map_or("-", Wacid::as_str))
            }
        })
        .collect()
}

fn check(body: &str, expect: &[&str]) {
    assert_eq!(words(body), expect, "{body}");
}

fn calls(calls: &str) -> String {
    format!(
        r#"{{"object":"whatsapp_business_account","entry":[{{"id":"1","changes":[{{"field":"calls","value":{{
            "messaging_product":"whatsapp","metadata":{{"phone_number_id":"106"}},"calls":[{calls}]}}}}]}}]}}"#
    )
}

const CONNECT: &str = r#"{"id":"wacid.A=","event":"connect","timestamp":"1790000000","direction":"USER_INITIATED",
    "session":{"sdp_type":"offer","sdp":"v=0\r\n"}}"#;

#[test]
fn a_whole_connect() {
    let body = r#"{"object":"whatsapp_business_account","entry":[{"id":"366600000000001","changes":[{"field":"calls","value":{
     "messaging_product":"whatsapp",
     "metadata":{"display_phone_number":"15550001111","phone_number_id":"106000000000001"},
     "contacts":[{"profile":{"name":"An\u00e1","username":"ana.example"},"wa_id":"5511900000001",
       "user_id":"BR.13000000000000001","parent_user_id":"BR.ENT.900000001"}],
     "calls":[{"id":"wacid.HBgN=","from":"5511900000001","to":"15550001111",
       "from_user_id":"BR.13000000000000001","from_parent_user_id":"BR.ENT.900000001",
       "event":"connect","timestamp":"1790000000","direction":"USER_INITIATED",
       "deeplink_payload":"campaign-7","cta_payload":"btn-42","something_new":{"a":[1,2]},
       "session":{"sdp_type":"offer","sdp":"v=0\r\no=- ...\r\n"}}]}}]}]}"#;
    let notices = parse(body.as_bytes()).unwrap();
    let [Notice::Connect(connect)] = notices.as_slice() else { panic!("{notices:?}") };
    assert_eq!(connect.wacid.as_str(), "wacid.HBgN=");
    assert_eq!(connect.phone_number_id.as_deref(), Some("106000000000001"));
    assert_eq!(connect.caller.phone_number.as_ref().unwrap().digits(), "5511900000001");
    assert_eq!(connect.caller.user_id.as_ref().unwrap().as_str(), "BR.13000000000000001");
    assert_eq!(connect.caller.name.as_deref(), Some("Aná"));
    assert_eq!(connect.timestamp_s, Some(1_790_000_000));
    assert_eq!(connect.sdp_offer, "v=0\r\no=- ...\r\n");
    assert_eq!(connect.payloads, Payloads::cleaned("campaign-7", "btn-42", ""));
    let debug = format!("{connect:?}");
    for secret in ["v=0", "campaign-7", "btn-42"] {
        assert!(!debug.contains(secret), "credentials and personal data: {debug}");
    }
}

#[test]
fn what_comes_along_is_read_of_either_end_and_cleaned() {
    let of = |payloads: &str| {
        let call = format!(r#"{{"id":"wacid.A=","event":"terminate","status":"COMPLETED"{payloads}}}"#);
        match parse(calls(&call).as_bytes()).unwrap().remove(0) {
            Notice::Terminate(end) => end.payloads,
            other => panic!("{other:?}"),
        }
    };
    let all = r#","biz_opaque_callback_data":"job-9","deeplink_payload":"campaign-7","cta_payload":"btn-42""#;
    assert_eq!(of(all), Payloads::cleaned("campaign-7", "btn-42", "job-9"));
    assert!(of("").is_empty());
    assert!(of(r#","deeplink_payload":7,"cta_payload":null,"biz_opaque_callback_data":[]"#).is_empty());
    let odd = of(r#","deeplink_payload":" a\u0000\nb\u202e ","cta_payload":"\u0007""#);
    assert_eq!((odd.deeplink.as_deref(), odd.cta), (Some("ab"), None));
    let long = of(&format!(r#","cta_payload":"{}""#, "x".repeat(10_000)));
    assert_eq!(long.cta.map(|payload| payload.len()), Some(512));
}

#[test]
fn a_hidden_number_leaves_the_rest_usable() {
    let notices = parse(calls(CONNECT).as_bytes()).unwrap();
    let [Notice::Connect(connect)] = notices.as_slice() else { panic!("{notices:?}") };
    assert_eq!(connect.caller, Caller::default());
}

#[test]
fn the_caller_is_never_somebody_elses_contact() {
    let body = r#"{"entry":[{"changes":[{"field":"calls","value":{
        "contacts":[{"wa_id":"1","profile":{"name":"One"}},{"wa_id":"2","profile":{"name":"Two"}}],
        "calls":[{"id":"a","event":"connect","from":"2"},{"id":"b","event":"connect"}]}}]}]}"#;
    let names: Vec<_> = parse(body.as_bytes())
        .unwrap()
        .into_iter()
        .map(|notice| match notice {
            Notice::Connect(connect) => connect.caller.name,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(names, [Some("Two".to_owned()), None]);
}

#[test]
fn batches_are_read_whole_and_in_order() {
    let two = calls(&format!(r#"{CONNECT},{{"id":"wacid.B","event":"terminate","status":"Completed"}}"#));
    check(&two, &["connect wacid.A=", "terminate wacid.B failed=false code=None"]);
    let many = r#"{"entry":[
        {"changes":[{"field":"calls","value":{"calls":[{"id":"1","event":"terminate"}]}},
                    {"field":"calls","value":{"calls":[{"id":"2","event":"terminate"}]}}]},
        {"changes":[{"field":"calls","value":{"calls":[{"id":"3","event":"terminate"}]}}]}]}"#;
    check(
        many,
        &[
            "terminate 1 failed=false code=None",
            "terminate 2 failed=false code=None",
            "terminate 3 failed=false code=None",
        ],
    );
}

#[test]
fn terminates_come_in_many_spellings() {
    check(
        &calls(r#"{"id":"x","event":"terminate","status":"FAILED","errors":[{"code":138021,"title":"t"}]}"#),
        &["terminate x failed=true code=Some(138021)"],
    );
    check(&calls(r#"{"id":"x","event":"terminate","status":"Failed"}"#), &["terminate x failed=true code=None"]);
    check(&calls(r#"{"id":"x","event":"terminate","errors":"odd"}"#), &["terminate x failed=false code=None"]);
    check(
        r#"{"entry":[{"changes":[{"field":"calls","value":{"calls":[{"id":"x","event":"terminate"}],
            "errors":[{"message":"no code"},{"code":138020}]}}]}]}"#,
        &["terminate x failed=false code=Some(138020)"],
    );
}

#[test]
fn what_is_not_ours_is_named() {
    check(&calls(r#"{"id":"x","event":"call_recording_available"}"#), &["ignored x: event call_recording_available"]);
    check(&calls(r#"{"id":"x"}"#), &["ignored x: event (none)"]);
    check(&calls(r#"{"event":"connect"}"#), &["ignored -: call without a usable id"]);
    check(&calls("17"), &["ignored -: call without a usable id"]);
    check(&calls(""), &["ignored -: field calls without calls"]);
    check(
        &calls(r#"{"id":"x","event":"connect","direction":"BUSINESS_INITIATED"}"#),
        &["ignored x: event connect of a business-initiated call"],
    );
    check(
        &calls(r#"{"id":"x","event":"connect","session":{"sdp_type":"answer","sdp":"v=0"}}"#),
        &["ignored x: event connect without an offer"],
    );
    check(r#"{"entry":[{"changes":[{"field":"messages","value":{}}]}]}"#, &["ignored -: field messages"]);
    check(r#"{"entry":[{"changes":[{"value":{}}]}]}"#, &["ignored -: field (none)"]);
    check(
        r#"{"entry":[{"changes":[{"field":"calls","value":{"statuses":[{"id":"x","status":"RINGING"}]}}]}]}"#,
        &["ignored x: status of a business-initiated call"],
    );
    check("{}", &["ignored -: delivery without entries"]);
    check(r#"{"entry":7}"#, &["ignored -: delivery without entries"]);
    check(r#"{"entry":[7,{"changes":7}]}"#, &[]);
}

#[test]
fn a_bad_call_does_not_stop_the_good_one_behind_it() {
    check(
        &calls(&format!(r#"{{"id":5}},null,{CONNECT}"#)),
        &["ignored -: call without a usable id", "ignored -: call without a usable id", "connect wacid.A="],
    );
}

#[test]
fn timestamps_are_strings_but_numbers_are_understood() {
    fn timestamp(value: &str) -> Option<u64> {
        let notices =
            parse(calls(&format!(r#"{{"id":"x","event":"connect","timestamp":{value}}}"#)).as_bytes()).unwrap();
        match &notices[0] {
            Notice::Connect(connect) => connect.timestamp_s,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(timestamp(r#""1790000000""#), Some(1_790_000_000));
    assert_eq!(timestamp("1790000000"), Some(1_790_000_000));
    assert_eq!(timestamp(r#""soon""#), None);
    assert_eq!(timestamp("-5"), None);
    assert_eq!(timestamp("null"), None);
}

#[test]
fn malformed_bodies_are_errors() {
    for body in ["", "{", "nonsense", "\u{0}", "[]", "\"x\"", "7", "null"] {
        assert!(parse(body.as_bytes()).is_err(), "{body:?}");
    }
    assert!(parse(&[0xff, 0xfe]).is_err());
    assert!(parse("[".repeat(100_000).as_bytes()).is_err());
}

#[test]
fn an_oversized_batch_is_cut() {
    let many = vec![r#"{"id":"x","event":"terminate"}"#; MAX_NOTICES + 50].join(",");
    let notices = parse(calls(&many).as_bytes()).unwrap();
    assert_eq!(notices.len(), MAX_NOTICES + 1);
    let Some(Notice::Ignored { what, .. }) = notices.last() else { panic!("{:?}", notices.last()) };
    assert_eq!(what, "rest of an oversized batch");
}

#[test]
fn a_call_behind_thousands_of_messages_is_taken() {
    let messages = vec![r#"{"field":"messages","value":{}}"#; 5 * MAX_NOTICES].join(",");
    let strange: Vec<_> = (0..5_000).map(|n| format!(r#"{{"field":"f{n:04}"}}"#)).collect();
    let call = format!(r#"{{"field":"calls","value":{{"calls":[{CONNECT}]}}}}"#);
    let body = format!(r#"{{"entry":[{{"changes":[{messages},{},{call}]}}]}}"#, strange.join(","));
    let words = words(&body);
    assert!(words.contains(&"connect wacid.A=".to_owned()), "{} notices, the call not among them", words.len());
    assert!(words.contains(&"ignored -: field messages".to_owned()), "{words:?}");
    assert!(words.len() < 20, "each field once: {}", words.len());
}

#[test]
fn half_a_surrogate_pair_does_not_cost_the_call() {
    let name = |body: &str| match parse(body.as_bytes()).unwrap().as_slice() {
        [Notice::Connect(connect)] => connect.caller.name.clone(),
        other => panic!("{other:?}"),
    };
    let delivery = |contact: &str, more: &str| {
        format!(
            r#"{{"entry":[{{"changes":[{{"field":"calls","value":{{"contacts":[{{"wa_id":"1","profile":{{"name":"{contact}"}}}}],
                {more}"calls":[{CONNECT}]}}}}]}}]}}"#
        )
    };
    for (contact, more, expect) in [
        (r"Ana \\ud83d", "", r"Ana \ud83d"),
        (r"Ana \ud83d", "", "Ana \u{fffd}"),
        (r"\ude00 Ana", "", "\u{fffd} Ana"),
        (r"Ana \ud83d\ude00", "", "Ana \u{1f600}"),
        ("Ana", r#""note":"\udc00","#, "Ana"),
        // Beside a half, what was whole stays as it was.
        (r"Ana \ud83d\ude00 é", r#""note":"\ud83d","#, "Ana \u{1f600} é"),
    ] {
        assert_eq!(name(&delivery(contact, more)).as_deref(), Some(expect), "{contact} {more}");
    }
    // What else is wrong stays wrong.
    for broken in [r#"{"a":"\ud83d""#, r#"{"a":"\ud83"}"#, r#"{"\ud83d":}"#] {
        assert!(parse(broken.as_bytes()).is_err(), "{broken}");
    }
}

#[test]
fn a_name_is_clean_once_it_is_through_the_door() {
    let name = |contact: &str| {
        let contacts = format!(r#"[{{"wa_id":"1","profile":{{"name":"{contact}"}}}}]"#);
        let value = format!(r#"{{"contacts":{contacts},"calls":[{CONNECT}]}}"#);
        let body = format!(r#"{{"entry":[{{"changes":[{{"field":"calls","value":{value}}}]}}]}}"#);
        match &parse(body.as_bytes()).unwrap()[..] {
            [Notice::Connect(connect)] => connect.caller.name.clone(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(name(r"Jos\u00e9 \u200f\u0000x\u202e\r\n").as_deref(), Some("José x"));
    assert_eq!(name(r"\u0000\u200f "), None);
}
