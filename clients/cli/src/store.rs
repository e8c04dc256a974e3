//! `voicebridge store`: copies a whole database.

use anyhow::Context as _;
use indicatif::ProgressBar;
use secrecy::ExposeSecret as _;
use voicebridge_server::store::{POSTGRES, SQLITE, copy};

use crate::{
    args::{Store, StoreCommand},
    print::outln,
};

pub(crate) async fn run(args: Store) -> anyhow::Result<()> {
    voicebridge_telemetry::install_tls();
    let StoreCommand::Copy(args) = args.command;
    let (from, to) = (args.from.as_str(), args.to.expose_secret());
    anyhow::ensure!(from.starts_with(SQLITE), "the source must begin with sqlite://");
    anyhow::ensure!(POSTGRES.iter().any(|scheme| to.starts_with(scheme)), "the target must begin with postgres://");
    let bar = ProgressBar::new(0);
    let progress = |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    };
    let copied = copy(from, to, progress).await.context("nothing was copied")?;
    bar.finish_and_clear();
    Ok(outln(&format!(
        "Copied {} calls, {} events, {} hang-ups and {} API keys; the last position is {}.",
        copied.calls, copied.events, copied.tombstones, copied.keys, copied.last_position
    ))?)
}
