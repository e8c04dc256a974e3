//! The one message that is sent fifty times a second, built without parsing, formatting or allocating.

use base64_simd::STANDARD;

use crate::provider::AudioFormat;

const HEAD: &str = r#"{"type":"input_audio_buffer.append","audio":""#;
const TAIL: &str = r#""}"#;

/// Buffers of the append message, kept between frames.
#[derive(Debug, Default)]
pub(super) struct Append {
    bytes: Vec<u8>,
    json: String,
}

impl Append {
    /// `input_audio_buffer.append` with these samples: as 16-bit little-endian PCM, or a byte each.
    pub(super) fn message(&mut self, format: AudioFormat, pcm: &[i16]) -> &str {
        self.bytes.clear();
        match format {
            AudioFormat::Pcm => self.bytes.extend(pcm.iter().flat_map(|sample| sample.to_le_bytes())),
            AudioFormat::G711(law) => self.bytes.extend(pcm.iter().map(|&sample| law.encode(sample))),
        }
        self.json.clear();
        self.json.push_str(HEAD);
        STANDARD.encode_append(&self.bytes, &mut self.json);
        self.json.push_str(TAIL);
        &self.json
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use voicebridge_audio::g711::Law;

    use super::*;

    fn decoded(message: &serde_json::Value) -> Vec<u8> {
        STANDARD.decode_to_vec(message["audio"].as_str().unwrap()).unwrap()
    }

    #[test]
    fn the_message_is_the_json_the_server_expects() {
        let mut append = Append::default();
        for pcm in [vec![0, 1, -1, i16::MAX, i16::MIN], vec![7; 480], vec![3]] {
            let message: serde_json::Value = serde_json::from_str(append.message(AudioFormat::Pcm, &pcm)).unwrap();
            assert_eq!(message["type"], "input_audio_buffer.append");
            let bytes: Vec<u8> = pcm.iter().flat_map(|sample: &i16| sample.to_le_bytes()).collect();
            assert_eq!(decoded(&message), bytes);
        }
    }

    #[test]
    fn g711_is_a_byte_for_each_sample_and_every_byte_survives() {
        let mut append = Append::default();
        for law in [Law::Mu, Law::A] {
            let format = AudioFormat::G711(law);
            let bytes: Vec<u8> = (0..=255).collect();
            let pcm: Vec<i16> = bytes.iter().map(|byte| law.decode(*byte)).collect();
            let message: serde_json::Value = serde_json::from_str(append.message(format, &pcm)).unwrap();
            let mut again = decoded(&message);
            if law == Law::Mu {
                // Its negative zero, which sounds like the other.
                assert_eq!(std::mem::replace(&mut again[0x7f], 0x7f), 0xff);
            }
            assert_eq!(again, bytes, "{law:?}");
        }
    }

    #[test]
    fn buffers_do_not_grow_once_warm() {
        let mut append = Append::default();
        append.message(AudioFormat::Pcm, &[1; 480]);
        let before = (append.bytes.capacity(), append.json.capacity(), append.json.as_ptr());
        for _ in 0..10 {
            append.message(AudioFormat::Pcm, &[2; 480]);
        }
        assert_eq!((append.bytes.capacity(), append.json.capacity(), append.json.as_ptr()), before);
    }
}
