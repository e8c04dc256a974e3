//! A detector of clicks and splices, and proof that it finds them.

use crate::common::{encode, speech};
use std::f64::consts::TAU;
use voicebridge_audio::opus::{COMPLEXITIES, Decoder, Encoder, EncoderSettings};

/// 5 ms.
const WINDOW: usize = 120;

/// Loudest 5 ms of what lies above speech's steady part, against the median, in dB. A splice of a steady tone puts energy
/// at all frequencies; a tone has none there.
pub(crate) fn click_db(pcm: &[i16]) -> f64 {
    // Two differences and again two: everything below 3 kHz is down by more than 20 dB.
    let high = |index: usize| {
        let at = |back: usize| f64::from(pcm[index - back]);
        at(0) - 4.0 * at(1) + 6.0 * at(2) - 4.0 * at(3) + at(4)
    };
    let mut energies: Vec<f64> = (4..pcm.len() - WINDOW)
        .step_by(WINDOW)
        .map(|begin| (begin..begin + WINDOW).map(|index| high(index).powi(2)).sum::<f64>() + 1.0)
        .collect();
    energies.sort_by(f64::total_cmp);
    let (loudest, median) = (energies[energies.len() - 1], energies[energies.len() / 2]);
    10.0 * (loudest / median).log10()
}

/// A steady chord well within the voice band.
pub(crate) fn chord(ms: usize) -> Vec<i16> {
    (0..ms * 24)
        .map(|index| {
            let t = index as f64 / 24_000.0;
            let voice: f64 = [250.0, 510.0, 770.0].iter().map(|hz| (TAU * hz * t).sin()).sum();
            (voice * 4_000.0) as i16
        })
        .collect()
}

#[test]
fn a_splice_is_heard() {
    let clean = chord(2_000);
    assert!(click_db(&clean) < 2.0, "{}", click_db(&clean));
    for cut in [1, 5, 24, 100] {
        let mut spliced = clean.clone();
        spliced.drain(20_000..20_000 + cut);
        assert!(click_db(&spliced) > 6.0, "{cut} samples missing: {:.1} dB", click_db(&spliced));
        let mut doubled = clean.clone();
        doubled.splice(20_000..20_000, clean[20_000 - cut..20_000].to_vec());
        assert!(click_db(&doubled) > 6.0, "{cut} samples twice: {:.1} dB", click_db(&doubled));
    }
}

/// Encodes with the complexity of each frame by its number.
fn coded(pcm: &[i16], complexity: impl Fn(usize) -> u8) -> Vec<i16> {
    let mut settings = EncoderSettings { complexity: complexity(0), ..EncoderSettings::default() };
    let (mut encoder, mut decoder) = (Encoder::new(settings).unwrap(), Decoder::new().unwrap());
    let (mut payload, mut frame) = ([0; 1_500], [0; 480]);
    let mut heard = Vec::new();
    for (index, pcm) in pcm.chunks_exact(480).enumerate() {
        if complexity(index) != settings.complexity {
            settings.complexity = complexity(index);
            encoder.apply(settings).unwrap();
        }
        let bytes = encoder.encode(pcm, &mut payload).unwrap();
        decoder.decode(&payload[..bytes], &mut frame).unwrap();
        heard.extend_from_slice(&frame);
    }
    heard
}

/// Changing the complexity at frame borders is not heard: the coded sound has no more energy where clicks have theirs
/// than at the constant complexities it changes between.
#[test]
fn changes_of_complexity_do_not_click() {
    for pcm in [chord(6_000), speech(6_000)] {
        let settled = |pcm: Vec<i16>| click_db(&pcm[24_000..]);
        let constant = COMPLEXITIES.map(|level| settled(coded(&pcm, |_| level))).into_iter().fold(f64::MIN, f64::max);
        for (name, every) in [("every frame", 1), ("every 100 ms", 5), ("every second", 50)] {
            let jumping = settled(coded(&pcm, |index| if index / every % 2 == 0 { 0 } else { 10 }));
            let stepping = settled(coded(&pcm, |index| COMPLEXITIES[index / every % COMPLEXITIES.len()]));
            let worst = jumping.max(stepping);
            assert!(worst < constant + 3.0, "{name}: {worst:.1} dB against {constant:.1} dB");
        }
    }
}

/// And so is switching FEC on and off.
#[test]
fn changes_of_protection_do_not_click() {
    let pcm = speech(6_000);
    let packets = |fec: fn(usize) -> bool| {
        let mut settings = EncoderSettings::default();
        let (mut encoder, mut decoder) = (Encoder::new(settings).unwrap(), Decoder::new().unwrap());
        let (mut payload, mut frame) = ([0; 1_500], [0; 480]);
        let mut heard = Vec::new();
        for (index, pcm) in pcm.chunks_exact(480).enumerate() {
            settings =
                EncoderSettings { fec: fec(index), expected_loss_percent: if fec(index) { 10 } else { 0 }, ..settings };
            encoder.apply(settings).unwrap();
            let bytes = encoder.encode(pcm, &mut payload).unwrap();
            decoder.decode(&payload[..bytes], &mut frame).unwrap();
            heard.extend_from_slice(&frame);
        }
        click_db(&heard[24_000..])
    };
    let constant = packets(|_| false).max(packets(|_| true));
    let switching = packets(|index| index / 25 % 2 == 0);
    assert!(switching < constant + 3.0, "{switching:.1} dB against {constant:.1} dB");
}

/// What [`voicebridge_audio::protection`] advises makes libopus add FEC at the bit rate WhatsApp asks for; less does not.
#[test]
fn the_lowest_level_of_protection_is_enough() {
    let pcm = speech(4_000);
    let protected = |expected_loss_percent| {
        let settings = EncoderSettings { fec: true, expected_loss_percent, ..EncoderSettings::default() };
        let packets = encode(&pcm, 20, settings);
        let carry = |packet: &&Vec<u8>| voicebridge_audio::opus::Packet::parse(packet).unwrap().carries_fec();
        packets.iter().filter(carry).count() * 100 / packets.len()
    };
    for percent in [10, 15, 20, 25] {
        assert!(protected(percent) > 80, "{percent} %: {} % of packets", protected(percent));
    }
}
