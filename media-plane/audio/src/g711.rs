//! PCMU and PCMA: one byte for each sample at 8 kHz (ITU-T G.711; RTP payloads in RFC 3551, section 4.5.14).
//!
//! Flow: [`Law::decode`] and [`Law::encode`] go through tables made from the definition; [`Decoder`] adds concealment.
//! Linear samples are 16 bits, left-aligned: the recommendation's 14 (mu) and 13 (A) bits times 4 and 8. A byte decoded
//! and encoded again is the same byte, but for the negative zero of the mu-law.
//!
//! Not here: resampling to 24 kHz, RTP, time.

mod conceal;

use conceal::Concealer;

/// Both laws sample at this rate, which is also their RTP clock.
pub const SAMPLE_RATE_HZ: u32 = 8_000;
/// Samples, and so bytes, of a 20 ms packet.
pub const FRAME_SAMPLES: usize = 160;
/// Longest packet taken, 120 ms like the longest of Opus.
pub const MAX_PACKET_SAMPLES: usize = 960;

/// Which of the two companding laws.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Law {
    /// PCMU, mu-law: North America and Japan.
    Mu,
    /// PCMA, A-law: everywhere else.
    A,
}

static MU: [i16; 256] = table(Law::Mu);
static A: [i16; 256] = table(Law::A);

impl Law {
    /// The sample a byte stands for.
    #[must_use]
    pub fn decode(self, byte: u8) -> i16 {
        match self {
            Self::Mu => MU[usize::from(byte)],
            Self::A => A[usize::from(byte)],
        }
    }

    /// The byte whose interval a sample lies in.
    #[must_use]
    pub fn encode(self, sample: i16) -> u8 {
        match self {
            Self::Mu => encode_mu(sample),
            Self::A => encode_a(sample),
        }
    }

    /// Encodes as many samples as the shorter of the two has room for. Returns how many.
    pub fn encode_all(self, pcm: &[i16], out: &mut [u8]) -> usize {
        for (to, &from) in out.iter_mut().zip(pcm) {
            *to = self.encode(from);
        }
        pcm.len().min(out.len())
    }

    /// The byte of silence.
    #[must_use]
    pub fn silence(self) -> u8 {
        self.encode(0)
    }
}

/// Decodes one packet's payload after the other, and fills in for those missing.
#[derive(Debug)]
pub struct Decoder {
    law: Law,
    concealer: Concealer,
}

impl Decoder {
    /// A decoder that has heard nothing yet.
    #[must_use]
    pub fn new(law: Law) -> Self {
        Self { law, concealer: Concealer::default() }
    }

    /// Decodes a payload. Returns the samples written: as many as the shorter of the two has room for.
    pub fn decode(&mut self, payload: &[u8], out: &mut [i16]) -> usize {
        let samples = payload.len().min(out.len());
        for (to, &from) in out.iter_mut().zip(payload) {
            *to = self.law.decode(from);
        }
        self.concealer.heard(&mut out[..samples]);
        samples
    }

    /// Fills `out` with the last pitch period of what was heard, over and over. Does not fade: the caller does.
    pub fn conceal(&mut self, out: &mut [i16]) {
        self.concealer.fill(out);
    }

    /// Forgets what it has heard, as if new.
    pub fn reset(&mut self) {
        self.concealer = Concealer::default();
    }
}

/// Segment, place within it, and sign, taken apart as in tables 1 and 2 of G.711.
const fn table(law: Law) -> [i16; 256] {
    let mut values = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        values[byte] = match law {
            // All bits are sent inverted; 0x80 is the sign, set for positive values.
            Law::Mu => {
                let bits = !(byte as u8);
                let magnitude = ((((bits & 0x0F) as i16) << 3) + MU_BIAS) << ((bits >> 4) & 0x07);
                if bits & 0x80 != 0 { MU_BIAS - magnitude } else { magnitude - MU_BIAS }
            }
            // Even bits are sent inverted.
            Law::A => {
                let bits = (byte as u8) ^ A_INVERTED;
                let place = ((bits & 0x0F) as i16) << 4;
                let magnitude = match (bits >> 4) & 0x07 {
                    0 => place + 8,
                    segment => (place + 0x108) << (segment - 1),
                };
                if bits & 0x80 != 0 { magnitude } else { -magnitude }
            }
        };
        byte += 1;
    }
    values
}

/// 33 in the recommendation's 14 bits: makes every segment begin at a power of two.
const MU_BIAS: i16 = 33 * 4;
/// Largest magnitude the mu-law tells apart, 14 bits with the bias.
const MU_CLIP: u16 = 0x1FFF;
const A_INVERTED: u8 = 0x55;

fn encode_mu(sample: i16) -> u8 {
    // Negative values by complement, as the ITU-T software tools do (G.191).
    let (magnitude, sign) = if sample < 0 { (!sample, 0x80) } else { (sample, 0) };
    let biased = ((magnitude >> 2) as u16 + (MU_BIAS >> 2) as u16).min(MU_CLIP);
    // Segment 0 has its highest bit at 32.
    let segment = (10 - biased.leading_zeros().min(10)) as u8;
    let place = (biased >> (segment + 1)) as u8 & 0x0F;
    !(sign | segment << 4 | place)
}

fn encode_a(sample: i16) -> u8 {
    let (magnitude, sign) = if sample < 0 { (!sample, 0) } else { (sample, 0x80) };
    let magnitude = (magnitude >> 4) as u16;
    let segment = (12 - magnitude.leading_zeros().min(12)) as u8;
    let place = if segment > 1 { magnitude >> (segment - 1) } else { magnitude } as u8 & 0x0F;
    (sign | segment << 4 | place) ^ A_INVERTED
}

#[cfg(test)]
mod tests;
