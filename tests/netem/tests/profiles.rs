//! Every mechanism does over many packets what its parameters say, and the same again from the same seed.
#![allow(clippy::unwrap_used)]

use std::time::Duration;
use voicebridge_netem::{
    Distribution, Fate, GilbertElliott, Jitter, Link, Loss, MAX_IN_FLIGHT, Profile, ProfileError, Reorder, Wire,
};

const PACKETS: u64 = 200_000;
const PTIME: Duration = Duration::from_millis(20);

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn sent(index: u64) -> Duration {
    PTIME * index as u32
}

fn fates(profile: Profile, seed: u64) -> (Vec<Fate>, Link) {
    let mut link = Link::new(profile, seed).unwrap();
    let fates = (0..PACKETS).map(|index| link.send(sent(index))).collect();
    (fates, link)
}

fn lost_share(fates: &[Fate]) -> f64 {
    fates.iter().filter(|fate| fate.arrives.is_none()).count() as f64 / fates.len() as f64
}

/// Delays beyond `base`, milliseconds, in order.
fn delays_ms(fates: &[Fate], base: Duration) -> Vec<f64> {
    let delay =
        |(index, fate): (usize, &Fate)| Some((fate.arrives? - sent(index as u64) - base).as_secs_f64() * 1_000.0);
    let mut delays: Vec<f64> = fates.iter().enumerate().filter_map(delay).collect();
    delays.sort_by(f64::total_cmp);
    delays
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[test]
fn a_clean_network_changes_nothing() {
    let (fates, link) = fates(Profile::CLEAN, 1);
    assert!(
        fates.iter().enumerate().all(|(index, fate)| *fate == Fate { arrives: Some(sent(index as u64)), copy: None })
    );
    assert_eq!(link.statistics().sent, PACKETS);
    assert_eq!((link.statistics().lost, link.statistics().overtook, link.statistics().duplicated), (0, 0, 0));
}

#[test]
fn random_loss_is_independent() {
    for loss in [0.01, 0.05, 0.3] {
        let (fates, link) = fates(Profile { loss: Loss::Random(loss), ..Profile::CLEAN }, 2);
        let share = lost_share(&fates);
        let sigma = (loss * (1.0 - loss) / PACKETS as f64).sqrt();
        assert!((share - loss).abs() < 4.0 * sigma, "{share} of {loss}");
        assert_eq!(link.statistics().lost as f64 / PACKETS as f64, share);
        // After a loss, the next packet is lost as often as any.
        let pairs: Vec<_> = fates.windows(2).filter(|pair| pair[0].arrives.is_none()).collect();
        let after = pairs.iter().filter(|pair| pair[1].arrives.is_none()).count() as f64 / pairs.len() as f64;
        assert!((after - loss).abs() < 4.0 * (loss * (1.0 - loss) / pairs.len() as f64).sqrt(), "{after} after a loss");
    }
}

#[test]
fn bursts_have_their_share_and_length() {
    for (loss, burst) in [(0.1, 4.0), (0.03, 10.0), (0.2, 1.5)] {
        let model = GilbertElliott::bursts(loss, burst).unwrap();
        let (fates, _) = fates(Profile { loss: Loss::Bursty(model), ..Profile::CLEAN }, 3);
        let share = lost_share(&fates);
        assert!((share - loss).abs() < 0.06 * loss, "{share} of {loss}");
        let begins = fates.windows(2).filter(|pair| pair[0].arrives.is_some() && pair[1].arrives.is_none()).count();
        let length = share * PACKETS as f64 / begins as f64;
        assert!((length - burst).abs() < 0.05 * burst, "bursts of {length}, not {burst}");
    }
}

#[test]
fn both_states_of_the_full_model_lose() {
    let model = GilbertElliott { worsen: 0.02, recover: 0.2, good_loss: 0.01, bad_loss: 0.5 };
    let (fates, _) = fates(Profile { loss: Loss::Bursty(model), ..Profile::CLEAN }, 4);
    let share = lost_share(&fates);
    assert!((share - model.mean_loss()).abs() < 0.05 * model.mean_loss(), "{share} of {}", model.mean_loss());
}

#[test]
fn uniform_jitter_is_even_and_overtakes() {
    let profile = Profile { delay: ms(40), jitter: Jitter::uniform(ms(30)), ..Profile::CLEAN };
    let (fates, link) = fates(profile, 5);
    let delays = delays_ms(&fates, ms(40));
    assert!(delays[0] >= 0.0 && delays[delays.len() - 1] < 30.0);
    assert!((mean(&delays) - 15.0).abs() < 0.1, "{}", mean(&delays));
    for percent in [10, 50, 90] {
        let at = delays[delays.len() * percent / 100];
        assert!((at - 0.3 * percent as f64).abs() < 0.3, "{percent} %: {at}");
    }
    // The next one is 20 ms later: it overtakes when drawn at least 20 ms less, (1/3)^2 / 2 of all.
    let share = link.statistics().overtook as f64 / PACKETS as f64;
    assert!((share - 1.0 / 18.0).abs() < 0.003, "{share}");
}

#[test]
fn exponential_jitter_has_its_percentile_and_its_end() {
    let jitter = Jitter { spread: ms(30), distribution: Distribution::Exponential, keeps_order: false };
    let (fates, _) = fates(Profile { jitter, ..Profile::CLEAN }, 6);
    let delays = delays_ms(&fates, Duration::ZERO);
    let at = |share: f64| delays[(delays.len() as f64 * share) as usize];
    assert!((at(0.95) - 30.0).abs() < 0.6, "{}", at(0.95));
    assert!((at(0.5) - 30.0 * 2_f64.ln() / 20_f64.ln()).abs() < 0.2, "{}", at(0.5));
    assert_eq!(delays[delays.len() - 1], 60.0);
}

#[test]
fn a_queue_keeps_order() {
    let profile = Profile { jitter: Jitter::uniform(ms(90)).in_order(), ..Profile::CLEAN };
    let (fates, link) = fates(profile, 7);
    assert!(fates.windows(2).all(|pair| pair[0].arrives <= pair[1].arrives));
    assert_eq!(link.statistics().overtook, 0);
}

#[test]
fn reordering_holds_back_its_share() {
    for jitter in [Jitter::NONE, Jitter::NONE.in_order()] {
        let reorder = Reorder { share: 0.1, held_back: ms(25) };
        let (fates, link) = fates(Profile { jitter, reorder: Some(reorder), ..Profile::CLEAN }, 8);
        let held = delays_ms(&fates, Duration::ZERO).iter().filter(|&&delay| delay == 25.0).count() as f64;
        assert!((held / PACKETS as f64 - 0.1).abs() < 0.003);
        assert!(jitter.keeps_order || link.statistics().overtook > 0);
        let overtaken = fates.windows(2).filter(|pair| pair[0].arrives > pair[1].arrives).count() as f64;
        // Unless the next one is held back as well.
        assert!((overtaken / PACKETS as f64 - 0.09).abs() < 0.003);
    }
}

#[test]
fn duplicates_come_after_their_originals() {
    let profile = Profile { duplicate: 0.05, jitter: Jitter::uniform(ms(10)), ..Profile::CLEAN };
    let (fates, link) = fates(profile, 9);
    let copies = fates.iter().filter(|fate| fate.copy.is_some()).count() as f64;
    assert!((copies / PACKETS as f64 - 0.05).abs() < 0.002);
    assert_eq!(link.statistics().duplicated as f64, copies);
    assert!(fates.iter().all(|fate| fate.copy.is_none_or(|copy| Some(copy) >= fate.arrives)));
}

#[test]
fn drift_stretches_the_senders_time() {
    for (drift_ppm, after_ms) in [(200, -799.996), (-200, 799.996), (0, 0.0)] {
        let (fates, _) = fates(Profile { drift_ppm, ..Profile::CLEAN }, 10);
        let last = fates.last().unwrap().arrives.unwrap().as_secs_f64() * 1_000.0;
        let moved = last - (PACKETS - 1) as f64 * 20.0;
        assert!((moved - after_ms).abs() < 0.001, "{drift_ppm} ppm: {moved} ms");
    }
}

#[test]
fn the_same_seed_is_the_same_network() {
    let everything = Profile {
        loss: Loss::Bursty(GilbertElliott::bursts(0.1, 3.0).unwrap()),
        delay: ms(50),
        jitter: Jitter::uniform(ms(30)),
        reorder: Some(Reorder { share: 0.02, held_back: ms(30) }),
        duplicate: 0.01,
        drift_ppm: 80,
    };
    assert_eq!(fates(everything, 11).0, fates(everything, 11).0);
    assert_ne!(fates(everything, 11).0, fates(everything, 12).0);
    // What is lost does not depend on how long the rest takes.
    let lost = |profile: Profile| fates(profile, 11).0.iter().map(|fate| fate.arrives.is_none()).collect::<Vec<_>>();
    assert_eq!(lost(everything), lost(Profile { loss: everything.loss, ..Profile::CLEAN }));
}

#[test]
fn a_wire_delivers_in_order_of_arrival() {
    let profile = Profile { jitter: Jitter::uniform(ms(70)), duplicate: 0.2, ..Profile::CLEAN };
    let mut wire = Wire::new(profile, 13).unwrap();
    let (mut before, mut delivered) = (Duration::ZERO, 0_u64);
    for index in 0..5_000 {
        wire.send(sent(index), index);
        assert!(wire.take(before).is_none_or(|(arrived, _)| arrived <= before));
        while let Some((arrived, packet)) = wire.take(sent(index + 1)) {
            assert!(arrived >= before && arrived >= sent(packet) && arrived <= sent(index + 1));
            (before, delivered) = (arrived, delivered + 1);
        }
        assert!(wire.due().is_none_or(|due| due > sent(index + 1)));
    }
    while wire.take(ms(1_000_000)).is_some() {
        delivered += 1;
    }
    assert_eq!(delivered, 5_000 + wire.statistics().duplicated);
    assert_eq!(wire.overflowed(), 0);
}

#[test]
fn a_full_wire_loses_what_comes() {
    let mut wire = Wire::new(Profile { delay: ms(5_000), ..Profile::CLEAN }, 14).unwrap();
    for index in 0..MAX_IN_FLIGHT as u64 + 7 {
        wire.send(Duration::ZERO, index);
    }
    assert_eq!(wire.overflowed(), 7);
    let arrived = std::iter::from_fn(|| wire.take(ms(5_000))).map(|(_, packet)| packet);
    assert!(arrived.eq(0..MAX_IN_FLIGHT as u64), "in the order they were sent");
}

#[test]
fn impossible_networks_are_refused() {
    let check = |profile: Profile, error: ProfileError| assert_eq!(Link::new(profile, 0).unwrap_err(), error);
    let clean = Profile::CLEAN;
    check(Profile { loss: Loss::Random(1.1), ..clean }, ProfileError::Probability { name: "loss" });
    check(Profile { duplicate: -0.1, ..clean }, ProfileError::Probability { name: "duplicate" });
    check(Profile { delay: ms(10_001), ..clean }, ProfileError::Delay { name: "delay" });
    check(Profile { jitter: Jitter::uniform(ms(10_001)), ..clean }, ProfileError::Delay { name: "jitter" });
    check(Profile { drift_ppm: -1_001, ..clean }, ProfileError::Drift);
    let reorder = Some(Reorder { share: f64::NAN, held_back: ms(1) });
    check(Profile { reorder, ..clean }, ProfileError::Probability { name: "reorder" });
    let model = GilbertElliott { worsen: 2.0, recover: 0.1, good_loss: 0.0, bad_loss: 1.0 };
    check(Profile { loss: Loss::Bursty(model), ..clean }, ProfileError::Probability { name: "worsen" });
}
