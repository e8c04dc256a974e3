//! Playout: order, prefill, frames, ledger, underruns, interruption, bounds.

use crate::common::cases;
use proptest::prelude::*;
use std::{
    collections::BTreeMap,
    ops::{Deref, DerefMut},
    time::Duration,
};
use voicebridge_audio::{
    FRAME_SAMPLES, Time,
    playout::{EndedItem, Heard, MAX_ITEMS, Playout, PlayoutSettings, PlayoutSlot, QueueFull},
};

/// Playout with the clock that drives it.
struct Driven {
    playout: Playout,
    now: Time,
}

impl Driven {
    fn new(settings: PlayoutSettings) -> Self {
        Self { playout: Playout::new(settings), now: Time::ZERO }
    }

    fn push(&mut self, item: &str, pcm: &[i16]) -> Result<(), QueueFull> {
        self.playout.push(self.now, item, pcm)
    }
}

impl Deref for Driven {
    type Target = Playout;

    fn deref(&self) -> &Playout {
        &self.playout
    }
}

impl DerefMut for Driven {
    fn deref_mut(&mut self) -> &mut Playout {
        &mut self.playout
    }
}

fn playout() -> Driven {
    Driven::new(PlayoutSettings::default())
}

/// A slot, and the 20 ms until the next.
fn tick(playout: &mut Driven) -> (PlayoutSlot, [i16; FRAME_SAMPLES]) {
    let mut out = [77; FRAME_SAMPLES];
    let slot = playout.playout.next_frame(playout.now, &mut out);
    playout.now += Duration::from_millis(20);
    if slot != PlayoutSlot::Frame {
        assert_eq!(out, [0; FRAME_SAMPLES], "{slot:?} is silence");
    }
    (slot, out)
}

fn cut(item: &str, heard_samples: u64, received_samples: u64) -> EndedItem {
    EndedItem { item: item.to_owned(), heard_samples, received_samples }
}

#[test]
fn a_reply_plays_from_its_prefill_to_its_end() {
    let mut playout = playout();
    assert!(playout.is_idle());
    assert_eq!(tick(&mut playout).0, PlayoutSlot::Idle);
    playout.push("a", &[1_000; 1_439]).unwrap();
    assert_eq!(tick(&mut playout).0, PlayoutSlot::Idle, "60 ms are not there yet");
    assert!(!playout.is_idle());
    playout.push("a", &[1_000; 101]).unwrap();
    for _ in 0..3 {
        assert_eq!(tick(&mut playout), (PlayoutSlot::Frame, [1_000; FRAME_SAMPLES]));
    }
    playout.finish("a");
    let heard = Heard { heard_samples: 1_440, received_samples: 1_540, finished: true };
    assert_eq!(playout.heard("a"), Some(heard));
    assert_eq!(playout.take_completed(), []);
    let (slot, frame) = tick(&mut playout);
    assert_eq!(slot, PlayoutSlot::Frame);
    assert_eq!((&frame[..100], &frame[100..]), (&[1_000; 100][..], &[0; 380][..]), "padded");
    assert_eq!(playout.take_completed(), [cut("a", 1_540, 1_540)]);
    assert_eq!(playout.take_completed(), []);
    assert_eq!(playout.heard("a"), Some(Heard { heard_samples: 1_540, ..heard }));
    assert!(playout.is_idle());
    assert_eq!(tick(&mut playout).0, PlayoutSlot::Idle);
    assert_eq!(playout.statistics().played_samples, 1_540);
    assert_eq!(playout.statistics().underruns, 0);
}

#[test]
fn a_finished_reply_does_not_wait_for_its_prefill() {
    let mut playout = playout();
    playout.push("a", &[5; 100]).unwrap();
    assert_eq!(tick(&mut playout).0, PlayoutSlot::Idle);
    playout.finish("a");
    assert_eq!(tick(&mut playout).0, PlayoutSlot::Frame);
    assert!(playout.is_idle());
}

#[test]
fn a_slow_reply_starts_after_a_bounded_wait() {
    let mut playout = playout();
    playout.push("a", &[5; 480]).unwrap();
    for waited in 0..10 {
        assert_eq!(tick(&mut playout).0, PlayoutSlot::Idle, "after {} ms", waited * 20);
    }
    assert_eq!(tick(&mut playout).0, PlayoutSlot::Frame);

    playout.flush();
    while tick(&mut playout).0 == PlayoutSlot::Frame {}
    playout.push("b", &[5; 479]).unwrap();
    for _ in 0..100 {
        assert_eq!(tick(&mut playout).0, PlayoutSlot::Idle, "less than a frame is never begun");
    }
    assert_eq!(playout.statistics().underruns, 0);
}

