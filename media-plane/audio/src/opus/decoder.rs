//! Opus packets, or their absence, to 24 kHz samples.
//!
//! Does not know which packets are missing: the caller says so by calling `conceal` or `recover` instead of `decode`.

use super::{MAX_PACKET_SAMPLES, OpusError, Packet, STEP_SAMPLES};
use audiopus::{Channels, ErrorCode, MutSignals, SampleRate, coder::GenericCtl as _, packet};

/// One stream's decoder.
#[derive(Debug)]
pub struct Decoder {
    inner: audiopus::coder::Decoder,
    /// Whole 2.5 ms steps for lengths that are not.
    spare: Box<[i16; MAX_PACKET_SAMPLES]>,
}

impl Decoder {
    /// A decoder that has heard nothing yet.
    ///
    /// # Errors
    /// [`OpusError::Internal`] when libopus cannot allocate.
    pub fn new() -> Result<Self, OpusError> {
        let inner = audiopus::coder::Decoder::new(SampleRate::Hz24000, Channels::Mono).map_err(error)?;
        Ok(Self { inner, spare: Box::new([0; MAX_PACKET_SAMPLES]) })
    }

    /// Decodes a packet of 2.5 to 120 ms. Returns the samples written; a stereo packet is mixed down.
    ///
    /// # Errors
    /// [`Packet::parse`]'s, [`OpusError::OutputTooSmall`], [`OpusError::Malformed`]. `out` is unspecified then.
    pub fn decode(&mut self, payload: &[u8], out: &mut [i16]) -> Result<usize, OpusError> {
        let needed = Packet::parse(payload)?.samples();
        if out.len() < needed {
            return Err(OpusError::OutputTooSmall { needed, available: out.len() });
        }
        decode(&mut self.inner, Some(payload), &mut out[..needed], false)
    }

    /// Fills `out` with what the stream would plausibly have gone on with. Of any length; libopus fades it by itself
    /// over some hundred milliseconds. Silence when nothing was ever decoded.
    pub fn conceal(&mut self, out: &mut [i16]) {
        for chunk in out.chunks_mut(MAX_PACKET_SAMPLES) {
            self.fill(None, chunk);
        }
    }

    /// Fills `out`, the audio right before packet `next`, from the FEC in `next` as far as that reaches and by
    /// concealment before it. Call it in place of `conceal`, then decode `next` itself.
    ///
    /// # Errors
    /// [`Packet::parse`]'s, and [`OpusError::OutputTooSmall`] when `out` is longer than 120 ms or shorter than one
    /// frame of `next`.
    pub fn recover(&mut self, next: &[u8], out: &mut [i16]) -> Result<(), OpusError> {
        let needed = Packet::parse(next)?.frame_samples();
        if out.len() < needed || out.len() > MAX_PACKET_SAMPLES {
            return Err(OpusError::OutputTooSmall { needed, available: out.len() });
        }
        self.fill(Some(next), out);
        Ok(())
    }

    /// Forgets what it has heard, as if new.
    pub fn reset(&mut self) {
        // Fails for a broken state pointer only, which the binding rules out.
        let _ = self.inner.reset_state();
    }

    /// libopus wants whole steps here; what is over is cut off at the front, where concealment begins anyway.
    fn fill(&mut self, next: Option<&[u8]>, out: &mut [i16]) {
        let whole = out.len().next_multiple_of(STEP_SAMPLES);
        let spare = &mut self.spare[..whole];
        if decode(&mut self.inner, next, spare, next.is_some()) != Ok(whole) {
            spare.fill(0);
        }
        out.copy_from_slice(&spare[whole - out.len()..]);
    }
}

fn decode(
    inner: &mut audiopus::coder::Decoder,
    payload: Option<&[u8]>,
    out: &mut [i16],
    fec: bool,
) -> Result<usize, OpusError> {
    let coded = payload.map(packet::Packet::try_from).transpose().map_err(error)?;
    let signals = MutSignals::try_from(out).map_err(error)?;
    inner.decode(coded, signals, fec).map_err(error)
}

fn error(error: audiopus::Error) -> OpusError {
    match error {
        audiopus::Error::EmptyPacket => OpusError::EmptyPayload,
        audiopus::Error::Opus(ErrorCode::InvalidPacket | ErrorCode::BadArgument | ErrorCode::BufferTooSmall) => {
            OpusError::Malformed
        }
        _ => OpusError::Internal,
    }
}
