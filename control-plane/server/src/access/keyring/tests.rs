//! Whose a key is, where it may stand, and until when.

#![allow(clippy::unwrap_used)]

use voicebridge_telemetry::local::{LocalSecret, StateDir};

use super::*;
use crate::store::{NewKey, Sqlite};

const NOW: i64 = 1_790_000_000_000;

async fn keyring() -> (Arc<Sqlite>, Keyring) {
    let store = Arc::new(Sqlite::open("sqlite::memory:").await.unwrap());
    let scoped = ApiKey { scopes: Scopes::from_iter([Scope::Nodes]), ..ApiKey::from("scoped") };
    let keyring = Keyring::open(store.clone(), &[7; 32], &[ApiKey::from("all"), scoped]).await.unwrap();
    (store, keyring)
}

fn new_key(secret: &str, expires_at_ms: Option<i64>) -> NewKey {
    NewKey {
        key_id: format!("id of {secret}"),
        hash: hash(secret.as_bytes()),
        name: String::new(),
        scopes: Scopes::from_iter([Scope::CallsRead]),
        created_at_ms: NOW,
        expires_at_ms,
    }
}

#[track_caller]
fn check(keyring: &Keyring, key: &str, now_ms: i64, expect: Result<&str, &str>) {
    let found = keyring.find(key.as_bytes(), now_ms);
    let found = found.map(|principal| principal.scopes.words()).map_err(|fault| fault.reason().to_owned());
    assert_eq!(found.as_deref().map_err(String::as_str), expect, "{key} {now_ms}");
}

#[tokio::test]
async fn keys_of_the_settings_and_of_the_table() {
    let (store, keyring) = keyring().await;
    check(&keyring, "all", NOW, Ok("calls:read+calls:write+nodes+admin"));
    check(&keyring, "scoped", NOW, Ok("nodes"));
    for wrong in ["", "al", "all ", "ALL"] {
        check(&keyring, wrong, NOW, Err("UNAUTHENTICATED"));
    }
    store.create_key(&new_key("made", Some(NOW + 1_000)), Settings::Admin, 9).await.unwrap();
    check(&keyring, "made", NOW, Err("UNAUTHENTICATED"));
    keyring.reread().await.unwrap();
    check(&keyring, "made", NOW + 999, Ok("calls:read"));
    check(&keyring, "made", NOW + 1_000, Err("KEY_EXPIRED"));
    store.revoke_key("id of made", NOW, Settings::Admin).await.unwrap();
    keyring.reread().await.unwrap();
    check(&keyring, "made", NOW, Err("KEY_REVOKED"));
    check(&keyring, "made", NOW + 1_000, Err("KEY_REVOKED"));
}

#[tokio::test]
async fn the_local_key_counts_until_there_is_another() {
    let folder = tempfile::tempdir().unwrap();
    let state = StateDir::at(folder.path().join("state"));
    let store = Arc::new(Sqlite::open("sqlite::memory:").await.unwrap());
    let mut keyring = Keyring::open(store.clone(), &[7; 32], &[]).await.unwrap();
    keyring.set_local(LocalKey::open(Some(&state)).unwrap());
    let keyring = Arc::new(keyring);
    let local = state.read(LocalSecret::ApiKey).unwrap().unwrap();
    let local = local.expose_secret();
    let all = "calls:read+calls:write+nodes+admin";
    check(&keyring, local, NOW, Ok(all));
    check(&keyring, "", NOW, Err("UNAUTHENTICATED"));
    assert!(keyring.nothing_presented().message().contains("/local-key"));
    let ends = keyring.find(local.as_bytes(), NOW).unwrap().ends;
    let mut waiting = tokio::spawn(Arc::clone(&keyring).ended(ends));
    keyring.reread().await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(1), &mut waiting).await.is_err(), "it still counts");

    store.create_key(&NewKey { scopes: Scopes::ALL, ..new_key("made", None) }, Settings::NoKey, 9).await.unwrap();
    keyring.reread().await.unwrap();
    waiting.await.unwrap();
    check(&keyring, local, NOW, Err("UNAUTHENTICATED"));
    check(&keyring, "made", NOW, Ok(all));
    assert!(!keyring.nothing_presented().message().contains("local-key"), "nobody is sent there any more");
    // A key that works no more brings it back as little.
    store.revoke_key("id of made", NOW, Settings::Admin).await.unwrap();
    keyring.reread().await.unwrap();
    check(&keyring, "made", NOW, Err("KEY_REVOKED"));
    check(&keyring, local, NOW, Err("UNAUTHENTICATED"));
}

