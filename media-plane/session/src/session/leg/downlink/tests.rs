//! How the downlink encodes: by what the offer allows, and its silence.

#![allow(clippy::unwrap_used)]

use super::*;

fn offer(max_playback_rate: Option<u32>, max_average_bitrate: Option<u32>, in_band_fec: bool) -> OpusParameters {
    OpusParameters { payload_type: 111, fmtp: None, max_average_bitrate, max_playback_rate, in_band_fec }
}

#[test]
fn the_encoder_follows_the_offer() {
    let check = |offer: OpusParameters, bandwidth: MaxBandwidth, bitrate_bps: u32| {
        let settings = encoder_settings(&offer);
        assert_eq!(
            (settings.max_bandwidth, settings.bitrate_bps, settings.fec, settings.expected_loss_percent),
            (bandwidth, bitrate_bps, false, 0)
        );
        assert!(Encoder::new(Codec::Opus, settings).is_ok());
    };
    check(offer(Some(16_000), Some(20_000), true), MaxBandwidth::Wideband, 20_000);
    check(offer(None, None, false), MaxBandwidth::Superwideband, DEFAULT_BITRATE_BPS);
    check(offer(Some(48_000), Some(510_000), false), MaxBandwidth::Superwideband, MAX_BITRATE_BPS);
    check(offer(Some(8_000), Some(6_000), true), MaxBandwidth::Narrowband, 6_000);
}

#[test]
fn the_silence_packet_decodes_to_silence_however_often_it_is_repeated() {
    for rate in [8_000, 16_000, 48_000] {
        let settings = encoder_settings(&offer(Some(rate), None, true));
        let packet = Encoder::silence(Codec::Opus, settings).unwrap();
        let mut decoder = voicebridge_audio::opus::Decoder::new().unwrap();
        let mut pcm = [0; 5_760];
        for _ in 0..500 {
            let samples = decoder.decode(&packet, &mut pcm).unwrap();
            assert_eq!(samples, FRAME_SAMPLES);
            assert!(pcm[..samples].iter().all(|sample| sample.unsigned_abs() < 40), "at {rate} Hz");
        }
    }
}
