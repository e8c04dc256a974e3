//! The database does not take what is written to it for a while: calls are held, ends act at once, nothing is lost.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use prost::Message as _;
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use support::{Plane, connect, plane, system, terminate};
use voicebridge_proto::{
    control::v1::{AdvanceSessionRequest, CallPhase, EndCallRequest},
    types::v1::{Event, SessionEnded, SignallingStage, Termination, TerminationResult, Transcript, event::Kind},
};
use voicebridge_telemetry::status::reason;

/// The counters are those of the process: tests that watch them run one after the other.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Writes of calls that failed so far.
async fn failures(plane: &Plane) -> u64 {
    let metrics = plane.http.get(format!("{}/metrics", plane.url)).send().await.unwrap().text().await.unwrap();
    let line = metrics.lines().find_map(|line| line.strip_prefix("voicebridge_control_store_failures_total "));
    line.map_or(0, |count| count.parse().unwrap())
}

/// Waits until a write has failed, and its repetition: what comes after it has been held.
async fn fails(plane: &Plane, before: u64) {
    support::until("writes fail", || async { (failures(plane).await >= before + 2).then_some(()) }).await;
}

/// The plane's database, of which somebody else makes every write fail until they are gone.
async fn database(plane: &Plane) -> SqliteConnection {
    let options: SqliteConnectOptions = plane.config.database_url.parse().unwrap();
    options.busy_timeout(Duration::from_secs(10)).connect().await.unwrap()
}

async fn break_writes(database: &mut SqliteConnection) {
    for table in ["INSERT ON events", "UPDATE ON calls"] {
        let name = table.replace(' ', "_");
        let trigger = format!("CREATE TRIGGER broken_{name} BEFORE {table} BEGIN SELECT RAISE(ABORT, 'broken'); END");
        sqlx::query(sqlx::AssertSqlSafe(trigger)).execute(&mut *database).await.unwrap();
    }
}

async fn mend_writes(database: &mut SqliteConnection) {
    for name in ["INSERT_ON_events", "UPDATE_ON_calls"] {
        let drop = format!("DROP TRIGGER broken_{name}");
        sqlx::query(sqlx::AssertSqlSafe(drop)).execute(&mut *database).await.unwrap();
    }
}

fn said(text: &str) -> Kind {
    Kind::Transcript(Transcript { text: text.to_owned(), ..Transcript::default() })
}

#[tokio::test]
async fn what_is_said_while_the_store_fails_is_stored_afterwards() {
    let _alone = ALONE.lock().await;
    let (graph, plane, node) = system().await;
    plane.deliver(&[connect("talks")]).await;
    let session = plane.phase("talks", CallPhase::Active).await.session_id;
    let mut database = database(&plane).await;
    let before = failures(&plane).await;
    break_writes(&mut database).await;
    let words: Vec<String> = (0..100).map(|n| format!("word {n}")).collect();
    words.iter().for_each(|word| node.emit(&session, said(word)));
    fails(&plane, before).await;
    mend_writes(&mut database).await;
    let said = plane.said("talks", words.len()).await;
    assert_eq!(said.iter().map(|said| said.text.clone()).collect::<Vec<_>>(), words);
    plane.deliver(&[terminate("talks")]).await;
    assert_eq!(plane.ended("talks").await.1, "USER_HANGUP");
    assert_eq!(graph.actions("talks"), ["pre_accept", "accept"]);
}

#[tokio::test]
async fn a_call_is_not_answered_before_that_is_written() {
    let _alone = ALONE.lock().await;
    let (graph, mut plane, _node) = system().await;
    graph.hold();
    plane.deliver(&[connect("rings")]).await;
    graph.wait("rings", "pre_accept").await;
    let mut database = database(&plane).await;
    let before = failures(&plane).await;
    break_writes(&mut database).await;
    graph.release();
    fails(&plane, before).await;
    assert_eq!(graph.actions("rings"), ["pre_accept"], "what Graph answered is not written yet");
    mend_writes(&mut database).await;
    plane.phase("rings", CallPhase::Active).await;
    assert_eq!(graph.actions("rings"), ["pre_accept", "accept"]);
    // A restart knows it as what it is.
    plane.kill();
    plane.restart().await;
    assert_eq!(plane.call("rings").await.unwrap().phase(), CallPhase::Active);
}

#[tokio::test]
async fn an_end_acts_at_once_and_is_written_when_it_can_be() {
    let _alone = ALONE.lock().await;
    let (graph, plane, node) = system().await;
    plane.deliver(&[connect("ends")]).await;
    let session = plane.phase("ends", CallPhase::Active).await.session_id;
    let mut database = database(&plane).await;
    break_writes(&mut database).await;
    node.emit(&session, said("bye"));
    let mut client = plane.client().await;
    let request = EndCallRequest { call_id: "ends".to_owned(), ..Default::default() };
    let ending = tokio::spawn(async move { client.end_call(request).await });
    graph.wait("ends", "terminate").await;
    assert_eq!(node.session("ends", "ended", |s| s.ended.is_some()).await.ended.unwrap().reason, "API_HANGUP");
    mend_writes(&mut database).await;
    assert_eq!(ending.await.unwrap().unwrap().into_inner().termination.unwrap().reason, "API_HANGUP");
    assert_eq!(plane.ended("ends").await.1, "API_HANGUP");
    let names = plane::kind_names(&plane.events("ends", "").await);
    assert!(names.contains(&"transcript bye".to_owned()), "{names:?}");
    assert_eq!(graph.actions("ends"), ["pre_accept", "accept", "terminate"]);
}

