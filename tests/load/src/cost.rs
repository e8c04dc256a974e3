//! What the path costs: processor time as ratios within one run, alternating so that both sides meet the same machine,
//! the best of several; allocations once warm.
//!
//! Allocations are Rust's, of this thread; libopus allocates its states when they are made and nothing after.

use crate::{
    speech::Voice,
    table::{Beside, Table, Target},
};
use anyhow::ensure;
use std::{
    hint::black_box,
    time::{Duration, Instant},
};
use voicebridge_audio::{
    FRAME_RTP_UNITS, FRAME_SAMPLES, SAMPLE_RATE_HZ, Time,
    opus::Decoder,
    playout::{Playout, PlayoutSettings},
    uplink::Uplink,
    vad::{Vad, VadSettings},
};
use voicebridge_load::{
    pair::Pair,
    talk::{Counted, Talk},
};
use voicebridge_session::Agent;

/// Repetitions of which the best counts.
const REPETITIONS: usize = 15;
/// Packets before anything is counted, a minute: the buffers have met the largest.
const WARM_UP: usize = 3_000;
/// Longer than the warm-up and what is counted after it.
const REPLY_SECONDS: usize = 110;
/// Packets counted.
const COUNTED: usize = 2_000;

pub(crate) fn measure(voices: &[Voice], table: &mut Table) -> anyhow::Result<()> {
    table.section("Cost");
    uplink(&voices[0], table)?;
    silence(&voices[0], table)?;
    voice_detection(&voices[0], table);
    audio_allocations(&voices[0], table)?;
    session_allocations(&voices[0], table)?;
    peer_allocations(&voices[0], table)
}

/// Order, decode and clock beside bare decoding.
fn uplink(voice: &Voice, table: &mut Table) -> anyhow::Result<()> {
    let (mut ours, mut bare) = (Duration::MAX, Duration::MAX);
    for _ in 0..REPETITIONS {
        let mut decoder = Decoder::new()?;
        let mut pcm = [0; FRAME_SAMPLES];
        let began = Instant::now();
        for packet in &voice.packets {
            black_box(decoder.decode(black_box(packet), &mut pcm)?);
        }
        bare = bare.min(began.elapsed());

        let mut uplink = Uplink::new()?;
        uplink.start(Time::ZERO);
        let mut samples = 0;
        let began = Instant::now();
        for (index, packet) in voice.packets.iter().enumerate() {
            let now_ms = index as u64 * 20;
            let timestamp = index as u32 * FRAME_RTP_UNITS;
            let mut sink = |frame: voicebridge_audio::uplink::UplinkFrame<'_>| samples += black_box(frame.pcm).len();
            uplink.receive(Time::from_millis(now_ms), index as u16, timestamp, black_box(packet), &mut sink);
            // The driver looks every 5 ms.
            for tick in 0..4 {
                uplink.poll(Time::from_millis(now_ms + tick * 5), &mut sink);
            }
        }
        ours = ours.min(began.elapsed());
        ensure!(samples == voice.packets.len() * FRAME_SAMPLES, "the uplink forwards all of it");
    }
    let seconds = voice.packets.len() as f64 / 50.0;
    let per_second = |time: Duration| time.as_secs_f64() * 1_000.0 / seconds;
    let words = format!("bare decoding; {:.3} ms for a second of a call, it {:.3}", per_second(ours), per_second(bare));
    let beside = Beside { floor: Some(1.0), words };
    let ratio = ours.as_secs_f64() / bare.as_secs_f64();
    table.row("order, decode and clock, beside bare decoding", ratio, Target::AtMost(1.3), (3, " x"), beside);
    Ok(())
}

