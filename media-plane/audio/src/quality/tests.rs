//! Tables of the model, and of causes for what was measured.

use super::*;
use crate::g711::Law;

fn near(got: f32, expect: f32, tolerance: f32, what: &str) {
    assert!((got - expect).abs() <= tolerance, "{what}: {got} instead of {expect}");
}

#[test]
fn scores_of_ratings() {
    // G.107, annex B, table B.1 (R 90, 80, 70, 60, 50), stretched to the wideband scale.
    for (narrow, expect) in [(90.0, 4.34), (80.0, 4.03), (70.0, 3.60), (60.0, 3.10), (50.0, 2.58)] {
        near(mos(narrow * 1.29), expect, 0.01, "mos");
    }
    assert_eq!((mos(-5.0), mos(0.0), mos(129.0), mos(500.0)), (1.0, 1.0, 4.5, 4.5));
    let scores: Vec<f32> = (0..=129).map(|rating| mos(rating as f32)).collect();
    assert!(scores.iter().all(|score| (1.0..=4.5).contains(score)));
    assert!(scores[15..].windows(2).all(|pair| pair[1] >= pair[0]));
}

#[test]
fn delay() {
    // G.107 by hand: X = 0, 0.585, 1, 1.322, 2, 3.
    for (ms, expect) in
        [(0.0, 0.0), (100.0, 0.0), (150.0, 0.16), (200.0, 3.04), (250.0, 8.9), (400.0, 24.1), (800.0, 40.9)]
    {
        near(emodel::delay_impairment(ms), expect, 0.15, "delay");
    }
}

#[test]
fn codecs_and_loss() {
    let check = |codec: Codec, kbps: u32, loss: f32, expect: f32| {
        let got = Impairment::of(codec, kbps * 1_000).with_loss(loss);
        near(got, expect, 0.1, &format!("{codec:?} {kbps} kbit/s, {loss} %"));
    };
    check(Codec::Opus, 6, 0.0, 28.4);
    check(Codec::Opus, 12, 0.0, 23.3);
    check(Codec::Opus, 20, 0.0, 10.0);
    check(Codec::Opus, 22, 0.0, 9.0);
    check(Codec::Opus, 64, 0.0, 6.0);
    check(Codec::Opus, 20, 16.9, 52.5);
    check(Codec::Opus, 20, 1.0, 14.75);
    check(Codec::Opus, 20, 5.0, 29.4);
    check(Codec::G711(Law::A), 64, 0.0, 35.8);
    check(Codec::G711(Law::Mu), 64, 25.1, 65.4);
}

const UP: Measured = Measured::clean(Direction::Uplink, Codec::Opus, 5_000);
const DOWN: Measured = Measured::clean(Direction::Downlink, Codec::Opus, 5_000);

fn words(measured: &Measured) -> String {
    assess(measured).cause.map_or_else(String::new, |cause| cause.to_string())
}

#[test]
fn nothing_wrong_is_good_and_has_no_cause() {
    for measured in [UP, DOWN] {
        let quality = assess(&measured);
        assert!(quality.mos > 4.3, "{quality:?}");
        assert_eq!((quality.cause, quality.cause_points), (None, 0.0));
        // A usual call: 60 ms round trip, a little jitter, a short prefill.
        let usual = Measured { round_trip_ms: Some(60), jitter_ms: 5, buffer_ms: 20, ..measured };
        assert!(assess(&usual).mos > 4.3 && words(&usual).is_empty());
    }
    let narrow = assess(&Measured { codec: Codec::G711(Law::Mu), ..UP });
    near(narrow.mos, 3.7, 0.05, "G.711");
    assert_eq!(narrow.cause, Some(Cause::NarrowBand));
}