/// The process died between the storing of the node's last event and what follows from it.
#[tokio::test]
async fn an_end_that_is_stored_but_was_not_acted_on_is_acted_on() {
    let _alone = ALONE.lock().await;
    let (graph, mut plane, node) = system().await;
    plane.deliver(&[connect("over")]).await;
    let session = plane.phase("over", CallPhase::Active).await.session_id;
    let stored = support::until("all the node said is stored", || async {
        let call = plane.call("over").await.ok()?;
        (call.last_sequence >= 6).then_some(call.last_sequence)
    })
    .await;
    plane.kill();
    node.end(&session, TerminationResult::Completed, "AGENT_HANGUP", "");
    let termination = Termination {
        result: TerminationResult::Completed.into(),
        reason: "AGENT_HANGUP".to_owned(),
        ..Termination::default()
    };
    let ended = SessionEnded { termination: Some(termination), ..SessionEnded::default() };
    let event = Event { session_id: session, kind: Some(Kind::SessionEnded(ended)), ..Event::default() };
    let mut database = database(&plane).await;
    let last = 1_000_i64;
    let insert = "INSERT INTO events (call_id, sequence, kind, occurred_at_ms, node_sequence, payload)
                  SELECT call_id, ?1, 'session_ended', 1, ?2, ?3 FROM calls WHERE wacid = 'over'";
    let sequence = stored as i64 + 1;
    let query = sqlx::query(insert).bind(sequence).bind(last).bind(event.encode_to_vec());
    query.execute(&mut database).await.unwrap();
    let update = "UPDATE calls SET last_sequence = ?1, node_sequence = ?2 WHERE wacid = 'over'";
    sqlx::query(update).bind(sequence).bind(last).execute(&mut database).await.unwrap();
    database.close().await.unwrap();
    plane.restart().await;
    assert_eq!(plane.ended("over").await.1, "AGENT_HANGUP");
    assert_eq!(graph.actions("over"), ["pre_accept", "accept", "terminate"], "Meta is told");
}

/// As after a failover to a replica that had not heard of the last writes: what was said is gone.
async fn went_back(plane: &Plane) {
    let mut database = database(plane).await;
    for sql in [
        "DELETE FROM events WHERE kind = 'transcript'",
        "UPDATE calls SET last_sequence = (SELECT max(sequence) FROM events),
                          node_sequence = (SELECT max(node_sequence) FROM events)",
    ] {
        sqlx::query(sql).execute(&mut database).await.unwrap();
    }
}

#[tokio::test]
async fn a_call_between_two_tasks_can_be_ended() {
    let _alone = ALONE.lock().await;
    let (graph, plane, node) = system().await;
    plane.deliver(&[connect("between")]).await;
    let session = plane.phase("between", CallPhase::Active).await.session_id;
    node.emit(&session, said("one"));
    plane.said("between", 1).await;
    went_back(&plane).await;
    node.emit(&session, said("two"));
    // Of a call with a task it is answered that it is managed.
    let advance = AdvanceSessionRequest { call_id: "between".to_owned(), stage: SignallingStage::Accepted.into() };
    support::until("its task has gone", || async {
        let status = plane.client().await.advance_session(advance.clone()).await.unwrap_err();
        (reason(&status).as_deref() == Some("STORE_UNAVAILABLE")).then_some(())
    })
    .await;
    let end = EndCallRequest { call_id: "between".to_owned(), ..EndCallRequest::default() };
    let ended = plane.client().await.end_call(end).await.unwrap().into_inner();
    assert_eq!(ended.termination.unwrap().reason, "API_HANGUP");
    assert_eq!(plane.ended("between").await.1, "API_HANGUP");
    assert_eq!(graph.actions("between"), ["pre_accept", "accept", "terminate"]);
}

#[tokio::test]
async fn a_call_whose_record_went_back_in_time_goes_on_from_there() {
    let _alone = ALONE.lock().await;
    let (graph, plane, node) = system().await;
    plane.deliver(&[connect("back")]).await;
    let session = plane.phase("back", CallPhase::Active).await.session_id;
    for word in ["one", "two"] {
        node.emit(&session, said(word));
    }
    plane.said("back", 2).await;
    went_back(&plane).await;
    node.emit(&session, said("three"));
    let found = plane.said("back", 3).await;
    assert_eq!(found.iter().map(|said| said.text.as_str()).collect::<Vec<_>>(), ["one", "two", "three"]);
    node.end(&session, TerminationResult::Completed, "AGENT_HANGUP", "");
    assert_eq!(plane.ended("back").await.1, "AGENT_HANGUP");
    assert_eq!(graph.actions("back"), ["pre_accept", "accept", "terminate"]);
}
