//! What only a server can do: commit late, cut connections, have another owner, be somebody else.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use futures_util::FutureExt as _;
use voicebridge_core::{
    identity::{CallId, Caller, Wacid},
    labels::Labels,
    payloads::Payloads,
};
use voicebridge_postgres::{Authority, Pooler, shared};

use super::*;
use crate::ids::example as id;
use crate::store::{
    Change, Claim, Database, Holder, NewCall, NewEvent, Owner, Store, Tombstone, Write, Written, lease::OwnerRow,
    search_contract, search_sql,
};

fn wacid(name: &str) -> Wacid {
    Wacid::parse(format!("wacid.{name}")).unwrap()
}

fn call(name: &str) -> NewCall {
    NewCall {
        call_id: id(name),
        wacid: wacid(name),
        holder: Holder::Managed,
        phase: "PLACING",
        phone_number_id: "106".to_owned(),
        caller: Caller::default(),
        labels: Labels::default(),
        payloads: Payloads::default(),
        received_at_ms: 1_000,
        ring_until_ms: 31_000,
    }
}

fn said(after: u64, text: &str) -> Write {
    let event = NewEvent { kind: "transcript", occurred_at_ms: 1, node_sequence: None, payload: text.into() };
    Write { after, events: vec![event], change: Change::default() }
}

fn name(url: &str) -> &str {
    url.rsplit('/').next().unwrap()
}

async fn owned(url: &str) -> (Postgres, Owner) {
    let database = Database::open(url).await.unwrap();
    let owner = database.own_calls(Duration::ZERO).await.unwrap();
    let Database::Postgres(store) = database else { panic!("{url}") };
    (store, owner)
}

async fn until<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let waited = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waited).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// Commits of events of the call `slow` take a while after everything else of them is done.
fn delay_commits(url: &str) {
    let sql = "CREATE FUNCTION voicebridge.slow() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN IF NEW.call_id = (SELECT call_id FROM voicebridge.calls WHERE wacid = 'wacid.slow') THEN PERFORM pg_sleep(0.7); END IF; RETURN NULL; END $$;
         CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON voicebridge.events DEFERRABLE INITIALLY DEFERRED
             FOR EACH ROW EXECUTE FUNCTION voicebridge.slow()";
    shared().sql(name(url), sql);
}

/// Positions given so far, committed or not.
async fn given(url: &str) -> i64 {
    let url = url.to_owned();
    let read = move || {
        let sql = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM voicebridge.events_position_seq";
        shared().sql(name(&url), sql).parse().unwrap()
    };
    tokio::task::spawn_blocking(read).await.unwrap()
}

