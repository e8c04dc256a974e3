//! A database made when calls were keyed by Meta's id: its calls are read by either id, and streams go on from its cursors.

#![allow(clippy::unwrap_used)]

mod support;

use hmac::{Hmac, KeyInit as _, Mac as _};
use prost::Message as _;
use sha2::Sha256;
use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use support::system;
use tonic::Code;
use voicebridge_proto::{
    control::v1::{LookupCallRequest, StreamEventsRequest},
    types::v1::{CallEnded, Event, Incident, event::Kind},
};
use voicebridge_telemetry::status::reason;

const WACID: &str = "wacid.HBgNNTUxMTkwMDAwMDAwMQ==";
const KEY: [u8; 32] = [7; 32];

/// As it was written then: version, position, seal over both and the call's id.
fn cursor(of: &str, position: u64) -> String {
    let mut bytes = vec![1];
    bytes.extend(position.to_be_bytes());
    let seal = Hmac::<Sha256>::new_from_slice(&KEY).unwrap().chain_update(&bytes).chain_update(of).finalize();
    bytes.extend(&seal.into_bytes()[..16]);
    base64_simd::URL_SAFE_NO_PAD.encode_to_string(bytes)
}

async fn make_old(path: &str) {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    let mut old = SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::migrate!("migrations/sqlite").run_to(4, &mut old).await.unwrap();
    sqlx::query("INSERT INTO own_keys VALUES ('cursor', ?1)").bind(&KEY[..]).execute(&mut old).await.unwrap();
    let call =
        "INSERT INTO calls (call_id, signalling, phase, phone_number_id, caller_phone, caller_user_id, caller_name,
                            received_at_ms, ring_until_ms, ended_at_ms, result, reason, last_sequence)
         VALUES (?1, 'managed', 'ENDED', '106', '5511900000001', '', 'Ana', 1790000000000, 0, 1790000009000, 'completed',
                 'USER_HANGUP', 3)";
    sqlx::query(call).bind(WACID).execute(&mut old).await.unwrap();
    let kinds = [
        ("incident", Kind::Incident(Incident::default())),
        ("incident", Kind::Incident(Incident::default())),
        ("call_ended", Kind::CallEnded(CallEnded::default())),
    ];
    for (sequence, (name, kind)) in (1_i64..).zip(kinds) {
        let event = Event { call_id: WACID.to_owned(), kind: Some(kind), ..Event::default() };
        sqlx::query("INSERT INTO events (call_id, sequence, kind, occurred_at_ms, payload) VALUES (?1, ?2, ?3, 0, ?4)")
            .bind(WACID)
            .bind(sequence)
            .bind(name)
            .bind(event.encode_to_vec())
            .execute(&mut old)
            .await
            .unwrap();
    }
    old.close().await.unwrap();
}

#[tokio::test]
async fn calls_and_cursors_of_before_stay_good() {
    let (_graph, mut plane, _node) = system().await;
    plane.terminate().await.unwrap();
    let path = plane.config.database_url.strip_prefix("sqlite://").unwrap().to_owned();
    std::fs::remove_file(&path).unwrap();
    make_old(&path).await;
    plane.restart().await;

    let call = plane.call(WACID).await.unwrap();
    let id = call.call_id.clone();
    assert_eq!((id.len(), &id[..15], call.wacid.as_str()), (36, "01a0c450-6c00-7", WACID));
    assert_eq!(plane.call(&id).await.unwrap(), call);
    let mut client = plane.client().await;
    let lookup = LookupCallRequest { wacid: WACID.to_owned() };
    assert_eq!(client.lookup_call(lookup).await.unwrap().into_inner().call, Some(call));

    for name in [WACID, id.as_str()] {
        let told = |after: u64| {
            let cursor = if after == 0 { String::new() } else { cursor(WACID, after) };
            let plane = &plane;
            async move { plane.events(name, &cursor).await }
        };
        let all = told(0).await;
        let sequences: Vec<_> = all.iter().map(|event| (event.call_id.as_str(), event.sequence)).collect();
        assert_eq!(sequences, [(id.as_str(), 1), (id.as_str(), 2), (id.as_str(), 3)]);
        assert_eq!(told(1).await, all[1..], "by {name}");
        assert_eq!(told(3).await, []);
    }
    let all_calls = StreamEventsRequest { cursor: cursor("", 2), ..StreamEventsRequest::default() };
    let mut stream = client.stream_events(all_calls).await.unwrap().into_inner();
    let next = loop {
        if let Some(event) = stream.message().await.unwrap().unwrap().event {
            break event;
        }
    };
    assert_eq!((next.call_id.as_str(), next.sequence), (id.as_str(), 3));
    // One of another call stays another call's.
    let foreign =
        StreamEventsRequest { call_id: id, cursor: cursor("wacid.other", 1), ..StreamEventsRequest::default() };
    let refused = client.stream_events(foreign).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_deref()), (Code::InvalidArgument, Some("CURSOR_INVALID")));
}
