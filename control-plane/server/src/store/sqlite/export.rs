//! Whole tables, for a copy elsewhere. Only for whoever has the calls of the database.

use std::{path::PathBuf, str::FromStr as _};

use sqlx::sqlite::SqliteConnectOptions;

use super::Sqlite;
use crate::store::{
    Contents, StoreError,
    rows::{CallColumns, KeyColumns, OwnKey, WholeEvent, WholeTombstone},
};

/// Everything but calls and events: little.
pub(in crate::store) type Others = (Vec<WholeTombstone>, Vec<KeyColumns>, Vec<OwnKey>);

impl Sqlite {
    /// For tests, which make what cannot be made otherwise.
    #[cfg(test)]
    pub(in crate::store) async fn execute(&self, sql: &'static str) {
        sqlx::query(sql).execute(&self.writer).await.expect("valid SQL");
    }

    /// For tests: how it would go about a search.
    #[cfg(test)]
    pub(in crate::store) async fn plan(&self, search: &crate::store::Search) -> Vec<String> {
        let mut sql = crate::store::search_sql::page::<sqlx::Sqlite>("EXPLAIN QUERY PLAN ", search);
        let lines: Vec<(i64, i64, i64, String)> =
            sql.build_query_as().persistent(false).fetch_all(&self.reader).await.expect("a plan");
        lines.into_iter().map(|(.., line)| line).collect()
    }

    /// The file that a URL names; none for one in memory.
    pub(in crate::store) fn file_of(url: &str) -> Result<Option<PathBuf>, StoreError> {
        let options = SqliteConnectOptions::from_str(url)?;
        Ok((!Self::is_in_memory(url)).then(|| options.get_filename().to_owned()))
    }

    pub(in crate::store) async fn contents(&self) -> Result<Contents, StoreError> {
        let count = async |sql: &'static str| -> Result<i64, StoreError> {
            Ok(sqlx::query_scalar(sql).fetch_optional(&self.reader).await?.unwrap_or_default())
        };
        Ok(Contents {
            calls: count("SELECT count(*) FROM calls").await?,
            events: count("SELECT count(*) FROM events").await?,
            labels: count("SELECT count(*) FROM labels").await?,
            tombstones: count("SELECT count(*) FROM tombstones").await?,
            keys: count("SELECT count(*) FROM api_keys").await?,
            own_keys: count("SELECT count(*) FROM own_keys").await?,
            last_position: count("SELECT seq FROM sqlite_sequence WHERE name = 'events'").await?,
            last_ordinal: count("SELECT seq FROM sqlite_sequence WHERE name = 'calls'").await?,
        })
    }

    /// In the order of claiming.
    pub(in crate::store) async fn calls_after(&self, ordinal: i64, limit: u32) -> Result<Vec<CallColumns>, StoreError> {
        let call = <sqlx::Sqlite as crate::store::search_sql::Dialect>::CALL;
        let sql = format!("SELECT {call} FROM calls WHERE ordinal > ?1 ORDER BY ordinal LIMIT ?2");
        let sql = sqlx::AssertSqlSafe(sql);
        Ok(sqlx::query_as(sql).bind(ordinal).bind(limit).fetch_all(&self.reader).await?)
    }

    /// In the order of storing.
    pub(in crate::store) async fn events_after(
        &self,
        position: i64,
        limit: u32,
    ) -> Result<Vec<WholeEvent>, StoreError> {
        let sql = "SELECT * FROM events WHERE position > ?1 ORDER BY position LIMIT ?2";
        Ok(sqlx::query_as(sql).bind(position).bind(limit).fetch_all(&self.reader).await?)
    }

    pub(in crate::store) async fn others(&self) -> Result<Others, StoreError> {
        Ok((
            sqlx::query_as("SELECT * FROM tombstones").fetch_all(&self.reader).await?,
            sqlx::query_as("SELECT * FROM api_keys ORDER BY ordinal").fetch_all(&self.reader).await?,
            sqlx::query_as("SELECT * FROM own_keys").fetch_all(&self.reader).await?,
        ))
    }
}
