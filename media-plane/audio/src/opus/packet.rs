//! What an Opus packet says about itself, read without decoding (RFC 6716, section 3).
//!
//! Does not look at the coded audio beyond the two header bits that announce in-band FEC.

use super::{MAX_PACKET_SAMPLES, MAX_PAYLOAD_BYTES, OpusError};
use audiopus::{SampleRate, packet};

/// Configurations from here on are CELT only and carry no FEC (RFC 6716, section 3.1, table 2).
const FIRST_CELT_CONFIG: u8 = 16;
/// SILK codes 20 ms at a time and has one header bit for each (RFC 6716, section 4.2.3).
const SILK_FRAME_SAMPLES: usize = 480;

/// A well-formed Opus packet, still coded.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    payload: &'a [u8],
    samples: usize,
    frame_samples: usize,
}

impl<'a> Packet<'a> {
    /// Checks size and framing.
    ///
    /// # Errors
    /// [`OpusError::EmptyPayload`], [`OpusError::PayloadTooLarge`], [`OpusError::Malformed`].
    pub fn parse(payload: &'a [u8]) -> Result<Self, OpusError> {
        if payload.is_empty() {
            return Err(OpusError::EmptyPayload);
        }
        if payload.len() > MAX_PAYLOAD_BYTES {
            return Err(OpusError::PayloadTooLarge { bytes: payload.len() });
        }
        let coded = |payload: &'a [u8]| packet::Packet::try_from(payload).map_err(|_| OpusError::Malformed);
        let samples = packet::nb_samples(coded(payload)?, SampleRate::Hz24000).map_err(|_| OpusError::Malformed)?;
        let frame_samples =
            packet::samples_per_frame(coded(payload)?, SampleRate::Hz24000).map_err(|_| OpusError::Malformed)?;
        if samples == 0 || samples > MAX_PACKET_SAMPLES || frame_samples == 0 {
            return Err(OpusError::Malformed);
        }
        Ok(Self { payload, samples, frame_samples })
    }

    /// Its bytes.
    #[must_use]
    pub const fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// Length of the audio, samples at 24 kHz.
    #[must_use]
    pub const fn samples(&self) -> usize {
        self.samples
    }

    /// Length of one of its frames, samples at 24 kHz. In-band FEC stands for one frame before the packet.
    #[must_use]
    pub const fn frame_samples(&self) -> usize {
        self.frame_samples
    }

    /// Whether it carries a second, coarser copy of the frame before it (LBRR, RFC 6716, section 4.2.3).
    #[must_use]
    pub fn carries_fec(&self) -> bool {
        if self.payload[0] >> 3 >= FIRST_CELT_CONFIG {
            return false;
        }
        let Some(&first) = first_frame(self.payload).first() else {
            return false;
        };
        // One voice activity bit for each 20 ms, then the LBRR flag; for stereo the same again for the side channel.
        let bits = (self.frame_samples / SILK_FRAME_SAMPLES).max(1);
        let mid = first >> (7 - bits) & 1 == 1;
        let side = self.payload[0] & 0b100 != 0 && first >> (6 - 2 * bits).min(7) & 1 == 1;
        mid || side
    }
}

/// The bytes of the first frame, possibly with those after it: only its head is read (RFC 6716, section 3.2).
fn first_frame(payload: &[u8]) -> &[u8] {
    let body = match payload[0] & 0b11 {
        0 | 1 => payload.get(1..),
        2 => payload.get(1..).and_then(skip_length),
        _ => first_of_many(payload),
    };
    body.unwrap_or_default()
}

/// Code 3: frame count, optional padding length, and frame lengths if they vary (RFC 6716, section 3.2.5).
fn first_of_many(payload: &[u8]) -> Option<&[u8]> {
    let count = *payload.get(1)?;
    let mut rest = payload.get(2..)?;
    if count & 0b0100_0000 != 0 {
        while *rest.first()? == 255 {
            rest = rest.get(1..)?;
        }
        rest = rest.get(1..)?;
    }
    if count & 0b1000_0000 != 0 {
        for _ in 1..count & 0b0011_1111 {
            rest = skip_length(rest)?;
        }
    }
    Some(rest)
}

/// A frame length takes one byte, or two from 252 on (RFC 6716, section 3.2.1).
fn skip_length(bytes: &[u8]) -> Option<&[u8]> {
    let width = if *bytes.first()? < 252 { 1 } else { 2 };
    bytes.get(width..)
}