#[test]
fn items_play_in_order_and_never_share_a_frame() {
    let mut playout = playout();
    playout.push("a", &[1; 500]).unwrap();
    playout.push("b", &[2; 500]).unwrap();
    playout.push("a", &[1; 40]).unwrap();
    assert_eq!(playout.current(), Some("a"));
    let mut check = |expect: PlayoutSlot, value: i16, count: usize| {
        let (slot, frame) = tick(&mut playout);
        assert_eq!(slot, expect);
        assert!(
            frame[..count].iter().all(|&sample| sample == value) && frame[count..].iter().all(|&sample| sample == 0)
        );
    };
    check(PlayoutSlot::Frame, 1, 480);
    // That b has begun to arrive says that a is over.
    check(PlayoutSlot::Frame, 1, 60);
    check(PlayoutSlot::Idle, 0, 0);
    assert_eq!(playout.take_completed(), [cut("a", 540, 540)]);
    assert_eq!(playout.current(), Some("b"));
    playout.finish("b");
    assert_eq!(tick(&mut playout), (PlayoutSlot::Frame, [2; FRAME_SAMPLES]));
    assert_eq!(tick(&mut playout).0, PlayoutSlot::Frame);
    assert_eq!(playout.take_completed(), [cut("b", 500, 500)]);
}

#[test]
fn an_item_finished_when_all_of_it_was_played_is_completed_at_once() {
    let mut playout = playout();
    playout.push("a", &[1; 1_440]).unwrap();
    for _ in 0..3 {
        assert_eq!(tick(&mut playout).0, PlayoutSlot::Frame);
    }
    assert!(!playout.is_idle(), "more may come");
    playout.finish("a");
    assert!(playout.is_idle());
    assert_eq!(playout.take_completed(), [cut("a", 1_440, 1_440)]);
    playout.finish("a");
    playout.finish("never pushed");
    assert_eq!(playout.take_completed(), []);
    assert_eq!(playout.heard("never pushed"), None);
}

#[test]
fn an_underrun_is_counted_once_and_leaves_no_wait() {
    let mut playout = playout();
    playout.push("a", &[8_000; 1_600]).unwrap();
    for _ in 0..3 {
        tick(&mut playout);
    }
    let (slot, fade) = tick(&mut playout);
    assert_eq!(slot, PlayoutSlot::Frame, "what was playing fades out");
    assert!(fade[0] > 7_900 && fade[..120].windows(2).all(|pair| pair[1] <= pair[0]) && fade[119..] == [0; 361]);
    for _ in 0..5 {
        assert_eq!(tick(&mut playout).0, PlayoutSlot::Underrun);
    }
    assert_eq!(playout.statistics().underruns, 1);
    assert_eq!(playout.heard("a").unwrap().heard_samples, 1_440, "the remainder of less than a frame is kept");
    playout.push("a", &[8_000; 800]).unwrap();
    let (slot, rise) = tick(&mut playout);
    assert_eq!(slot, PlayoutSlot::Frame, "at once, without a new prefill");
    assert!(rise[0] < 100 && rise[..120].windows(2).all(|pair| pair[1] >= pair[0]) && rise[120..] == [8_000; 360]);
    assert_eq!(tick(&mut playout), (PlayoutSlot::Frame, [8_000; FRAME_SAMPLES]));
    assert_eq!(playout.heard("a").unwrap().heard_samples, 2_400);
    assert_eq!(tick(&mut playout).0, PlayoutSlot::Frame);
    assert_eq!(playout.statistics().underruns, 2);
}

#[test]
fn an_interruption_stops_at_once_without_a_click() {
    let mut playout = playout();
    playout.push("a", &[8_000; 4_800]).unwrap();
    playout.push("b", &[8_000; 480]).unwrap();
    for _ in 0..4 {
        tick(&mut playout);
    }
    assert_eq!(playout.flush(), [cut("a", 1_920, 4_800), cut("b", 0, 480)]);
    assert!(!playout.is_idle(), "the fade is still to be sent");
    let (slot, fade) = tick(&mut playout);
    assert_eq!(slot, PlayoutSlot::Frame);
    assert!(fade.windows(2).all(|pair| pair[1] <= pair[0]), "no step down to the fade or within");
    assert!(fade[0] > 7_900 && fade[119..] == [0; 361], "over within 5 ms");
    assert!(playout.is_idle());
    assert_eq!(tick(&mut playout).0, PlayoutSlot::Idle);
    assert_eq!(playout.heard("a").unwrap().heard_samples, 1_920, "the fade counts as not heard");
    assert_eq!(playout.heard("b"), Some(Heard { heard_samples: 0, received_samples: 480, finished: true }));
    assert_eq!(playout.take_completed(), [], "cut is not completed");
    assert_eq!(playout.flush(), [], "nothing was queued");
    assert_eq!(tick(&mut playout).0, PlayoutSlot::Idle, "and nothing fades twice");
}

