//! What every store of keys must do. A second database runs the same checks.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::scope::{Scope, Scopes};

const MOST: u32 = 4;

fn key(id: &str, scope: Scope, expires_at_ms: Option<i64>) -> NewKey {
    let mut hash = [0; 32];
    hash[..id.len()].copy_from_slice(id.as_bytes());
    NewKey {
        key_id: id.to_owned(),
        hash,
        name: format!("for {id}"),
        scopes: Scopes::from_iter([scope]),
        created_at_ms: 1_000,
        expires_at_ms,
    }
}

async fn ids(store: &dyn KeyStore) -> Vec<String> {
    store.keys().await.unwrap().into_iter().map(|key| key.key_id).collect()
}

async fn the_first_key_is_an_admins(store: &dyn KeyStore) {
    let reader = key("reader", Scope::CallsRead, None);
    assert_eq!(store.create_key(&reader, Settings::NoKey, MOST).await.unwrap(), Creation::FirstNeedsAdmin);
    assert!(ids(store).await.is_empty());
    let admin = key("admin", Scope::Admin, Some(5_000));
    assert_eq!(store.create_key(&admin, Settings::NoKey, MOST).await.unwrap(), Creation::Created);
    assert_eq!(store.create_key(&reader, Settings::NoKey, MOST).await.unwrap(), Creation::Created);
    assert!(store.create_key(&reader, Settings::NoKey, MOST).await.is_err(), "the same again");
    let row = store.keys().await.unwrap().remove(0);
    assert_eq!((row.key_id.as_str(), row.hash, row.scopes), ("admin", admin.hash, admin.scopes));
    assert_eq!((row.name.as_str(), row.created_at_ms, row.expires_at_ms), ("for admin", 1_000, Some(5_000)));
    assert_eq!((row.revoked_at_ms, row.last_used_at_ms), (None, None));
    assert!(row.works(4_999) && !row.works(5_000));
}

async fn the_last_admin_stays(store: &dyn KeyStore) {
    assert_eq!(store.revoke_key("nobody", 2_000, Settings::NoKey).await.unwrap(), Revocation::Unknown);
    for settings in [Settings::NoKey, Settings::NoAdmin] {
        assert_eq!(store.revoke_key("admin", 2_000, settings).await.unwrap(), Revocation::LastAdmin);
    }
    store.create_key(&key("second", Scope::Admin, None), Settings::NoKey, MOST).await.unwrap();
    for now_ms in [2_000, 3_000] {
        let Revocation::Revoked(row) = store.revoke_key("admin", now_ms, Settings::NoKey).await.unwrap() else {
            panic!()
        };
        assert_eq!(row.revoked_at_ms, Some(2_000), "the first time stands");
    }
    assert_eq!(store.revoke_key("second", 3_000, Settings::NoKey).await.unwrap(), Revocation::LastAdmin);
    let by_settings = store.revoke_key("second", 3_000, Settings::Admin).await.unwrap();
    assert!(matches!(by_settings, Revocation::Revoked(_)));
    // Nobody works any more, and still the table is not the one of a beginning.
    let late = key("late", Scope::CallsRead, None);
    assert_eq!(store.create_key(&late, Settings::NoKey, MOST).await.unwrap(), Creation::Created);
}

async fn spent_keys_make_room_and_working_ones_do_not(store: &dyn KeyStore) {
    assert_eq!(ids(store).await, ["admin", "reader", "second", "late"]);
    for expect in ["fifth", "sixth"] {
        let new = key(expect, Scope::Nodes, None);
        assert_eq!(store.create_key(&new, Settings::NoAdmin, MOST).await.unwrap(), Creation::Created);
    }
    assert_eq!(ids(store).await, ["reader", "late", "fifth", "sixth"], "admin and second were revoked");
    let new = key("seventh", Scope::Nodes, None);
    assert_eq!(store.create_key(&new, Settings::NoAdmin, MOST).await.unwrap(), Creation::TooMany);
}

async fn use_is_noted(store: &dyn KeyStore) {
    let uses = |at_ms| [("reader".to_owned(), at_ms), ("nobody".to_owned(), at_ms)];
    store.note_use(&uses(60_000)).await.unwrap();
    store.note_use(&uses(30_000)).await.unwrap();
    let row = store.keys().await.unwrap().remove(0);
    assert_eq!((row.key_id.as_str(), row.last_used_at_ms), ("reader", Some(60_000)), "another process was later");
}

async fn check(store: &dyn KeyStore) {
    the_first_key_is_an_admins(store).await;
    the_last_admin_stays(store).await;
    spent_keys_make_room_and_working_ones_do_not(store).await;
    use_is_noted(store).await;
}

#[tokio::test]
async fn sqlite_keeps_keys() {
    check(&Sqlite::open("sqlite::memory:").await.unwrap()).await;
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", directory.path().join("new.db").display());
    check(&Sqlite::open(&url).await.unwrap()).await;
}

#[tokio::test]
async fn postgres_keeps_keys() {
    check(&Postgres::open(&voicebridge_postgres::database()).await.unwrap()).await;
}

#[tokio::test]
async fn postgres_behind_a_pooler_keeps_keys() {
    let pooler = voicebridge_postgres::Pooler::before(voicebridge_postgres::shared());
    check(&Postgres::open(&pooler.url(&voicebridge_postgres::database())).await.unwrap()).await;
}
