//! Voice activity: what is speech, what is not, and when.

use std::{f64::consts::TAU, path::Path};

use crate::common::{Numbers, encode, speech};
use voicebridge_audio::{
    g711::Law,
    level::rms_dbfs,
    opus::{Decoder, EncoderSettings, MAX_PACKET_SAMPLES},
    resample::Downsampler,
    vad::{Vad, VadEvent, VadSettings},
};

/// Samples of a millisecond at 24 kHz.
const MS: usize = 24;

/// Brings audio to a level.
fn at_dbfs(pcm: &[i16], dbfs: f32) -> Vec<i16> {
    let gain = 10f32.powf((dbfs - rms_dbfs(pcm)) / 20.0);
    pcm.iter().map(|&sample| (f32::from(sample) * gain).clamp(-32_768.0, 32_767.0) as i16).collect()
}

fn noise(ms: usize, dbfs: f32) -> Vec<i16> {
    let mut numbers = Numbers::new(3);
    let white: Vec<i16> = (0..ms * MS).map(|_| numbers.below(20_000) as i16 - 10_000).collect();
    at_dbfs(&white, dbfs)
}

/// Noise of a room or a road: more of the low than of the high.
fn rumble(ms: usize, dbfs: f32) -> Vec<i16> {
    let mut slow = 0.0;
    let low: Vec<i16> = noise(ms, -12.0)
        .iter()
        .map(|&white| {
            slow = slow * 0.9 + f64::from(white) * 0.2;
            slow as i16
        })
        .collect();
    at_dbfs(&low, dbfs)
}

fn tone(ms: usize, hertz: &[f64]) -> Vec<i16> {
    let at = |index: usize| hertz.iter().map(|hz| (TAU * hz * index as f64 / 24_000.0).sin()).sum::<f64>();
    (0..ms * MS).map(|index| (at(index) * 5_000.0) as i16).collect()
}

/// Adds `what` into `pcm` from `at_ms` on.
fn mix(pcm: &mut [i16], at_ms: usize, what: &[i16]) {
    for (to, from) in pcm[at_ms * MS..].iter_mut().zip(what) {
        *to = to.saturating_add(*from);
    }
}

fn events(pcm: &[i16], piece: usize) -> Vec<VadEvent> {
    let mut vad = Vad::new(VadSettings::default());
    let events = pcm.chunks(piece).filter_map(|piece| vad.push(piece)).collect();
    assert_eq!(vad.elapsed_ms(), (pcm.len() / 384 * 16) as u64);
    events
}

/// What callers and agents say in five languages, 24 kHz.
fn fixtures() -> Vec<(String, Vec<i16>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/simulator/fixtures");
    let index = std::fs::read_to_string(folder.join("fixtures.tsv")).unwrap();
    let rows = index.lines().skip(1).map(|row| {
        let mut columns = row.split('\t');
        let (name, language) = (columns.next().unwrap(), columns.next().unwrap());
        let mut wav = hound::WavReader::open(folder.join(language).join(name).with_extension("wav")).unwrap();
        (format!("{language}/{name}"), wav.samples().map(Result::unwrap).collect())
    });
    rows.collect()
}

/// What the uplink makes of it when it comes as 20 kbit/s Opus.
fn through_opus(pcm: &[i16]) -> Vec<i16> {
    let mut decoder = Decoder::new().unwrap();
    let mut out = [0; MAX_PACKET_SAMPLES];
    let decoded = encode(pcm, 20, EncoderSettings::default()).into_iter().flat_map(|packet| {
        let samples = decoder.decode(&packet, &mut out).unwrap();
        out[..samples].to_vec()
    });
    decoded.collect()
}

/// 8 kHz, as G.711 carries it.
fn through_g711(pcm: &[i16]) -> Vec<i16> {
    let (mut narrow, mut downsampler) = (Vec::new(), Downsampler::default());
    downsampler.push(pcm, &mut |block| narrow.extend(block.map(|sample| Law::A.decode(Law::A.encode(sample)))));
    narrow
}

