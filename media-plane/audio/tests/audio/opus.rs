//! The codec: lengths, concealment, recovery, bad input.

use crate::common::{Numbers, correlation, encode, speech};
use proptest::prelude::*;
use voicebridge_audio::{
    level::rms_dbfs,
    opus::{Decoder, Encoder, EncoderSettings, MAX_PACKET_SAMPLES, MaxBandwidth, OpusError, Packet},
};

fn with_fec() -> EncoderSettings {
    EncoderSettings { fec: true, expected_loss_percent: 20, ..EncoderSettings::default() }
}

/// Samples by which decoded audio lags what was encoded, beyond the frame itself: 6.5 ms (libopus, `OPUS_GET_LOOKAHEAD`).
const LOOKAHEAD: usize = 156;

#[test]
fn frames_of_every_length_come_back() {
    let pcm = speech(1_200);
    let check = |samples: usize, bandwidth: MaxBandwidth| {
        let settings = EncoderSettings { max_bandwidth: bandwidth, bitrate_bps: 32_000, ..EncoderSettings::default() };
        let mut encoder = Encoder::new(settings).unwrap();
        let mut decoder = Decoder::new().unwrap();
        let mut packet = [0; 1_500];
        let mut decoded = vec![0; MAX_PACKET_SAMPLES];
        let mut heard = Vec::new();
        for frame in pcm.chunks_exact(samples) {
            let bytes = encoder.encode(frame, &mut packet).unwrap();
            assert_eq!(Packet::parse(&packet[..bytes]).unwrap().samples(), samples);
            assert_eq!(decoder.decode(&packet[..bytes], &mut decoded), Ok(samples));
            heard.extend_from_slice(&decoded[..samples]);
        }
        // The codec's bands have slightly different delays: look for the best within half a millisecond.
        let range = 4_800..24_000;
        let best = (LOOKAHEAD - 60..LOOKAHEAD + 60)
            .map(|lag| correlation(&pcm[range.clone()], &heard[range.start + lag..range.end + lag]))
            .fold(f64::MIN, f64::max);
        assert!(best > 0.8, "{samples} samples at {bandwidth:?}: {best:.3}");
    };
    for samples in [60, 120, 240, 480, 960, 1_440] {
        check(samples, MaxBandwidth::Wideband);
        check(samples, MaxBandwidth::Superwideband);
    }
}

/// Joins packets of one frame into one of several (RFC 6716, section 3.2.5, code 3, variable lengths).
fn join(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut packet = vec![frames[0][0] | 0b11, 0b1000_0000 | frames.len() as u8];
    for frame in &frames[..frames.len() - 1] {
        let length = frame.len() - 1;
        assert!(length < 252, "one byte of length is enough here");
        packet.push(length as u8);
    }
    frames.iter().for_each(|frame| packet.extend_from_slice(&frame[1..]));
    packet
}

#[test]
fn packets_of_several_frames() {
    let packets = encode(&speech(600), 20, with_fec());
    for count in 2..=6 {
        let packet = join(&packets[10..10 + count]);
        let parsed = Packet::parse(&packet).unwrap();
        assert_eq!((parsed.samples(), parsed.frame_samples()), (480 * count, 480));
        assert_eq!(parsed.carries_fec(), Packet::parse(&packets[10]).unwrap().carries_fec());
        let mut out = [0; MAX_PACKET_SAMPLES];
        assert_eq!(Decoder::new().unwrap().decode(&packet, &mut out), Ok(480 * count));
    }
    assert_eq!(Packet::parse(&join(&packets[10..17])).unwrap_err(), OpusError::Malformed, "140 ms");
}

#[test]
fn fec_is_announced_and_recovers() {
    let pcm = speech(3_000);
    let plain = encode(&pcm, 20, EncoderSettings { bitrate_bps: 24_000, ..EncoderSettings::default() });
    assert!(plain.iter().all(|packet| !Packet::parse(packet).unwrap().carries_fec()));
    let music = encode(&pcm, 5, EncoderSettings::default());
    assert!(music.iter().all(|packet| !Packet::parse(packet).unwrap().carries_fec()), "CELT has none");

    let packets = encode(&pcm, 20, EncoderSettings { bitrate_bps: 24_000, ..with_fec() });
    let protected = packets.iter().filter(|packet| Packet::parse(packet).unwrap().carries_fec()).count();
    assert!(protected > packets.len() / 2, "{protected} of {}", packets.len());

    // Every tenth packet is lost: with FEC it is closer to what was said than made up.
    let (mut full, mut recovering, mut concealing) =
        (Decoder::new().unwrap(), Decoder::new().unwrap(), Decoder::new().unwrap());
    let (mut truth, mut recovered, mut made_up) = ([0; 480], [0; 480], [0; 480]);
    let (mut with, mut without, mut count) = (0.0, 0.0, 0.0);
    for (index, packet) in packets.iter().enumerate() {
        full.decode(packet, &mut truth).unwrap();
        if index % 10 == 9 && index + 1 < packets.len() && Packet::parse(&packets[index + 1]).unwrap().carries_fec() {
            recovering.recover(&packets[index + 1], &mut recovered).unwrap();
            concealing.conceal(&mut made_up);
            with += correlation(&truth, &recovered);
            without += correlation(&truth, &made_up);
            count += 1.0;
        } else {
            recovering.decode(packet, &mut recovered).unwrap();
            concealing.decode(packet, &mut made_up).unwrap();
        }
    }
    let (with, without) = (with / count, without / count);
    assert!(count >= 5.0 && with > 0.8 && with > without + 0.1, "{with:.2} against {without:.2} over {count}");
}

