//! `voicebridge-scenarios`: streams of events from scripts, for the tests of the clients in every language.
//!
//! Parses and hands over; see `tests/clients/README.md`.

use std::{net::Ipv4Addr, path::PathBuf};

use anyhow::Context as _;
use clap::Parser;
use tokio::net::TcpListener;
use voicebridge_clients_tests::{orphaned, scenarios};

/// Plays streams of events from scripts, with every way a stream can break.
///
/// Prints one line of JSON, {"url": ...}, and ends when its standard input does, so that it cannot outlive the test that
/// started it.
#[derive(Debug, Parser)]
#[command(version, about, long_about)]
struct Args {
    /// Folder of scenario files.
    #[arg(long, value_name = "FOLDER", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios"))]
    scenarios: PathBuf,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let orphaned = orphaned();
    let scenarios = scenarios::load(&Args::parse().scenarios)?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("no port")?;
    println!("{}", serde_json::json!({ "url": format!("http://{}", listener.local_addr()?) }));
    tokio::select! {
        served = scenarios::serve(listener, scenarios) => served.context("cannot serve"),
        _ = orphaned => Ok(()),
    }
}