#[test]
fn a_pause_loses_and_repeats_nothing_and_does_not_click() {
    let pcm: Vec<i16> = (0..FRAME_SAMPLES as i16 * 8).map(|index| 8_000 + index).collect();
    let mut playout = playout();
    playout.push("a", &pcm).unwrap();
    playout.finish("a");
    let mut heard = Vec::new();
    for _ in 0..2 {
        heard.extend(tick(&mut playout).1);
    }
    playout.pause();
    playout.pause();
    let (slot, fade) = tick(&mut playout);
    assert_eq!(slot, PlayoutSlot::Frame);
    assert!(fade[0] > 8_000 && fade[120..] == [0; 360], "fades within 5 ms");
    assert!(fade.windows(2).all(|pair| pair[1] <= pair[0] && pair[0] - pair[1] < 100), "evenly");
    for _ in 0..20 {
        assert_eq!(tick(&mut playout).0, PlayoutSlot::Idle);
        assert!(!playout.is_idle());
    }
    assert_eq!(playout.heard("a").unwrap().heard_samples, 2 * FRAME_SAMPLES as u64);
    playout.resume();
    let first = tick(&mut playout).1;
    assert!(first[0].abs() < 100 && first[..120].windows(2).all(|pair| pair[1] - pair[0] < 100), "rises evenly");
    assert_eq!(first[120..], pcm[2 * FRAME_SAMPLES + 120..3 * FRAME_SAMPLES], "from the very next sample");
    heard.extend(&pcm[2 * FRAME_SAMPLES..3 * FRAME_SAMPLES]);
    for _ in 0..5 {
        heard.extend(tick(&mut playout).1);
    }
    assert_eq!(heard, pcm);
    assert_eq!(playout.take_completed(), [cut("a", pcm.len() as u64, pcm.len() as u64)]);
    assert_eq!(playout.statistics().underruns, 0);
}

#[test]
fn what_is_flushed_in_a_pause_ends_where_the_pause_began() {
    let mut playout = playout();
    playout.push("a", &[9_000; 4_800]).unwrap();
    tick(&mut playout);
    playout.pause();
    tick(&mut playout);
    tick(&mut playout);
    assert_eq!(playout.flush(), [cut("a", 480, 4_800)]);
    assert_eq!(tick(&mut playout).0, PlayoutSlot::Idle, "faded out already");
    playout.push("b", &[9_000; 4_800]).unwrap();
    assert_eq!(tick(&mut playout), (PlayoutSlot::Frame, [9_000; FRAME_SAMPLES]), "no pause is left, nor a fade");
}

#[test]
fn a_reply_after_an_interruption_starts_on_its_own() {
    let mut playout = playout();
    playout.push("a", &[8_000; 4_800]).unwrap();
    tick(&mut playout);
    playout.flush();
    playout.push("b", &[-8_000; 1_440]).unwrap();
    let (_, fade) = tick(&mut playout);
    assert!(fade.iter().all(|&sample| sample >= 0), "the fade has its frame for itself");
    assert_eq!(tick(&mut playout), (PlayoutSlot::Frame, [-8_000; FRAME_SAMPLES]));
}

#[test]
fn what_was_not_playing_needs_no_fade() {
    let mut playout = playout();
    playout.push("a", &[8_000; 1_000]).unwrap();
    assert_eq!(tick(&mut playout).0, PlayoutSlot::Idle);
    assert_eq!(playout.flush(), [cut("a", 0, 1_000)]);
    assert_eq!(tick(&mut playout).0, PlayoutSlot::Idle);
}

#[test]
fn full_queues_refuse_and_keep_what_they_have() {
    let mut playout = Driven::new(PlayoutSettings { max_bytes: 2_000, ..PlayoutSettings::default() });
    playout.push("a", &[1; 900]).unwrap();
    let full = QueueFull::Bytes { queued: 1_800, offered: 202, limit: 2_000 };
    assert_eq!(playout.push("a", &[1; 101]), Err(full));
    assert_eq!(playout.push("b", &[1; 101]), Err(full));
    playout.push("a", &[1; 100]).unwrap();
    assert_eq!(playout.heard("a").unwrap().received_samples, 1_000);
    assert_eq!(playout.heard("b"), None, "a refused push leaves no item");
    assert_eq!(playout.statistics().refused, 2);
    playout.finish("a");
    assert_eq!(tick(&mut playout).0, PlayoutSlot::Frame);
    playout.push("b", &[1; 480]).unwrap();

    let mut playout = self::playout();
    for index in 0..MAX_ITEMS {
        playout.push(&index.to_string(), &[1; 10]).unwrap();
    }
    assert_eq!(playout.push("more", &[1; 10]), Err(QueueFull::Items));
    playout.push("0", &[1; 10]).unwrap();
}

