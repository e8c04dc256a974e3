//! 24 kHz samples to Opus packets.
//!
//! Does not decide when there is anything to encode: digital silence costs as much as speech, so callers encode it once
//! and repeat the packet.

use super::{OpusError, STEP_SAMPLES};
use audiopus::{Application, Bandwidth, Bitrate, Channels, ErrorCode, SampleRate, Signal};

/// Widest audio the encoder may code (RFC 6716, section 2); what a peer's `maxplaybackrate` asks for (RFC 7587).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxBandwidth {
    /// 4 kHz of audio.
    Narrowband,
    /// 6 kHz.
    Mediumband,
    /// 8 kHz.
    Wideband,
    /// 12 kHz, all that 24 kHz audio can hold.
    Superwideband,
}

impl MaxBandwidth {
    /// The widest that a receiver playing at `rate_hz` can use (RFC 7587, section 3.1.1).
    #[must_use]
    pub const fn for_playback_rate(rate_hz: u32) -> Self {
        match rate_hz {
            ..12_000 => Self::Narrowband,
            12_000..16_000 => Self::Mediumband,
            16_000..24_000 => Self::Wideband,
            _ => Self::Superwideband,
        }
    }
}

/// How to encode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncoderSettings {
    /// Never wider than this.
    pub max_bandwidth: MaxBandwidth,
    /// Target, 6 000 to 510 000 bit/s, variable (RFC 6716, section 2.1.1).
    pub bitrate_bps: u32,
    /// One of [`COMPLEXITIES`]: processor time against quality.
    pub complexity: u8,
    /// Adds a coarse copy of the last frame to the next packet, as far as the expected loss makes that worthwhile.
    pub fec: bool,
    /// 0 to 100: the loss the receiver reports.
    pub expected_loss_percent: u8,
    /// Sends next to nothing while it is quiet. Leaves gaps in the packet stream to be bridged by the receiver.
    pub dtx: bool,
}

/// The complexities there are, from least to most. 4 and 5 are left out: there, without error correction, libopus 1.6.1
/// now and then lets two frames burst out at several times their loudness (`docs/adr/0006-libopus.md` has the figures).
pub const COMPLEXITIES: [u8; 9] = [0, 1, 2, 3, 6, 7, 8, 9, 10];

impl Default for EncoderSettings {
    /// Wideband speech at 20 kbit/s, what WhatsApp's offers ask for.
    fn default() -> Self {
        Self {
            max_bandwidth: MaxBandwidth::Wideband,
            bitrate_bps: 20_000,
            complexity: 6,
            fec: false,
            expected_loss_percent: 0,
            dtx: false,
        }
    }
}

/// One stream's encoder.
#[derive(Debug)]
pub struct Encoder {
    inner: audiopus::coder::Encoder,
}

impl Encoder {
    /// An encoder for one stream of speech.
    ///
    /// # Errors
    /// [`OpusError::Setting`] naming the field out of range, [`OpusError::Internal`] when libopus cannot allocate.
    pub fn new(settings: EncoderSettings) -> Result<Self, OpusError> {
        let inner = audiopus::coder::Encoder::new(SampleRate::Hz24000, Channels::Mono, Application::Voip)
            .map_err(|_| OpusError::Internal)?;
        let mut encoder = Self { inner };
        encoder.apply(settings)?;
        Ok(encoder)
    }

    /// Changes the settings from the next frame on.
    ///
    /// # Errors
    /// [`OpusError::Setting`]; settings before the one named are in force then.
    pub fn apply(&mut self, settings: EncoderSettings) -> Result<(), OpusError> {
        if !(6_000..=510_000).contains(&settings.bitrate_bps) {
            return Err(OpusError::Setting { name: "bitrate_bps" });
        }
        if !COMPLEXITIES.contains(&settings.complexity) {
            return Err(OpusError::Setting { name: "complexity" });
        }
        let bitrate = Bitrate::BitsPerSecond(settings.bitrate_bps as i32);
        let bandwidth = match settings.max_bandwidth {
            MaxBandwidth::Narrowband => Bandwidth::Narrowband,
            MaxBandwidth::Mediumband => Bandwidth::Mediumband,
            MaxBandwidth::Wideband => Bandwidth::Wideband,
            MaxBandwidth::Superwideband => Bandwidth::Superwideband,
        };
        let inner = &mut self.inner;
        named("signal", inner.set_signal(Signal::Voice))?;
        named("max_bandwidth", inner.set_max_bandwidth(bandwidth))?;
        named("bitrate_bps", inner.set_bitrate(bitrate))?;
        named("complexity", inner.set_complexity(settings.complexity))?;
        named("fec", inner.set_inband_fec(settings.fec))?;
        named("expected_loss_percent", inner.set_packet_loss_perc(settings.expected_loss_percent))?;
        named("dtx", inner.set_dtx(settings.dtx))
    }

    /// Encodes one frame of 2.5, 5, 10, 20, 40 or 60 ms. Returns the bytes written. A packet never exceeds `out`, which
    /// costs quality when it is short; [`super::MAX_PAYLOAD_BYTES`] is always enough.
    ///
    /// # Errors
    /// [`OpusError::FrameLength`], [`OpusError::OutputTooSmall`], [`OpusError::Internal`].
    pub fn encode(&mut self, pcm: &[i16], out: &mut [u8]) -> Result<usize, OpusError> {
        const FRAME_STEPS: [usize; 6] = [1, 2, 4, 8, 16, 24];
        if !FRAME_STEPS.map(|steps| steps * STEP_SAMPLES).contains(&pcm.len()) {
            return Err(OpusError::FrameLength { samples: pcm.len() });
        }
        let available = out.len();
        if available < 3 {
            return Err(OpusError::OutputTooSmall { needed: 3, available });
        }
        self.inner.encode(pcm, out).map_err(|error| match error {
            audiopus::Error::Opus(ErrorCode::BufferTooSmall) => {
                OpusError::OutputTooSmall { needed: available + 1, available }
            }
            _ => OpusError::Internal,
        })
    }
}

fn named(name: &'static str, result: audiopus::Result<()>) -> Result<(), OpusError> {
    result.map_err(|_| OpusError::Setting { name })
}
