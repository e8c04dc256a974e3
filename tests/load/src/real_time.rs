//! Delays in real time, through the real programs: a control plane and a media node as processes, callers and AI simulated
//! in this one, everything over sockets on loopback.
//!
//! A delay is from one socket to another: it begins when the datagram or message with a sound in it is given to the
//! socket of one simulated end and ends when the one with that sound in it was read from the socket of the other. The
//! simulated ends share the machine with what they measure; what they cost is in the figures, and how late the callers
//! themselves were stands beside. Calls are made one after the other, each with its clock at another phase against the
//! node's, because what a packet waits for the next slot is up to 20 ms and the same for a whole call.

mod barge_in;
mod floors;

use crate::table::{Beside, Table, Target};
use anyhow::{Context as _, ensure};
use floors::Floors;
use std::time::Duration;
use voicebridge_audio::FRAME_MS;
use voicebridge_simulator::{
    ai::{AiSettings, Mode, Replies, SessionRecord},
    delay,
    meta::{CallRecord, CallerSettings, Step, Utterance},
    speech::fixture,
};
use voicebridge_system_tests::{Setup, World};

/// Calls into an AI that echoes.
const ECHO_CALLS: usize = 8;
/// Calls that listen to an AI that speaks in real time.
const LISTENING_CALLS: usize = 5;
/// Calls that interrupt.
const INTERRUPTING_CALLS: usize = 5;
/// A silence this long means that the AI has finished.
const QUIET: Duration = Duration::from_millis(700);
/// For both ends to settle, and for what was said last to come back.
const PAUSE: Duration = Duration::from_millis(700);
/// Frames of a call there must be to judge by: two seconds.
const LEAST_FRAMES: usize = 100;
/// The most between two packets towards the caller that no call may exceed.
const LONGEST_GAP_MS: f64 = 40.0;

pub(crate) fn measure(table: &mut Table) -> anyhow::Result<()> {
    let floors = Floors::measure()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(calls(&floors, table))
}

/// One call, from both of its ends.
struct Measured {
    record: CallRecord,
    session: SessionRecord,
}

async fn calls(floors: &Floors, table: &mut Table) -> anyhow::Result<()> {
    let echoed = each(ECHO_CALLS, AiSettings { mode: Mode::Echo, ..AiSettings::default() }, echo_script).await?;
    let real_time = AiSettings { replies: Replies::fitting(), ..AiSettings::real_time() };
    let listened = each(LISTENING_CALLS, real_time, listening_script).await?;
    let replies = Replies { greeting: Some("three-steps".to_owned()), ..Replies::fitting() };
    let interrupted =
        each(INTERRUPTING_CALLS, AiSettings { replies, ..AiSettings::default() }, barge_in::script).await?;

    table.section("Real time, from socket to socket through the real programs, clean network");
    delays("uplink", &echoed, |call| delay::uplink(&call.record, &call.session), (6.0, 12.0), &floors.uplink, table)?;
    let downlink = |call: &Measured| delay::downlink(&call.session, &call.record);
    delays("downlink, AI in real time", &listened, downlink, (35.0, f64::INFINITY), &floors.downlink, table)?;
    let around = |call: &Measured| delay::mouth_to_ear(&call.record);
    delays("mouth to ear, AI that echoes", &echoed, around, (50.0, 80.0), &floors.mouth_to_ear, table)?;
    barge_in::report(&interrupted, table)?;
    gaps([&echoed, &listened, &interrupted].into_iter().flatten(), table)
}

/// Makes so many calls to one AI, one after the other.
async fn each(
    count: usize,
    ai: AiSettings,
    script: fn() -> anyhow::Result<Vec<Step>>,
) -> anyhow::Result<Vec<Measured>> {
    let world = Setup { ai: Some(ai), ..Setup::default() }.start().await;
    let mut calls = Vec::new();
    for index in 0..count {
        let phase = Duration::from_millis(FRAME_MS) * index as u32 / count as u32;
        let settings = CallerSettings { script: script()?, phase, ..CallerSettings::default() };
        let record = world.meta.call(settings).await?.finish().await;
        world.calls.ended(&record.call_id).await;
        ensure!(record.violations.is_empty(), "Meta's rules: {:?}", record.violations);
        calls.push(Measured { record, session: session(&world, index)? });
    }
    world.stop().await;
    Ok(calls)
}