/// Reads as a stream does, from where it was, until it has seen so many or nothing more comes.
async fn follow(store: &Postgres, count: usize) -> Vec<CallId> {
    let (mut after, mut seen) = (0, Vec::new());
    let reading = async {
        while seen.len() < count {
            for row in store.history(None, after, u64::MAX, 100).await.unwrap() {
                after = row.position;
                seen.push(row.call_id);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(2), reading).await;
    seen
}

#[tokio::test]
async fn positions_given_without_the_lock_are_missed_by_readers_when_a_commit_is_late() {
    let url = voicebridge_postgres::database();
    let (store, _owner) = owned(&url).await;
    delay_commits(&url);
    for name in ["slow", "fast"] {
        store.claim(&call(name)).await.unwrap();
    }
    let insert = |call: &'static str| {
        let url = url.clone();
        tokio::task::spawn_blocking(move || {
            let values = format!("('{}', 1, 'transcript', 1, 'x')", id(call));
            let columns = "call_id, sequence, kind, occurred_at_ms, payload";
            shared().sql(name(&url), &format!("INSERT INTO voicebridge.events ({columns}) VALUES {values}"));
        })
    };
    let slow = insert("slow");
    until("the slow one has its position", || async { given(&url).await == 1 }).await;
    let fast = insert("fast");
    assert_eq!(follow(&store, 2).await, [id("fast")], "whoever has read position 2 never comes back for 1");
    slow.await.unwrap();
    fast.await.unwrap();
    let stored = store.history(None, 0, u64::MAX, 10).await.unwrap();
    let stored: Vec<_> = stored.into_iter().map(|row| row.call_id).collect();
    assert_eq!(stored, ["slow", "fast"].map(id), "and it is there");
}

#[tokio::test]
async fn positions_appear_in_their_order_when_a_commit_is_late() {
    let url = voicebridge_postgres::database();
    let (store, _owner) = owned(&url).await;
    delay_commits(&url);
    for name in ["slow", "fast"] {
        store.claim(&call(name)).await.unwrap();
    }
    // Another task, with connections of its own.
    let other = Postgres::open(&url).await.unwrap();
    other.generation.store(store.generation(), Ordering::Relaxed);
    let (slow_id, fast_id, first, second) = (id("slow"), id("fast"), said(0, "x"), said(0, "y"));
    let slow = store.write(&slow_id, &first);
    let fast = async {
        until("the slow one has its position", || async { given(&url).await == 1 }).await;
        let last = store.last_position().await.unwrap();
        let readable = store.history(None, last - 1, last, 1).await.unwrap();
        assert_eq!(readable.len(), 1, "the last position can be read");
        other.write(&fast_id, &second).await
    };
    let (slow, fast, seen) = tokio::join!(slow, fast, follow(&store, 2));
    assert_eq!(slow.unwrap(), Written::Stored { position: Some(1) });
    assert_eq!(fast.unwrap(), Written::Stored { position: Some(2) });
    assert_eq!(seen, ["slow", "fast"].map(id));
}

/// Enough calls that reading all of them would be dearer, each filter with a few values.
#[tokio::test]
async fn a_page_is_read_by_an_index_however_many_calls_there_are() {
    let (store, _owner) = owned(&voicebridge_postgres::database()).await;
    store
        .execute(
            "INSERT INTO calls (call_id, signalling, phase, phone_number_id, caller_phone, caller_user_id, caller_name,
                                received_at_ms, ring_until_ms, node_id, result, reason, ended_at_ms, generation)
             SELECT n::text, 'managed', 'ENDED', (106 + n % 5)::text, (551 + n % 900)::text, 'BR.' || n % 900, '', n / 2, 0,
                    'n' || n % 4, (ARRAY['completed', 'failed', 'abandoned'])[1 + n % 3], 'r' || n % 6,
                    CASE WHEN n % 500 = 0 THEN NULL ELSE n END, 0
             FROM generate_series(1, 20000) AS n",
        )
        .await;
    store
        .execute(
            "INSERT INTO labels (ordinal, name, value, received_at_ms)
             SELECT ordinal, l, CASE l WHEN 'l' THEN 'x' || ordinal % 300 ELSE 'yes' END, received_at_ms
             FROM calls, unnest(ARRAY['l', 'all']) AS l",
        )
        .await;
    store.execute("ANALYZE").await;
    for (index, search) in search_contract::of_every_index() {
        let mut work = store.begin(Purpose::Read).await.unwrap();
        let mut sql = search_sql::page::<sqlx::Postgres>("EXPLAIN ", &search);
        let plan: Vec<String> = sql.build_query_scalar().persistent(false).fetch_all(work.connection()).await.unwrap();
        // What many calls have is found as soon along the time.
        let is_rare = !["calls_by_node", "calls_by_reason", "calls_by_number", "calls_by_result"].contains(&index);
        let wanted = if is_rare { index } else { "calls_by_" };
        assert!(plan.iter().any(|line| line.contains(wanted)), "{plan:#?}");
        assert!(!plan.iter().any(|line| line.contains("Seq Scan on calls")), "{plan:#?}");
    }
}

#[tokio::test]
async fn many_writers_are_committed_together_and_each_learns_its_own_position() {
    let (store, _owner) = owned(&voicebridge_postgres::database()).await;
    let names: Vec<String> = (0..40).map(|n| format!("call-{n}")).collect();
    for name in &names {
        store.claim(&call(name)).await.unwrap();
    }
    let ids: Vec<CallId> = names.iter().map(|name| id(name)).collect();
    let write = |events: usize| Write { events: vec![said(0, "x").events.remove(0); events], ..Write::default() };
    let writes: Vec<Write> = (0..ids.len()).map(|n| write(n % 3)).collect();
    let written = futures_util::future::join_all(ids.iter().zip(&writes).map(|(id, write)| store.write(id, write)));
    for ((written, call_id), write) in written.await.into_iter().zip(&ids).zip(&writes) {
        let Written::Stored { position } = written.unwrap() else { panic!("{call_id:?}") };
        let of_call = store.history(Some(call_id), 0, u64::MAX, 10).await.unwrap();
        assert_eq!(of_call.len(), write.events.len());
        assert_eq!(position, of_call.last().map(|row| row.position));
    }
}

