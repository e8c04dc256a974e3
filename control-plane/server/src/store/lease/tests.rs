#![allow(clippy::unwrap_used)]

use std::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering},
};

use super::*;

/// The row, in a database that everybody reaches, or not.
#[derive(Debug)]
struct Row(Mutex<Sight>, Mutex<String>);

impl Row {
    fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(Sight { generation: 0, beats: 0, is_free: true }), Mutex::default()))
    }
}

/// One process's way to it.
#[derive(Debug)]
struct Way {
    row: Arc<Row>,
    is_open: AtomicBool,
    /// The next beat is lost with its connection: no answer, ever.
    hangs_once: AtomicBool,
    /// The next taking is done, and its answer lost.
    loses_once: AtomicBool,
}

impl Way {
    fn to(row: &Arc<Row>) -> Arc<Self> {
        Arc::new(Self {
            row: Arc::clone(row),
            is_open: AtomicBool::new(true),
            hangs_once: AtomicBool::default(),
            loses_once: AtomicBool::default(),
        })
    }

    fn set_open(&self, is_open: bool) {
        self.is_open.store(is_open, Ordering::Relaxed);
    }

    fn with<T>(&self, change: impl FnOnce(&mut Sight) -> T) -> Result<T, StoreError> {
        if self.is_open.load(Ordering::Relaxed) {
            Ok(change(&mut self.row.0.lock().unwrap()))
        } else {
            Err(StoreError::Database("away".into()))
        }
    }
}

#[async_trait]
impl OwnerRow for Way {
    async fn look(&self) -> Result<Sight, StoreError> {
        self.with(|row| *row)
    }

    async fn take(&self, seen: Sight, holder: &str) -> Result<Option<i64>, StoreError> {
        let taken = self.with(|row| {
            let mut owner = self.row.1.lock().unwrap();
            if *owner == holder {
                row.beats += 1;
                return Some(row.generation);
            }
            if *row != seen {
                return None;
            }
            holder.clone_into(&mut owner);
            *row = Sight { generation: row.generation + 1, beats: row.beats + 1, is_free: false };
            Some(row.generation)
        });
        match self.loses_once.swap(false, Ordering::Relaxed) {
            true => Err(StoreError::Database("lost".into())),
            false => taken,
        }
    }

    async fn beat(&self, generation: i64) -> Result<bool, StoreError> {
        if self.hangs_once.swap(false, Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        self.with(|row| {
            row.beats += i64::from(row.generation == generation);
            row.generation == generation
        })
    }

    async fn give_back(&self, generation: i64) -> Result<(), StoreError> {
        self.with(|row| {
            if row.generation == generation {
                row.is_free = true;
                self.row.1.lock().unwrap().clear();
            }
        })
    }
}

async fn hold(way: &Arc<Way>, wait_s: u64) -> Result<Held, StoreError> {
    Held::acquire(Arc::clone(way) as Arc<dyn OwnerRow>, Duration::from_secs(wait_s)).await
}

fn second(way: &Arc<Way>) -> JoinHandle<Result<Held, StoreError>> {
    let way = Arc::clone(way);
    tokio::spawn(async move { hold(&way, 60).await })
}

#[tokio::test(start_paused = true)]
async fn a_taking_whose_answer_is_lost_is_found_to_be_done() {
    let row = Row::new();
    let way = Way::to(&row);
    way.loses_once.store(true, Ordering::Relaxed);
    let began = Instant::now();
    let held = hold(&way, 10).await.unwrap();
    assert!(held.lease.is_held() && began.elapsed() < LEASE, "{:?}", began.elapsed());
    assert_eq!(row.0.lock().unwrap().generation, 1, "it took it once");
    assert!(hold(&Way::to(&row), 0).await.is_err(), "and it is nobody else's");
}

#[tokio::test(start_paused = true)]
async fn nobody_takes_over_from_an_owner_that_lives() {
    let row = Row::new();
    let first = hold(&Way::to(&row), 0).await.unwrap();
    let began = Instant::now();
    let refused = hold(&Way::to(&row), 30).await.err().unwrap();
    assert!(matches!(refused, StoreError::Owned { waited_s: 30 }), "{refused}");
    assert!(refused.to_string().contains("VOICEBRIDGE_DATABASE_WAIT_S"), "{refused}");
    assert!(began.elapsed() >= Duration::from_secs(30) && first.lease.is_held());
    assert!(hold(&Way::to(&row), 0).await.is_err(), "at once");
}

#[tokio::test(start_paused = true)]
async fn the_second_takes_over_within_five_seconds_of_a_kill() {
    for lived_ms in [0, 100, 700, 5_000, 5_400] {
        let row = Row::new();
        let first = hold(&Way::to(&row), 0).await.unwrap();
        let waiting = second(&Way::to(&row));
        tokio::time::sleep(Duration::from_millis(lived_ms)).await;
        let killed = Instant::now();
        let lease = Arc::clone(&first.lease);
        drop(first);
        let second = waiting.await.unwrap().unwrap();
        assert!(killed.elapsed() < Duration::from_secs(5), "{:?}", killed.elapsed());
        assert!(second.lease.is_held() && !lease.is_held());
    }
}

/// A connection that went away in silence is not the database.
#[tokio::test(start_paused = true)]
async fn one_beat_without_an_answer_does_not_cost_the_lease() {
    let row = Row::new();
    let way = Way::to(&row);
    let first = hold(&way, 0).await.unwrap();
    let waiting = second(&Way::to(&row));
    for _ in 0..5 {
        way.hangs_once.store(true, Ordering::Relaxed);
        for _ in 0..100 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            assert!(first.lease.is_held() && !waiting.is_finished());
        }
    }
    waiting.abort();
}

