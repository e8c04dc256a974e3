//! `voicebridge-simulator ai`: the Realtime server until Ctrl-C, and what it heard and said.

use anyhow::Context as _;
use voicebridge_simulator::ai::{AiSettings, Mode, RealtimeServer};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Send every sound straight back instead of holding a conversation.
    #[arg(long)]
    echo: bool,
    /// Send speech this many times faster than it plays, as the real one does.
    #[arg(long, value_name = "FACTOR", default_value_t = AiSettings::default().speed)]
    speed: f64,
}

pub(crate) async fn start(args: &Args) -> anyhow::Result<RealtimeServer> {
    let mode = if args.echo { Mode::Echo } else { Mode::Converse };
    let server = RealtimeServer::start(AiSettings { mode, speed: args.speed, ..AiSettings::default() })
        .await
        .context("cannot start the simulated AI")?;
    println!("# for the media node: the AI");
    println!("export OPENAI_REALTIME_URL={}", server.url());
    println!("export OPENAI_API_KEY=simulated");
    Ok(server)
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let server = start(&args).await?;
    tokio::signal::ctrl_c().await.context("cannot wait for Ctrl-C")?;
    report(&server);
    Ok(())
}

/// One paragraph per session.
pub(crate) fn report(server: &RealtimeServer) {
    for session in server.sessions() {
        println!(
            "AI session {} ({}): {:.1} s heard",
            session.index,
            session.model,
            session.pcm.len() as f64 / 24_000.0
        );
        for utterance in &session.utterances {
            match &utterance.recognised {
                Some(recognised) => println!("  heard {} (correlation {:.2})", recognised.name, recognised.correlation),
                None => println!("  heard something it does not know"),
            }
        }
        for reply in &session.replies {
            println!("  said  {}", reply.name);
        }
        for violation in &session.violations {
            println!("  error sent to the client: {violation:?}");
        }
    }
}
