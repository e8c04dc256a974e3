//! Delays, durations and the clock, in virtual time. Delays include the wait for the 5 ms tick, 2.5 ms on average.

use crate::{
    journey::{self, Heard, TICK},
    perfect::{self, Fec},
    quality::{DELAY, SEEDS, bursty, jittery, lossy},
    speech::{self, Voice},
    splice,
    table::{Beside, Table, Target},
};
use std::time::Duration;
use voicebridge_audio::{FRAME_SAMPLES, SAMPLE_RATE_HZ, opus::Packet};
use voicebridge_netem::{Jitter, Profile};

const FRAME: Duration = Duration::from_millis(20);
const DRIFT_PACKETS: usize = 30 * 60 * 50;
const DRIFT_PPM: i32 = 200;
/// Of the tone, before it begins again: 20 s.
const TONE_PACKETS: usize = 1_000;
/// One sample left out or repeated makes 3 dB and more.
const SPLICE_DB: f64 = 1.0;
/// Packets there must be after a loss to judge by: half a second.
const FOLLOWING_PACKETS: usize = 25;

pub(crate) fn measure(voices: &[Voice], table: &mut Table) -> anyhow::Result<()> {
    table.section("Uplink in virtual time: delay from arrival to the AI, driven every 5 ms");
    delays("clean", Profile { delay: DELAY, ..Profile::CLEAN }, voices, table)?;
    let queue = Profile { jitter: Jitter { keeps_order: true, ..jittery().jitter }, ..jittery() };
    delays("30 ms jitter, in order", queue, voices, table)?;
    delays("30 ms jitter, overtaking", jittery(), voices, table)?;
    for (name, loss) in [("1 % loss, 30 ms jitter", 0.01), ("5 % loss, 30 ms jitter", 0.05)] {
        let runs = runs(lossy(loss), voices)?;
        table.row(
            &format!("{name}: until the delay is back at its least"),
            ms(longest_recovery(&runs)),
            Target::AtMost(200.0),
            (0, " ms"),
            "longest of all losses".to_owned(),
        );
        duration(name, &runs, table);
    }
    bursts(voices, table)?;
    table.section("Clock drift for 30 virtual minutes");
    for ppm in [DRIFT_PPM, -DRIFT_PPM] {
        drift(&voices[0], ppm, table)?;
    }
    Ok(())
}

/// Packets of different seeds meet the driver's ticks at different moments.
fn phase(seed: u64) -> Duration {
    TICK * seed as u32 / SEEDS.end as u32
}

fn runs(profile: Profile, voices: &[Voice]) -> anyhow::Result<Vec<(&Voice, Heard)>> {
    let mut runs = Vec::new();
    for voice in voices {
        for seed in SEEDS {
            let profile = Profile { delay: profile.delay + phase(seed), ..profile };
            runs.push((voice, journey::run(voice.packets.iter().map(Vec::as_slice), profile, seed)?));
        }
    }
    Ok(runs)
}

/// Nothing is lost, so nothing may be made up, and packets hardly wait.
fn delays(name: &str, profile: Profile, voices: &[Voice], table: &mut Table) -> anyhow::Result<()> {
    let runs = runs(profile, voices)?;
    let mut added: Vec<f64> = runs.iter().flat_map(|(_, heard)| heard.added().map(|(_, added)| ms(added))).collect();
    added.sort_by(f64::total_cmp);
    let at = |share: f64| added[((added.len() - 1) as f64 * share) as usize];
    let beside = Beside {
        floor: Some(median_wait_for_tick(&runs)),
        words: format!("the tick alone; p99 {:.1} ms, longest {:.1} ms, {} packets", at(0.99), at(1.0), added.len()),
    };
    table.row(&format!("{name}: added delay, p50"), at(0.5), Target::AtMost(6.0), (1, " ms"), beside);
    let made_up: usize = runs.iter().map(|(_, heard)| heard.not_received).sum();
    let total: usize = runs.iter().map(|(_, heard)| heard.pcm.len()).sum();
    let late: u64 = runs.iter().map(|(_, heard)| heard.statistics.packets_late).sum();
    let beside = format!("of {:.0} s; {late} packets came too late", samples_ms(total) / 1_000.0);
    table.row(&format!("{name}: sound lost or made up"), samples_ms(made_up), Target::AtMost(0.0), (0, " ms"), beside);
    duration(name, &runs, table);
    Ok(())
}

/// What packets wait if they are forwarded at the tick after their arrival, in the middle.
fn median_wait_for_tick(runs: &[(&Voice, Heard)]) -> f64 {
    let wait = |at: &Duration| {
        let beyond = at.as_nanos() % TICK.as_nanos();
        if beyond == 0 { 0.0 } else { (TICK.as_nanos() - beyond) as f64 / 1e6 }
    };
    let mut waits: Vec<f64> = runs.iter().flat_map(|(_, heard)| heard.arrived.iter().flatten().map(wait)).collect();
    waits.sort_by(f64::total_cmp);
    waits[(waits.len() - 1) / 2]
}

/// What was forwarded is as long as what was sent, to the sample.
fn duration(name: &str, runs: &[(&Voice, Heard)], table: &mut Table) {
    let wrong: usize = runs.iter().map(|(_, heard)| heard.pcm.len().abs_diff(heard.expected_samples())).sum();
    let total: usize = runs.iter().map(|(_, heard)| heard.expected_samples()).sum();
    let beside = format!("of {total}");
    table.row(&format!("{name}: samples too many or too few"), wrong as f64, Target::AtMost(0.0), (0, ""), beside);
}

