//! Keys in PostgreSQL.

use async_trait::async_trait;

use super::{
    Postgres, bounded,
    work::{Purpose, Work, query, query_as},
};
use crate::{
    scope::Scope,
    store::{
        Creation, KeyRow, KeyStore, NewKey, Revocation, Settings, StoreError,
        rows::{self, KeyColumns},
        text::storable,
    },
};

async fn all(work: &mut Work) -> Result<Vec<KeyRow>, StoreError> {
    let rows: Vec<KeyColumns> =
        query_as("SELECT * FROM api_keys ORDER BY ordinal").fetch_all(work.connection()).await?;
    rows::all(rows)
}

#[async_trait]
impl KeyStore for Postgres {
    async fn create_key(&self, key: &NewKey, settings: Settings, most: u32) -> Result<Creation, StoreError> {
        bounded(async {
            let mut work = self.begin(Purpose::Keys).await?;
            let known = all(&mut work).await?;
            if known.is_empty() && settings == Settings::NoKey && !key.scopes.allow(Scope::Admin) {
                work.commit().await?;
                return Ok(Creation::FirstNeedsAdmin);
            }
            if known.len() >= most as usize {
                let Some(spent) = known.iter().find(|known| !known.works(key.created_at_ms)) else {
                    work.commit().await?;
                    return Ok(Creation::TooMany);
                };
                query("DELETE FROM api_keys WHERE key_id = $1").bind(&spent.key_id).execute(work.connection()).await?;
            }
            query(
                "INSERT INTO api_keys (key_id, hash, name, scopes, created_at_ms, expires_at_ms)
                 VALUES ($1, $2, $3, $4, $5, $6)",
            )
            .bind(&key.key_id)
            .bind(key.hash.as_slice())
            .bind(storable(&key.name))
            .bind(key.scopes.words())
            .bind(key.created_at_ms)
            .bind(key.expires_at_ms)
            .execute(work.connection())
            .await?;
            work.commit().await?;
            Ok(Creation::Created)
        })
        .await
    }

    async fn keys(&self) -> Result<Vec<KeyRow>, StoreError> {
        bounded(async {
            let mut work = self.begin(Purpose::Read).await?;
            let keys = all(&mut work).await?;
            work.commit().await?;
            Ok(keys)
        })
        .await
    }

    async fn revoke_key(&self, key_id: &str, now_ms: i64, settings: Settings) -> Result<Revocation, StoreError> {
        bounded(async {
            let mut work = self.begin(Purpose::Keys).await?;
            let known = all(&mut work).await?;
            let mut others = known.iter().filter(|other| other.key_id != key_id);
            let revocation = match known.iter().find(|key| key.key_id == key_id).cloned() {
                None => Revocation::Unknown,
                Some(key) if key.revoked_at_ms.is_some() => Revocation::Revoked(key),
                Some(key)
                    if key.is_working_admin(now_ms)
                        && settings != Settings::Admin
                        && !others.any(|other| other.is_working_admin(now_ms)) =>
                {
                    Revocation::LastAdmin
                }
                Some(mut key) => {
                    query("UPDATE api_keys SET revoked_at_ms = $2 WHERE key_id = $1")
                        .bind(&key.key_id)
                        .bind(now_ms)
                        .execute(work.connection())
                        .await?;
                    key.revoked_at_ms = Some(now_ms);
                    Revocation::Revoked(key)
                }
            };
            work.commit().await?;
            Ok(revocation)
        })
        .await
    }

    async fn note_use(&self, uses: &[(String, i64)]) -> Result<(), StoreError> {
        bounded(async {
            let (key_ids, times): (Vec<&str>, Vec<i64>) =
                uses.iter().map(|(key_id, at_ms)| (key_id.as_str(), *at_ms)).unzip();
            let mut work = self.begin(Purpose::Keys).await?;
            query(
                "UPDATE api_keys SET last_used_at_ms = greatest(last_used_at_ms, used.at_ms)
                 FROM unnest($1::text[], $2::bigint[]) AS used (key_id, at_ms) WHERE api_keys.key_id = used.key_id",
            )
            .bind(key_ids)
            .bind(times)
            .execute(work.connection())
            .await?;
            work.commit().await
        })
        .await
    }
}
