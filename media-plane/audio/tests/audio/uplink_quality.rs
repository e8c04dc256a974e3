//! What the uplink promises on a bad network, in figures: drift, jitter, bursty loss.

use crate::{
    click::{chord, click_db},
    common::{Numbers, Recorder, encode, speech},
};
use std::time::Duration;
use voicebridge_audio::{
    Time,
    opus::{Decoder, EncoderSettings, MAX_PACKET_SAMPLES},
    uplink::{FrameSource, SpanKind, Uplink, UplinkStatistics},
};

/// A driver looks this often.
const POLL_US: u64 = 5_000;

/// A packet under way: when it comes, and its place in the stream.
type Arrival = (u64, u64);

/// What came of it: the audio, counters, and for every packet how long after its arrival its audio was forwarded.
struct Heard {
    recorder: Recorder,
    uplink: Uplink,
    waited_us: Vec<(u64, u64)>,
}

/// Feeds 20 ms packets by arrival, in microseconds; the audio of packet n ends at 20 (n + 1) ms of the stream.
fn listen(packets: &[Vec<u8>], mut arrivals: Vec<Arrival>) -> Heard {
    arrivals.sort_unstable();
    let end_us = arrivals.last().map_or(0, |&(at_us, _)| at_us) + POLL_US;
    let mut uplink = Uplink::new().unwrap();
    let mut recorder = Recorder::default();
    let mut due: Vec<Arrival> = Vec::new();
    let mut waited_us = Vec::new();
    let mut pending = arrivals.into_iter().peekable();
    uplink.start(Time::from_micros(pending.peek().map_or(0, |&(at_us, _)| at_us)));
    let mut polled_us = 0;
    while polled_us <= end_us {
        let next_us = pending.peek().map_or(u64::MAX, |&(at_us, _)| at_us).min(polled_us);
        let now = Time::from_micros(next_us);
        while let Some((at_us, index)) = pending.next_if(|&(at_us, _)| at_us <= next_us) {
            let timestamp = (u32::MAX - 7_777).wrapping_add((index as u32).wrapping_mul(960));
            let payload = &packets[index as usize % packets.len()];
            uplink.receive(now, index as u16, timestamp, payload, &mut |frame| recorder.take(frame));
            due.push((at_us, index));
        }
        uplink.poll(now, &mut |frame| recorder.take(frame));
        let forwarded = recorder.samples() as u64;
        due.retain(|&(at_us, index)| {
            let done = forwarded >= (index + 1) * 480;
            if done {
                waited_us.push((index, next_us - at_us));
            }
            !done
        });
        if next_us == polled_us {
            polled_us += POLL_US;
        }
    }
    Heard { recorder, uplink, waited_us }
}

fn percentile(values: &[(u64, u64)], percent: usize) -> u64 {
    let mut values: Vec<u64> = values.iter().map(|&(_, value)| value).collect();
    values.sort_unstable();
    values[(values.len() - 1) * percent / 100]
}

fn protected() -> EncoderSettings {
    EncoderSettings { fec: true, expected_loss_percent: 10, ..EncoderSettings::default() }
}

