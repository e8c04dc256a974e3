//! `make bench-audio`: the audio path, figure, target and floor beside each other; fails when a target is missed.
//!
//! Flow: [`real_time`] makes calls through the real programs and measures delays; the rest is in virtual time, which says
//! what the path does, not what a machine adds to it: [`speech`] encodes the fixtures as a caller does, [`journey`] sends
//! them through a seeded network and the uplink, [`perfect`] through libopus alone; [`quality`] has both judged by the
//! published PESQ and STOI packages, [`timing`] looks at delays and durations, [`splice`] at tones, [`cost`] at processor
//! time and allocations, of whole sessions and peers too; [`voicebridge_load::table`] prints.

mod cost;
mod journey;
mod perfect;
mod quality;
mod real_time;
mod splice;
mod timing;

use clap::Parser;
use std::{path::PathBuf, process::ExitCode};
use voicebridge_load::{
    speech,
    table::{self, Table},
};

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
    /// Measures these parts only.
    #[arg(long, value_enum)]
    only: Vec<Part>,
}

/// What can be measured by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Delays through the real programs.
    RealTime,
    /// How it sounds to the AI.
    Quality,
    /// Delays, durations and drift in virtual time.
    Timing,
    /// Processor time and allocations.
    Cost,
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    std::fs::create_dir_all(&arguments.out)?;
    let mut table = Table::default();
    let wanted = |part: Part| arguments.only.is_empty() || arguments.only.contains(&part);
    // First, while this machine does nothing else.
    if wanted(Part::RealTime) {
        real_time::measure(&mut table)?;
    }
    let voices = speech::voices()?;
    if wanted(Part::Quality) {
        let judge = quality::Judge {
            python: arguments.python.clone(),
            score: arguments.score.clone(),
            out: arguments.out.clone(),
        };
        quality::measure(&voices, &judge, &mut table)?;
    }
    if wanted(Part::Timing) {
        timing::measure(&voices, &mut table)?;
    }
    if wanted(Part::Cost) {
        cost::measure(&voices, &mut table)?;
    }
    table.write(&arguments.out.join("table.json"))?;
    print!("{table}");
    Ok(if table.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
