//! Finds out whose a key is.
//!
//! Keys are held and looked up as SHA-256 hashes. Those we make have 256 random bits, so a plain hash cannot be searched
//! backwards and a slow one would only cost every request; and how long a lookup takes says something about the hash of
//! what was presented, which is of no use to whoever presented it.
//!
//! The table in the store is held in memory and read again every [`REREAD`], for what other processes on the same database
//! did, and at once after a change made here. When it could not be read for [`STALE`], its keys are believed no more.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use secrecy::ExposeSecret as _;
use tokio::sync::watch;
use tonic::Code;

use super::{
    Scope, Scopes,
    authentication::{Expiry, Grant, Principal},
    hash::{Hash, hash},
    local::LocalKey,
    tokens::{Claims, ReadTokens},
};
use crate::{
    clock::now_ms,
    config::ApiKey,
    fault::Fault,
    store::{KeyRow, KeyStore, Settings, StoreError},
};

/// A key revoked by another process works on for at most this long, and the time of a query.
const REREAD: Duration = Duration::from_millis(500);
/// How old the table in memory may get while the store does not answer.
const STALE: Duration = Duration::from_secs(10);
/// The last use of a key is told to the minute, so that it is written once a minute.
const MINUTE_MS: i64 = 60_000;

/// Name of the key that read tokens are signed with, among the database's own.
pub(crate) const TOKEN_KEY: &str = "read-tokens";

/// A row of the table, as held.
struct Held {
    key_id: Arc<str>,
    scopes: Scopes,
    expires_at_ms: Option<i64>,
    is_revoked: bool,
    /// The minute of the last use seen here or stored; 0 for none.
    used_ms: AtomicI64,
    stored_used_ms: AtomicI64,
}

impl Held {
    fn new(row: &KeyRow, before: Option<&Held>) -> Self {
        let stored = row.last_used_at_ms.unwrap_or_default();
        let seen = before.map_or(0, |held| held.used_ms.load(Ordering::Relaxed));
        Self {
            key_id: Arc::from(row.key_id.as_str()),
            scopes: row.scopes,
            expires_at_ms: row.expires_at_ms,
            is_revoked: row.revoked_at_ms.is_some(),
            used_ms: AtomicI64::new(seen.max(stored)),
            stored_used_ms: AtomicI64::new(stored),
        }
    }
}

type Table = HashMap<Hash, Held>;

/// All keys, and what checks read tokens.
pub(crate) struct Keyring {
    store: Arc<dyn KeyStore>,
    settings: HashMap<Hash, Principal>,
    /// Counts while there is no other.
    local: Option<LocalKey>,
    table: watch::Sender<Table>,
    read_at: Mutex<Instant>,
    tokens: ReadTokens,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").finish_non_exhaustive()
    }
}

impl Keyring {
    /// `token_key`: what read tokens are signed with. `settings`: the keys of VOICEBRIDGE_API_KEYS.
    pub(crate) async fn open(
        store: Arc<dyn KeyStore>,
        token_key: &[u8; 32],
        settings: &[ApiKey],
    ) -> Result<Self, StoreError> {
        let named = (1..).zip(settings).map(|(at, key): (usize, &ApiKey)| {
            let name = Arc::from(format!("settings-{at}"));
            let principal = Principal { name, scopes: key.scopes, grant: Grant::Key, ends: Expiry::default() };
            (hash(key.secret.expose_secret().as_bytes()), principal)
        });
        let keyring = Self {
            store,
            settings: named.collect(),
            local: None,
            table: watch::Sender::new(Table::new()),
            read_at: Mutex::new(Instant::now()),
            tokens: ReadTokens::new(token_key),
        };
        keyring.reread().await?;
        Ok(keyring)
    }

    /// Reads the table anew.
    pub(crate) async fn reread(&self) -> Result<(), StoreError> {
        let started = Instant::now();
        let rows = self.store.keys().await?;
        self.table.send_modify(|table| {
            *table = rows.iter().map(|row| (row.hash, Held::new(row, table.get(&row.hash)))).collect();
        });
        *self.read_at.lock().unwrap_or_else(PoisonError::into_inner) = started;
        Ok(())
    }

