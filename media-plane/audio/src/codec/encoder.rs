//! Frames of 20 ms to payloads.

use super::Codec;
use crate::{
    FRAME_SAMPLES,
    g711::{self, Law},
    opus::{self, EncoderSettings, MAX_PAYLOAD_BYTES, OpusError},
    resample::Downsampler,
};

/// Frames of silence until Opus's state does not change any more.
const SILENCE_SETTLING_FRAMES: usize = 5;

/// One stream's encoder.
#[derive(Debug)]
pub struct Encoder {
    kind: EncoderKind,
}

#[derive(Debug)]
enum EncoderKind {
    Opus(opus::Encoder),
    G711 { law: Law, downsampler: Box<Downsampler> },
    NativeG711(Law),
}

impl Encoder {
    /// An encoder for one stream of speech. The settings concern Opus only.
    ///
    /// # Errors
    /// [`OpusError::Setting`] naming the field out of range, [`OpusError::Internal`] when libopus cannot allocate.
    pub fn new(codec: Codec, settings: EncoderSettings) -> Result<Self, OpusError> {
        let kind = match codec {
            Codec::Opus => EncoderKind::Opus(opus::Encoder::new(settings)?),
            Codec::G711(law) => EncoderKind::G711 { law, downsampler: Box::default() },
        };
        Ok(Self { kind })
    }

    /// An encoder of frames at the codec's own rate, see [`Codec::sample_rate_hz`]: of G.711 that is as it is, every byte
    /// comes out as it was decoded.
    ///
    /// # Errors
    /// Those of [`Self::new`].
    pub fn native(codec: Codec, settings: EncoderSettings) -> Result<Self, OpusError> {
        match codec {
            Codec::Opus => Self::new(codec, settings),
            Codec::G711(law) => Ok(Self { kind: EncoderKind::NativeG711(law) }),
        }
    }

    /// Changes the settings from the next frame on; G.711 has none.
    ///
    /// # Errors
    /// [`OpusError::Setting`]; settings before the one named are in force then.
    pub fn apply(&mut self, settings: EncoderSettings) -> Result<(), OpusError> {
        match &mut self.kind {
            EncoderKind::Opus(encoder) => encoder.apply(settings),
            EncoderKind::G711 { .. } | EncoderKind::NativeG711(_) => Ok(()),
        }
    }

    /// Encodes one frame of 20 ms. Returns the bytes written: 160 for G.711. [`MAX_PAYLOAD_BYTES`] is always enough.
    ///
    /// # Errors
    /// [`OpusError::FrameLength`], [`OpusError::OutputTooSmall`], [`OpusError::Internal`].
    pub fn encode(&mut self, frame: &[i16], out: &mut [u8]) -> Result<usize, OpusError> {
        match &mut self.kind {
            EncoderKind::Opus(encoder) => encoder.encode(frame, out),
            EncoderKind::G711 { law, downsampler } => {
                check_g711(frame.len(), FRAME_SAMPLES, out.len())?;
                let mut written = 0;
                downsampler.push(frame, &mut |block| written += law.encode_all(block, &mut out[written..]));
                Ok(written)
            }
            EncoderKind::NativeG711(law) => {
                check_g711(frame.len(), g711::FRAME_SAMPLES, out.len())?;
                Ok(law.encode_all(frame, out))
            }
        }
    }

    /// Between replies, once a frame of silence went through: nothing of the last one reaches into the next.
    pub fn reset(&mut self) {
        if let EncoderKind::G711 { downsampler, .. } = &mut self.kind {
            downsampler.reset();
        }
    }

    /// The payload of 20 ms of silence, to be sent over and over while there is nothing to encode.
    ///
    /// # Errors
    /// Those of [`Self::new`] and [`Self::encode`].
    pub fn silence(codec: Codec, settings: EncoderSettings) -> Result<Vec<u8>, OpusError> {
        let mut encoder = Self::new(codec, EncoderSettings { fec: false, ..settings })?;
        let mut payload = [0; MAX_PAYLOAD_BYTES];
        let mut bytes = 0;
        for _ in 0..SILENCE_SETTLING_FRAMES {
            bytes = encoder.encode(&[0; FRAME_SAMPLES], &mut payload)?;
        }
        Ok(payload[..bytes].to_vec())
    }
}

fn check_g711(samples: usize, wanted: usize, available: usize) -> Result<(), OpusError> {
    if samples != wanted {
        return Err(OpusError::FrameLength { samples });
    }
    if available < g711::FRAME_SAMPLES {
        return Err(OpusError::OutputTooSmall { needed: g711::FRAME_SAMPLES, available });
    }
    Ok(())
}