#[test]
fn the_past_is_forgotten_in_bounds() {
    let mut playout = playout();
    for index in 0..1_000 {
        let item = index.to_string();
        playout.push(&item, &[1; 10]).unwrap();
        playout.finish(&item);
        assert_eq!(tick(&mut playout).0, PlayoutSlot::Frame);
    }
    assert_eq!(playout.heard("900"), None);
    assert!(playout.heard("999").is_some());
    assert_eq!(playout.take_completed().len(), 64);
}

#[derive(Clone, Debug)]
enum Step {
    Push { item: usize, samples: usize },
    Finish(usize),
    Ticks(usize),
    Flush,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0usize..5, 1usize..3_000).prop_map(|(item, samples)| Step::Push { item, samples }),
        1 => (0usize..5).prop_map(Step::Finish),
        6 => (1usize..8).prop_map(Step::Ticks),
        1 => Just(Step::Flush),
    ]
}

proptest! {
    #![proptest_config(cases(300, "proptest-regressions/playout.txt"))]

    /// Every sample pushed is played once and in order, or cut by an interruption; nothing else is ever played.
    #[test]
    fn the_ledger_adds_up(steps in prop::collection::vec(step(), 1..120)) {
        let mut playout = playout();
        // Samples carry their item and a count, so that a frame tells where it comes from.
        let mut round = 0;
        let mut pushed: BTreeMap<String, u64> = BTreeMap::new();
        let mut ended: BTreeMap<String, EndedItem> = BTreeMap::new();
        let mut finished: Vec<String> = Vec::new();
        let mut played = 0;
        let mut fading = false;
        for step in steps {
            match step {
                Step::Push { item, samples } => {
                    let id = format!("{round}-{item}");
                    if finished.contains(&id) || ended.contains_key(&id) {
                        continue;
                    }
                    let value = (round % 100 * 10 + item as i16 + 1) * 16;
                    if playout.push(&id, &vec![value; samples]).is_ok() {
                        *pushed.entry(id).or_default() += samples as u64;
                    }
                }
                Step::Finish(item) => {
                    let id = format!("{round}-{item}");
                    playout.finish(&id);
                    finished.push(id);
                }
                Step::Ticks(count) => for _ in 0..count {
                    let before = playout.statistics();
                    let (slot, frame) = tick(&mut playout);
                    let after = playout.statistics();
                    let taken = after.played_samples - before.played_samples;
                    played += taken;
                    prop_assert!(taken <= FRAME_SAMPLES as u64);
                    prop_assert!(slot == PlayoutSlot::Frame || taken == 0);
                    if taken > 0 {
                        // One value in the steady part, zero behind the end: never two items.
                        let steady = &frame[..taken as usize];
                        let last = steady[steady.len() - 1];
                        prop_assert!(steady.iter().all(|&sample| sample.abs() <= last.abs() || taken <= 120));
                        prop_assert!(frame[taken as usize..].iter().all(|&sample| sample == 0));
                    } else if slot == PlayoutSlot::Frame {
                        prop_assert!(fading || after.underruns > before.underruns, "a frame without audio is a fade");
                    }
                    fading = false;
                },
                Step::Flush => {
                    let cuts = playout.flush();
                    let heard: u64 = cuts.iter().skip(1).map(|cut| cut.heard_samples).sum();
                    prop_assert_eq!(heard, 0, "only the first can have been heard");
                    for cut in cuts {
                        prop_assert!(ended.insert(cut.item.clone(), cut).is_none());
                    }
                    fading = true;
                    round += 1;
                }
            }
            for cut in playout.take_completed() {
                prop_assert_eq!(cut.heard_samples, cut.received_samples);
                prop_assert!(ended.insert(cut.item.clone(), cut).is_none());
            }
            let mut sum = 0;
            for (id, &samples) in &pushed {
                let heard = match ended.get(id) {
                    Some(cut) => (cut.heard_samples, cut.received_samples),
                    None => {
                        let heard = playout.heard(id).expect("an item pushed and not over is known");
                        (heard.heard_samples, heard.received_samples)
                    }
                };
                prop_assert!(heard.0 <= heard.1);
                prop_assert_eq!(heard.1, samples);
                sum += heard.0;
            }
            prop_assert_eq!(sum, played);
        }
    }
}