/// From the moment a lost packet would have come at the earliest to the next packet that passes within its tick. Losses
/// so close to the end that hardly any packet follows say nothing.
fn longest_recovery(runs: &[(&Voice, Heard)]) -> Duration {
    let mut longest = Duration::ZERO;
    for (_, heard) in runs {
        let added = heard.added().filter(|(_, added)| *added < TICK);
        let at_once: Vec<Duration> = added.filter_map(|(index, _)| heard.complete[index]).collect();
        let judged = heard.arrived.len().saturating_sub(FOLLOWING_PACKETS);
        for index in (heard.first..judged).filter(|&index| heard.arrived[index].is_none()) {
            let due = FRAME * (index as u32 + 1) + DELAY;
            let back = at_once.iter().find(|at| **at >= due).map_or(Duration::MAX, |at| *at - due);
            longest = longest.max(back);
        }
    }
    longest
}

/// The listener's clock runs on, and what is reported as made up is what could not be heard.
fn bursts(voices: &[Voice], table: &mut Table) -> anyhow::Result<()> {
    let name = "10 % bursty loss";
    let runs = runs(bursty()?, voices)?;
    duration(name, &runs, table);
    let pause = runs.iter().map(|(_, heard)| heard.longest_pause).max().unwrap_or_default();
    // Quiet for 60 ms, then a frame each 20 ms, driven every 5.
    table.row(
        &format!("{name}: longest time without audio"),
        ms(pause),
        Target::AtMost(85.0),
        (0, " ms"),
        String::new(),
    );
    let truth: f64 = runs.iter().map(|(voice, heard)| unheard_ms(voice, heard)).sum();
    let reported: f64 = runs
        .iter()
        .map(|(_, heard)| heard.statistics.concealed_ms as f64 + heard.statistics.silence_ms as f64 - before_ms(heard))
        .sum();
    let beside = format!("reported {reported:.0} ms, lost beyond FEC {truth:.0} ms");
    let off = (reported - truth).abs() / truth * 100.0;
    table.row(&format!("{name}: reported concealment off by"), off, Target::AtMost(10.0), (1, " %"), beside);
    Ok(())
}

/// What the network took and the FEC of the next packet cannot give back, from its schedule alone.
fn unheard_ms(voice: &Voice, heard: &Heard) -> f64 {
    let last = heard.arrived.iter().rposition(Option::is_some).unwrap_or(0);
    let lost = (heard.first..last).filter(|&index| heard.arrived[index].is_none());
    let restored = |index: usize| {
        heard.arrived[index + 1].is_some()
            && Packet::parse(&voice.packets[index + 1]).is_ok_and(|packet| packet.carries_fec())
    };
    lost.filter(|&index| !restored(index)).count() as f64 * ms(FRAME)
}

/// Silence before the first packet, which is no part of the stream.
fn before_ms(heard: &Heard) -> f64 {
    let statistics = heard.statistics;
    let all = statistics.received_ms + statistics.concealed_ms + statistics.silence_ms;
    all as f64 - samples_ms(heard.pcm.len())
}

/// A sender whose clock is off: the delay stays, and the audio is bit for bit what libopus decodes, so no sample was
/// left out, repeated or bent.
fn drift(voice: &Voice, ppm: i32, table: &mut Table) -> anyhow::Result<()> {
    let packets: Vec<Vec<u8>> = voice.packets.iter().cycle().take(DRIFT_PACKETS).cloned().collect();
    let profile = Profile { drift_ppm: ppm, delay: DELAY, ..Profile::CLEAN };
    let heard = journey::run(packets.iter().map(Vec::as_slice), profile, 1)?;
    let longest = heard.added().map(|(_, added)| added).max().unwrap_or(Duration::MAX);
    let beside = format!("{DRIFT_PACKETS} packets");
    table.row(&format!("{ppm:+} ppm: most added delay"), ms(longest), Target::AtMost(20.0), (1, " ms"), beside);
    let truth = perfect::decode(&packets, &vec![true; packets.len()], Fec::Ignored)?;
    let settled = FRAME_SAMPLES;
    let differ = heard.pcm.iter().zip(&truth).skip(settled).filter(|(ours, theirs)| ours != theirs).count();
    let off = differ + heard.pcm.len().abs_diff(truth.len());
    let beside = format!("of {}, beside libopus alone, the first frame's rise aside", truth.len());
    table.row(&format!("{ppm:+} ppm: samples that differ"), off as f64, Target::AtMost(0.0), (0, ""), beside);
    spectrum(ppm, profile, table)
}

/// The same with a steady tone, in which a splice would be a click.
fn spectrum(ppm: i32, profile: Profile, table: &mut Table) -> anyhow::Result<()> {
    let once = speech::encode(&splice::tone(TONE_PACKETS * FRAME_SAMPLES))?;
    let packets: Vec<Vec<u8>> = once.iter().cycle().take(DRIFT_PACKETS).cloned().collect();
    let heard = journey::run(packets.iter().map(Vec::as_slice), profile, 1)?;
    let truth = perfect::decode(&packets, &vec![true; packets.len()], Fec::Ignored)?;
    // The first frame rises from silence.
    let excess = splice::excess_db(&heard.pcm[FRAME_SAMPLES..], &truth[FRAME_SAMPLES..]);
    let beside = "energy beside a tone, above libopus alone, in the worst 40 ms".to_owned();
    table.row(&format!("{ppm:+} ppm: splices heard"), excess, Target::AtMost(SPLICE_DB), (2, " dB"), beside);
    Ok(())
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

fn samples_ms(samples: usize) -> f64 {
    samples as f64 * 1_000.0 / f64::from(SAMPLE_RATE_HZ)
}
