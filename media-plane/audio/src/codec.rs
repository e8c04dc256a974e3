//! Which codec a call uses, and one shape for all of them: what the uplink, its renderer and the sending side need.
//!
//! Flow: the answer to the offer decides on a [`Codec`]. The uplink takes it to read packets; [`Encoder`] turns 24 kHz
//! frames into payloads of 20 ms for the other way.
//!
//! **One measure.** Inside, samples count at 24 kHz and RTP time at 48 kHz whatever the codec: timestamps of G.711 are
//! multiplied by six, which commutes with their wrapping, and its samples count threefold.
//!
//! Not here: payload types and their negotiation.

mod decoder;
mod encoder;
mod packet;

pub(crate) use decoder::Decoder;
pub(crate) use packet::Packet;

pub use encoder::Encoder;

use crate::{FRAME_MS, RTP_CLOCK_HZ, SAMPLE_RATE_HZ, g711, g711::Law};

/// A codec of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// RFC 7587.
    Opus,
    /// PCMU or PCMA, RFC 3551.
    G711(Law),
}

impl Codec {
    /// RTP clock, Hz.
    #[must_use]
    pub const fn rtp_clock_hz(self) -> u32 {
        match self {
            Self::Opus => RTP_CLOCK_HZ,
            Self::G711(_) => g711::SAMPLE_RATE_HZ,
        }
    }

    /// Rate at which it decodes, Hz.
    #[must_use]
    pub const fn sample_rate_hz(self) -> u32 {
        match self {
            Self::Opus => SAMPLE_RATE_HZ,
            Self::G711(_) => g711::SAMPLE_RATE_HZ,
        }
    }

    /// RTP clock units of a 20 ms packet.
    #[must_use]
    pub const fn frame_rtp_units(self) -> u32 {
        self.rtp_clock_hz() / 1_000 * FRAME_MS as u32
    }

    /// 24 kHz samples for each of its own.
    pub(crate) const fn ratio(self) -> usize {
        (SAMPLE_RATE_HZ / self.sample_rate_hz()) as usize
    }

    /// A timestamp on the common 48 kHz clock.
    pub(crate) const fn common_time(self, timestamp: u32) -> u32 {
        timestamp.wrapping_mul(RTP_CLOCK_HZ / self.rtp_clock_hz())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks() {
        let check = |codec: Codec, clock, rate, units, ratio| {
            let got = (codec.rtp_clock_hz(), codec.sample_rate_hz(), codec.frame_rtp_units(), codec.ratio());
            assert_eq!(got, (clock, rate, units, ratio), "{codec:?}");
        };
        check(Codec::Opus, 48_000, 24_000, 960, 1);
        check(Codec::G711(Law::Mu), 8_000, 8_000, 160, 3);
        let codec = Codec::G711(Law::A);
        for timestamp in [0u32, 1, 715_827_882, 1 << 31, u32::MAX - 100] {
            let step = codec.common_time(timestamp.wrapping_add(160)).wrapping_sub(codec.common_time(timestamp));
            assert_eq!(step, 960, "from {timestamp}");
        }
    }
}
