//! `voicebridge-stage`: the whole system for the tests of a client, moved by HTTP.
//!
//! Parses and hands over; see `tests/clients/README.md`.

use anyhow::Context as _;
use clap::Parser;
use voicebridge_clients_tests::{
    orphaned,
    stage::{Settings, Stage},
};

/// Both planes, Meta and the AI simulated, and a proxy in front of the control plane whose connections can be cut.
///
/// Prints one line of JSON once all is ready, {"url", "control_url", "direct_url", "api_key", "state_dir"}, and ends when its standard
/// input does, so that it cannot outlive the test that started it. Wants the programs of both planes beside itself.
#[derive(Debug, Parser)]
#[command(version, about, long_about)]
struct Args {
    /// One more variable for the control plane.
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
    control: Vec<(String, String)>,
    /// One more variable for the media node.
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
    node: Vec<(String, String)>,
}

fn variable(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("not NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let settings = Settings { control: args.control.into_iter().collect(), node: args.node.into_iter().collect() };
    let stage = Stage::start(settings).await?;
    println!("{}", stage.ready());
    // An error is the word.
    let _ = orphaned().await;
    stage.stop().await.context("the end of the stage")
}
