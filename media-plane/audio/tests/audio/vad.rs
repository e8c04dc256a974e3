//! Voice activity: what is speech, what is not, and when.

use crate::common::{Numbers, speech};
use voicebridge_audio::{
    level::rms_dbfs,
    vad::{Vad, VadEvent, VadSettings},
};

/// Brings audio to a level.
fn at_dbfs(pcm: &[i16], dbfs: f32) -> Vec<i16> {
    let gain = 10f32.powf((dbfs - rms_dbfs(pcm)) / 20.0);
    pcm.iter().map(|&sample| (f32::from(sample) * gain).clamp(-32_768.0, 32_767.0) as i16).collect()
}

fn noise(ms: usize, dbfs: f32) -> Vec<i16> {
    let mut numbers = Numbers::new(3);
    let white: Vec<i16> = (0..ms * 24).map(|_| numbers.below(20_000) as i16 - 10_000).collect();
    at_dbfs(&white, dbfs)
}

/// Adds `what` into `pcm` from `at_ms` on.
fn mix(pcm: &mut [i16], at_ms: usize, what: &[i16]) {
    for (to, from) in pcm[at_ms * 24..].iter_mut().zip(what) {
        *to = to.saturating_add(*from);
    }
}

fn events(pcm: &[i16], piece: usize) -> Vec<VadEvent> {
    let mut vad = Vad::new(VadSettings::default());
    let events = pcm.chunks(piece).filter_map(|piece| vad.push(piece)).collect();
    assert_eq!(vad.elapsed_ms(), (pcm.len() / 240 * 10) as u64);
    events
}

#[test]
fn speech_at_any_usual_level_is_found_in_any_usual_noise() {
    let check = |speech_dbfs: f32, noise_dbfs: f32| {
        let mut pcm = noise(6_000, noise_dbfs);
        mix(&mut pcm, 2_000, &at_dbfs(&speech(2_000), speech_dbfs));
        let found = events(&pcm, 480);
        let [VadEvent::Started { at_ms: from }, VadEvent::Stopped { at_ms: to }] = found[..] else {
            panic!("{speech_dbfs} in {noise_dbfs} dBFS: {found:?}");
        };
        assert!((1_650..=1_850).contains(&from), "{speech_dbfs} in {noise_dbfs} dBFS begins at {from}");
        assert!((4_350..=4_600).contains(&to), "{speech_dbfs} in {noise_dbfs} dBFS ends at {to}");
    };
    for speech_dbfs in [-10.0, -20.0, -30.0] {
        for noise_dbfs in [-96.0, -75.0, -60.0] {
            check(speech_dbfs, noise_dbfs);
        }
    }
    check(-15.0, -45.0);
}

#[test]
fn what_is_not_speech() {
    let check = |name: &str, pcm: &[i16]| assert_eq!(events(pcm, 480), [], "{name}");
    check("digital silence", &[0; 24_000 * 5]);
    check("faint noise", &noise(5_000, -60.0));
    check("line noise", &noise(5_000, -50.0));
    let mut click = noise(3_000, -60.0);
    mix(&mut click, 1_000, &at_dbfs(&speech(1_000), -20.0)[..20 * 24]);
    check("a click of 20 ms", &click);
}

#[test]
fn steady_noise_is_learned() {
    let found = events(&noise(20_000, -38.0), 480);
    assert!(matches!(found[..], [] | [VadEvent::Started { .. }, VadEvent::Stopped { .. }]), "{found:?}");
}

#[test]
fn two_utterances_and_a_short_pause() {
    let utterance = at_dbfs(&speech(1_000), -20.0);
    let mut pcm = vec![0; 24 * 6_000];
    mix(&mut pcm, 500, &utterance);
    mix(&mut pcm, 1_800, &utterance);
    mix(&mut pcm, 4_000, &utterance);
    let found = events(&pcm, 480);
    let kinds: Vec<bool> = found.iter().map(|event| matches!(event, VadEvent::Started { .. })).collect();
    assert_eq!(kinds, [true, false, true, false], "300 ms are a pause, 1200 ms an end: {found:?}");
}

#[test]
fn the_size_of_the_pieces_does_not_matter() {
    let mut pcm = noise(4_000, -60.0);
    mix(&mut pcm, 1_000, &at_dbfs(&speech(1_500), -20.0));
    let expect = events(&pcm, 480);
    assert_eq!(expect.len(), 2);
    for piece in [1, 100, 240, 960, 12_000] {
        assert_eq!(events(&pcm, piece), expect, "pieces of {piece}");
    }
}

#[test]
fn only_what_is_loud_counts_as_voiced() {
    let mut vad = Vad::new(VadSettings::default());
    let mut push = |pcm: &[i16]| {
        pcm.chunks(480).for_each(|piece| {
            vad.push(piece);
        });
        vad.voiced_ms()
    };
    let loud = at_dbfs(&noise(100, -20.0), -20.0);
    assert_eq!(push(&noise(1_000, -60.0)), 0);
    assert_eq!(push(&loud), 100);
    assert_eq!(push(&noise(200, -60.0)), 100, "a pause counts for nothing");
    assert_eq!(push(&loud), 200);
    assert_eq!(push(&noise(600, -60.0)), 0, "over");
}