/// Sending while the AI says nothing beside sending while it speaks, by whole sessions without a caller's packets.
fn silence(voice: &Voice, table: &mut Table) -> anyhow::Result<()> {
    let frames = voice.pcm.len() / FRAME_SAMPLES;
    let (mut silent, mut speaking) = (Duration::MAX, Duration::MAX);
    for _ in 0..REPETITIONS {
        let mut talk = Talk::begin(Agent::default(), Counted::default())?;
        let pass = |talk: &mut Talk<Counted>| {
            let began = Instant::now();
            for _ in 0..frames {
                talk.pass();
            }
            began.elapsed()
        };
        pass(&mut talk);
        silent = silent.min(pass(&mut talk));
        talk.reply(&voice.pcm);
        let before = talk.listener.rtp;
        speaking = speaking.min(pass(&mut talk));
        ensure!(talk.listener.rtp - before == frames, "a packet is sent for every frame");
    }
    let per_second = |time: Duration| time.as_secs_f64() * 1_000.0 / (frames as f64 / 50.0);
    let beside = format!("{:.3} ms for a second, speaking {:.3}", per_second(silent), per_second(speaking));
    let share = silent.as_secs_f64() / speaking.as_secs_f64() * 100.0;
    table.row("sending silence, beside sending speech", share, Target::AtMost(3.0), (2, " %"), beside);
    Ok(())
}

/// What the reversible interruption and the embedded AI add to a call, while the caller speaks and while not.
fn voice_detection(voice: &Voice, table: &mut Table) {
    let quiet = vec![0; voice.pcm.len()];
    let (mut speaking, mut silent) = (Duration::MAX, Duration::MAX);
    for _ in 0..REPETITIONS {
        let pass = |vad: &mut Vad, pcm: &[i16]| {
            let began = Instant::now();
            for frame in pcm.chunks_exact(FRAME_SAMPLES) {
                black_box(vad.push(black_box(frame)));
            }
            began.elapsed()
        };
        let mut vad = Vad::new(VadSettings::default());
        speaking = speaking.min(pass(&mut vad, &voice.pcm));
        silent = silent.min(pass(&mut vad, &quiet));
    }
    let per_second =
        |time: Duration| time.as_secs_f64() * 1_000.0 / (voice.pcm.len() as f64 / f64::from(SAMPLE_RATE_HZ));
    let beside = format!("{:.3} ms while the caller is quiet", per_second(silent));
    table.row("voice detection, a second of speech", per_second(speaking), Target::None, (3, " ms"), beside);
}