#[tokio::test]
async fn what_one_write_holds_does_not_fail_the_others() {
    let url = voicebridge_postgres::database();
    let (store, _owner) = owned(&url).await;
    for name in ["bad", "good"] {
        store.claim(&call(name)).await.unwrap();
    }
    let sql = "CREATE FUNCTION voicebridge.bad() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN IF NEW.call_id = (SELECT call_id FROM voicebridge.calls WHERE wacid = 'wacid.bad') THEN RAISE EXCEPTION USING ERRCODE = '23514'; END IF; RETURN NEW; END $$;
         CREATE TRIGGER bad BEFORE INSERT ON voicebridge.events FOR EACH ROW EXECUTE FUNCTION voicebridge.bad()";
    shared().sql(name(&url), sql);
    let (bad_id, good_id, write) = (id("bad"), id("good"), said(0, "x"));
    let (bad, good) = tokio::join!(store.write(&bad_id, &write), store.write(&good_id, &write));
    assert!(bad.is_err(), "{bad:?}");
    assert!(matches!(good.unwrap(), Written::Stored { .. }));
}

#[tokio::test]
async fn nothing_of_an_owner_that_was_replaced_is_written() {
    let url = voicebridge_postgres::database();
    let (old, _owner) = owned(&url).await;
    old.claim(&call("mine")).await.unwrap();
    let new = Postgres::open(&url).await.unwrap();
    let tombstone = Tombstone { hung_up_at_ms: 1, failed: false, error_code: None };
    assert!(matches!(new.claim(&call("early")).await, Err(StoreError::NotOwner)), "before it is the owner");
    new.take(new.look().await.unwrap(), "new").await.unwrap().unwrap();

    assert!(matches!(old.claim(&call("other")).await, Err(StoreError::NotOwner)));
    assert!(matches!(old.record_hang_up(&wacid("mine"), &tombstone).await, Err(StoreError::NotOwner)));
    assert!(matches!(old.write(&id("mine"), &said(0, "x")).await, Err(StoreError::NotOwner)));
    assert!(matches!(old.prune(i64::MAX, 1).await, Err(StoreError::NotOwner)));
    assert!(!old.beat(old.generation()).await.unwrap());
    old.give_back(old.generation()).await.unwrap();
    assert!(!new.look().await.unwrap().is_free, "what is not its own it cannot give back");

    assert_eq!(new.claim(&call("mine")).await.unwrap(), Claim::Duplicate(id("mine")));
    assert!(matches!(new.write(&id("mine"), &said(0, "x")).await.unwrap(), Written::Stored { .. }));
    assert!(old.call(&id("mine")).await.unwrap().is_some(), "it may read");
}

#[tokio::test]
async fn a_takeover_waits_for_what_is_being_committed() {
    let url = voicebridge_postgres::database();
    let (old, _owner) = owned(&url).await;
    delay_commits(&url);
    old.claim(&call("slow")).await.unwrap();
    let new = Postgres::open(&url).await.unwrap();
    let (slow_id, write) = (id("slow"), said(0, "x"));
    let takeover = async {
        until("the write is under way", || async { given(&url).await == 1 }).await;
        let sight = new.look().await.unwrap();
        // The keeper of the old one may beat in between.
        if new.take(sight, "new").await.unwrap().is_none() {
            new.take(new.look().await.unwrap(), "new").await.unwrap().unwrap();
        }
        new.events(&id("slow"), 0, 10).await.unwrap().len()
    };
    let (written, seen) = tokio::join!(old.write(&slow_id, &write), takeover);
    assert!(matches!(written.unwrap(), Written::Stored { .. }));
    assert_eq!(seen, 1, "the new owner has seen all there will ever be of the old one");
}

