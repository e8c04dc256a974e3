//! `voicebridge-media`: a media-plane node, configured by the environment.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
};
use voicebridge_node::{Config, RawConfig};
use voicebridge_telemetry::Settings;

/// Answers WhatsApp callers over WebRTC and bridges them to a realtime AI.
///
/// Every setting is an environment variable; the flags are for trying things out.
#[derive(Parser)]
#[command(name = "voicebridge-media", version)]
struct Cli {
    #[command(flatten)]
    raw: RawConfig,
}

#[tokio::main]
async fn main() -> ExitCode {
    match serve(Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // For a person at a terminal: what is wrong and why, no backtrace.
            eprintln!("voicebridge-media: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(cli: Cli) -> anyhow::Result<()> {
    let (settings, config) = Settings::together(Settings::from_env("voicebridge-media"), Config::resolve(cli.raw))?;
    let _telemetry = voicebridge_telemetry::init(settings)?;
    let listener = TcpListener::bind(config.listen)
        .await
        .with_context(|| format!("cannot listen on {} (VOICEBRIDGE_MEDIA_LISTEN)", config.listen))?;
    let mut signals = Signals::new()?;
    let mut more_signals = Signals::new()?;
    // The first signal drains, the second forces.
    voicebridge_node::run_until(config, listener, signals.next(), async {
        more_signals.next().await;
        more_signals.next().await;
    })
    .await
}

/// SIGTERM and SIGINT. Every value sees every signal.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