/// When the caller was heard for 200 ms, milliseconds from the first audible sound on; and how long in all.
fn heard(mut vad: Vad, pcm: &[i16], ms: usize) -> (Option<u64>, u64) {
    const QUIET_MS: u64 = 1_000;
    let mut all = vec![0; QUIET_MS as usize * ms];
    all.extend_from_slice(pcm);
    all.resize(all.len() + 600 * ms, 0);
    let (mut began, mut sustained, mut longest) = (None, None, 0);
    for (index, piece) in all.chunks(20 * ms).enumerate() {
        let now_ms = (index as u64 + 1) * 20;
        if rms_dbfs(piece) > -42.0 {
            began.get_or_insert(now_ms - 20);
        }
        vad.push(piece);
        longest = longest.max(vad.voiced_ms());
        if vad.voiced_ms() >= 200 {
            sustained.get_or_insert(now_ms - began.expect("nothing is heard before it is audible"));
        }
    }
    (sustained, longest)
}

#[test]
fn speech_of_every_language_is_found_within_the_hold() {
    // A pause begins when the provider reports a start, a tenth of a second after it at the soonest, and lasts 300 ms.
    const LATEST_MS: u64 = 400;
    let settings = VadSettings { prefix_ms: 0, silence_ms: 300, ..VadSettings::default() };
    let mut ways: [(&str, Vec<u64>); 3] = [("as recorded", vec![]), ("opus", vec![]), ("g711", vec![])];
    for (name, pcm) in fixtures() {
        let runs = [
            heard(Vad::new(settings), &pcm, 24),
            heard(Vad::new(settings), &through_opus(&pcm), 24),
            heard(Vad::narrow(settings), &through_g711(&pcm), 8),
        ];
        for ((way, delays), (sustained, voiced_ms)) in ways.iter_mut().zip(runs) {
            let delay_ms = sustained.unwrap_or_else(|| panic!("{name}, {way}: not heard"));
            assert!(delay_ms <= LATEST_MS, "{name}, {way}: after {delay_ms} ms");
            assert!(voiced_ms >= 400, "{name}, {way}: {voiced_ms} ms of voice");
            delays.push(delay_ms);
        }
    }
    for (way, mut delays) in ways {
        assert!(delays.len() > 20, "recordings");
        delays.sort_unstable();
        let (median, ninth) = (delays[delays.len() / 2], delays[delays.len() * 9 / 10]);
        println!("{way}: median {median} ms, nine of ten {ninth} ms, all {:?} ms", delays.last());
        assert!(median <= 260 && ninth <= 320, "{way}: {delays:?}");
    }
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
        assert!((4_350..=4_650).contains(&to), "{speech_dbfs} in {noise_dbfs} dBFS ends at {to}");
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
    let check = |name: &str, pcm: &[i16]| {
        assert_eq!(events(pcm, 480), [], "{name}");
        let coded = through_opus(pcm);
        assert_eq!(events(&coded, 480), [], "{name}, through opus");
        let mut narrow = Vad::narrow(VadSettings::default());
        assert!(through_g711(pcm).chunks(160).all(|piece| narrow.push(piece).is_none()), "{name}, through g711");
    };
    check("digital silence", &[0; 24_000 * 5]);
    for dbfs in [-60.0, -50.0, -40.0, -30.0, -20.0, -10.0] {
        check(&format!("noise at {dbfs} dBFS"), &noise(5_000, dbfs));
    }
    for dbfs in [-60.0, -50.0, -40.0, -30.0] {
        check(&format!("rumble at {dbfs} dBFS"), &rumble(5_000, dbfs));
    }
    for (name, hertz) in [
        ("key 1", &[697.0, 1_209.0][..]),
        ("key 5", &[770.0, 1_336.0]),
        ("key #", &[941.0, 1_477.0]),
        ("dial tone of Europe", &[425.0]),
        ("dial tone of America", &[350.0, 440.0]),
        ("ring tone of America", &[440.0, 480.0]),
        ("whistle", &[1_000.0]),
        ("chord", &[261.6, 329.6, 392.0]),
        ("chord of four", &[220.0, 277.2, 329.6, 440.0]),
    ] {
        check(&format!("{name}, long"), &tone(3_000, hertz));
        if name.starts_with("chord") {
            // Struck again and again it is music.
            continue;
        }
        let mut pcm = noise(3_000, -65.0);
        (0..12).for_each(|index| mix(&mut pcm, 200 + index * 200, &tone(100, hertz)));
        check(&format!("{name}, 100 ms on and off"), &pcm);
    }
    for ms in [1, 5, 20] {
        let mut click = noise(3_000, -65.0);
        mix(&mut click, 1_000, &noise(ms, -8.0));
        check(&format!("a click of {ms} ms"), &click);
    }
    let mut syllable = noise(3_000, -60.0);
    mix(&mut syllable, 1_000, &at_dbfs(&speech(1_000), -20.0)[..20 * MS]);
    check("20 ms of a voice", &syllable);
    let mut knocks = noise(4_000, -65.0);
    for index in 0..12_usize {
        let fade = |at: usize| (-(at as f32) / (8.0 * MS as f32)).exp();
        let knock: Vec<i16> =
            noise(60, -6.0).iter().enumerate().map(|(at, &each)| (f32::from(each) * fade(at)) as i16).collect();
        mix(&mut knocks, 300 + index * 250, &knock);
    }
    check("typing", &knocks);
}

