//! Writes of calls, committed together.
//!
//! One task takes what has come while it was busy, at most one write of each call, and commits it in one transaction: five
//! requests for up to [`MAX_GROUP`] writes. Positions are given under a lock that goes with the transaction, so that they
//! appear in their order; see docs/adr/0010. A group that fails because of what one of them holds is written one by one.

use std::{
    borrow::Cow,
    collections::{HashMap, VecDeque},
    error::Error,
    fmt,
    panic::AssertUnwindSafe,
    sync::Arc,
};

use futures_util::FutureExt as _;
use sqlx::{FromRow, PgPool};
use tokio::sync::{mpsc, oneshot};
use voicebridge_core::{identity::CallId, termination::Termination};

use super::{
    bounded,
    work::{Purpose, Work, query, query_as},
};
use crate::store::{SessionPlace, StoreError, Write, Written, text::storable};

/// Writes in one transaction; more wait for the next.
const MAX_GROUP: usize = 128;
/// Writes that wait; whoever comes then waits to be let in, within the time of its request.
const QUEUE: usize = 1_024;

type Outcome = Result<Written, StoreError>;

struct Job {
    call_id: CallId,
    write: Write,
    generation: i64,
    answer: oneshot::Sender<Outcome>,
}

/// The way to the task.
#[derive(Clone, Debug)]
pub(super) struct Group(mpsc::Sender<Job>);

impl Group {
    pub(super) fn start(pool: PgPool) -> Self {
        let (sender, jobs) = mpsc::channel(QUEUE);
        let writing = move |group| {
            let pool = pool.clone();
            async move { write(&pool, group).await }
        };
        tokio::spawn(run(jobs, writing));
        Self(sender)
    }

    pub(super) async fn write(&self, call_id: &CallId, write: &Write, generation: i64) -> Outcome {
        let (answer, answered) = oneshot::channel();
        let job = Job { call_id: call_id.clone(), write: write.clone(), generation, answer };
        let gone = || StoreError::Database("the database is closed".into());
        self.0.send(job).await.map_err(|_| gone())?;
        answered.await.unwrap_or_else(|_| Err(gone()))
    }
}

/// Whatever becomes of one group: a panic in it fails those writes, and the next are made.
async fn run<W: Future<Output = ()>>(mut jobs: mpsc::Receiver<Job>, write: impl Fn(Vec<Job>) -> W) {
    // Those that may not be in the same transaction as one before them.
    let mut later = VecDeque::new();
    loop {
        let first = match later.pop_front() {
            Some(job) => job,
            None => match jobs.recv().await {
                Some(job) => job,
                None => return,
            },
        };
        let mut group = vec![first];
        for job in std::mem::take(&mut later) {
            join(&mut group, &mut later, job);
        }
        while group.len() < MAX_GROUP
            && later.len() < MAX_GROUP
            && let Ok(job) = jobs.try_recv()
        {
            join(&mut group, &mut later, job);
        }
        // Nobody waits for those any more: they come again if they matter.
        group.retain(|job| !job.answer.is_closed());
        if AssertUnwindSafe(write(group)).catch_unwind().await.is_err() {
            tracing::error!("writing calls panicked; those writes fail, and are made again");
        }
    }
}

/// One write of each call at a time, and those of one generation.
fn join(group: &mut Vec<Job>, later: &mut VecDeque<Job>, job: Job) {
    let fits = group.len() < MAX_GROUP
        && group.iter().all(|other| other.call_id != job.call_id && other.generation == job.generation);
    if fits { group.push(job) } else { later.push_back(job) }
}

async fn write(pool: &PgPool, group: Vec<Job>) {
    match bounded(commit(pool, &group)).await {
        Ok(outcomes) => {
            for (job, written) in group.into_iter().zip(outcomes) {
                let _ = job.answer.send(Ok(written));
            }
        }
        Err(error) if group.len() > 1 && is_of_one(&error) => {
            for job in group {
                let outcome = bounded(commit(pool, std::slice::from_ref(&job))).await;
                let _ = job.answer.send(outcome.map(|mut written| written.remove(0)));
            }
        }
        Err(StoreError::NotOwner) => {
            for job in group {
                let _ = job.answer.send(Err(StoreError::NotOwner));
            }
        }
        Err(error) => {
            let error = Arc::new(error);
            for job in group {
                let _ = job.answer.send(Err(StoreError::Database(Box::new(OfAll(Arc::clone(&error))))));
            }
        }
    }
}

