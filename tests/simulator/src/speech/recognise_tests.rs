//! Whether recognition tells the fixtures apart, and from noise, under what telephony does to them.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::speech::fixture;
use voicebridge_audio::opus::{COMPLEXITIES, Decoder, Encoder, EncoderSettings, MaxBandwidth};

fn silence(ms: usize) -> Vec<i16> {
    vec![0; ms * SAMPLES_PER_MS]
}

fn recording(parts: &[&[i16]]) -> Vec<i16> {
    parts.concat()
}

/// Hiss at the given amplitude, from a fixed generator.
fn add_noise(pcm: &mut [i16], amplitude: i32) {
    let mut state = 0x2545_F491_u32;
    for sample in pcm {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *sample = sample.saturating_add(((state >> 16) as i32 % amplitude) as i16);
    }
}

#[test]
fn each_fixture_is_recognised_and_no_other_comes_near() {
    for expected in fixtures() {
        let ranked = rank(&recording(&[&silence(313), &expected.pcm, &silence(251)]), fixtures());
        assert_eq!(ranked[0].name, expected.name);
        assert!(ranked[0].correlation > 0.99, "{:?}", ranked[0]);
        assert!(ranked[0].start_ms.abs_diff(313) <= 5, "{:?}", ranked[0]);
        for other in &ranked[1..] {
            assert!(other.score < 0.8 && other.correlation < 0.8, "{}: {other:?}", expected.name);
        }
    }
}

#[test]
fn a_quiet_and_noisy_recording_is_recognised() {
    let fixture = fixture("shipping-cost").unwrap();
    let mut pcm = recording(&[&silence(100), &fixture.pcm, &silence(100)]);
    pcm.iter_mut().for_each(|sample| *sample /= 6);
    add_noise(&mut pcm, 40);
    let recognised = recognise(&pcm).unwrap();
    assert_eq!(recognised.name, "shipping-cost");
    assert!(recognised.correlation > 0.98, "{recognised:?}");
}

#[test]
fn silence_noise_and_stretched_speech_are_not_recognised() {
    assert_eq!(recognise(&[]), None);
    assert_eq!(recognise(&silence(2_000)), None);
    let mut noise = silence(2_000);
    add_noise(&mut noise, 3_000);
    assert_eq!(recognise(&noise), None);
    let stretched: Vec<i16> = fixture("invoice").unwrap().pcm.iter().flat_map(|&sample| [sample; 2]).collect();
    assert!(recognise(&stretched).is_none_or(|best| best.correlation < 0.8));
}

#[test]
fn missing_frames_cost_correlation() {
    let fixture = fixture("change-appointment").unwrap();
    let damaged: Vec<i16> = fixture
        .pcm
        .chunks(480)
        .enumerate()
        .filter(|(index, _)| index % 10 != 9)
        .flat_map(|(_, frame)| frame.to_vec())
        .collect();
    let best = rank(&damaged, fixtures()).into_iter().find(|best| best.name == fixture.name).unwrap();
    assert!(best.correlation < 0.9, "{best:?}");
}

#[test]
fn several_utterances_are_found_in_order() {
    let [first, second, third] = ["opening-hours", "payment", "goodbye-de"].map(|name| fixture(name).unwrap());
    let pcm =
        recording(&[&silence(700), &first.pcm, &silence(900), &second.pcm, &silence(150), &third.pcm, &silence(400)]);
    let found = recognise_all(&pcm);
    let names: Vec<_> = found.iter().map(|found| found.name.as_str()).collect();
    assert_eq!(names, ["opening-hours", "payment", "goodbye-de"], "{found:?}");
    assert!(found.iter().all(|found| found.correlation > 0.99 && found.portion == 1.0), "{found:?}");
    assert!(found[0].start_ms.abs_diff(700) <= 5, "{found:?}");
    let expected_ms = 700 + first.duration_ms() + 900 + second.duration_ms() + 150;
    assert!(found[2].start_ms.abs_diff(expected_ms as i64) <= 5, "{found:?}");
}

#[test]
fn an_interrupted_reply_is_recognised_by_its_beginning() {
    for (name, heard_ms) in [("three-steps", 2_300), ("parcel-tomorrow", 1_400), ("welcome", 900)] {
        let fixture = fixture(name).unwrap();
        let pcm = recording(&[&silence(500), &fixture.pcm[..heard_ms * SAMPLES_PER_MS], &silence(800)]);
        let found = recognise_all(&pcm);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].name, name);
        assert!(found[0].correlation > 0.95, "{found:?}");
        let portion = heard_ms as f32 / fixture.duration_ms() as f32;
        assert!((found[0].portion - portion).abs() < 0.1, "{found:?}");
    }
}

