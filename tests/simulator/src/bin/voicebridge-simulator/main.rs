//! `voicebridge-simulator`: Meta and a Realtime AI on this machine, for people who run the two planes by hand.
//!
//! Parses and hands over; the simulators themselves are the library.

mod ai;
mod meta;
mod plot;
mod serve;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Stands in for Meta and for OpenAI on this machine.
///
/// Start it first: it prints the variables the control plane and the media node need. Start those with them in another
/// terminal; as soon as the webhook answers Meta's verification request, the calls begin. Each ends with its time line, what
/// the caller heard, and the rules of Meta's that were broken, if any. The exit code is 0 if every call was as it should be.
#[derive(Debug, Parser)]
#[command(version, about, long_about, after_long_help = EXAMPLES)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  voicebridge-simulator all --calls 3 --plot barge-in --save recordings
      three callers at once who interrupt a simulated AI; what they heard as WAV files
  voicebridge-simulator meta --calls 0
      only Meta's Graph API, until Ctrl-C; no calls
  voicebridge-simulator meta --plot abandon
      a caller who hangs up while it rings
  voicebridge-simulator ai --echo
      an AI that sends every sound straight back, to measure delays";

#[derive(Debug, Subcommand)]
enum Command {
    /// Meta: the Graph API, signed webhooks and callers with voices.
    Meta(meta::Args),
    /// A Realtime AI that listens, recognises what it hears and answers in speech. Runs until Ctrl-C.
    Ai(ai::Args),
    /// Both.
    All {
        #[command(flatten)]
        meta: meta::Args,
        #[command(flatten)]
        ai: ai::Args,
    },
    /// Both, for another program: orders as JSON lines on standard input, answers on standard output.
    Serve(serve::Args),
}

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let outcome = match Args::parse().command {
        Command::Meta(args) => meta::run(args).await,
        Command::Ai(args) => ai::run(args).await,
        Command::All { meta, ai } => all(meta, ai).await,
        Command::Serve(args) => serve::run(args).await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("voicebridge-simulator: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn all(meta: meta::Args, ai: ai::Args) -> anyhow::Result<()> {
    let server = ai::start(&ai).await?;
    let outcome = meta::run(meta).await;
    ai::report(&server);
    outcome
}
