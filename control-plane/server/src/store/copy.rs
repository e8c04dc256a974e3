//! Copies a whole SQLite database to an empty PostgreSQL: calls, events with their positions, hang-ups, keys.
//!
//! In one transaction at the target: an interrupted copy leaves nothing behind, and is simply made again. What the source's
//! cursors and tokens are signed with goes along, so that they stay valid. Nobody may have the calls of either database.

use std::{path::PathBuf, time::Duration};

use super::{
    StoreError,
    contents::Contents,
    postgres::{Import, Postgres},
    sqlite::Sqlite,
};

/// Rows read and written at a time.
const BATCH: u32 = 1_000;

/// Why nothing was copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// Opening it would make one.
    #[error("there is no database at {0}")]
    NoSource(PathBuf),
    /// One in memory has nothing.
    #[error("the source must be a file, sqlite://path")]
    NotAFile,
    /// The source failed, or a control plane has its calls.
    #[error("the source cannot be read")]
    Source(#[source] StoreError),
    /// The target failed.
    #[error("the target cannot be written")]
    Target(#[source] StoreError),
    /// A control plane works with it.
    #[error("a control plane has the calls of the target: end it first")]
    InUse,
    /// Something would be mixed with something else.
    #[error("the target is not empty: it has {0}")]
    NotEmpty(String),
    /// What was written is not what was read.
    #[error("the copy is not complete, so nothing was kept: {table} has {found} of {expected}")]
    Incomplete {
        /// Of what.
        table: &'static str,
        /// At the target.
        found: i64,
        /// At the source.
        expected: i64,
    },
}

/// Copies the database of the first URL to that of the second; says after each batch how many rows of how many there are.
///
/// # Errors
/// See [`CopyError`]; the target is then as it was.
pub async fn copy(from: &str, to: &str, mut progress: impl FnMut(u64, u64) + Send) -> Result<Contents, CopyError> {
    let file = Sqlite::file_of(from).map_err(CopyError::Source)?.ok_or(CopyError::NotAFile)?;
    if !file.exists() {
        return Err(CopyError::NoSource(file));
    }
    let source = Sqlite::open(from).await.map_err(CopyError::Source)?;
    // Nobody writes to it meanwhile.
    let _lock = source.own_calls(Duration::ZERO).await.map_err(CopyError::Source)?;
    let expected = source.contents().await.map_err(CopyError::Source)?;
    let target = Postgres::open(to).await.map_err(CopyError::Target)?;
    let mut import = target.import().await.map_err(CopyError::Target)?.ok_or(CopyError::InUse)?;
    let there = import.contents().await.map_err(CopyError::Target)?;
    if let Some((what, count)) = there.named().into_iter().find(|(_, count)| *count > 0) {
        return Err(CopyError::NotEmpty(format!("{count} {what}")));
    }
    fill(&source, &mut import, &expected, &mut progress).await?;
    let found = import.contents().await.map_err(CopyError::Target)?;
    for ((table, expected), (_, found)) in expected.named().into_iter().zip(found.named()) {
        if expected != found {
            return Err(CopyError::Incomplete { table, found, expected });
        }
    }
    import.commit().await.map_err(CopyError::Target)?;
    target.shut().await;
    source.shut().await;
    Ok(found)
}

async fn fill(
    source: &Sqlite,
    import: &mut Import,
    expected: &Contents,
    progress: &mut (impl FnMut(u64, u64) + Send),
) -> Result<(), CopyError> {
    let total = (expected.calls + expected.events) as u64;
    let (mut done, mut after) = (0, 0);
    loop {
        let calls = source.calls_after(after, BATCH).await.map_err(CopyError::Source)?;
        let Some(last) = calls.last() else { break };
        after = last.ordinal;
        done += calls.len() as u64;
        import.add_calls(&calls).await.map_err(CopyError::Target)?;
        progress(done, total);
    }
    after = 0;
    loop {
        let events = source.events_after(after, BATCH).await.map_err(CopyError::Source)?;
        let Some(last) = events.last() else { break };
        after = last.position;
        done += events.len() as u64;
        import.add_events(&events).await.map_err(CopyError::Target)?;
        progress(done, total);
    }
    let (tombstones, keys, own_keys) = source.others().await.map_err(CopyError::Source)?;
    import.add_others(&tombstones, &keys, &own_keys).await.map_err(CopyError::Target)?;
    import.continue_after(expected.last_position, expected.last_ordinal).await.map_err(CopyError::Target)
}

#[cfg(test)]
mod tests;
