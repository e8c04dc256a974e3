//! What callers say, as the WhatsApp client encodes it: 20 ms packets of wideband Opus at 20 kbit/s with FEC.

use voicebridge_audio::{
    FRAME_SAMPLES,
    opus::{Encoder, EncoderSettings, MAX_PAYLOAD_BYTES, MaxBandwidth, OpusError},
};
use voicebridge_simulator::speech::{Role, fixtures};

/// The languages judged.
pub const LANGUAGES: [&str; 4] = ["en", "pt", "es", "de"];
/// Silence before, between and after the sentences: the codec and the uplink settle in it.
const PAUSE_SAMPLES: usize = 12_000;
/// Makes the encoder spend bits on FEC.
const EXPECTED_LOSS_PERCENT: u8 = 10;
/// A phone's choice.
const COMPLEXITY: u8 = 9;

/// The sentences of the callers of one language.
#[derive(Debug)]
pub struct Voice {
    pub language: &'static str,
    /// 24 kHz, whole frames.
    pub pcm: Vec<i16>,
    /// One per frame.
    pub packets: Vec<Vec<u8>>,
}

pub fn voices() -> Result<Vec<Voice>, OpusError> {
    LANGUAGES.into_iter().map(voice).collect()
}

pub fn voice(language: &'static str) -> Result<Voice, OpusError> {
    let mut pcm = vec![0; PAUSE_SAMPLES];
    for fixture in fixtures().iter().filter(|fixture| fixture.language == language && fixture.role == Role::Caller) {
        pcm.extend_from_slice(&fixture.pcm);
        pcm.resize(pcm.len() + PAUSE_SAMPLES, 0);
    }
    pcm.resize(pcm.len().next_multiple_of(FRAME_SAMPLES), 0);
    let packets = encode(&pcm)?;
    Ok(Voice { language, pcm, packets })
}

/// Packets of whole frames.
pub fn encode(pcm: &[i16]) -> Result<Vec<Vec<u8>>, OpusError> {
    let mut encoder = Encoder::new(EncoderSettings {
        max_bandwidth: MaxBandwidth::Wideband,
        bitrate_bps: 20_000,
        complexity: COMPLEXITY,
        fec: true,
        expected_loss_percent: EXPECTED_LOSS_PERCENT,
        dtx: false,
    })?;
    let mut out = [0; MAX_PAYLOAD_BYTES];
    pcm.chunks_exact(FRAME_SAMPLES)
        .map(|frame| encoder.encode(frame, &mut out).map(|bytes| out[..bytes].to_vec()))
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use voicebridge_audio::opus::Packet;

    #[test]
    fn every_language_speaks_at_20_kbit_with_fec() {
        for voice in voices().unwrap() {
            let seconds = voice.packets.len() as f64 * 0.02;
            assert!(seconds > 5.0, "{}: {seconds} s", voice.language);
            let bits = voice.packets.iter().map(Vec::len).sum::<usize>() as f64 * 8.0 / seconds;
            assert!((10_000.0..24_000.0).contains(&bits), "{}: {bits} bit/s", voice.language);
            let fec = voice.packets.iter().filter(|packet| Packet::parse(packet).unwrap().carries_fec()).count();
            assert!(fec * 3 > voice.packets.len(), "{}: {fec} of {} carry FEC", voice.language, voice.packets.len());
        }
    }
}
