//! A payload that was looked at, still coded.

use super::Codec;
use crate::{
    g711,
    opus::{self, OpusError},
};

#[derive(Clone, Copy, Debug)]
pub(crate) enum Packet<'a> {
    Opus(opus::Packet<'a>),
    G711(&'a [u8]),
}

impl<'a> Packet<'a> {
    /// Checks size and framing. `EmptyPayload` is the only error that is no fault.
    pub(crate) fn parse(codec: Codec, payload: &'a [u8]) -> Result<Self, OpusError> {
        match codec {
            Codec::Opus => opus::Packet::parse(payload).map(Self::Opus),
            Codec::G711(_) if payload.is_empty() => Err(OpusError::EmptyPayload),
            Codec::G711(_) if payload.len() > g711::MAX_PACKET_SAMPLES => Err(OpusError::Malformed),
            Codec::G711(_) => Ok(Self::G711(payload)),
        }
    }

    pub(crate) const fn payload(&self) -> &'a [u8] {
        match self {
            Self::Opus(packet) => packet.payload(),
            Self::G711(payload) => payload,
        }
    }

    /// Length of the audio, samples at 24 kHz.
    pub(crate) const fn samples(&self) -> usize {
        match self {
            Self::Opus(packet) => packet.samples(),
            Self::G711(payload) => payload.len() * Codec::G711(g711::Law::Mu).ratio(),
        }
    }

    /// What its FEC stands for, samples at 24 kHz right before it; 0 without.
    pub(crate) fn fec_samples(&self) -> usize {
        match self {
            Self::Opus(packet) if packet.carries_fec() => packet.frame_samples(),
            Self::Opus(_) | Self::G711(_) => 0,
        }
    }
}