/// Thirty minutes of a sender whose clock is off by 200 ppm either way: what is forwarded is to the sample what decoding
/// the packets one by one gives, at once with every packet, and sounds as even as that.
#[test]
fn a_drifting_clock_is_not_heard() {
    const MINUTES: u64 = 30;
    let count = MINUTES * 60 * 50;
    let packets = encode(&chord(4_000), 20, EncoderSettings::default());
    let mut decoder = Decoder::new().unwrap();
    let mut pcm = [0; MAX_PACKET_SAMPLES];
    let mut truth = Vec::with_capacity(count as usize * 480);
    for index in 0..count as usize {
        let samples = decoder.decode(&packets[index % packets.len()], &mut pcm).unwrap();
        truth.extend_from_slice(&pcm[..samples]);
    }
    for ppm in [-200i64, 200] {
        let sent_us = |index: u64| ((index + 1) as i64 * 20_000 * (1_000_000 + ppm) / 1_000_000) as u64;
        let Heard { recorder, uplink, waited_us } =
            listen(&packets, (0..count).map(|index| (sent_us(index) + 30_000, index)).collect());
        assert!(waited_us.iter().all(|&(_, waited)| waited == 0), "{ppm} ppm: forwarded with its packet");
        assert_eq!(waited_us.len() as u64, count);
        assert_eq!(recorder.samples(), truth.len());
        // The first packet rises from silence.
        assert!(recorder.pcm[480..] == truth[480..], "{ppm} ppm: nothing spliced, invented or lost");
        let UplinkStatistics { received_ms, concealed_ms, silence_ms, reanchored, .. } = uplink.statistics();
        assert_eq!((received_ms, concealed_ms, silence_ms, reanchored), (count * 20, 0, 0, 0));
        // By the detector of clicks as well, where the packets repeat apart: that is where the sound itself has seams.
        for lap in recorder.pcm.chunks_exact(4_000 * 24).skip(1).step_by(40) {
            let even = click_db(&lap[2_400..]);
            assert!(even < 6.0, "{ppm} ppm: {even:.1} dB");
        }
    }
}

/// 30 ms of jitter reorder packets, and nothing is lost or invented from the first one on. What a packet waits for is
/// only those it overtook.
#[test]
fn thirty_milliseconds_of_jitter_cost_nothing() {
    let packets = encode(&speech(6_000), 20, protected());
    let mut all = Vec::new();
    for seed in 0..8 {
        let mut numbers = Numbers::new(seed);
        let arrivals: Vec<Arrival> = (0..3_000)
            .map(|index| (index * 20_000 + 50_000 + if index == 0 { 0 } else { numbers.below(30_000) }, index))
            .collect();
        let latest = |index: u64| arrivals[..=index as usize].iter().map(|&(at_us, _)| at_us).max();
        let Heard { recorder, uplink, waited_us } = listen(&packets, arrivals.clone());
        assert_eq!(recorder.samples(), 3_000 * 480);
        let statistics = uplink.statistics();
        let lost = (statistics.packets_lost, statistics.packets_late, statistics.packets_duplicate);
        assert_eq!(lost, (0, 0, 0), "seed {seed}");
        assert_eq!((statistics.concealed_ms, statistics.silence_ms), (0, 0), "seed {seed}");
        for &(index, waited) in &waited_us {
            let came = arrivals[index as usize].0;
            assert!(Some(came + waited) <= latest(index), "seed {seed}: packet {index} waited for more than its turn");
        }
        all.extend(waited_us);
    }
    assert_eq!(percentile(&all, 50), 0, "p50 beyond the network's own");
    assert!(percentile(&all, 99) <= 10_000, "p99 {} us", percentile(&all, 99));
}

