//! Packets, or their absence, to samples at the codec's own rate.

use super::{Codec, Packet};
use crate::{
    g711,
    opus::{self, OpusError},
};

#[derive(Debug)]
pub(crate) enum Decoder {
    Opus(opus::Decoder),
    G711(Box<g711::Decoder>),
}

impl Decoder {
    pub(crate) fn new(codec: Codec) -> Result<Self, OpusError> {
        Ok(match codec {
            Codec::Opus => Self::Opus(opus::Decoder::new()?),
            Codec::G711(law) => Self::G711(Box::new(g711::Decoder::new(law))),
        })
    }

    /// Returns the samples written.
    pub(crate) fn decode(&mut self, packet: &Packet<'_>, out: &mut [i16]) -> Result<usize, OpusError> {
        match self {
            Self::Opus(decoder) => decoder.decode(packet.payload(), out),
            Self::G711(decoder) => Ok(decoder.decode(packet.payload(), out)),
        }
    }

    /// Fills in for what is missing, as loud as what came before.
    pub(crate) fn conceal(&mut self, out: &mut [i16]) {
        match self {
            Self::Opus(decoder) => decoder.conceal(out),
            Self::G711(decoder) => decoder.conceal(out),
        }
    }

    /// Fills `out` from the FEC of the packet behind it. False if there is none.
    pub(crate) fn recover(&mut self, next: &Packet<'_>, out: &mut [i16]) -> bool {
        match self {
            Self::Opus(decoder) => decoder.recover(next.payload(), out).is_ok(),
            Self::G711(_) => false,
        }
    }

    pub(crate) fn reset(&mut self) {
        match self {
            Self::Opus(decoder) => decoder.reset(),
            Self::G711(decoder) => decoder.reset(),
        }
    }
}