/// Data that cannot be, or breaks a rule: SQLSTATE classes 22 and 23.
fn is_of_one(error: &StoreError) -> bool {
    let StoreError::Database(cause) = error else { return false };
    let Some(sqlx::Error::Database(error)) = cause.downcast_ref() else { return false };
    error.code().is_some_and(|code| code.starts_with("22") || code.starts_with("23"))
}

/// Why a whole group failed.
#[derive(Debug)]
struct OfAll(Arc<StoreError>);

impl fmt::Display for OfAll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for OfAll {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

/// What is stored of the calls of a group. One row at least: the owner's.
#[derive(FromRow)]
struct Stored {
    generation: i64,
    call_id: Option<String>,
    last_sequence: Option<i64>,
    is_closed: Option<bool>,
}

const STORED: &str = "SELECT owner.generation, call_id, last_sequence, ended_at_ms IS NOT NULL AS is_closed
     FROM owner LEFT JOIN calls ON call_id = ANY ($1)";
const POSITIONS: &str = "SELECT events.call_id, position FROM events
     JOIN unnest($1::text[], $2::bigint[]) AS wanted (call_id, sequence) USING (call_id, sequence)";
const APPEND: &str = "INSERT INTO events (call_id, sequence, kind, occurred_at_ms, node_sequence, payload)
     SELECT call_id, sequence, kind, occurred_at_ms, node_sequence, payload
     FROM unnest($1::text[], $2::bigint[], $3::text[], $4::bigint[], $5::bigint[], $6::bytea[]) WITH ORDINALITY
         AS new (call_id, sequence, kind, occurred_at_ms, node_sequence, payload, place)
     ORDER BY place
     RETURNING call_id, position";
const APPLY: &str = "UPDATE calls SET
         last_sequence = new.last_sequence,
         -- A new session counts its events anew.
         node_sequence = coalesce(new.node_sequence, CASE WHEN new.session_id IS NULL OR new.session_id = calls.session_id
                                                          THEN calls.node_sequence ELSE 0 END),
         phase = coalesce(new.phase, calls.phase),
         session_id = coalesce(new.session_id, calls.session_id), node_id = coalesce(new.node_id, calls.node_id),
         node_url = coalesce(new.node_url, calls.node_url), region = coalesce(new.region, calls.region),
         accepted_at_ms = coalesce(calls.accepted_at_ms, new.accepted_at_ms),
         result = coalesce(calls.result, new.result), reason = coalesce(calls.reason, new.reason),
         message = coalesce(calls.message, new.message), upstream_code = coalesce(calls.upstream_code, new.upstream_code),
         ended_at_ms = new.ended_at_ms,
         generation = $15
     FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
                 $9::bigint[], $10::text[], $11::text[], $12::text[], $13::text[], $14::bigint[])
         AS new (call_id, last_sequence, node_sequence, phase, session_id, node_id, node_url, region,
                 accepted_at_ms, result, reason, message, upstream_code, ended_at_ms)
     WHERE calls.call_id = new.call_id";

/// All of them or none; of each what became of it.
async fn commit(pool: &PgPool, group: &[Job]) -> Result<Vec<Written>, StoreError> {
    let Some(generation) = group.first().map(|job| job.generation) else { return Ok(Vec::new()) };
    let mut work = Work::begin(pool, Purpose::Events).await?;
    let connection = work.connection();
    let call_ids: Vec<&str> = group.iter().map(|job| job.call_id.as_str()).collect();
    let stored: Vec<Stored> = query_as(STORED).bind(call_ids).fetch_all(&mut *connection).await?;
    if stored.iter().any(|row| row.generation != generation) {
        return Err(StoreError::NotOwner);
    }
    let stored: HashMap<&str, (i64, bool)> =
        stored.iter().filter_map(|row| Some((row.call_id.as_deref()?, (row.last_sequence?, row.is_closed?)))).collect();
    let (mut wanted, mut repeated) = (Vec::new(), Vec::new());
    for job in group {
        let write = &job.write;
        let Some((stored, is_closed)) = stored.get(job.call_id.as_str()).copied() else { continue };
        let (after, last) = (write.after as i64, write.last() as i64);
        if stored == last && last > after && is_closed == write.change.ended_at_ms.is_some() {
            repeated.push((job.call_id.as_str(), last));
        } else if !is_closed && stored == after {
            wanted.push(job);
        }
    }
    let mut positions: HashMap<String, i64> = HashMap::new();
    if !repeated.is_empty() {
        let (call_ids, sequences): (Vec<&str>, Vec<i64>) = repeated.iter().copied().unzip();
        let known: Vec<(String, i64)> =
            query_as(POSITIONS).bind(call_ids).bind(sequences).fetch_all(&mut *connection).await?;
        positions.extend(known);
    }
    let events: Vec<_> = wanted
        .iter()
        .flat_map(|job| job.write.events.iter().zip(job.write.after as i64 + 1..).map(|(event, at)| (*job, event, at)))
        .collect();
    if !events.is_empty() {
        let appended: Vec<(String, i64)> = query_as(APPEND)
            .bind(events.iter().map(|(job, ..)| job.call_id.as_str()).collect::<Vec<_>>())
            .bind(events.iter().map(|(.., sequence)| *sequence).collect::<Vec<_>>())
            .bind(events.iter().map(|(_, event, _)| event.kind).collect::<Vec<_>>())
            .bind(events.iter().map(|(_, event, _)| event.occurred_at_ms).collect::<Vec<_>>())
            .bind(events.iter().map(|(_, event, _)| event.node_sequence.map(|at| at as i64)).collect::<Vec<_>>())
            .bind(events.iter().map(|(_, event, _)| event.payload.as_slice()).collect::<Vec<_>>())
            .fetch_all(&mut *connection)
            .await?;
        for (call_id, position) in appended {
            // That of its last one.
            let last = positions.entry(call_id).or_insert(position);
            *last = position.max(*last);
        }
    }
    if !wanted.is_empty() {
        apply(&wanted, generation).execute(&mut *connection).await?;
    }
    work.commit().await?;
    let is_done = |job: &Job| {
        let call_id = job.call_id.as_str();
        repeated.iter().any(|(repeated, _)| *repeated == call_id)
            || wanted.iter().any(|wanted| wanted.call_id == job.call_id)
    };
    let written = group.iter().map(|job| {
        let position = positions.get(job.call_id.as_str()).map(|position| *position as u64);
        if is_done(job) { Written::Stored { position } } else { Written::Refused }
    });
    Ok(written.collect())
}

