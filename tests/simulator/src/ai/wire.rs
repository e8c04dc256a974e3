//! Audio on the wire in the formats of the protocol, and the 24 kHz of everything behind it.
//!
//! A recording is coded as a whole, so that every piece of it is exact: G.711 has one byte for each three samples, and
//! byte `n` of a reply stands for its samples from `3n` on. What the client appends is brought up to 24 kHz as it comes, in
//! blocks of 10 ms, 5 ms later.

use base64_simd::STANDARD;
use serde_json::{Value, json};
use voicebridge_audio::{
    g711::Law,
    resample::{Upsampler, narrowed},
};

use super::protocol::{decode_audio, encode_audio};

/// Samples at 24 kHz for each of G.711.
const RATIO: usize = 3;

/// How audio is coded in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// 16 bits, little-endian, 24 kHz.
    Pcm,
    /// A byte each, 8 kHz.
    G711(Law),
}

impl Format {
    /// As in a session's configuration; its other members were checked before.
    pub(super) fn of(format: &Value) -> Self {
        match format["type"].as_str() {
            Some("audio/pcmu") => Self::G711(Law::Mu),
            Some("audio/pcma") => Self::G711(Law::A),
            _ => Self::Pcm,
        }
    }

    /// As a session's configuration shows it.
    pub(super) fn effective(self) -> Value {
        match self {
            Self::Pcm => json!({"type": "audio/pcm", "rate": 24_000}),
            Self::G711(Law::Mu) => json!({"type": "audio/pcmu"}),
            Self::G711(Law::A) => json!({"type": "audio/pcma"}),
        }
    }

    /// In the words of the server's errors.
    pub(super) const fn described(self) -> &'static str {
        match self {
            Self::Pcm => "mono PCM16 at 24kHz",
            Self::G711(Law::Mu) => "mono G.711 mu-law at 8kHz",
            Self::G711(Law::A) => "mono G.711 A-law at 8kHz",
        }
    }
}

/// A recording as it goes out.
#[derive(Clone, Debug)]
pub(super) enum Coded {
    Pcm(&'static [i16]),
    G711(Vec<u8>),
}

impl Coded {
    /// All of a recording.
    pub(super) fn new(pcm: &'static [i16], format: Format) -> Self {
        match format {
            Format::Pcm => Self::Pcm(pcm),
            Format::G711(law) => Self::G711(narrowed(pcm).into_iter().map(|sample| law.encode(sample)).collect()),
        }
    }

    /// The samples from `from` until `to`, counted at 24 kHz.
    pub(super) fn base64(&self, from: usize, to: usize) -> String {
        match self {
            Self::Pcm(pcm) => encode_audio(&pcm[from..to]),
            Self::G711(bytes) => STANDARD.encode_to_string(&bytes[from / RATIO..to / RATIO]),
        }
    }
}

/// What the client appends.
#[derive(Debug)]
pub(super) struct Intake {
    format: Format,
    upsampler: Box<Upsampler>,
}

/// One append.
#[derive(Debug, PartialEq)]
pub(super) struct Appended {
    /// 24 kHz; of G.711 whole blocks only.
    pub(super) pcm: Vec<i16>,
    /// On the wire, before base64.
    pub(super) bytes: usize,
    /// Of those bytes, at 24 kHz.
    pub(super) samples: usize,
}

impl Intake {
    pub(super) fn new(format: Format) -> Self {
        Self { format, upsampler: Box::default() }
    }

    pub(super) const fn format(&self) -> Format {
        self.format
    }

    /// `None` when it is not base64 of whole samples.
    pub(super) fn take(&mut self, base64: &str) -> Option<Appended> {
        match self.format {
            Format::Pcm => {
                let pcm = decode_audio(base64)?;
                Some(Appended { bytes: pcm.len() * 2, samples: pcm.len(), pcm })
            }
            Format::G711(law) => {
                let bytes = STANDARD.decode_to_vec(base64).ok()?;
                let narrow: Vec<i16> = bytes.iter().map(|&byte| law.decode(byte)).collect();
                let mut pcm = Vec::with_capacity(narrow.len() * RATIO);
                self.upsampler.push(&narrow, &mut |block| pcm.extend_from_slice(block));
                Some(Appended { bytes: bytes.len(), samples: bytes.len() * RATIO, pcm })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::speech::{fixture, recognise};

    #[test]
    fn g711_out_and_in_again_is_the_recording() {
        for law in [Law::Mu, Law::A] {
            let said = fixture("opening-hours").expect("a fixture");
            let coded = Coded::new(&said.pcm, Format::G711(law));
            let mut intake = Intake::new(Format::G711(law));
            let (mut heard, mut bytes) = (Vec::new(), 0);
            for from in (0..said.pcm.len()).step_by(4_811) {
                let to = (from + 4_811).min(said.pcm.len());
                let piece = intake.take(&coded.base64(from, to)).expect("audio");
                assert_eq!(piece.samples, piece.bytes * 3);
                bytes += piece.bytes;
                heard.extend(piece.pcm);
            }
            assert_eq!(bytes, said.pcm.len() / 3, "{law:?}: no byte is lost between pieces");
            let recognised = recognise(&heard).expect("speech");
            assert_eq!(recognised.name, said.name, "{law:?}");
        }
    }

    #[test]
    fn formats_are_what_they_are_called() {
        for format in [Format::Pcm, Format::G711(Law::Mu), Format::G711(Law::A)] {
            assert_eq!(Format::of(&format.effective()), format);
        }
    }
}
