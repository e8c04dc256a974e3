//! `make bench-audio`: the audio path on bad networks, figure and floor beside each other; fails when a floor is missed.
//!
//! Flow: [`speech`] encodes the fixtures as a caller does; [`journey`] sends them through a seeded network and the uplink
//! in virtual time, [`perfect`] through libopus alone; [`quality`] has both judged by the published PESQ and STOI
//! packages, [`timing`] looks at delays and durations, [`cost`] at processor time and allocations, [`table`] prints.
//!
//! [`real_time`] adds what the demo measured. All else is in virtual time, which says what the path does, not what a
//! machine adds to it.

mod cost;
mod journey;
mod perfect;
mod quality;
mod real_time;
mod speech;
mod table;
mod talk;
mod timing;

use clap::Parser;
use std::{path::PathBuf, process::ExitCode};
use table::Table;

/// Measures the audio path and compares with its targets.
#[derive(Parser)]
struct Arguments {
    /// Where recordings and the table as JSON are written.
    #[arg(long, default_value = "target/bench-audio")]
    out: PathBuf,
    /// The Python with `pesq`, `pystoi` and `scipy`; scripts/bench-audio makes one.
    #[arg(long)]
    python: PathBuf,
    /// The program that judges, tests/load/score.py.
    #[arg(long, default_value = "tests/load/score.py")]
    score: PathBuf,
    /// What `voicebridge demo --json` said; without it, nothing is said of real time.
    #[arg(long)]
    demo: Option<PathBuf>,
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    std::fs::create_dir_all(&arguments.out)?;
    let mut table = Table::default();
    let voices = speech::voices()?;
    let judge = quality::Judge { python: arguments.python, score: arguments.score, out: arguments.out.clone() };
    quality::measure(&voices, &judge, &mut table)?;
    timing::measure(&voices, &mut table)?;
    cost::measure(&voices, &mut table)?;
    if let Some(demo) = &arguments.demo {
        real_time::read(demo, &mut table)?;
    }
    table.write(&arguments.out.join("table.json"))?;
    print!("{table}");
    Ok(if table.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
