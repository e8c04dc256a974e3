//! `make bench-control`: how soon the control plane acknowledges a webhook and what it adds to the start of a session, beside
//! what the same machine takes for the least of it; fails when a target is missed.
//!
//! Flow: [`webhooks`] has Meta deliver beginnings and ends of calls at a steady rate, [`sessions`] starts sessions at a node
//! directly and through the control plane, [`floor`] writes as much to a file and waits until it is on the disk. All against
//! the real programs, in one run.

mod floor;
mod sessions;
mod webhooks;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context as _;
use clap::Parser;
use voicebridge_load::table::Table;
use voicebridge_system_tests::Setup;

/// Measures the control plane and compares with its targets.
#[derive(Debug, Parser)]
struct Arguments {
    /// Measures on this database only. PostgreSQL is one of its own, in a temporary folder.
    #[arg(long, value_enum)]
    only: Option<Database>,
    /// Webhooks a second.
    #[arg(long, default_value_t = 200)]
    rate: u32,
    /// For so many seconds.
    #[arg(long, default_value_t = 15)]
    seconds: u32,
    /// Where the table is written as JSON.
    #[arg(long, default_value = "target/bench-control.json")]
    out: PathBuf,
}

/// What keeps the calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Database {
    Sqlite,
    Postgresql,
}

/// What is held against a database, milliseconds at the 99th percentile.
struct Targets {
    webhook_ms: f64,
    session_ms: f64,
}

impl Database {
    const ALL: [Self; 2] = [Self::Sqlite, Self::Postgresql];

    const fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgresql => "PostgreSQL",
        }
    }

    const fn targets(self) -> Targets {
        match self {
            Self::Sqlite => Targets { webhook_ms: 20.0, session_ms: 3.0 },
            Self::Postgresql => Targets { webhook_ms: 30.0, session_ms: 10.0 },
        }
    }
}

/// Below those that the system gives away.
const UDP_PORTS: &str = "24000-25999";

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut table = Table::default();
    for database in Database::ALL.into_iter().filter(|database| arguments.only.is_none_or(|only| only == *database)) {
        runtime.block_on(measure(&mut table, &arguments, database))?;
    }
    print!("{table}");
    table.write(&arguments.out).with_context(|| format!("write {}", arguments.out.display()))?;
    Ok(if table.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn measure(table: &mut Table, arguments: &Arguments, database: Database) -> anyhow::Result<()> {
    let Targets { webhook_ms, session_ms } = database.targets();
    table.section(&format!("The control plane on {}, through its real programs", database.name()));
    let floor = floor::append_and_sync(&std::env::temp_dir())?;
    let world = setup(database, 1).start().await;
    sessions::measure(table, &world, session_ms).await?;
    world.stop().await;
    let world = setup(database, 0).start().await;
    let load = webhooks::Load { rate: arguments.rate, lasts: Duration::from_secs(arguments.seconds.into()) };
    webhooks::measure(table, &world, load, webhook_ms, &floor).await?;
    world.stop().await;
    Ok(())
}

fn setup(database: Database, nodes: usize) -> Setup {
    let mut setup = Setup { nodes, ai: None, ..Setup::default() };
    if database == Database::Postgresql {
        setup.control.insert("DATABASE_URL".to_owned(), voicebridge_postgres::database());
    }
    // What the log of so many calls costs is not asked here.
    setup.control.insert("RUST_LOG".to_owned(), "warn".to_owned());
    // A port rests after a session, and all sessions of a run are within that.
    setup.node.insert("VOICEBRIDGE_UDP_PORTS".to_owned(), UDP_PORTS.to_owned());
    // One that is not taken at once is a miss.
    setup.meta.webhooks.attempts = 1;
    setup
}

/// A value of a sorted list, milliseconds: half of them are below the 50th percentile.
fn percentile_ms(sorted: &[Duration], percentile: usize) -> f64 {
    let index = (sorted.len() * percentile / 100).min(sorted.len().saturating_sub(1));
    sorted.get(index).map_or(f64::NAN, |value| value.as_secs_f64() * 1_000.0)
}
