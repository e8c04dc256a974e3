//! The codec seam: G.711 through the uplink and out again, beside Opus.

use crate::common::{Numbers, Recorder, correlation, speech};
use voicebridge_audio::{
    FRAME_SAMPLES, Time,
    codec::{Codec, Encoder},
    g711::{Decoder, Law},
    level::rms_dbfs,
    opus::{EncoderSettings, MAX_PAYLOAD_BYTES, OpusError},
    uplink::{FrameSource, Uplink},
};

const CODECS: [Codec; 3] = [Codec::Opus, Codec::G711(Law::Mu), Codec::G711(Law::A)];

fn encode(codec: Codec, pcm: &[i16]) -> Vec<Vec<u8>> {
    let mut encoder = Encoder::new(codec, EncoderSettings::default()).unwrap();
    let mut out = [0; MAX_PAYLOAD_BYTES];
    let frames = pcm.as_chunks::<FRAME_SAMPLES>().0;
    frames.iter().map(|frame| encoder.encode(frame, &mut out).map(|bytes| out[..bytes].to_vec()).unwrap()).collect()
}

/// Packets at their own time, 20 ms each, but for those `lost`; polled every 5 ms.
fn run(mut uplink: Uplink, codec: Codec, packets: &[Vec<u8>], lost: impl Fn(usize) -> bool) -> (Uplink, Recorder) {
    let mut recorder = Recorder::default();
    let units = codec.frame_rtp_units();
    // The timestamps wrap on the way.
    let first = 0u32.wrapping_sub(units * 30);
    uplink.start(Time::ZERO);
    for (index, packet) in packets.iter().enumerate() {
        for part in 0..4 {
            let now = Time::from_millis(index as u64 * 20 + part * 5);
            if part == 0 && !lost(index) {
                let timestamp = first.wrapping_add(index as u32 * units);
                uplink.receive(now, index as u16, timestamp, packet, &mut |frame| recorder.take_any(frame));
            }
            uplink.poll(now, &mut |frame| recorder.take_any(frame));
        }
    }
    (uplink, recorder)
}

/// The best correlation within 30 ms of delay: codecs and resamplers have some.
fn likeness(said: &[i16], heard: &[i16]) -> f64 {
    let length = said.len().min(heard.len()) - 720;
    (0..720).step_by(4).map(|lag| correlation(&said[..length], &heard[lag..lag + length])).fold(f64::MIN, f64::max)
}

#[test]
fn every_codec_carries_speech_both_ways() {
    let said = speech(3_000);
    for codec in CODECS {
        let packets = encode(codec, &said);
        let bytes = packets.iter().map(Vec::len).max();
        assert!(codec == Codec::Opus || bytes == Some(160), "{codec:?}: {bytes:?} bytes");
        let (uplink, recorder) = run(Uplink::with_codec(codec).unwrap(), codec, &packets, |_| false);
        assert_eq!(recorder.samples(), said.len(), "{codec:?}: to the sample");
        let likeness = likeness(&said, &recorder.pcm);
        let least = if codec == Codec::Opus { 0.85 } else { 0.97 };
        assert!(likeness > least, "{codec:?}: {likeness:.3}");
        let statistics = uplink.statistics();
        assert_eq!((statistics.received_ms, statistics.concealed_ms, statistics.silence_ms), (3_000, 0, 0));
        assert_eq!(statistics.jitter_ms, 0, "{codec:?}: timestamps are those of its clock");
    }
}

#[test]
fn loss_in_g711_is_bridged_in_its_place() {
    let said = speech(4_000);
    for law in [Law::Mu, Law::A] {
        let codec = Codec::G711(law);
        let packets = encode(codec, &said);
        let lost = |index: usize| index % 10 == 5 || (100..108).contains(&index);
        let (uplink, recorder) = run(Uplink::with_codec(codec).unwrap(), codec, &packets, lost);
        assert_eq!(recorder.samples(), said.len());
        let statistics = uplink.statistics();
        // Of the eight in a row with one more before or behind, the first 100 ms are made up and the rest is silence.
        assert_eq!(statistics.packets_lost, 27);
        assert_eq!(statistics.received_ms, (200 - 27) * 20);
        assert_eq!(statistics.concealed_ms + statistics.silence_ms, 27 * 20);
        assert_eq!(statistics.silence_ms, 60);
        assert_eq!(statistics.recovered_ms, 0);
        let likeness = likeness(&said, &recorder.pcm);
        assert!(likeness > 0.80, "{law:?}: everything else is where it belongs: {likeness:.3}");
        let concealed = recorder.of(FrameSource::Concealed) as u64 / 24;
        assert_eq!(concealed, statistics.concealed_ms, "marked to the sample");
    }
}

