#![allow(clippy::unwrap_used)]

use voicebridge_core::{
    identity::{CallId, Caller, PhoneNumber, Wacid},
    labels::Labels,
    payloads::Payloads,
    termination::{Termination, TerminationResult},
};

use super::*;
use crate::{
    scope::{Scope, Scopes},
    store::{
        Change, Claim, Database, Holder, KeyStore as _, NewCall, NewEvent, NewKey, Search, Settings, Store, Tombstone,
        Write, Written,
    },
};

fn id(n: u32) -> CallId {
    crate::ids::example(&n.to_string())
}

fn wacid(n: u32) -> Wacid {
    Wacid::parse(format!("wacid.{n}")).unwrap()
}

/// More events than fit in one batch, an ended call, a deleted one, a hang-up, a key.
async fn filled(url: &str) -> Contents {
    let store = Sqlite::open(url).await.unwrap();
    for n in 0..4 {
        let call = NewCall {
            call_id: id(n),
            wacid: wacid(n),
            holder: Holder::Managed,
            phase: "PLACING",
            phone_number_id: "106".to_owned(),
            caller: Caller {
                phone_number: PhoneNumber::parse("5511900000001"),
                user_id: None,
                name: Some("Ana".to_owned()),
            },
            labels: Labels::parse([("n".to_owned(), n.to_string()), ("all".to_owned(), "yes".to_owned())]).unwrap(),
            payloads: Payloads::cleaned("campaign-7", "", "job-9"),
            received_at_ms: 1_000,
            ring_until_ms: 31_000,
        };
        assert_eq!(store.claim(&call).await.unwrap(), Claim::Claimed);
        let event = |n: u64| NewEvent {
            kind: "transcript",
            occurred_at_ms: 1,
            node_sequence: Some(n),
            payload: vec![0, n as u8],
        };
        let events = (1..=u64::from(BATCH) / 2).map(event).collect();
        store.write(&id(n), &Write { events, ..Write::default() }).await.unwrap();
    }
    // As it could be stored before such names were cleaned when they come.
    store.execute("UPDATE calls SET caller_name = 'A' || char(0) || 'na'").await;
    let termination = Termination::new(TerminationResult::Completed, "USER_HANGUP", "").with_code("7");
    // The last one is deleted again: its positions are not to be given a second time.
    for (n, ended_at_ms) in [(3, 100), (0, 900)] {
        let after = store.call(&id(n)).await.unwrap().unwrap().last_sequence;
        let change = Change {
            phase: Some("ENDED"),
            termination: Some(termination.clone()),
            ended_at_ms: Some(ended_at_ms),
            ..Change::default()
        };
        let last = NewEvent { kind: "call_ended", occurred_at_ms: 1, node_sequence: None, payload: Vec::new() };
        store.write(&id(n), &Write { after, events: vec![last], change }).await.unwrap();
    }
    assert_eq!(store.prune(500, 10).await.unwrap(), 1);
    store.record_hang_up(&wacid(9), &Tombstone { hung_up_at_ms: 5, failed: true, error_code: Some(3) }).await.unwrap();
    store.own_key("cursors", [7; 32]).await.unwrap();
    let key = NewKey {
        key_id: "k".to_owned(),
        hash: [3; 32],
        name: "n".to_owned(),
        scopes: Scopes::from_iter([Scope::Admin]),
        created_at_ms: 1,
        expires_at_ms: None,
    };
    store.create_key(&key, Settings::NoKey, 9).await.unwrap();
    let contents = store.contents().await.unwrap();
    store.shut().await;
    contents
}

fn file(folder: &tempfile::TempDir) -> String {
    format!("sqlite://{}", folder.path().join("calls.db").display())
}