/// Reordering and losses included: a gap's packets are kept and given up.
fn audio_allocations(voice: &Voice, table: &mut Table) -> anyhow::Result<()> {
    let mut uplink = Uplink::new()?;
    uplink.start(Time::ZERO);
    let mut samples = 0;
    let mut packets = |uplink: &mut Uplink, from: usize, count: usize| {
        for step in from..from + count {
            let now = Time::from_millis(step as u64 * 20);
            // Each pair of ten is swapped, one of fifty is lost.
            let index = match step % 10 {
                4 => step + 1,
                5 => step - 1,
                _ => step,
            };
            let mut sink = |frame: voicebridge_audio::uplink::UplinkFrame<'_>| samples += frame.pcm.len();
            if step % 50 != 0 || step == 0 {
                let packet = &voice.packets[index % voice.packets.len()];
                uplink.receive(now, index as u16, index as u32 * FRAME_RTP_UNITS, packet, &mut sink);
            }
            uplink.poll(now, &mut sink);
        }
    };
    packets(&mut uplink, 0, WARM_UP);
    let info = allocation_counter::measure(|| packets(&mut uplink, WARM_UP, COUNTED));
    ensure!(samples > COUNTED * FRAME_SAMPLES, "the uplink forwards");
    let each = info.count_total as f64 / COUNTED as f64;
    let beside = format!("{} in {COUNTED} packets, some lost, some reordered", info.count_total);
    table.row("allocations per packet: uplink", each, Target::AtMost(0.0), (3, ""), beside);

    let mut vad = Vad::new(VadSettings::default());
    let mut frames = voice.pcm.chunks_exact(FRAME_SAMPLES).cycle();
    let mut changes = 0;
    let mut listen = |count: usize| {
        for frame in frames.by_ref().take(count) {
            changes += usize::from(vad.push(frame).is_some());
        }
    };
    listen(WARM_UP);
    let info = allocation_counter::measure(|| listen(COUNTED));
    ensure!(changes > 2, "speech begins and ends");
    let each = info.count_total as f64 / COUNTED as f64;
    let beside = format!("{} in {COUNTED} frames", info.count_total);
    table.row("allocations per packet: voice detection", each, Target::AtMost(0.0), (3, ""), beside);

    let mut playout = Playout::new(PlayoutSettings::default());
    let reply: Vec<i16> = voice.pcm.iter().copied().cycle().take(SAMPLE_RATE_HZ as usize * REPLY_SECONDS).collect();
    ensure!(playout.push(Time::ZERO, "item", &reply).is_ok(), "the reply fits");
    let mut frame = [0; FRAME_SAMPLES];
    for slot in 0..WARM_UP {
        playout.next_frame(slot_time(slot), &mut frame);
    }
    let info = allocation_counter::measure(|| {
        for slot in WARM_UP..WARM_UP + COUNTED {
            black_box(playout.next_frame(slot_time(slot), &mut frame));
        }
    });
    let each = info.count_total as f64 / COUNTED as f64;
    let beside = format!("{} in {COUNTED} frames", info.count_total);
    table.row("allocations per packet: playout", each, Target::AtMost(0.0), (3, ""), beside);
    Ok(())
}

fn slot_time(slot: usize) -> Time {
    Time::from_millis(slot as u64 * 20)
}

/// Both ways at once: a packet in, an append to the AI, a packet out.
fn session_allocations(voice: &Voice, table: &mut Table) -> anyhow::Result<()> {
    let mut talk = Talk::begin(Agent::default(), Counted::default())?;
    let reply: Vec<i16> = voice.pcm.iter().copied().cycle().take(SAMPLE_RATE_HZ as usize * REPLY_SECONDS).collect();
    talk.reply(&reply);
    for packet in voice.packets.iter().cycle().take(WARM_UP) {
        talk.packet(packet);
    }
    let (rtp, provider) = (talk.listener.rtp, talk.listener.provider);
    let info = allocation_counter::measure(|| {
        for packet in voice.packets.iter().cycle().skip(WARM_UP).take(COUNTED) {
            talk.packet(packet);
        }
    });
    ensure!(
        talk.listener.rtp - rtp == COUNTED && talk.listener.provider - provider >= COUNTED,
        "audio flows both ways"
    );
    let each = info.count_total as f64 / COUNTED as f64;
    let beside = format!("{} in {COUNTED} packets each way", info.count_total);
    table.row("allocations per packet: session, both ways", each, Target::AtMost(0.0), (3, ""), beside);
    Ok(())
}

/// The WebRTC engine's own, which are not ours to avoid.
fn peer_allocations(voice: &Voice, table: &mut Table) -> anyhow::Result<()> {
    let mut pair = Pair::connect()?;
    let mut packets = voice.packets.iter().cycle();
    pair.exchange(packets.by_ref().take(WARM_UP))?;
    let count = pair.exchange(packets.take(COUNTED))?;
    let beside = format!("{count} in {COUNTED} packets each way: SRTP, ICE and reports of `rtc`");
    table.row("allocations per packet: peer, both ways", count as f64 / COUNTED as f64, Target::None, (3, ""), beside);
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_packet_allocates_nothing_once_warm() {
        let voices = crate::speech::voices().unwrap();
        let mut table = Table::default();
        table.section("cost");
        audio_allocations(&voices[0], &mut table).unwrap();
        session_allocations(&voices[0], &mut table).unwrap();
        assert!(table.holds(), "{table}");
    }
}