/// What is made up resembles what was said, the more so the shorter it is, and is as loud.
#[test]
fn concealment_of_g711_resembles_what_was_lost() {
    let packets = encode(Codec::G711(Law::A), &speech(4_000));
    let mut whole = Decoder::new(Law::A);
    let mut truth = vec![0; packets.len() * 160];
    packets.iter().zip(truth.chunks_mut(160)).for_each(|(packet, pcm)| assert_eq!(whole.decode(packet, pcm), 160));
    let mut decoder = Decoder::new(Law::A);
    let (mut half, mut full) = (Vec::new(), Vec::new());
    for (index, (packet, said)) in packets.iter().zip(truth.chunks(160)).enumerate() {
        let mut pcm = [0; 160];
        if index % 10 != 5 {
            decoder.decode(packet, &mut pcm);
            continue;
        }
        decoder.conceal(&mut pcm);
        half.push(correlation(&pcm[..80], &said[..80]));
        full.push(correlation(&pcm, said));
        assert!((rms_dbfs(&pcm) - rms_dbfs(said)).abs() < 5.0, "as loud");
    }
    let median = |values: &mut Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let (half, full) = (median(&mut half), median(&mut full));
    assert!(half > 0.9 && full > 0.7, "{half:.2} over 10 ms, {full:.2} over 20 ms");
}

#[test]
fn native_g711_passes_through_byte_by_byte() {
    for law in [Law::Mu, Law::A] {
        let codec = Codec::G711(law);
        let packets = encode(codec, &speech(2_000));
        let (_, recorder) = run(Uplink::native(codec).unwrap(), codec, &packets, |_| false);
        let sent: Vec<u8> = packets.concat();
        // The mu-law has a negative zero, which 16 bits have not.
        let sent: Vec<u8> = sent.iter().map(|&byte| law.encode(law.decode(byte))).collect();
        let again: Vec<u8> = recorder.pcm.iter().map(|&sample| law.encode(sample)).collect();
        // From the second packet on: the first rises from silence.
        assert!(again.len() == sent.len() && again[160..] == sent[160..], "{law:?}");
    }
}

#[test]
fn g711_packets_of_any_usual_length() {
    let codec = Codec::G711(Law::Mu);
    let joined = encode(codec, &speech(2_400)).concat();
    for ptime_ms in [10, 20, 30, 40, 60, 120] {
        let mut uplink = Uplink::with_codec(codec).unwrap();
        let mut samples = 0;
        uplink.start(Time::ZERO);
        for (index, payload) in joined.chunks(ptime_ms * 8).enumerate() {
            let now = Time::from_millis((index * ptime_ms) as u64);
            uplink.receive(now, index as u16, (index * ptime_ms * 8) as u32, payload, &mut |frame| {
                samples += frame.pcm.len()
            });
        }
        assert_eq!(samples, 2_400 * 24, "{ptime_ms} ms");
        let too_long = vec![0xFF; 961];
        uplink.receive(Time::from_millis(2_400), 1_000, 0, &too_long, &mut |_| panic!("too long"));
        uplink.receive(Time::from_millis(2_400), 1_001, 0, &[], &mut |_| panic!("empty"));
        assert_eq!(uplink.statistics().packets_discarded, 2);
    }
}

#[test]
fn silence_is_one_payload() {
    for codec in CODECS {
        let payload = Encoder::silence(codec, EncoderSettings::default()).unwrap();
        let packets = vec![payload; 50];
        let (_, recorder) = run(Uplink::with_codec(codec).unwrap(), codec, &packets, |_| false);
        assert!(rms_dbfs(&recorder.pcm) < -70.0, "{codec:?}: {}", rms_dbfs(&recorder.pcm));
    }
    assert_eq!(Encoder::silence(Codec::G711(Law::Mu), EncoderSettings::default()).unwrap(), [0xFF; 160]);
    assert_eq!(Encoder::silence(Codec::G711(Law::A), EncoderSettings::default()).unwrap(), [0xD5; 160]);
}

#[test]
fn a_reply_does_not_reach_into_the_next() {
    let codec = Codec::G711(Law::Mu);
    let mut encoder = Encoder::new(codec, EncoderSettings::default()).unwrap();
    let mut out = [0; 160];
    let mut frame = [0; FRAME_SAMPLES];
    frame.copy_from_slice(&speech(100)[960..1_440]);
    assert_eq!(encoder.encode(&frame, &mut out[..159]), Err(OpusError::OutputTooSmall { needed: 160, available: 159 }));
    encoder.encode(&frame, &mut out).unwrap();
    encoder.reset();
    encoder.encode(&[0; FRAME_SAMPLES], &mut out).unwrap();
    assert_eq!(out, [0xFF; 160]);
}

#[test]
fn any_bytes_are_g711() {
    let mut numbers = Numbers::new(11);
    for law in [Law::Mu, Law::A] {
        let packets: Vec<Vec<u8>> =
            (0..100).map(|_| (0..numbers.below(1_000)).map(|_| numbers.next() as u8).collect()).collect();
        let codec = Codec::G711(law);
        let (uplink, _) = run(Uplink::with_codec(codec).unwrap(), codec, &packets, |_| false);
        let statistics = uplink.statistics();
        assert!(statistics.packets_received > 0 && statistics.packets_discarded > 0);
    }
}