#[tokio::test]
async fn a_connection_that_was_cut_is_replaced() {
    let url = voicebridge_postgres::database();
    let (store, _owner) = owned(&url).await;
    store.claim(&call("one")).await.unwrap();
    let cut = format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = '{}' AND pid <> pg_backend_pid()",
        name(&url)
    );
    let cut: u32 = tokio::task::spawn_blocking(move || shared().sql("postgres", &cut)).await.unwrap().parse().unwrap();
    assert!(cut > 0);
    // Each of them may still be found broken once.
    until("the store works again", || async { store.call(&id("one")).await.is_ok() }).await;
    assert_eq!(store.claim(&call("one")).await.unwrap(), Claim::Duplicate(id("one")));
}

#[tokio::test]
async fn requests_end_in_time_when_the_server_does_not_answer() {
    // Takes connections and says nothing.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("postgres://test@{}/x", listener.local_addr().unwrap());
    let began = std::time::Instant::now();
    assert!(Postgres::open(&url).await.is_err());
    assert!(began.elapsed() < REQUEST_TIMEOUT * 2);
}

#[tokio::test]
async fn the_schema_is_made_once_and_a_newer_one_refused() {
    let url = voicebridge_postgres::database();
    let opened = futures_util::future::join_all((0..4).map(|_| Postgres::open_counting(&url))).await;
    let migrations: Vec<usize> = opened.into_iter().map(|opened| opened.unwrap().1).collect();
    assert_eq!(migrations.iter().filter(|count| **count > 0).count(), 1, "{migrations:?}");
    let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";
    assert_eq!(shared().sql(name(&url), tables), "0", "nothing where others may be served from");
    shared().sql(name(&url), "INSERT INTO voicebridge.migrations (version, checksum) VALUES (9999, 'x')");
    let refused = Postgres::open(&url).await.unwrap_err();
    let why = std::error::Error::source(&refused).unwrap().to_string();
    assert!(why.contains("9999") && why.contains("newer"), "{why}");
}

/// The server by a host name, with a certificate of its own CA.
fn by_name(url: &str, host: &str, authority: &std::path::Path) -> String {
    let (port, database) = (shared().port(), name(url));
    format!("postgres://test@{host}:{port}/{database}?sslmode=verify-full&sslrootcert={}", authority.display())
}