#[tokio::test]
async fn a_url_takes_read_tokens_only() {
    let (store, keyring) = keyring().await;
    store.create_key(&new_key("made", Some(NOW + 1_000)), Settings::Admin, 9).await.unwrap();
    keyring.reread().await.unwrap();
    let token = keyring.make_token(&keyring.find(b"all", NOW).unwrap(), None, NOW / 1_000 + 60).unwrap();
    for (presented, now_ms, expect) in [
        (token.as_str(), NOW, Ok("calls:read")),
        (&token, NOW + 60_000, Err("KEY_EXPIRED")),
        ("all", NOW, Err("KEY_IN_URL")),
        ("scoped", NOW, Err("KEY_IN_URL")),
        ("made", NOW, Err("KEY_IN_URL")),
        ("made", NOW + 1_000, Err("KEY_IN_URL")),
        ("nobody's", NOW, Err("UNAUTHENTICATED")),
        ("", NOW, Err("UNAUTHENTICATED")),
    ] {
        let found = keyring.find_in_url(presented.as_bytes(), now_ms);
        let found = found.map(|principal| principal.scopes.words()).map_err(|fault| fault.reason().to_owned());
        assert_eq!(found.as_deref().map_err(String::as_str), expect, "{presented} {now_ms}");
    }
}

#[tokio::test]
async fn read_tokens_have_their_time() {
    let (_, keyring) = keyring().await;
    let by = keyring.find(b"all", NOW).unwrap();
    let at_s = NOW / 1_000 + 60;
    let (mine, other) = (crate::ids::example("mine"), crate::ids::example("other"));
    for call in [None, Some(mine.as_str().to_owned())] {
        let token = keyring.make_token(&by, call.clone(), at_s).unwrap();
        check(&keyring, &token, NOW + 59_999, Ok("calls:read"));
        check(&keyring, &token, NOW + 60_000, Err("KEY_EXPIRED"));
        let principal = keyring.find(token.as_bytes(), NOW).unwrap();
        assert_eq!(&*principal.name, "token by settings-1");
        assert_eq!(principal.has_a_key().unwrap_err().reason(), "READ_TOKEN_LIMITED");
        assert!(principal.may_read(Some(&mine)).is_ok());
        assert_eq!(principal.may_read(Some(&other)).is_ok(), call.is_none());
        assert_eq!(principal.may_read(None).is_ok(), call.is_none());
        assert_eq!(principal.is_for_all_calls().is_ok(), call.is_none());
    }
}

#[tokio::test]
async fn a_table_that_cannot_be_read_is_not_believed_for_long() {
    let (store, keyring) = keyring().await;
    store.create_key(&new_key("made", None), Settings::Admin, 9).await.unwrap();
    keyring.reread().await.unwrap();
    let age = |age| *keyring.read_at.lock().unwrap() = Instant::now().checked_sub(age).unwrap();
    age(STALE / 2);
    check(&keyring, "made", NOW, Ok("calls:read"));
    age(STALE + Duration::from_millis(1));
    check(&keyring, "made", NOW, Err("STORE_UNAVAILABLE"));
    check(&keyring, "all", NOW, Ok("calls:read+calls:write+nodes+admin"));
    keyring.reread().await.unwrap();
    check(&keyring, "made", NOW, Ok("calls:read"));
}

#[tokio::test]
async fn the_last_use_is_written_once_a_minute() {
    let (store, keyring) = keyring().await;
    store.create_key(&new_key("made", None), Settings::Admin, 9).await.unwrap();
    keyring.reread().await.unwrap();
    let stored = async || store.keys().await.unwrap()[0].last_used_at_ms;
    keyring.note_use().await.unwrap();
    assert_eq!(stored().await, None);
    let minute = NOW - NOW.rem_euclid(MINUTE_MS);
    for (used, expect) in [(minute + 5, minute), (minute + 59_999, minute), (minute + 60_000, minute + 60_000)] {
        keyring.find(b"made", used).unwrap();
        keyring.reread().await.unwrap();
        keyring.note_use().await.unwrap();
        assert_eq!(stored().await, Some(expect));
    }
    // Nothing new: nothing to write, so a table taken back stays as it is.
    store.note_use(&[("id of made".to_owned(), minute + 120_000)]).await.unwrap();
    keyring.note_use().await.unwrap();
    assert_eq!(stored().await, Some(minute + 120_000));
}

#[tokio::test]
async fn rights_end_when_a_key_is_revoked_or_expires() {
    let (store, keyring) = keyring().await;
    let keyring = Arc::new(keyring);
    store.create_key(&new_key("made", None), Settings::Admin, 9).await.unwrap();
    keyring.reread().await.unwrap();
    let ends = keyring.find(b"made", NOW).unwrap().ends;
    let mut waiting = tokio::spawn(Arc::clone(&keyring).ended(ends));
    keyring.reread().await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(1), &mut waiting).await.is_err(), "it still works");
    store.revoke_key("id of made", NOW, Settings::Admin).await.unwrap();
    keyring.reread().await.unwrap();
    waiting.await.unwrap();
    let over = Expiry { at_ms: Some(now_ms() - 1), ..Expiry::default() };
    keyring.ended(over).await;
}