#[test]
fn a_tone_against_which_somebody_speaks_does_not_count_as_voice() {
    let mut vad = Vad::new(VadSettings::default());
    let mut push = |pcm: &[i16]| {
        pcm.chunks(480).for_each(|piece| {
            vad.push(piece);
        });
        vad.voiced_ms()
    };
    assert_eq!(push(&tone(5_000, &[425.0])), 0);
    let mut both = tone(400, &[425.0]);
    mix(&mut both, 0, &at_dbfs(&speech(400), -10.0));
    let voiced_ms = push(&both);
    assert!((1..=720).contains(&voiced_ms), "{voiced_ms} ms, not the five seconds before");
    assert_eq!(push(&tone(1_500, &[425.0])), 0, "the tone goes on alone");
}

#[test]
fn two_utterances_and_a_short_pause() {
    let utterance = at_dbfs(&speech(1_000), -20.0);
    let mut pcm = vec![0; MS * 6_000];
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
    for piece in [1, 100, 240, 384, 960, 11_520] {
        assert_eq!(events(&pcm, piece), expect, "pieces of {piece}");
    }
}

#[test]
fn a_long_quiet_costs_no_speech() {
    let check = |quiet_ms: usize| {
        let mut pcm = vec![0; quiet_ms * MS];
        pcm.extend(at_dbfs(&speech(1_000), -20.0));
        match events(&pcm, 480)[..] {
            [VadEvent::Started { at_ms }] => at_ms as i64 - quiet_ms as i64,
            ref other => panic!("{other:?}"),
        }
    };
    let soon = check(480);
    // The network was left alone meanwhile.
    assert!(check(9_600).abs_diff(soon) <= 16 && check(96_000).abs_diff(soon) <= 16);
}

#[test]
fn only_voice_counts_as_voiced() {
    let mut vad = Vad::new(VadSettings { silence_ms: 300, ..VadSettings::default() });
    let mut push = |pcm: &[i16]| {
        pcm.chunks(480).for_each(|piece| {
            vad.push(piece);
        });
        vad.voiced_ms()
    };
    let voice = at_dbfs(&speech(2_000), -20.0);
    assert_eq!(push(&noise(1_008, -60.0)), 0);
    let first = push(&voice[..400 * MS]);
    assert!((300..=400).contains(&first), "{first}");
    // The network looks back over 48 ms.
    let paused = push(&noise(200, -60.0));
    assert!((first..=first + 64).contains(&paused), "a pause counts for nothing: {paused}");
    let second = push(&voice[400 * MS..800 * MS]);
    assert!((paused + 300..=paused + 400).contains(&second), "{second}");
    assert_eq!(push(&noise(600, -60.0)), 0, "over");
}
