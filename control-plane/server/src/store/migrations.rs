//! What becomes of databases that were made by versions before.

#![allow(clippy::unwrap_used)]

use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use voicebridge_core::identity::Wacid;

use super::*;

/// A file as the migrations up to this one made it.
struct Old {
    connection: SqliteConnection,
    url: String,
    _folder: tempfile::TempDir,
}

impl Old {
    async fn of(migration: i64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("old.db");
        let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
        let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
        sqlx::migrate!("migrations/sqlite").run_to(migration, &mut connection).await.unwrap();
        Self { connection, url: format!("sqlite://{}", path.display()), _folder: folder }
    }

    async fn claim(&mut self, wacid: &str, received_at_ms: i64, last_sequence: i64) {
        let call =
            "INSERT INTO calls (call_id, signalling, phase, phone_number_id, caller_phone, caller_user_id, caller_name,
                                received_at_ms, ring_until_ms, last_sequence)
             VALUES (?1, 'managed', 'ACTIVE', '106', '5511900000001', '', 'Ana', ?2, 0, ?3)";
        let call = sqlx::query(call).bind(wacid).bind(received_at_ms).bind(last_sequence);
        call.execute(&mut self.connection).await.unwrap();
    }

    async fn append(&mut self, wacid: &str, sequence: i64, occurred_at_ms: i64) {
        let event =
            "INSERT INTO events (call_id, sequence, kind, occurred_at_ms, payload) VALUES (?1, ?2, 'x', ?3, x'00')";
        let event = sqlx::query(event).bind(wacid).bind(sequence).bind(occurred_at_ms);
        event.execute(&mut self.connection).await.unwrap();
    }

    async fn opened(self) -> (Sqlite, tempfile::TempDir) {
        self.connection.close().await.unwrap();
        (Sqlite::open(&self.url).await.unwrap(), self._folder)
    }
}

async fn by_wacid(store: &Sqlite, wacid: &str) -> CallRow {
    store.call_by_wacid(&Wacid::parse(wacid).unwrap()).await.unwrap().unwrap()
}

#[tokio::test]
async fn events_without_a_position_get_one_in_their_order() {
    let mut old = Old::of(2).await;
    for name in ["a", "b"] {
        old.claim(name, 0, 2).await;
    }
    // The second event of a has the time of a clock that was behind.
    for (call, sequence, at) in [("b", 1, 20), ("a", 2, 5), ("a", 1, 10), ("b", 2, 30), ("a", 3, 25)] {
        old.append(call, sequence, at).await;
    }
    let (store, _folder) = old.opened().await;
    let (a, b) = (by_wacid(&store, "a").await.call_id, by_wacid(&store, "b").await.call_id);
    let rows = store.history(None, 0, u64::MAX, 10).await.unwrap();
    let order: Vec<_> = rows.iter().map(|row| (row.position, &row.call_id, row.event.sequence)).collect();
    assert_eq!(order, [(1, &a, 1), (2, &a, 2), (3, &b, 1), (4, &a, 3), (5, &b, 2)]);
    let event = NewEvent { kind: "transcript", occurred_at_ms: 40, node_sequence: None, payload: vec![0] };
    let write = Write { after: 2, events: vec![event], ..Write::default() };
    assert_eq!(store.write(&b, &write).await.unwrap(), Written::Stored { position: Some(6) });
}

#[tokio::test]
async fn calls_keyed_by_metas_id_get_one_of_ours_and_keep_what_they_have() {
    const RECEIVED_AT_MS: i64 = 1_790_000_000_000;
    let mut old = Old::of(4).await;
    let names: Vec<_> = (0..40).map(|n| format!("wacid.{n}=")).collect();
    for (at, name) in names.iter().enumerate() {
        old.claim(name, RECEIVED_AT_MS + at as i64, 2).await;
    }
    for sequence in 1..=2 {
        for name in &names {
            old.append(name, sequence, RECEIVED_AT_MS).await;
        }
    }
    // A position that nothing has any more.
    sqlx::query("DELETE FROM events WHERE position = 3").execute(&mut old.connection).await.unwrap();
    sqlx::query("INSERT INTO tombstones VALUES ('wacid.early=', 7, 1, 138021)")
        .execute(&mut old.connection)
        .await
        .unwrap();
    let positions = "SELECT position, call_id, sequence FROM events ORDER BY position";
    let before: Vec<(i64, String, i64)> = sqlx::query_as(positions).fetch_all(&mut old.connection).await.unwrap();

    let (store, _folder) = old.opened().await;
    let mut ids = Vec::new();
    for (at, name) in names.iter().enumerate() {
        let row = by_wacid(&store, name).await;
        let time = format!("{:012x}", RECEIVED_AT_MS + at as i64);
        let id = row.call_id.as_str().replace('-', "");
        assert_eq!((id.len(), &id[..12], &id[12..13]), (32, time.as_str(), "7"), "{}", row.call_id);
        assert!("89ab".contains(&id[16..17]), "{}", row.call_id);
        assert_eq!((row.ordinal, row.last_sequence), (at as i64 + 1, 2));
        assert_eq!(store.call(&row.call_id).await.unwrap().unwrap().wacid.as_str(), name);
        ids.push(row.call_id);
    }
    let different: std::collections::BTreeSet<_> = ids.iter().map(|id| id.as_str()[14..].to_owned()).collect();
    assert_eq!(different.len(), ids.len(), "the rest is drawn for each");

    let rows = store.history(None, 0, u64::MAX, 1_000).await.unwrap();
    let id_of = |name: &str| &ids[names.iter().position(|known| known == name).unwrap()];
    let told: Vec<_> = rows.iter().map(|row| (row.position as i64, &row.call_id, row.event.sequence as i64)).collect();
    let expect: Vec<_> = before.iter().map(|(at, name, sequence)| (*at, id_of(name), *sequence)).collect();
    assert_eq!(told, expect);
    assert_eq!(store.last_position().await.unwrap(), 80);

    let early = NewCall {
        call_id: crate::ids::example("new"),
        wacid: Wacid::parse("wacid.early=").unwrap(),
        holder: Holder::Managed,
        phase: "PLACING",
        phone_number_id: String::new(),
        caller: Caller::default(),
        labels: Labels::default(),
        payloads: Payloads::default(),
        received_at_ms: 0,
        ring_until_ms: 0,
    };
    assert_eq!(store.claim(&early).await.unwrap(), Claim::Tombstoned);
    let again = NewCall { wacid: Wacid::parse(names[7].as_str()).unwrap(), ..early };
    assert_eq!(store.claim(&again).await.unwrap(), Claim::Duplicate(ids[7].clone()));
    // Retention finds the events of a call by its new id.
    let end = Write {
        after: 2,
        events: vec![NewEvent { kind: LAST_KIND, occurred_at_ms: 1, node_sequence: None, payload: vec![0] }],
        change: Change { ended_at_ms: Some(1), ..Change::default() },
    };
    assert_eq!(store.write(&ids[7], &end).await.unwrap(), Written::Stored { position: Some(81) });
    assert_eq!(store.prune(2, 10).await.unwrap(), 1);
    assert!(store.call(&ids[7]).await.unwrap().is_none());
}
