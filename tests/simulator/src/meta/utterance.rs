//! What a caller says, encoded once: Opus as the WhatsApp client sends it, or G.711, shared by every caller who says it.
//!
//! Encoding Opus costs more than all the rest of a caller, so it happens here, before any call, and never while one runs.
//! G.711 costs next to nothing and is encoded when it is first wanted.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use voicebridge_audio::{
    FRAME_SAMPLES,
    codec::{self, Codec},
    g711::Law,
    opus::{Encoder, EncoderSettings, MAX_PAYLOAD_BYTES, MaxBandwidth, OpusError},
};

/// Bit rate of the WhatsApp client's offer.
const BITRATE_BPS: u32 = 20_000;
/// Makes the encoder really spend bits on forward error correction.
const EXPECTED_LOSS_PERCENT: u8 = 10;
/// A phone's choice: quality matters more than a server's processor time.
const COMPLEXITY: u8 = 9;
/// Frames of silence encoded before the one that is kept, so that it carries no attack of the encoder.
const SILENCE_WARM_UP_FRAMES: usize = 10;

/// A named piece of speech as 20 ms Opus packets.
#[derive(Clone, Debug)]
pub struct Utterance(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: String,
    pcm: Vec<i16>,
    packets: Vec<Bytes>,
    mu: OnceLock<Vec<Bytes>>,
    a: OnceLock<Vec<Bytes>>,
}

impl Utterance {
    /// Encodes `pcm`, 24 kHz mono; the last frame is filled up with silence.
    ///
    /// # Errors
    ///
    /// Whatever libopus reports; no PCM makes it fail.
    pub fn new(name: impl Into<String>, pcm: &[i16]) -> Result<Self, OpusError> {
        let mut encoder = encoder()?;
        let mut padded = pcm.to_vec();
        padded.resize(pcm.len().next_multiple_of(FRAME_SAMPLES), 0);
        let packets =
            padded.chunks(FRAME_SAMPLES).map(|frame| encode(&mut encoder, frame)).collect::<Result<_, _>>()?;
        let (mu, a) = (OnceLock::new(), OnceLock::new());
        Ok(Self(Arc::new(Inner { name: name.into(), pcm: padded, packets, mu, a })))
    }

    /// Its name in records.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// What was encoded, 24 kHz mono, a whole number of frames.
    #[must_use]
    pub fn pcm(&self) -> &[i16] {
        &self.0.pcm
    }

    /// One per 20 ms.
    pub(crate) fn packets(&self, codec: Codec) -> &[Bytes] {
        match codec {
            Codec::Opus => &self.0.packets,
            Codec::G711(law @ Law::Mu) => self.0.mu.get_or_init(|| g711(law, &self.0.pcm)),
            Codec::G711(law @ Law::A) => self.0.a.get_or_init(|| g711(law, &self.0.pcm)),
        }
    }
}

/// The packet sent for every 20 ms in which the caller says nothing.
pub(crate) fn silence(codec: Codec) -> Result<Bytes, OpusError> {
    if codec != Codec::Opus {
        return codec::Encoder::silence(codec, EncoderSettings::default()).map(Bytes::from);
    }
    static SILENCE: OnceLock<Bytes> = OnceLock::new();
    if let Some(packet) = SILENCE.get() {
        return Ok(packet.clone());
    }
    let mut encoder = encoder()?;
    let mut packet = Bytes::new();
    for _ in 0..=SILENCE_WARM_UP_FRAMES {
        packet = encode(&mut encoder, &[0; FRAME_SAMPLES])?;
    }
    Ok(SILENCE.get_or_init(|| packet).clone())
}

fn g711(law: Law, pcm: &[i16]) -> Vec<Bytes> {
    let mut encoder =
        codec::Encoder::new(Codec::G711(law), EncoderSettings::default()).expect("G.711 needs nothing of libopus");
    let encode = |frame| {
        let mut packet = [0; MAX_PAYLOAD_BYTES];
        let length = encoder.encode(frame, &mut packet).expect("20 ms of 24 kHz fit");
        Bytes::copy_from_slice(&packet[..length])
    };
    pcm.chunks(FRAME_SAMPLES).map(encode).collect()
}

fn encoder() -> Result<Encoder, OpusError> {
    Encoder::new(EncoderSettings {
        max_bandwidth: MaxBandwidth::Wideband,
        bitrate_bps: BITRATE_BPS,
        complexity: COMPLEXITY,
        fec: true,
        expected_loss_percent: EXPECTED_LOSS_PERCENT,
        dtx: false,
    })
}

fn encode(encoder: &mut Encoder, frame: &[i16]) -> Result<Bytes, OpusError> {
    let mut packet = [0; MAX_PAYLOAD_BYTES];
    let length = encoder.encode(frame, &mut packet)?;
    Ok(Bytes::copy_from_slice(&packet[..length]))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use voicebridge_audio::{level::rms_dbfs, opus::Decoder};

    fn tone(samples: usize) -> Vec<i16> {
        (0..samples).map(|i| ((i as f32 * 0.115).sin() * 8_000.0) as i16).collect()
    }

    #[test]
    fn speech_becomes_packets_of_20_ms_at_20_kbit() {
        let utterance = Utterance::new("tone", &tone(24_000 + 10)).unwrap();
        assert_eq!(utterance.packets(Codec::Opus).len(), 51);
        assert!(utterance.packets(Codec::G711(Law::A)).iter().all(|packet| packet.len() == 160));
        assert_eq!(utterance.packets(Codec::G711(Law::Mu)).len(), 51);
        assert_eq!(utterance.pcm().len(), 51 * 480);
        let bytes: usize = utterance.packets(Codec::Opus).iter().map(Bytes::len).sum();
        assert!(bytes * 8 < 30_000, "{bytes} bytes for a second");
        let mut decoder = Decoder::new().unwrap();
        let mut pcm = [0; 480];
        for packet in &utterance.packets(Codec::Opus)[..25] {
            assert_eq!(decoder.decode(packet, &mut pcm).unwrap(), 480);
        }
        assert!((rms_dbfs(&pcm) - rms_dbfs(&tone(480))).abs() < 3.0);
    }

    #[test]
    fn silence_is_silent_and_small() {
        let packet = silence(Codec::Opus).unwrap();
        assert!(packet.len() < 40, "{}", packet.len());
        let mut decoder = Decoder::new().unwrap();
        let mut pcm = [1; 480];
        for _ in 0..10 {
            decoder.decode(&packet, &mut pcm).unwrap();
        }
        assert!(rms_dbfs(&pcm) < -70.0);
    }

    #[test]
    fn nothing_is_an_utterance_of_no_packets() {
        assert!(Utterance::new("nothing", &[]).unwrap().packets(Codec::Opus).is_empty());
    }
}