#[test]
fn concealment_of_any_length() {
    let packets = encode(&speech(400), 20, EncoderSettings::default());
    let check = |samples: usize| {
        let mut decoder = Decoder::new().unwrap();
        let mut out = vec![7; samples];
        decoder.conceal(&mut out);
        assert!(out.iter().all(|&sample| sample == 0), "nothing was heard yet");
        let mut pcm = [0; 480];
        packets.iter().for_each(|packet| assert_eq!(decoder.decode(packet, &mut pcm), Ok(480)));
        decoder.conceal(&mut out);
        if samples >= 240 {
            assert!(rms_dbfs(&out[..240]) > rms_dbfs(&pcm) - 12.0, "goes on as loud as before");
        }
    };
    for samples in [1, 59, 60, 61, 240, 479, 480, 500, 2_400, 2_880, 2_881, 24_000] {
        check(samples);
    }
}

#[test]
fn bad_input_is_an_error() {
    let mut decoder = Decoder::new().unwrap();
    let mut out = [0; MAX_PACKET_SAMPLES];
    let packet = &encode(&speech(20), 20, EncoderSettings::default())[0];
    assert_eq!(decoder.decode(&[], &mut out), Err(OpusError::EmptyPayload));
    assert_eq!(decoder.decode(&[0; 1_501], &mut out), Err(OpusError::PayloadTooLarge { bytes: 1_501 }));
    // Code 3 without a frame count, and with a count of 0.
    assert_eq!(decoder.decode(&[0b11], &mut out), Err(OpusError::Malformed));
    assert_eq!(decoder.decode(&[0b11, 0], &mut out), Err(OpusError::Malformed));
    let needed = OpusError::OutputTooSmall { needed: 480, available: 479 };
    assert_eq!(decoder.decode(packet, &mut out[..479]), Err(needed));
    assert_eq!(decoder.recover(packet, &mut out[..479]), Err(needed));
    assert_eq!(decoder.decode(packet, &mut out), Ok(480), "and it still works");

    let mut encoder = Encoder::new(EncoderSettings::default()).unwrap();
    assert_eq!(encoder.encode(&[0; 481], &mut [0; 100]), Err(OpusError::FrameLength { samples: 481 }));
    assert_eq!(encoder.encode(&[], &mut [0; 100]), Err(OpusError::FrameLength { samples: 0 }));
    assert!(matches!(encoder.encode(&[0; 480], &mut []), Err(OpusError::OutputTooSmall { .. })));
    assert!(encoder.encode(&speech(20), &mut [0; 100]).unwrap() <= 100);

    let refused = |change: fn(&mut EncoderSettings)| {
        let mut settings = EncoderSettings::default();
        change(&mut settings);
        Encoder::new(settings).unwrap_err()
    };
    assert_eq!(refused(|settings| settings.bitrate_bps = 100), OpusError::Setting { name: "bitrate_bps" });
    assert_eq!(refused(|settings| settings.complexity = 4), OpusError::Setting { name: "complexity" });
    assert_eq!(refused(|settings| settings.complexity = 5), OpusError::Setting { name: "complexity" });
    assert_eq!(refused(|settings| settings.complexity = 11), OpusError::Setting { name: "complexity" });
    let loss = refused(|settings| settings.expected_loss_percent = 101);
    assert_eq!(loss, OpusError::Setting { name: "expected_loss_percent" });
}

#[test]
fn playback_rates() {
    let check = |rate_hz, expect| assert_eq!(MaxBandwidth::for_playback_rate(rate_hz), expect, "{rate_hz}");
    check(8_000, MaxBandwidth::Narrowband);
    check(12_000, MaxBandwidth::Mediumband);
    check(16_000, MaxBandwidth::Wideband);
    check(24_000, MaxBandwidth::Superwideband);
    check(48_000, MaxBandwidth::Superwideband);
}

#[test]
fn coders_move_between_threads() {
    fn check<T: Send>() {}
    check::<Decoder>();
    check::<Encoder>();
    check::<voicebridge_audio::uplink::Uplink>();
    check::<voicebridge_audio::playout::Playout>();
}

proptest! {
    #![proptest_config(crate::common::cases(500, "proptest-regressions/opus.txt"))]

    /// Whatever comes from the network, the answer is audio or an error, and the decoder goes on.
    #[test]
    fn garbage_never_panics(payload in prop::collection::vec(any::<u8>(), 0..400), seed in any::<u64>()) {
        let mut decoder = Decoder::new().unwrap();
        let mut out = [0; MAX_PACKET_SAMPLES];
        let mut numbers = Numbers::new(seed);
        for packet in encode(&speech(60), 20, with_fec()) {
            decoder.decode(&packet, &mut out).unwrap();
            let mut bent = packet.clone();
            let at = numbers.below(bent.len() as u64) as usize;
            bent[at] ^= 1 << numbers.below(8);
            for bytes in [&payload, &bent] {
                if let Ok(parsed) = Packet::parse(bytes) {
                    prop_assert!((60..=MAX_PACKET_SAMPLES).contains(&parsed.samples()));
                    let _ = parsed.carries_fec();
                    let _ = decoder.recover(bytes, &mut out[..parsed.frame_samples()]);
                }
                if let Ok(samples) = decoder.decode(bytes, &mut out) {
                    prop_assert_eq!(samples, Packet::parse(bytes).unwrap().samples());
                }
            }
        }
    }
}

/// Sound, cost and the levels of `protection` were measured with it: docs/adr/0006-libopus.md.
#[test]
fn libopus_is_the_one_that_was_measured() {
    assert_eq!(voicebridge_audio::opus::version(), "libopus 1.6.1");
}