#[tokio::test(start_paused = true)]
async fn after_a_polite_end_the_second_takes_over_at_once() {
    let row = Row::new();
    let first = hold(&Way::to(&row), 0).await.unwrap();
    let waiting = second(&Way::to(&row));
    tokio::time::sleep(Duration::from_secs(2)).await;
    let ended = Instant::now();
    first.give_back().await;
    waiting.await.unwrap().unwrap();
    assert!(ended.elapsed() <= LOOK, "{:?}", ended.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_owner_without_its_database_stops_and_goes_on_when_it_is_back() {
    let row = Row::new();
    let way = Way::to(&row);
    let first = hold(&way, 0).await.unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    way.set_open(false);
    tokio::time::sleep(LEASE).await;
    assert!(!first.lease.is_held());
    let held = tokio::time::timeout(Duration::from_secs(60), first.lease.held());
    assert!(held.await.is_err(), "nothing is done meanwhile");
    way.set_open(true);
    tokio::time::timeout(LOOK + LOOK, first.lease.held()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_was_replaced_while_it_was_away_does_nothing_more() {
    let row = Row::new();
    let way = Way::to(&row);
    let first = hold(&way, 0).await.unwrap();
    way.set_open(false);
    let second = second(&Way::to(&row)).await.unwrap().unwrap();
    way.set_open(true);
    tokio::time::timeout(Duration::from_secs(2), first.lease.lost()).await.unwrap();
    assert!(tokio::time::timeout(Duration::from_secs(600), first.lease.held()).await.is_err());
    assert!(second.lease.is_held());
}

/// The next number of a seed (SplitMix64).
fn draw(state: &mut u64, bound: u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (mixed ^ (mixed >> 31)) % bound
}

#[tokio::test(start_paused = true)]
async fn never_do_two_hold_the_calls_whoever_is_cut_off() {
    let mut takeovers = 0;
    for seed in 0..200 {
        let (row, mut state) = (Row::new(), seed);
        let ways = [Way::to(&row), Way::to(&row)];
        let leases: [Arc<Mutex<Option<Arc<Lease>>>>; 2] = Default::default();
        let processes = [0, 1].map(|at| {
            let (way, lease) = (Arc::clone(&ways[at]), Arc::clone(&leases[at]));
            tokio::spawn(async move {
                loop {
                    if let Ok(held) = hold(&way, 10).await {
                        *lease.lock().unwrap() = Some(Arc::clone(&held.lease));
                        held.lease.lost().await;
                    } else {
                        tokio::time::sleep(LOOK).await;
                    }
                }
            })
        });
        for _ in 0..2_000 {
            tokio::time::sleep(Duration::from_millis(20)).await;
            if draw(&mut state, 100) == 0 {
                ways[draw(&mut state, 2) as usize].set_open(draw(&mut state, 2) == 0);
            }
            let held =
                leases.iter().filter(|lease| lease.lock().unwrap().as_ref().is_some_and(|l| l.is_held())).count();
            assert!(held <= 1, "seed {seed}: two hold the calls");
        }
        processes.iter().for_each(JoinHandle::abort);
        takeovers += row.0.lock().unwrap().generation;
    }
    assert!(takeovers > 200, "only {takeovers}: nothing was tried");
}
