//! `voicebridge-control`: the control plane as a process of its own.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use voicebridge_server::{Config, RawConfig, run};
use voicebridge_telemetry::Settings;

/// Control plane of voicebridge: Meta's webhooks and Graph, calls, nodes, API.
#[derive(Parser)]
#[command(version, about)]
struct Args {
    #[command(flatten)]
    config: RawConfig,
}

/// Exit code after a second signal: the shell's for SIGTERM.
const FORCED: i32 = 143;

#[tokio::main]
async fn main() -> ExitCode {
    match serve(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // For a person at a terminal: what is wrong and why, no backtrace.
            eprintln!("voicebridge-control: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(args: Args) -> anyhow::Result<()> {
    let (settings, config) =
        Settings::together(Settings::from_env("voicebridge-control"), Config::resolve(args.config))?;
    let _telemetry = voicebridge_telemetry::init(settings)?;
    let listener = TcpListener::bind(config.listen)
        .await
        .with_context(|| format!("VOICEBRIDGE_LISTEN: {} cannot be bound", config.listen))?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    run(config, listener, async move {
        tokio::select! { _ = terminate.recv() => {} _ = interrupt.recv() => {} }
        // The first signal drains, the second forces.
        tokio::spawn(async move {
            tokio::select! { _ = terminate.recv() => {} _ = interrupt.recv() => {} }
            tracing::warn!("second signal: leaving at once");
            std::process::exit(FORCED);
        });
    })
    .await
}
