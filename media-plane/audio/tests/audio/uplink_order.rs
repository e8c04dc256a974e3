//! The uplink through half a minute of trouble, with packets that tell where they belong: each holds one value of G.711,
//! which names its place. So order and place are seen in every sample of every case, and long cases are cheap.

use crate::{
    common::{Recorder, cases},
    network::Conditions,
};
use proptest::prelude::*;
use voicebridge_audio::{
    Time,
    codec::Codec,
    g711::Law,
    uplink::{FrameSource, MAX_REORDER_MS, Uplink},
};

const LAW: Law = Law::Mu;
/// Samples of a millisecond, and RTP units.
const MS: usize = 8;
const POLL_MS: u64 = 5;
const TROUBLE_MS: u64 = 30_000;
/// From its end until every packet must be forwarded at once again.
const RECOVERY_MS: u64 = 1_000;
const CALM_MS: u64 = 3_000;
/// Received audio blends into what stood for its predecessor for this long.
const BLEND: usize = 6 * MS;
/// Longest silence of the wall clock, beyond the network's own delay, before it goes on.
const MOST_WAIT_MS: u64 = 60 + 40 + 100 + MAX_REORDER_MS + POLL_MS;

/// Values repeat after 64 packets, far beyond the window in which any is waited for.
fn name_of(index: usize) -> u8 {
    0x88 + (index % 64) as u8
}

fn check(conditions: &Conditions) {
    let mut uplink = Uplink::native(Codec::G711(LAW)).unwrap();
    let mut recorder = Recorder::default();
    let mut anchor = None;
    let calm_from_ms = conditions.trouble_ms + conditions.max_delay_ms() + RECOVERY_MS;
    let slack_ms = conditions.max_delay_ms() + 2 * conditions.ptime_ms + MOST_WAIT_MS;
    let forwarded_ms =
        |recorder: &Recorder, anchor: Option<usize>| ((recorder.samples() - anchor.unwrap_or_default()) / MS) as u64;
    let arrivals = conditions.arrivals();
    let mut pending = arrivals.iter().peekable();
    let mut calm = 0;
    uplink.start(Time::ZERO);
    for now_ms in (0..=conditions.length_ms).step_by(POLL_MS as usize) {
        while let Some(arrival) = pending.next_if(|arrival| arrival.at_ms <= now_ms) {
            anchor.get_or_insert(recorder.samples());
            let now = Time::from_millis(arrival.at_ms.max(now_ms.saturating_sub(POLL_MS)));
            let units = conditions.ptime_ms as usize * MS;
            let timestamp = conditions.first_timestamp.wrapping_add((arrival.index * units) as u32);
            let payload = vec![name_of(arrival.index); units];
            uplink.receive(now, arrival.sequence, timestamp, &payload, &mut |frame| recorder.take_any(frame));
            if arrival.at_ms >= calm_from_ms {
                calm += 1;
                assert_eq!(forwarded_ms(&recorder, anchor), arrival.sent_ms, "at {} ms: not at once", arrival.at_ms);
            }
        }
        uplink.poll(Time::from_millis(now_ms), &mut |frame| recorder.take_any(frame));
        if anchor.is_some() {
            let media_ms = forwarded_ms(&recorder, anchor);
            assert!(media_ms <= now_ms, "time was invented: {media_ms} ms forwarded at {now_ms} ms");
            assert!(media_ms + slack_ms >= now_ms, "time was lost: {media_ms} ms forwarded at {now_ms} ms");
        }
    }
    assert!(calm as u64 >= 1_500 / conditions.ptime_ms, "{calm} packets came when it was calm");
    assert_eq!(uplink.statistics().reanchored, 0);

    let anchor = anchor.expect("the first packet always comes");
    let units = conditions.ptime_ms as usize * MS;
    let (mut settled, mut judged) = (0, 0);
    for (place, (&sample, &source)) in recorder.pcm[anchor..].iter().zip(&recorder.sources[anchor..]).enumerate() {
        settled = if source == FrameSource::Received { settled + 1 } else { 0 };
        if settled > BLEND {
            judged += 1;
            let expect = LAW.decode(name_of(place / units));
            assert_eq!(sample, expect, "at {} ms is what belongs elsewhere", place / MS);
        }
    }
    assert!(judged > CALM_MS as usize * MS / 2, "{judged} samples judged");
}

fn span(long: std::ops::Range<u64>) -> impl Strategy<Value = Option<(u64, u64)>> {
    prop::option::of((0..TROUBLE_MS - 5_000, long))
}

prop_compose! {
    /// Half a minute of anything that leaves the clock standing: nothing late by two seconds or ahead by ten.
    fn conditions()(
        seed in any::<u64>(),
        ptime_ms in prop::sample::select(vec![10u64, 20, 40, 60]),
        first_sequence in any::<u16>(),
        first_timestamp in any::<u32>(),
        delay_ms in 0u64..150,
        jitter_ms in prop_oneof![Just(0u64), 0u64..40, 0u64..300],
        loss_percent in prop_oneof![Just(0u64), 0u64..10, 0u64..60],
        duplicate_percent in 0u64..20,
        freeze in span(20..1_200),
        outage in span(20..4_000),
        pause in span(20..4_000),
        step in span(1..300),
    ) -> Conditions {
        let length_ms = (TROUBLE_MS + RECOVERY_MS + CALM_MS + 2_000).next_multiple_of(POLL_MS);
        Conditions {
            seed, ptime_ms, first_sequence, first_timestamp, delay_ms, jitter_ms, loss_percent, duplicate_percent,
            freeze, outage, pause, step, trouble_ms: TROUBLE_MS, length_ms,
        }
    }
}

proptest! {
    #![proptest_config(cases(48, "proptest-regressions/uplink_order.txt"))]

    #[test]
    fn half_a_minute_of_trouble_reorders_nothing_and_leaves_no_delay(conditions in conditions()) {
        check(&conditions);
    }
}
