//! How what the AI receives sounds, beside the same packets through libopus alone.
//!
//! PESQ on synthetic speech through 20 kbit/s Opus is about 3.1 at its best, so only differences are judged; each is the
//! mean over all voices and seeds of the same packets.

use crate::{
    journey,
    perfect::{self, Fec},
    speech::Voice,
    table::{Beside, Table, Target},
};
use anyhow::{Context as _, ensure};
use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};
use voicebridge_netem::{GilbertElliott, Jitter, Loss, Profile};

/// Seeds of each voice and network.
pub(crate) const SEEDS: std::ops::Range<u64> = 0..8;
/// Half a relay's round trip; moves everything by the same time.
pub(crate) const DELAY: Duration = Duration::from_millis(40);
/// Evenly distributed above the delay, overtaking allowed.
pub(crate) const JITTER: Duration = Duration::from_millis(30);
/// Packets of a burst, on average.
const MEAN_BURST: f64 = 4.0;
const RATE_HZ: u32 = 24_000;

/// The published packages.
pub(crate) struct Judge {
    pub(crate) python: PathBuf,
    pub(crate) score: PathBuf,
    pub(crate) out: PathBuf,
}

#[derive(serde::Serialize)]
struct Pair {
    reference: PathBuf,
    degraded: PathBuf,
}

#[derive(Clone, Copy, Debug, Default, serde::Deserialize)]
struct Score {
    pesq: f64,
    stoi: f64,
}

/// A network, and by how much PESQ may be below the yardstick's.
struct Scenario {
    name: &'static str,
    profile: Profile,
    seeds: std::ops::Range<u64>,
    tolerance: Option<f64>,
}

/// The three versions of the same packets.
const VERSIONS: [&str; 3] = ["ours", "libopus", "without-fec"];

pub(crate) fn jittery() -> Profile {
    Profile { delay: DELAY, jitter: Jitter::uniform(JITTER), ..Profile::CLEAN }
}

pub(crate) fn lossy(loss: f64) -> Profile {
    Profile { loss: Loss::Random(loss), ..jittery() }
}

pub(crate) fn bursty() -> anyhow::Result<Profile> {
    Ok(Profile { loss: Loss::Bursty(GilbertElliott::bursts(0.1, MEAN_BURST)?), delay: DELAY, ..Profile::CLEAN })
}

pub(crate) fn measure(voices: &[Voice], judge: &Judge, table: &mut Table) -> anyhow::Result<()> {
    let scenarios = [
        Scenario {
            name: "clean",
            profile: Profile { delay: DELAY, ..Profile::CLEAN },
            seeds: 0..1,
            tolerance: Some(0.01),
        },
        Scenario { name: "30 ms jitter", profile: jittery(), seeds: SEEDS, tolerance: None },
        Scenario { name: "1 % loss, 30 ms jitter", profile: lossy(0.01), seeds: SEEDS, tolerance: Some(0.05) },
        Scenario { name: "5 % loss, 30 ms jitter", profile: lossy(0.05), seeds: SEEDS, tolerance: Some(0.10) },
        Scenario { name: "10 % bursty loss", profile: bursty()?, seeds: SEEDS, tolerance: None },
    ];
    let recordings = judge.out.join("wav");
    std::fs::create_dir_all(&recordings)?;
    let mut pairs = Vec::new();
    for scenario in &scenarios {
        for voice in voices {
            let reference = recordings.join(format!("{}.wav", voice.language));
            write(&reference, &voice.pcm)?;
            for seed in scenario.seeds.clone() {
                let heard = journey::run(voice.packets.iter().map(Vec::as_slice), scenario.profile, seed)?;
                let arrived: Vec<bool> = heard.arrived.iter().map(Option::is_some).collect();
                let versions = [
                    heard.aligned(),
                    perfect::decode(&voice.packets, &arrived, Fec::Used)?,
                    perfect::decode(&voice.packets, &arrived, Fec::Ignored)?,
                ];
                for (version, pcm) in VERSIONS.iter().zip(versions) {
                    let name = format!(
                        "{}-{}-{seed}-{version}.wav",
                        voice.language,
                        scenario.name.replace([' ', ',', '%'], "")
                    );
                    let degraded = recordings.join(name);
                    write(&degraded, &pcm)?;
                    pairs.push(Pair { reference: reference.clone(), degraded });
                }
            }
        }
    }
    let scores = judge.judge(&pairs)?;
    let mut scores = scores.chunks_exact(VERSIONS.len());
    table.section("Quality of what the AI receives: PESQ (wideband, 16 kHz) and STOI, mean of 4 languages and 8 seeds");
    for scenario in &scenarios {
        let runs = voices.len() * scenario.seeds.clone().count();
        let of: Vec<&[Score]> = scores.by_ref().take(runs).collect();
        report(scenario, &of, table);
    }
    Ok(())
}

fn report(scenario: &Scenario, runs: &[&[Score]], table: &mut Table) {
    let mean = |version: usize, of: fn(&Score) -> f64| {
        runs.iter().map(|run| of(&run[version])).sum::<f64>() / runs.len() as f64
    };
    let pesq = [0, 1, 2].map(|version| mean(version, |score| score.pesq));
    let stoi = [0, 1, 2].map(|version| mean(version, |score| score.stoi));
    let target = scenario.tolerance.map_or(Target::None, |tolerance| Target::AtLeast(pesq[1] - tolerance));
    let beside = |of: [f64; 3]| Beside {
        floor: Some(of[1]),
        words: format!("libopus with FEC; without {:.3}; {} recordings", of[2], runs.len()),
    };
    table.row(&format!("{}: PESQ", scenario.name), pesq[0], target, (3, ""), beside(pesq));
    table.row(&format!("{}: STOI", scenario.name), stoi[0], Target::None, (3, ""), beside(stoi));
    if let Some(tolerance) = scenario.tolerance.filter(|_| scenario.profile.loss != Loss::None) {
        let what = format!("{}: what doing without FEC costs", scenario.name);
        let beside = "more than the tolerance, or this bench could not tell".to_owned();
        table.row(&what, pesq[1] - pesq[2], Target::AtLeast(tolerance), (3, ""), beside);
    }
}

impl Judge {
    fn judge(&self, pairs: &[Pair]) -> anyhow::Result<Vec<Score>> {
        let (list, result) = (self.out.join("pairs.json"), self.out.join("scores.json"));
        std::fs::write(&list, serde_json::to_vec(pairs)?)?;
        let status = Command::new(&self.python)
            .arg(&self.score)
            .args([&list, &result])
            .status()
            .with_context(|| format!("run {}", self.python.display()))?;
        ensure!(status.success(), "{} failed: {status}", self.score.display());
        let scores: Vec<Score> = serde_json::from_slice(&std::fs::read(&result)?)?;
        ensure!(scores.len() == pairs.len(), "{} scores for {} recordings", scores.len(), pairs.len());
        Ok(scores)
    }
}

fn write(path: &Path, pcm: &[i16]) -> anyhow::Result<()> {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: RATE_HZ,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(path, spec)?;
    for &sample in pcm {
        writer.write_sample(sample)?;
    }
    writer.finalize()?;
    Ok(())
}