/// Bursts: what is reported made up or missing is what was lost and not recovered, it is marked where it was lost, the
/// clock goes on, and the delay is back at its minimum within 200 ms of each loss.
#[test]
fn bursty_loss_is_reported_as_it_was() {
    let packets = encode(&speech(6_000), 20, protected());
    for seed in 0..8 {
        let mut numbers = Numbers::new(100 + seed);
        let (mut burst, mut lost) = (false, Vec::new());
        let mut arrivals: Vec<Arrival> = Vec::new();
        for index in 0..3_000 {
            // Gilbert: bursts of three packets in the mean, one packet in ten.
            burst = if burst { numbers.chance(67) } else { numbers.below(1_000) < 37 };
            if burst && (50..2_990).contains(&index) {
                lost.push(index);
            } else {
                let jitter = if index == 0 { 0 } else { numbers.below(30_000) };
                arrivals.push((index * 20_000 + 50_000 + jitter, index));
            }
        }
        let Heard { recorder, mut uplink, waited_us } = listen(&packets, arrivals.clone());
        assert!((240..420).contains(&lost.len()), "{} lost with seed {seed}", lost.len());
        let statistics = uplink.statistics();
        assert_eq!(recorder.samples(), 3_000 * 480, "seed {seed}: time is exact");
        assert_eq!(statistics.packets_lost, lost.len() as u64);
        let truth = lost.len() as u64 * 20 - statistics.recovered_ms;
        let reported = statistics.missing_ms;
        assert_eq!(reported, statistics.concealed_ms + statistics.silence_ms);
        assert!(reported.abs_diff(truth) * 10 <= truth, "seed {seed}: {reported} ms reported, {truth} ms lost");
        assert!(statistics.recovered_ms * 5 > lost.len() as u64 * 20, "FEC did its part");

        let mut marked = 0;
        while let Some(span) = uplink.next_span() {
            marked += span.samples / 24;
            assert_ne!(span.kind, SpanKind::Quiet, "seed {seed}: the sender was never quiet");
            let place = span.start_samples / 480..(span.start_samples + span.samples).div_ceil(480);
            let within = place.filter(|index| lost.binary_search(index).is_ok()).count() as u64;
            assert!(within * 480 * 2 >= span.samples, "seed {seed}: {span:?} is not where packets were lost");
        }
        assert_eq!(marked, reported, "seed {seed}");

        // Away from losses nothing waits beyond its turn.
        for &(index, waited) in &waited_us {
            let lossless = !(index.saturating_sub(10)..=index).any(|near| lost.binary_search(&near).is_ok());
            assert!(
                !lossless || waited <= 15_000,
                "seed {seed}: packet {index} waited {waited} us without a loss near"
            );
            assert!(waited <= 45_000, "seed {seed}: packet {index} waited {waited} us");
        }
        assert!(recorder.of(FrameSource::Received) > 0);
    }
}

/// The wall clock of the listener runs on during a burst however long it is, and no delay stays.
#[test]
fn an_outage_leaves_no_delay() {
    let packets = encode(&speech(6_000), 20, protected());
    for outage in [4, 10, 50, 200, 499] {
        let arrivals: Vec<Arrival> = (0..1_500)
            .filter(|index| !(500..500 + outage).contains(index))
            .map(|index| (index * 20_000, index))
            .collect();
        let Heard { recorder, uplink, waited_us } = listen(&packets, arrivals);
        assert_eq!(recorder.samples(), 1_500 * 480);
        assert!(waited_us.iter().all(|&(_, waited)| waited <= POLL_US), "{outage} packets");
        let statistics = uplink.statistics();
        assert_eq!(statistics.missing_ms + statistics.recovered_ms, outage * 20, "{outage} packets");
    }
}

/// A sender that was quiet for two and a half minutes comes back where its clock says, within what drift makes of that.
#[test]
fn drift_during_a_mute_loses_nothing() {
    let packets = encode(&speech(4_000), 20, EncoderSettings::default());
    for ppm in [-200i64, 200] {
        let mut uplink = Uplink::new().unwrap();
        let mut recorder = Recorder::default();
        uplink.start(Time::ZERO);
        let mut now = Time::ZERO;
        for (sequence, index) in (0..200u64).chain(7_500..7_700).enumerate() {
            let at = Time::from_micros(((index + 1) as i64 * 20_000 * (1_000_000 + ppm) / 1_000_000) as u64 + 20_000);
            while now + Duration::from_micros(POLL_US) < at {
                now += Duration::from_micros(POLL_US);
                uplink.poll(now, &mut |frame| recorder.take(frame));
            }
            let payload = &packets[index as usize % packets.len()];
            uplink.receive(at, sequence as u16, index as u32 * 960, payload, &mut |frame| recorder.take(frame));
        }
        let statistics = uplink.statistics();
        assert_eq!(
            (statistics.packets_received, statistics.packets_late),
            (400, 0),
            "{ppm} ppm over two and a half minutes"
        );
        assert_eq!(statistics.received_ms, 8_000);
        assert_eq!(recorder.samples(), 7_700 * 480);
        assert_eq!(statistics.missing_ms, 0);
    }
}
