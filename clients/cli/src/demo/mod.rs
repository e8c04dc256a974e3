//! `voicebridge demo`: real calls through real processes, with both ends simulated, and the proof that they worked.
//!
//! [`world`] starts everything, [`calls`] makes the calls of [`cast`] and gathers [`evidence`], [`proof`] judges each
//! call, [`speed`] measures, [`report`] prints. Nothing leaves this machine and no account is needed.

mod calls;
mod cast;
mod evidence;
mod processes;
mod proof;
mod recordings;
mod report;
mod speed;
mod world;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use indicatif::ProgressBar;

use self::{evidence::Evidence, speed::Speed, world::World};
use crate::{
    args::Demo,
    client::connect,
    print::{DIM, GOOD, TITLE, outln},
};

const SPIN_EVERY: Duration = Duration::from_millis(100);

pub(crate) async fn run(args: Demo) -> anyhow::Result<()> {
    let folder = folder(args.out)?;
    let progress = ProgressBar::new_spinner();
    progress.enable_steady_tick(SPIN_EVERY);
    progress.set_message("starting the control plane and two media nodes");
    let mut world = World::start(&folder).await?;
    let outcome = tokio::select! {
        outcome = perform(&mut world, args.calls, &progress) => outcome,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
    };
    progress.set_message("ending the processes");
    let ended = world.stop().await;
    progress.finish_and_clear();
    let (evidence, echo) = outcome.with_context(|| format!("the logs are in {}", folder.join("logs").display()))?;
    ended?;

    let speed = Speed::of(&evidence, Some(&echo));
    let results: Vec<report::Result> = evidence
        .into_iter()
        .enumerate()
        .map(|(index, evidence)| {
            let findings = proof::examine(&evidence);
            let recordings = recordings::write(&folder, index + 1, &evidence)?;
            Ok(report::Result { evidence, findings, recordings })
        })
        .collect::<anyhow::Result<_>>()?;
    if args.json {
        outln(&report::as_json(&results, &speed).to_string())?;
    } else {
        for (index, result) in results.iter().enumerate() {
            report::call(index + 1, result)?;
        }
        report::speed(results.len(), &speed)?;
    }
    verdict(&results, &folder, args.json)
}

async fn perform(
    world: &mut World,
    count: usize,
    progress: &ProgressBar,
) -> anyhow::Result<(Vec<Evidence>, voicebridge_simulator::meta::CallRecord)> {
    let client = connect(&world.access()).await?;
    progress.set_message(format!("{count} people are dialling"));
    let evidence = calls::make(world, &client, count, progress).await?;
    progress.set_message("measuring the way from mouth to ear");
    // Held until the call is over: its sessions end with it.
    let _echo_ai = world.switch_to_echo().await?;
    let echo = calls::echo(&world.meta).await?;
    Ok((evidence, echo))
}

fn verdict(results: &[report::Result], folder: &Path, quiet: bool) -> anyhow::Result<()> {
    let failed: Vec<String> = results
        .iter()
        .enumerate()
        .flat_map(|(index, result)| {
            let broken = result.findings.iter().filter(|finding| !finding.holds);
            broken
                .map(move |finding| format!("call {}: not true that {}: {}", index + 1, finding.claim, finding.detail))
        })
        .collect();
    if !failed.is_empty() {
        anyhow::bail!(
            "{} of {} calls went wrong\n  {}\nThe logs are in {}",
            results.iter().filter(|result| !result.holds()).count(),
            results.len(),
            failed.join("\n  "),
            folder.join("logs").display()
        );
    }
    if !quiet {
        outln(&format!(
            "\n{GOOD}All {} calls worked:{GOOD:#} both sides heard each other. Listen to it in {TITLE}{}{TITLE:#}\n\
             {DIM}Next: `voicebridge serve` answers calls on this machine; README.md tells how to go live.{DIM:#}",
            results.len(),
            folder.display()
        ))?;
    }
    Ok(())
}

/// The folder for recordings and logs: the one asked for, or a new one among the temporary files.
fn folder(wanted: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    match wanted {
        Some(folder) => {
            std::fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
            // Absolute, because the processes get it too.
            folder.canonicalize().with_context(|| format!("{} cannot be used", folder.display()))
        }
        None => Ok(tempfile::Builder::new()
            .prefix("voicebridge-demo-")
            .tempdir()
            .context("no folder for temporary files")?
            .keep()),
    }
}
