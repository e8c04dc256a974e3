//! Keys in SQLite.

use async_trait::async_trait;

use super::Sqlite;
use crate::{
    scope::Scope,
    store::{
        Creation, KeyRow, KeyStore, NewKey, Revocation, Settings, StoreError,
        rows::{self, KeyColumns},
        text::storable,
    },
};

const ALL: &str = "SELECT * FROM api_keys ORDER BY ordinal";

async fn all(transaction: &mut sqlx::Transaction<'_, sqlx::Sqlite>) -> Result<Vec<KeyRow>, StoreError> {
    rows::all(sqlx::query_as::<_, KeyColumns>(ALL).fetch_all(&mut **transaction).await?)
}

#[async_trait]
impl KeyStore for Sqlite {
    async fn create_key(&self, key: &NewKey, settings: Settings, most: u32) -> Result<Creation, StoreError> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        let known = all(&mut transaction).await?;
        if known.is_empty() && settings == Settings::NoKey && !key.scopes.allow(Scope::Admin) {
            return Ok(Creation::FirstNeedsAdmin);
        }
        if known.len() >= most as usize {
            let Some(spent) = known.iter().find(|known| !known.works(key.created_at_ms)) else {
                return Ok(Creation::TooMany);
            };
            sqlx::query("DELETE FROM api_keys WHERE key_id = ?1")
                .bind(&spent.key_id)
                .execute(&mut *transaction)
                .await?;
        }
        sqlx::query(
            "INSERT INTO api_keys (key_id, hash, name, scopes, created_at_ms, expires_at_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )
        .bind(&key.key_id)
        .bind(key.hash.as_slice())
        .bind(storable(&key.name))
        .bind(key.scopes.words())
        .bind(key.created_at_ms)
        .bind(key.expires_at_ms)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(Creation::Created)
    }

    async fn keys(&self) -> Result<Vec<KeyRow>, StoreError> {
        rows::all(sqlx::query_as::<_, KeyColumns>(ALL).fetch_all(&self.reader).await?)
    }

    async fn revoke_key(&self, key_id: &str, now_ms: i64, settings: Settings) -> Result<Revocation, StoreError> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        let known = all(&mut transaction).await?;
        let Some(mut key) = known.iter().find(|key| key.key_id == key_id).cloned() else {
            return Ok(Revocation::Unknown);
        };
        if key.revoked_at_ms.is_some() {
            return Ok(Revocation::Revoked(key));
        }
        let mut others = known.iter().filter(|other| other.key_id != key_id);
        if key.is_working_admin(now_ms)
            && settings != Settings::Admin
            && !others.any(|other| other.is_working_admin(now_ms))
        {
            return Ok(Revocation::LastAdmin);
        }
        sqlx::query("UPDATE api_keys SET revoked_at_ms = ?2 WHERE key_id = ?1")
            .bind(key_id)
            .bind(now_ms)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        key.revoked_at_ms = Some(now_ms);
        Ok(Revocation::Revoked(key))
    }

    async fn note_use(&self, uses: &[(String, i64)]) -> Result<(), StoreError> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        for (key_id, at_ms) in uses {
            sqlx::query(
                "UPDATE api_keys SET last_used_at_ms = max(coalesce(last_used_at_ms, 0), ?2) WHERE key_id = ?1",
            )
            .bind(key_id)
            .bind(at_ms)
            .execute(&mut *transaction)
            .await?;
        }
        transaction.commit().await?;
        Ok(())
    }
}