fn apply(wanted: &[&Job], generation: i64) -> sqlx::query::Query<'static, sqlx::Postgres, sqlx::postgres::PgArguments> {
    /// Of each write.
    fn each<'a, T>(wanted: &[&'a Job], of: impl Fn(&'a Job) -> T) -> Vec<T> {
        wanted.iter().map(|job| of(job)).collect()
    }
    type Texts<'a> = Vec<Option<Cow<'a, str>>>;
    fn session<'a>(wanted: &[&'a Job], of: impl Fn(&'a SessionPlace) -> &'a str) -> Texts<'a> {
        each(wanted, |job| job.write.change.session.as_ref().map(|session| storable(of(session))))
    }
    fn termination<'a>(wanted: &[&'a Job], of: impl Fn(&'a Termination) -> &'a str) -> Texts<'a> {
        each(wanted, |job| job.write.change.termination.as_ref().map(|termination| storable(of(termination))))
    }
    query(APPLY)
        .bind(each(wanted, |job| job.call_id.as_str()))
        .bind(each(wanted, |job| job.write.last() as i64))
        .bind(each(wanted, |job| job.write.node_sequence().map(|at| at as i64)))
        .bind(each(wanted, |job| job.write.change.phase))
        .bind(session(wanted, |session| &session.session_id))
        .bind(session(wanted, |session| &session.node_id))
        .bind(session(wanted, |session| &session.node_url))
        .bind(session(wanted, |session| &session.region))
        .bind(each(wanted, |job| job.write.change.accepted_at_ms))
        .bind(termination(wanted, |termination| termination.result.word()))
        .bind(termination(wanted, |termination| &termination.reason))
        .bind(termination(wanted, |termination| &termination.message))
        .bind(termination(wanted, |termination| &termination.upstream_code))
        .bind(each(wanted, |job| job.write.change.ended_at_ms))
        .bind(generation)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[tokio::test]
    async fn a_panic_in_one_group_fails_its_writes_and_no_later_ones() {
        let (sender, jobs) = mpsc::channel(QUEUE);
        let group = Group(sender);
        let is_first = Arc::new(std::sync::atomic::AtomicBool::new(true));
        let running = tokio::spawn(run(jobs, move |group| {
            let is_first = Arc::clone(&is_first);
            async move {
                assert!(!is_first.swap(false, std::sync::atomic::Ordering::Relaxed), "of the test");
                for job in group {
                    let _ = job.answer.send(Ok(Written::Refused));
                }
            }
        }));
        let call_id = crate::ids::example("one");
        let failed = group.write(&call_id, &Write::default(), 1).await;
        assert!(matches!(failed, Err(StoreError::Database(_))), "{failed:?}");
        assert_eq!(group.write(&call_id, &Write::default(), 1).await.unwrap(), Written::Refused);
        drop(group);
        running.await.unwrap();
    }
}
