//! Who has the calls, as the database knows it: one row, see `store/lease.rs` for how it is used.

use std::sync::atomic::Ordering;

use async_trait::async_trait;
use sqlx::FromRow;

use super::{
    Postgres, bounded,
    work::{Purpose, Work, query, query_as, query_scalar},
};
use crate::store::{
    StoreError,
    lease::{OwnerRow, Sight},
};

#[derive(FromRow)]
struct Columns {
    generation: i64,
    holder: String,
    beats: i64,
}

impl Postgres {
    /// Whether a write of this process still counts.
    pub(super) fn check(&self, generation: i64) -> Result<(), StoreError> {
        if generation == self.generation() { Ok(()) } else { Err(StoreError::NotOwner) }
    }
}

#[async_trait]
impl OwnerRow for Postgres {
    async fn look(&self) -> Result<Sight, StoreError> {
        bounded(async {
            let mut work = Work::begin(&self.beats, Purpose::Read).await?;
            let row: Columns =
                query_as("SELECT generation, holder, beats FROM owner").fetch_one(work.connection()).await?;
            work.commit().await?;
            Ok(Sight { generation: row.generation, beats: row.beats, is_free: row.holder.is_empty() })
        })
        .await
    }

    async fn take(&self, seen: Sight, holder: &str) -> Result<Option<i64>, StoreError> {
        bounded(async {
            let mut work = Work::begin(&self.beats, Purpose::Takeover).await?;
            let generation: Option<i64> = query_scalar(
                "UPDATE owner SET generation = CASE WHEN holder = $3 THEN generation ELSE generation + 1 END,
                     beats = beats + 1, holder = $3
                 WHERE (generation = $1 AND beats = $2) OR holder = $3 RETURNING generation",
            )
            .bind(seen.generation)
            .bind(seen.beats)
            .bind(holder)
            .fetch_optional(work.connection())
            .await?;
            work.commit().await?;
            if let Some(generation) = generation {
                self.generation.store(generation, Ordering::Relaxed);
            }
            Ok(generation)
        })
        .await
    }

    async fn beat(&self, generation: i64) -> Result<bool, StoreError> {
        bounded(async {
            let mut work = Work::begin(&self.beats, Purpose::Beat).await?;
            let done = query("UPDATE owner SET beats = beats + 1 WHERE generation = $1 AND holder <> ''")
                .bind(generation)
                .execute(work.connection())
                .await?;
            work.commit().await?;
            Ok(done.rows_affected() == 1)
        })
        .await
    }

    async fn give_back(&self, generation: i64) -> Result<(), StoreError> {
        bounded(async {
            let mut work = Work::begin(&self.beats, Purpose::Beat).await?;
            query("UPDATE owner SET holder = '', beats = beats + 1 WHERE generation = $1")
                .bind(generation)
                .execute(work.connection())
                .await?;
            work.commit().await
        })
        .await
    }
}
