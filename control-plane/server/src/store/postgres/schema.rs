//! Brings the schema up to date, in one transaction: all of it or nothing, also through a pooler.
//!
//! Everything of ours is in a schema of its own, `voicebridge`: what is in `public` may be served to the world, as Supabase
//! does.

use sqlx::{PgPool, migrate::Migrator};

use super::work::{Purpose, Work, query, query_as, query_scalar};
use crate::store::StoreError;

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

/// What of the two is not there.
const MISSING: &str = "SELECT name FROM (VALUES ('schema', to_regnamespace('voicebridge')::oid),
         ('migrations', to_regclass('voicebridge.migrations')::oid)) AS wanted (name, oid) WHERE oid IS NULL";
const PREPARE: &str = "CREATE SCHEMA IF NOT EXISTS voicebridge;
     CREATE TABLE IF NOT EXISTS migrations (version BIGINT PRIMARY KEY, checksum BYTEA NOT NULL)";

/// Returns how many migrations were made.
///
/// # Errors
/// One of them fails, or the database has some that this program does not know, or knows otherwise.
pub(super) async fn migrate(pool: &PgPool) -> Result<usize, StoreError> {
    let mut work = Work::begin(pool, Purpose::Schema).await?;
    let connection = work.connection();
    // `IF NOT EXISTS` alone wants the right to make them also where they are.
    let missing: Vec<String> = query_scalar(MISSING).fetch_all(&mut *connection).await?;
    if !missing.is_empty() {
        let failed = |error: sqlx::Error| StoreError::Migration(error.into());
        sqlx::raw_sql(PREPARE).execute(&mut *connection).await.map_err(failed)?;
    }
    let made: Vec<(i64, Vec<u8>)> =
        query_as("SELECT version, checksum FROM migrations ORDER BY version").fetch_all(&mut *connection).await?;
    for (version, checksum) in &made {
        let known = MIGRATIONS.iter().find(|migration| migration.version == *version);
        let problem = match known {
            None => "was made by a newer version of this program",
            Some(known) if *known.checksum != **checksum => "is another one than this program has under its number",
            Some(_) => continue,
        };
        return Err(StoreError::Migration(format!("migration {version} of the database {problem}").into()));
    }
    let mut count = 0;
    for migration in MIGRATIONS.iter().filter(|migration| made.iter().all(|(version, _)| *version != migration.version))
    {
        let failed = |error: sqlx::Error| StoreError::Migration(error.into());
        sqlx::raw_sql(migration.sql.clone()).execute(&mut *connection).await.map_err(failed)?;
        query("INSERT INTO migrations (version, checksum) VALUES ($1, $2)")
            .bind(migration.version)
            .bind(&*migration.checksum)
            .execute(&mut *connection)
            .await
            .map_err(failed)?;
        count += 1;
    }
    work.commit().await?;
    Ok(count)
}

/// Whether the row of the owner is there, which the first migration makes.
pub(super) async fn has_owners(pool: &PgPool) -> Result<bool, StoreError> {
    let mut work = Work::begin(pool, Purpose::Read).await?;
    let there: bool =
        query_scalar("SELECT to_regclass('voicebridge.owner') IS NOT NULL").fetch_one(work.connection()).await?;
    work.commit().await?;
    Ok(there)
}