#[tokio::test]
async fn with_verify_full_only_the_named_server_of_the_ca_is_spoken_to() {
    let url = voicebridge_postgres::database();
    let ours = shared().authority();
    let store = Postgres::open(&by_name(&url, shared().name(), &ours)).await.unwrap();
    let mut work = store.begin(Purpose::Read).await.unwrap();
    let is_encrypted: bool = work::query_scalar("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        .fetch_one(work.connection())
        .await
        .unwrap();
    assert!(is_encrypted);

    let reason = |refused: StoreError| format!("{:?}", std::error::Error::source(&refused).unwrap());
    let wrong_name = reason(Postgres::open(&by_name(&url, "127.0.0.1", &ours)).await.unwrap_err());
    assert!(wrong_name.contains("NotValidForName"), "{wrong_name}");
    let folder = tempfile::tempdir().unwrap();
    let foreign = folder.path().join("ca.pem");
    std::fs::write(&foreign, Authority::new().certificate()).unwrap();
    let wrong_ca = reason(Postgres::open(&by_name(&url, shared().name(), &foreign)).await.unwrap_err());
    assert!(wrong_ca.contains("UnknownIssuer") || wrong_ca.contains("BadSignature"), "{wrong_ca}");
}

#[test]
fn a_server_elsewhere_must_prove_who_it_is_unless_the_url_says_otherwise() {
    for (url, expected) in [
        ("postgres://u:p@db.example/x", PgSslMode::VerifyFull),
        ("postgres://u:p@10.0.0.1/x", PgSslMode::VerifyFull),
        ("postgres://u:p@db.example/x?sslmode=require", PgSslMode::Require),
        ("postgres://u:p@localhost/x", PgSslMode::Prefer),
        ("postgres://u:p@127.0.0.1/x", PgSslMode::Prefer),
        ("postgres://u:p@[::1]/x", PgSslMode::Prefer),
        ("postgres://u:p@localhost/x?host=/run/postgresql", PgSslMode::Prefer),
    ] {
        let mode = options(url).unwrap().get_ssl_mode();
        assert_eq!(format!("{mode:?}"), format!("{expected:?}"), "{url}");
    }
}

#[tokio::test]
async fn the_lease_is_kept_through_a_pooler() {
    let url = voicebridge_postgres::database();
    let pooler = Pooler::before(shared());
    let (store, owner) = owned(&pooler.url(&url)).await;
    let before = store.look().await.unwrap();
    until("it beats", || async { store.look().await.unwrap().beats > before.beats }).await;
    assert!(owner.lease().is_held() && owner.lease().lost().now_or_never().is_none());
    owner.give_back().await;
    assert!(store.look().await.unwrap().is_free);
}

/// As after a restart, when everybody who follows calls reads what they missed.
#[tokio::test]
async fn however_many_read_a_call_can_be_claimed() {
    let url = voicebridge_postgres::database();
    let (store, _owner) = owned(&url).await;
    let mut reading = Vec::new();
    for _ in 0..CONNECTIONS {
        // Who is not let in is not waited for.
        reading.extend(tokio::time::timeout(Duration::from_millis(300), store.begin(Purpose::Read)).await);
    }
    assert_eq!(store.claim(&call("comes")).await.unwrap(), Claim::Claimed);
    assert!(reading.iter().all(Result::is_ok));
}

/// As when somebody asks for lists that find little in much.
#[tokio::test]
async fn however_many_search_keys_and_events_can_be_read() {
    let url = voicebridge_postgres::database();
    let (store, _owner) = owned(&url).await;
    let mut searching = Vec::new();
    for _ in 0..CONNECTIONS {
        // Who is not let in is not waited for.
        searching.extend(tokio::time::timeout(Duration::from_millis(300), store.begin(Purpose::Search)).await);
    }
    assert_eq!(searching.len(), SEARCHES);
    crate::store::KeyStore::keys(&store).await.unwrap();
    assert_eq!(store.history(None, 0, u64::MAX, 1).await.unwrap(), []);
}

/// A way to the server on which each connection goes dead, without a word, once it has brought the answer to a COMMIT.
async fn dying_way(url: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let way = format!("postgres://test@{}/{}?sslmode=disable", listener.local_addr().unwrap(), name(url));
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let server = tokio::net::TcpStream::connect(("127.0.0.1", shared().port())).await.unwrap();
                let (mut from_client, mut to_client) = client.into_split();
                let (mut from_server, mut to_server) = server.into_split();
                let answering = async {
                    let mut bytes = vec![0; 16 * 1024];
                    loop {
                        let count = from_server.read(&mut bytes).await.unwrap_or(0);
                        if count == 0 || to_client.write_all(&bytes[..count]).await.is_err() {
                            return;
                        }
                        if bytes[..count].windows(7).any(|tag| tag == b"COMMIT\0") {
                            return std::future::pending().await;
                        }
                    }
                };
                let asking = tokio::io::copy(&mut from_client, &mut to_server);
                tokio::select! {
                    () = answering => {}
                    _ = asking => {}
                }
            });
        }
    });
    way
}

#[tokio::test]
async fn connections_that_died_unnoticed_hold_up_neither_requests_nor_the_end() {
    let url = voicebridge_postgres::database();
    Postgres::open(&url).await.unwrap();
    let store = Postgres {
        pool: pool(CONNECTIONS, &options(&dying_way(&url).await).unwrap()),
        ..Postgres::open(&url).await.unwrap()
    };
    for at in 0..2 * CONNECTIONS {
        store.call(&id("none")).await.unwrap_or_else(|error| panic!("request {at}: {error:?}"));
    }
    let closing = tokio::time::timeout(REQUEST_TIMEOUT * 2, store.shut()).await;
    assert!(closing.is_ok(), "it is still closing");
}

#[tokio::test]
async fn a_schema_that_is_there_wants_no_right_to_make_one() {
    let url = voicebridge_postgres::database();
    Postgres::open(&url).await.unwrap();
    let role = format!("only_{}", name(&url));
    shared().sql(
        name(&url),
        &format!(
            "CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA voicebridge TO {role};
             GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA voicebridge TO {role};
             GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA voicebridge TO {role}"
        ),
    );
    let (store, _owner) = owned(&url.replace("test@", &format!("{role}@"))).await;
    assert_eq!(store.claim(&call("one")).await.unwrap(), Claim::Claimed);
}