fn session(world: &World, index: usize) -> anyhow::Result<SessionRecord> {
    world.ai().inspect(|sessions| sessions.get(index).cloned()).context("the AI had a session for each call")
}

fn say(name: &str) -> anyhow::Result<Step> {
    let fixture = fixture(name).with_context(|| format!("there is no recording {name}"))?;
    Ok(Step::Say(Utterance::new(name, &fixture.pcm)?))
}

fn echo_script() -> anyhow::Result<Vec<Step>> {
    let pause = || Step::Silence(PAUSE);
    Ok(vec![pause(), say("opening-hours")?, pause(), say("where-is-my-order")?, pause(), Step::HangUp])
}

fn listening_script() -> anyhow::Result<Vec<Step>> {
    let heard = || Step::WaitHeard { quiet: QUIET };
    Ok(vec![heard(), say("wait-a-moment")?, heard(), Step::HangUp])
}

/// Two rows: the middle and the slow end.
fn delays(
    name: &str,
    calls: &[Measured],
    of: impl Fn(&Measured) -> Vec<Duration>,
    (p50, p99): (f64, f64),
    floor: &Floor,
    table: &mut Table,
) -> anyhow::Result<()> {
    let mut all = Vec::new();
    for call in calls {
        let delays: Vec<f64> = of(call).into_iter().map(ms).collect();
        ensure!(delays.len() >= LEAST_FRAMES, "{name}: {} frames of a call were found again", delays.len());
        all.push(Spread::of(delays)?);
    }
    let medians: Vec<f64> = all.iter().map(|spread| spread.at(0.5)).collect();
    let whole = Spread::of(all.into_iter().flat_map(|spread| spread.0).collect())?;
    let (least, most) = medians.iter().fold((f64::MAX, 0.0_f64), |(least, most), &at| (least.min(at), most.max(at)));
    let words = format!(
        "{}; calls' own p50 {least:.1} to {most:.1}, {} frames of {} calls",
        floor.words,
        whole.0.len(),
        calls.len()
    );
    let beside = Beside { floor: Some(floor.p50_ms), words };
    table.row(&format!("{name}: p50"), whole.at(0.5), Target::AtMost(p50), (1, " ms"), beside);
    let target = if p99.is_finite() { Target::AtMost(p99) } else { Target::None };
    let beside = Beside { floor: Some(floor.p99_ms), words: format!("longest {:.1} ms", whole.at(1.0)) };
    table.row(&format!("{name}: p99"), whole.at(0.99), target, (1, " ms"), beside);
    Ok(())
}

/// Nobody waits longer than two frames for a packet, whatever wakes the node.
fn gaps<'a>(calls: impl Iterator<Item = &'a Measured>, table: &mut Table) -> anyhow::Result<()> {
    let (mut longest, mut own) = (0.0_f64, 0.0_f64);
    for Measured { record, .. } in calls {
        let gap = record.gaps_over(Duration::ZERO).iter().map(|gap| ms(gap.length)).fold(0.0, f64::max);
        longest = longest.max(gap);
        own = own.max(ms(record.worst_own_delay));
    }
    let beside =
        Beside { floor: Some(20.0), words: format!("a frame; the callers themselves were late by up to {own:.1} ms") };
    table.row("longest time between two packets", longest, Target::AtMost(LONGEST_GAP_MS), (1, " ms"), beside);
    Ok(())
}

/// What a delay is at least.
struct Floor {
    p50_ms: f64,
    p99_ms: f64,
    words: String,
}

/// Measurements in order, milliseconds.
struct Spread(Vec<f64>);

impl Spread {
    fn of(mut values: Vec<f64>) -> anyhow::Result<Self> {
        ensure!(!values.is_empty(), "nothing was measured");
        values.sort_by(f64::total_cmp);
        Ok(Self(values))
    }

    fn at(&self, share: f64) -> f64 {
        self.0[((self.0.len() - 1) as f64 * share).ceil() as usize]
    }
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn spreads() {
        let hundred = Spread::of((1..=101).rev().map(f64::from).collect()).unwrap();
        assert_eq!([hundred.at(0.0), hundred.at(0.5), hundred.at(0.99), hundred.at(1.0)], [1.0, 51.0, 100.0, 101.0]);
        assert!(Spread::of(Vec::new()).is_err());
    }
}