#[tokio::test]
async fn a_copy_has_everything_and_goes_on_where_the_source_was() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (file(&folder), voicebridge_postgres::database());
    let expected = filled(&from).await;
    let mut said = Vec::new();
    let copied = copy(&from, &to, |done, total| said.push((done, total))).await.unwrap();
    assert_eq!(copied, expected);
    assert!(said.len() > 2 && said.last().unwrap().0 == said[0].1, "{said:?}");

    let (source, target) = (Sqlite::open(&from).await.unwrap(), Database::open(&to).await.unwrap());
    let _owner = target.own_calls(Duration::ZERO).await.unwrap();
    let store = target.calls();
    let all = Search { size: 100, ..Search::default() };
    let (theirs, mut ours) = (source.calls(&all).await.unwrap(), store.calls(&all).await.unwrap());
    assert!(
        ours.iter().all(|row| row.caller.name.as_deref() == Some("Ana")),
        "what PostgreSQL cannot hold is left out"
    );
    ours.iter_mut().for_each(|row| row.caller.name = Some("A\0na".to_owned()));
    assert_eq!(format!("{theirs:?}"), format!("{ours:?}"));
    for (theirs, ours) in theirs.iter().zip(&ours) {
        assert_eq!(ours.payloads.biz_opaque.as_deref(), Some("job-9"));
        assert!(
            theirs.payloads == ours.payloads && theirs.labels == ours.labels && ours.labels.iter().len() == 2,
            "{ours:?}"
        );
    }
    let (theirs, ours) = (source.history(None, 0, u64::MAX, 9_999), store.history(None, 0, u64::MAX, 9_999));
    assert_eq!(theirs.await.unwrap(), ours.await.unwrap());
    assert_eq!(store.tombstone(&wacid(9)).await.unwrap(), source.tombstone(&wacid(9)).await.unwrap());
    assert_eq!(store.own_key("cursors", [0; 32]).await.unwrap(), [7; 32], "cursors of before are known");
    assert_eq!(target.keys().keys().await.unwrap(), source.keys().await.unwrap());

    let last = source.last_position().await.unwrap();
    assert_eq!(store.last_position().await.unwrap(), last);
    let after = store.call(&id(1)).await.unwrap().unwrap().last_sequence;
    let event = NewEvent { kind: "transcript", occurred_at_ms: 1, node_sequence: None, payload: Vec::new() };
    let written = store.write(&id(1), &Write { after, events: vec![event], change: Change::default() }).await.unwrap();
    assert_eq!(written, Written::Stored { position: Some(last + 1) }, "deleted positions are not given again");
}

#[tokio::test]
async fn a_target_with_anything_in_it_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (file(&folder), voicebridge_postgres::database());
    filled(&from).await;
    copy(&from, &to, |_, _| {}).await.unwrap();
    let again = copy(&from, &to, |_, _| {}).await.unwrap_err();
    assert!(matches!(again, CopyError::NotEmpty(_)), "{again:?}");
}

#[tokio::test]
async fn an_interrupted_copy_leaves_nothing_and_can_be_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (file(&folder), voicebridge_postgres::database());
    let expected = filled(&from).await;
    // Killed after the second batch.
    let (begun, far) = tokio::sync::oneshot::channel();
    let (mut begun, mut batches) = (Some(begun), 0);
    let progress = |_, _| {
        batches += 1;
        if batches == 2 {
            let _ = begun.take().unwrap().send(());
        }
    };
    tokio::select! {
        biased;
        _ = far => {}
        copied = copy(&from, &to, progress) => panic!("{copied:?}"),
    }
    assert!(begun.is_none());
    assert_eq!(copy(&from, &to, |_, _| {}).await.unwrap(), expected);
}

#[tokio::test]
async fn databases_in_use_and_sources_that_are_none_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (file(&folder), voicebridge_postgres::database());
    let none = copy(&from, &to, |_, _| {}).await.unwrap_err();
    assert!(matches!(none, CopyError::NoSource(_)), "{none:?}");
    assert!(!folder.path().join("calls.db").exists(), "and none is made");
    let in_memory = copy("sqlite::memory:", &to, |_, _| {}).await.unwrap_err();
    assert!(matches!(in_memory, CopyError::NotAFile), "{in_memory:?}");

    filled(&from).await;
    let source = Sqlite::open(&from).await.unwrap();
    let lock = source.own_calls(Duration::ZERO).await.unwrap();
    let busy = copy(&from, &to, |_, _| {}).await.unwrap_err();
    assert!(matches!(busy, CopyError::Source(StoreError::Lock(_))), "{busy:?}");
    drop(lock);
    let target = Database::open(&to).await.unwrap();
    let owner = target.own_calls(Duration::ZERO).await.unwrap();
    let busy = copy(&from, &to, |_, _| {}).await.unwrap_err();
    assert!(matches!(busy, CopyError::InUse), "{busy:?}");
    owner.give_back().await;
    copy(&from, &to, |_, _| {}).await.unwrap();
}
