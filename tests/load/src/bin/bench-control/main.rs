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
    /// The database, `postgres://...`; a SQLite file of its own without it.
    #[arg(long)]
    database_url: Option<String>,
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

/// What is held against each database, milliseconds at the 99th percentile.
struct Targets {
    database: &'static str,
    webhook_ms: f64,
    session_ms: f64,
}

const SQLITE: Targets = Targets { database: "SQLite", webhook_ms: 20.0, session_ms: 3.0 };
const POSTGRESQL: Targets = Targets { database: "PostgreSQL", webhook_ms: 30.0, session_ms: 10.0 };

/// Below those that the system gives away.
const UDP_PORTS: &str = "24000-25999";

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let table = runtime.block_on(measure(&arguments))?;
    print!("{table}");
    table.write(&arguments.out).with_context(|| format!("write {}", arguments.out.display()))?;
    Ok(if table.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn measure(arguments: &Arguments) -> anyhow::Result<Table> {
    let targets = if arguments.database_url.is_some() { POSTGRESQL } else { SQLITE };
    let mut table = Table::default();
    table.section(&format!("The control plane on {}, through its real programs", targets.database));
    let floor = floor::append_and_sync(&std::env::temp_dir())?;
    let world = setup(arguments, 1).start().await;
    sessions::measure(&mut table, &world, targets.session_ms).await?;
    world.stop().await;
    let world = setup(arguments, 0).start().await;
    let load = webhooks::Load { rate: arguments.rate, lasts: Duration::from_secs(arguments.seconds.into()) };
    webhooks::measure(&mut table, &world, load, targets.webhook_ms, &floor).await?;
    world.stop().await;
    Ok(table)
}

fn setup(arguments: &Arguments, nodes: usize) -> Setup {
    let mut setup = Setup { nodes, ai: None, ..Setup::default() };
    setup.control.extend(arguments.database_url.iter().map(|url| ("DATABASE_URL".to_owned(), url.clone())));
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
