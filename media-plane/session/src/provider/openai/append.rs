//! The one message that is sent fifty times a second, built without parsing, formatting or allocating.

use base64_simd::STANDARD;

const HEAD: &str = r#"{"type":"input_audio_buffer.append","audio":""#;
const TAIL: &str = r#""}"#;

/// Buffers of the append message, kept between frames.
#[derive(Debug, Default)]
pub(super) struct Append {
    bytes: Vec<u8>,
    json: String,
}

impl Append {
    /// `input_audio_buffer.append` with these samples as 16-bit little-endian PCM.
    pub(super) fn message(&mut self, pcm: &[i16]) -> &str {
        self.bytes.clear();
        self.bytes.extend(pcm.iter().flat_map(|sample| sample.to_le_bytes()));
        self.json.clear();
        self.json.push_str(HEAD);
        STANDARD.encode_append(&self.bytes, &mut self.json);
        self.json.push_str(TAIL);
        &self.json
    }
}

/// Samples of a base64 delta; `None` when it is not base64 of whole samples.
pub(super) fn samples(base64: &str) -> Option<Vec<i16>> {
    let bytes = STANDARD.decode_to_vec(base64).ok()?;
    if bytes.len() % 2 != 0 {
        return None;
    }
    Some(bytes.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_message_is_the_json_the_server_expects() {
        let mut append = Append::default();
        for pcm in [vec![0, 1, -1, i16::MAX, i16::MIN], vec![7; 480], vec![3]] {
            let message: serde_json::Value = serde_json::from_str(append.message(&pcm)).unwrap();
            assert_eq!(message["type"], "input_audio_buffer.append");
            assert_eq!(samples(message["audio"].as_str().unwrap()).unwrap(), pcm);
        }
    }

    #[test]
    fn buffers_do_not_grow_once_warm() {
        let mut append = Append::default();
        append.message(&[1; 480]);
        let before = (append.bytes.capacity(), append.json.capacity(), append.json.as_ptr());
        for _ in 0..10 {
            append.message(&[2; 480]);
        }
        assert_eq!((append.bytes.capacity(), append.json.capacity(), append.json.as_ptr()), before);
    }

    #[test]
    fn what_is_not_audio_is_refused() {
        assert_eq!(samples("####"), None);
        assert_eq!(samples("AAAA"), None, "three bytes");
        assert_eq!(samples(""), Some(vec![]));
    }
}