    /// Writes when keys were last used, as far as that is news.
    pub(crate) async fn note_use(&self) -> Result<(), StoreError> {
        let news = |held: &Held| {
            let used = held.used_ms.load(Ordering::Relaxed);
            (used > held.stored_used_ms.load(Ordering::Relaxed)).then(|| (held.key_id.to_string(), used))
        };
        let uses: Vec<_> = self.table.borrow().values().filter_map(news).collect();
        if uses.is_empty() {
            return Ok(());
        }
        self.store.note_use(&uses).await?;
        for held in self.table.borrow().values() {
            if let Some((_, used)) = uses.iter().find(|(key_id, _)| **key_id == *held.key_id) {
                held.stored_used_ms.fetch_max(*used, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// Until dropped: reads the table again and again, and writes the uses.
    pub(crate) async fn keep(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(REREAD);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut failing = false;
        loop {
            ticks.tick().await;
            let kept = match self.reread().await {
                Ok(()) => self.note_use().await,
                failed => failed,
            };
            if let Err(error) = &kept
                && !failing
            {
                tracing::error!(error = error as &dyn std::error::Error, "the API keys cannot be read or written");
            }
            failing = kept.is_err();
        }
    }

    /// What counts from now on while no key is configured.
    pub(crate) fn set_local(&mut self, key: LocalKey) {
        self.local = Some(key);
    }

    /// No key is configured: only the local one counts. Keys that work no more are keys: who had one is not to be let in by
    /// another because of time.
    pub(crate) fn is_empty(&self) -> bool {
        self.settings.is_empty() && self.table.borrow().is_empty()
    }

    /// What the store does not know.
    pub(crate) fn settings(&self) -> Settings {
        if self.settings.is_empty() {
            Settings::NoKey
        } else if self.settings.values().any(|key| key.scopes.allow(Scope::Admin)) {
            Settings::Admin
        } else {
            Settings::NoAdmin
        }
    }

    /// Whose key or read token this is.
    pub(crate) fn find(&self, presented: &[u8], now_ms: i64) -> Result<Principal, Fault> {
        if let Some(known) = self.find_key(presented, now_ms) {
            return known;
        }
        if let Some(token) = self.find_token(presented, now_ms)? {
            return Ok(token);
        }
        let local = self.local.as_ref().filter(|_| self.is_empty());
        Err(local.map_or_else(
            || {
                Fault::unauthenticated(
                    "the key is none of VOICEBRIDGE_API_KEYS, nor one that `voicebridge keys create` made, nor a read token",
                )
            },
            LocalKey::wrong,
        ))
    }

    /// None: it is no key of ours. Err: it is one that works no more.
    fn find_key(&self, presented: &[u8], now_ms: i64) -> Option<Result<Principal, Fault>> {
        let hash = hash(presented);
        if let Some(principal) = self.settings.get(&hash) {
            return Some(Ok(principal.clone()));
        }
        if let Some(held) = self.table.borrow().get(&hash) {
            return Some(self.check(hash, held, now_ms));
        }
        let local = self.local.as_ref().filter(|local| local.is(&hash))?;
        Some(if self.is_empty() { Ok(LocalKey::principal()) } else { Err(local.over()) })
    }

    /// Whose read token stands in a URL. Nothing else may: access logs, histories and referrers keep URLs, and a key is good
    /// for longer than they should be.
    pub(crate) fn find_in_url(&self, presented: &[u8], now_ms: i64) -> Result<Principal, Fault> {
        if let Some(token) = self.find_token(presented, now_ms)? {
            return Ok(token);
        }
        if self.find_key(presented, now_ms).is_some() {
            return Err(Fault::new(
                Code::Unauthenticated,
                "KEY_IN_URL",
                "An API key stands in the URL as access_token, where logs keep it. Replace that key; send keys as \
                 `authorization: Bearer <key>` or `x-api-key`, and in a URL a read token, which `voicebridge keys token` or \
                 CreateReadToken makes.",
            ));
        }
        Err(Fault::unauthenticated(
            "the access_token in the URL is no read token of this control plane; `voicebridge keys token` makes one",
        ))
    }

    /// Why a request without any key is refused, and what it wants.
    pub(crate) fn nothing_presented(&self) -> Fault {
        let local = self.local.as_ref().filter(|_| self.is_empty());
        local.map_or_else(
            || {
                Fault::unauthenticated(
                    "there is no key in the request; send `authorization: Bearer <key>` or `x-api-key`, with one of \
                     VOICEBRIDGE_API_KEYS or one that `voicebridge keys create` made",
                )
            },
            LocalKey::missing,
        )
    }

    fn check(&self, hash: Hash, held: &Held, now_ms: i64) -> Result<Principal, Fault> {
        if self.read_at.lock().unwrap_or_else(PoisonError::into_inner).elapsed() > STALE {
            let message = "The API keys cannot be read now; ask again. The log says why.";
            return Err(Fault::new(Code::Unavailable, "STORE_UNAVAILABLE", message));
        }
        let spent = |reason, how| {
            let message = format!("the key {} {how}; ask for a new one", held.key_id);
            Err(Fault::new(Code::Unauthenticated, reason, message))
        };
        if held.is_revoked {
            return spent("KEY_REVOKED", "was revoked");
        }
        if held.expires_at_ms.is_some_and(|expiry| now_ms >= expiry) {
            return spent("KEY_EXPIRED", "has expired");
        }
        held.used_ms.fetch_max(now_ms - now_ms.rem_euclid(MINUTE_MS), Ordering::Relaxed);
        Ok(Principal {
            name: Arc::clone(&held.key_id),
            scopes: held.scopes,
            grant: Grant::Key,
            ends: Expiry { key: Some(hash), at_ms: held.expires_at_ms, ..Expiry::default() },
        })
    }

    /// `None`: it is no token of ours.
    pub(crate) fn find_token(&self, presented: &[u8], now_ms: i64) -> Result<Option<Principal>, Fault> {
        let Some(claims) = self.tokens.read(presented) else { return Ok(None) };
        let at_ms = claims.expires_at_ms();
        if now_ms >= at_ms {
            let message = "the read token has expired; have another made";
            return Err(Fault::new(Code::Unauthenticated, "KEY_EXPIRED", message));
        }
        Ok(Some(Principal {
            name: Arc::from(format!("token by {}", claims.sub)),
            scopes: Scopes::from_iter([Scope::CallsRead]),
            grant: claims.call.map_or(Grant::TokenForAll, Grant::TokenForOne),
            ends: Expiry { at_ms: Some(at_ms), ..Expiry::default() },
        }))
    }

    /// A token that `by` had made.
    pub(crate) fn make_token(&self, by: &Principal, call: Option<String>, expires_at_s: i64) -> Option<String> {
        self.tokens.sign(&Claims::new(&by.name, call, expires_at_s))
    }

    /// Waits until what let somebody in does so no more; for ever if it always will.
    pub(crate) async fn ended(self: Arc<Self>, ends: Expiry) {
        let expired = async {
            match ends.at_ms {
                Some(at_ms) => {
                    tokio::time::sleep(Duration::from_millis(u64::try_from(at_ms - now_ms()).unwrap_or(0))).await;
                }
                None => std::future::pending().await,
            }
        };
        let mut table = self.table.subscribe();
        let revoked = async {
            let Some(key) = ends.key else { return std::future::pending().await };
            // Err: the sender is ours, so it cannot be gone.
            let _ = table.wait_for(|table| table.get(&key).is_none_or(|held| held.is_revoked)).await;
        };
        let mut first = self.table.subscribe();
        let replaced = async {
            if !ends.with_first_key {
                return std::future::pending().await;
            }
            let _ = first.wait_for(|table| !table.is_empty()).await;
        };
        tokio::select! {
            () = expired => {}
            () = revoked => {}
            () = replaced => {}
        }
    }
}

#[cfg(test)]
mod tests;
