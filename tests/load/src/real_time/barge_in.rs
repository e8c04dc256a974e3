//! The caller interrupts: how soon it is silent for them, and whether the AI is told what they had really been sent.

use super::{Measured, Spread, ms, say};
use crate::table::{Beside, Table, Target};
use anyhow::{Context as _, ensure};
use std::time::Duration;
use voicebridge_audio::{FRAME_MS, FRAME_RTP_UNITS, FRAME_SAMPLES, SAMPLE_RATE_HZ, level};
use voicebridge_simulator::{delay::place_around, meta::Step, speech::recognise_all};

/// How long the caller lets the AI talk.
const INTERRUPT_AFTER: Duration = Duration::from_millis(1_500);
/// After the interruption: all of it is said, and no reply has begun.
const LISTEN: Duration = Duration::from_millis(1_200);
/// Quieter than this is silence; the recordings are at -20 dBFS, coded silence below -80.
const SILENCE_DBFS: f32 = -50.0;
/// A silence this long is no pause between words: frames.
const SILENT_FRAMES: usize = 50;
/// Samples by which Opus delays what it encodes and decodes at 24 kHz.
const LOOKAHEAD_SAMPLES: i64 = 156;

pub(super) fn script() -> anyhow::Result<Vec<Step>> {
    let wait = Step::BargeInAfter(INTERRUPT_AFTER);
    Ok(vec![wait, say("opening-hours")?, Step::Silence(LISTEN), Step::HangUp])
}

/// What one interruption came to.
struct Cut {
    /// From `speech_started` leaving the AI to the first packet without sound reaching the caller.
    silent_after: Duration,
    /// What the AI was told had been heard, and what had been sent; milliseconds.
    told_ms: i64,
    sent_ms: i64,
}

pub(super) fn report(calls: &[Measured], table: &mut Table) -> anyhow::Result<()> {
    let cuts: Vec<Cut> = calls.iter().map(cut).collect::<anyhow::Result<_>>()?;
    let after = Spread::of(cuts.iter().map(|cut| ms(cut.silent_after)).collect())?;
    // The packet that is due next fades out, the one after it is silent.
    let words = format!("the slot after the next at best; p50 {:.1} ms, {} interruptions", after.at(0.5), cuts.len());
    let beside = Beside { floor: Some(FRAME_MS as f64), words };
    table.row("barge-in: silence after speech_started", after.at(1.0), Target::AtMost(60.0), (1, " ms"), beside);
    let off = cuts.iter().map(|cut| (cut.told_ms - cut.sent_ms).abs()).max().unwrap_or(i64::MAX);
    let told: Vec<String> = cuts.iter().map(|cut| format!("{}/{}", cut.told_ms, cut.sent_ms)).collect();
    let beside = format!("told/sent, ms: {}", told.join(" "));
    table.row("barge-in: truncation off by", off as f64, Target::AtMost(FRAME_MS as f64), (0, " ms"), beside);
    Ok(())
}

fn cut(call: &Measured) -> anyhow::Result<Cut> {
    let Measured { record, session } = call;
    let truncation = session.truncates.first().context("the AI was told where it was interrupted")?;
    let reply = session.replies.iter().find(|reply| reply.item_id == truncation.item_id).context("of its reply")?;
    let started = session.speech_started.first().context("the AI heard the caller start")?;
    let started = session.opened.context("its socket opened")? + *started;

    // By RTP time, so that a packet's place in the recording and its arrival belong together.
    let first = record.packets.first().context("packets came")?.timestamp;
    let index = |timestamp: u32| (timestamp.wrapping_sub(first) / FRAME_RTP_UNITS) as usize;
    let next = record.packets.iter().find(|packet| packet.at > started).context("packets came after it")?;
    let silent = silence_from(&record.pcm_heard, index(next.timestamp)).context("silence came")?;
    let arrival = record.packets.iter().find(|packet| index(packet.timestamp) == silent).map(|packet| packet.at);
    let silent_after = arrival.context("the silent packet came")?.saturating_duration_since(started);

    let heard = recognise_all(&record.pcm_heard);
    let begun = heard.iter().find(|one| one.name == reply.name).context("the caller heard the reply begin")?;
    let place = place_around(begun.start_ms, &reply.pcm, &record.pcm_heard).context("to the sample")?;
    // The packet before the silent one was the fade, which does not count as heard.
    let faded = silent as i64 - 1;
    let sent = faded * FRAME_SAMPLES as i64 - (place - LOOKAHEAD_SAMPLES);
    ensure!(sent > 0, "the reply began before it was cut");
    let sent_ms = sent * 1_000 / i64::from(SAMPLE_RATE_HZ);
    Ok(Cut { silent_after, told_ms: truncation.audio_end_ms.cast_signed(), sent_ms })
}

/// The first frame from `from` on that begins a long silence.
fn silence_from(heard: &[i16], from: usize) -> Option<usize> {
    let silent: Vec<bool> =
        heard.chunks_exact(FRAME_SAMPLES).map(|frame| level::rms_dbfs(frame) < SILENCE_DBFS).collect();
    (from..silent.len())
        .find(|&index| silent.get(index..index + SILENT_FRAMES).is_some_and(|after| after.iter().all(|&silent| silent)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_between_words_is_no_silence() {
        let (loud, quiet) = ([8_000; FRAME_SAMPLES], [3; FRAME_SAMPLES]);
        let frames =
            |loud_frames: usize, quiet_frames: usize| [loud.repeat(loud_frames), quiet.repeat(quiet_frames)].concat();
        let heard = [frames(10, 20), frames(10, 60)].concat();
        assert_eq!(silence_from(&heard, 0), Some(40));
        assert_eq!(silence_from(&heard, 12), Some(40));
        assert_eq!(silence_from(&heard, 45), Some(45));
        assert_eq!(silence_from(&heard, 60), None);
    }
}