/// Through Opus as a phone sends it: frames of 20 ms at the given rate, one packet in `lost_every` concealed.
fn through_opus(pcm: &[i16], bitrate_bps: u32, max_bandwidth: MaxBandwidth, lost_every: usize) -> Vec<i16> {
    encoded(pcm, EncoderSettings { bitrate_bps, max_bandwidth, ..EncoderSettings::default() }, lost_every)
}

fn encoded(pcm: &[i16], settings: EncoderSettings, lost_every: usize) -> Vec<i16> {
    let (mut encoder, mut decoder) = (Encoder::new(settings).unwrap(), Decoder::new().unwrap());
    let mut heard = Vec::with_capacity(pcm.len());
    for (index, frame) in pcm.chunks_exact(480).enumerate() {
        let (mut packet, mut decoded) = ([0; 1_500], [0; 2_880]);
        let length = encoder.encode(frame, &mut packet).unwrap();
        let samples = if index % lost_every == lost_every - 1 {
            decoder.conceal(&mut decoded[..480]);
            480
        } else {
            decoder.decode(&packet[..length], &mut decoded).unwrap()
        };
        heard.extend_from_slice(&decoded[..samples]);
    }
    heard
}

/// One fixture in `every` after the codec.
#[track_caller]
fn check_codec(every: usize, bitrate_bps: u32, max_bandwidth: MaxBandwidth, lost_every: usize, least: f32) {
    for expected in fixtures().iter().step_by(every) {
        let pcm = recording(&[&silence(300), &expected.pcm, &silence(300)]);
        let ranked = rank(&through_opus(&pcm, bitrate_bps, max_bandwidth, lost_every), fixtures());
        let (best, others) = ranked.split_first().unwrap();
        assert_eq!(best.name, expected.name);
        assert!(best.correlation >= least, "{best:?}");
        let worst = others.iter().max_by(|a, b| a.correlation.total_cmp(&b.correlation)).unwrap();
        assert!(worst.correlation < 0.8 && worst.score < 0.8, "{}: {worst:?}", expected.name);
    }
}

#[test]
fn opus_at_telephone_rates_keeps_what_is_recognised() {
    check_codec(1, 20_000, MaxBandwidth::Wideband, usize::MAX, 0.98);
    check_codec(3, 12_000, MaxBandwidth::Narrowband, usize::MAX, 0.95);
}

/// Root mean square of each frame of 20 ms.
fn levels(pcm: &[i16]) -> Vec<f32> {
    let level = |frame: &[i16]| (frame.iter().map(|s| f32::from(*s).powi(2)).sum::<f32>() / frame.len() as f32).sqrt();
    pcm.chunks_exact(480).map(level).collect()
}

/// libopus 1.6.1 at complexity 4 and 5 made 40 ms of "shop-location" four times as loud as spoken.
#[test]
fn no_frame_comes_out_much_louder_than_it_went_in() {
    let speech = fixtures().iter().find(|fixture| fixture.name == "shop-location").unwrap();
    let pcm = recording(&[&silence(300), &speech.pcm, &silence(300)]);
    let spoken = levels(&pcm);
    for (complexity, fec) in COMPLEXITIES.iter().flat_map(|&complexity| [(complexity, false), (complexity, true)]) {
        let settings = EncoderSettings {
            complexity,
            fec,
            expected_loss_percent: 10 * u8::from(fec),
            ..EncoderSettings::default()
        };
        let heard = levels(&encoded(&pcm, settings, usize::MAX));
        for (index, level) in heard.iter().enumerate() {
            // The codec looks ahead, so a frame comes out up to two later.
            let loudest = spoken[index.saturating_sub(2)..=index].iter().fold(0.0_f32, |a, b| a.max(*b));
            assert!(
                *level <= 2.0 * loudest + 600.0,
                "complexity {complexity}, frame {index}: {loudest} became {level}"
            );
        }
    }
}

#[test]
fn lost_packets_cost_correlation_and_not_the_name() {
    check_codec(3, 20_000, MaxBandwidth::Wideband, 20, 0.9);
}