#[test]
fn causes_in_words() {
    let check = |measured: Measured, expect: &str| assert_eq!(words(&measured), expect, "{measured:?}");
    check(Measured { loss_percent: 8.0, missing_ms: Some(400), ..UP }, "relay to us lost 8.0 %");
    check(Measured { loss_percent: 12.3, ..DOWN }, "us to relay lost 12 %");
    check(
        Measured { loss_percent: 1.0, missing_ms: Some(600), jitter_ms: 70, ..UP },
        "relay to us arrived unevenly, jitter 70 ms",
    );
    check(Measured { jitter_ms: 120, round_trip_ms: Some(80), ..DOWN }, "us to relay arrived unevenly, jitter 120 ms");
    check(Measured { round_trip_ms: Some(600), ..UP }, "round trip to the relay took 600 ms");
    check(Measured { buffer_ms: 400, round_trip_ms: Some(60), ..DOWN }, "playout was held back 400 ms");
    check(Measured { buffer_ms: 400, ..UP }, "caller's audio was held back 400 ms");
    check(Measured { underruns: 3, underrun_ms: 500, ..DOWN }, "playout underran 3 times, 500 ms silent");
    check(Measured { underruns: 1, underrun_ms: 500, ..DOWN }, "playout underran once, 500 ms silent");
    check(Measured { provider_late_ms: 1_900, ..DOWN }, "model answered 1.9 s late");
    // The worst is named.
    check(Measured { loss_percent: 2.0, provider_late_ms: 4_000, ..DOWN }, "model answered 4.0 s late");
    check(Measured { loss_percent: 20.0, provider_late_ms: 1_000, ..DOWN }, "us to relay lost 20 %");
    // What FEC repaired is no cause.
    check(Measured { loss_percent: 3.0, missing_ms: Some(15), fec: true, ..UP }, "");
    check(Measured { loss_percent: 1.0, fec: true, ..DOWN }, "");
}

#[test]
fn lateness_of_the_model_does_not_lower_the_score() {
    let late = assess(&Measured { provider_late_ms: 60_000, ..DOWN });
    assert_eq!(late.mos, assess(&DOWN).mos);
    assert_eq!(late.cause_points, 60.0);
}

#[test]
fn more_trouble_is_never_better() {
    let worse = |change: fn(&mut Measured, u32)| {
        for start in [UP, DOWN, Measured { missing_ms: Some(0), ..UP }, Measured { fec: true, ..DOWN }] {
            let scores: Vec<f32> = (0..=20)
                .map(|step| {
                    let mut measured = start;
                    change(&mut measured, step);
                    assess(&measured).mos
                })
                .collect();
            assert!(scores.windows(2).all(|pair| pair[1] <= pair[0]), "{scores:?}");
        }
    };
    worse(|measured, step| measured.loss_percent = step as f32 * 4.0);
    worse(|measured, step| measured.missing_ms = Some(u64::from(step) * 200));
    worse(|measured, step| measured.round_trip_ms = Some(step * 100));
    worse(|measured, step| measured.jitter_ms = step * 20);
    worse(|measured, step| measured.buffer_ms = step * 50);
    worse(|measured, step| measured.underrun_ms = u64::from(step) * 100);
}

#[test]
fn fec_and_what_is_known_to_be_missing_count() {
    let lossy = Measured { loss_percent: 10.0, ..DOWN };
    let protected = assess(&Measured { fec: true, ..lossy }).mos;
    assert!(protected > assess(&lossy).mos + 0.3);
    let bridged = assess(&Measured { loss_percent: 10.0, missing_ms: Some(100), ..UP }).mos;
    assert!(bridged > assess(&Measured { loss_percent: 10.0, missing_ms: Some(500), ..UP }).mos + 0.3);
}

#[test]
fn senseless_numbers_give_a_score() {
    for loss_percent in [f32::NAN, f32::INFINITY, -3.0, 1e30] {
        let quality = assess(&Measured {
            loss_percent,
            period_ms: 0,
            missing_ms: Some(u64::MAX),
            underrun_ms: u64::MAX,
            round_trip_ms: Some(u32::MAX),
            jitter_ms: u32::MAX,
            buffer_ms: u32::MAX,
            provider_late_ms: u32::MAX,
            bitrate_bps: 0,
            ..DOWN
        });
        assert!((1.0..=4.5).contains(&quality.mos) && quality.rating >= 0.0, "{quality:?}");
    }
}

#[test]
fn the_worse_direction_names_the_cause() {
    let lossy = assess(&Measured { loss_percent: 8.0, missing_ms: Some(400), ..UP });
    let late = assess(&Measured { provider_late_ms: 1_000, ..DOWN });
    assert_eq!(dominant([&lossy, &late]), lossy.cause.as_ref());
    assert_eq!(dominant([&late, &lossy]), lossy.cause.as_ref());
    let clean = assess(&DOWN);
    assert_eq!(dominant([&clean, &clean]), None);
    let narrow = assess(&Measured { codec: Codec::G711(Law::A), ..DOWN });
    assert_eq!(dominant([&narrow, &late]), late.cause.as_ref());
    assert_eq!(dominant([&narrow, &clean]), Some(&Cause::NarrowBand));
}
