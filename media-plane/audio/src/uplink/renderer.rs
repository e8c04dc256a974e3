//! Makes the audio: decoded, recovered, concealed or silent, in pieces of at most a frame, without clicks where one kind
//! follows another, and counted.
//!
//! Does not know the time: it is told how much of what, in samples at 24 kHz. It decodes at the codec's own rate.

use super::{FrameSource, Sink, output::UplinkOutput};
use crate::{
    FRAME_SAMPLES, SAMPLE_RATE_HZ,
    codec::{Codec, Decoder, Packet},
    opus::{MAX_PACKET_SAMPLES, OpusError},
    ramp,
};

/// Concealment is made up for this long at most: 100 ms.
const MAX_CONCEALED_SAMPLES: usize = 5 * FRAME_SAMPLES;
/// It is as loud as what came before for this long, then fades evenly to nothing.
const FULL_CONCEALED_SAMPLES: usize = FRAME_SAMPLES;

/// Samples forwarded, by source.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RendererCounters {
    received: u64,
    recovered: u64,
    concealed: u64,
    silence: u64,
}

impl RendererCounters {
    pub(super) const fn received_ms(&self) -> u64 {
        millis(self.received)
    }

    pub(super) const fn recovered_ms(&self) -> u64 {
        millis(self.recovered)
    }

    pub(super) const fn concealed_ms(&self) -> u64 {
        millis(self.concealed)
    }

    pub(super) const fn silence_ms(&self) -> u64 {
        millis(self.silence)
    }

    pub(super) const fn concealed_samples(&self) -> u64 {
        self.concealed
    }

    pub(super) const fn silence_samples(&self) -> u64 {
        self.silence
    }

    /// All samples forwarded.
    pub(super) const fn samples(&self) -> u64 {
        self.received + self.concealed + self.silence
    }

    fn count(&mut self, source: FrameSource, samples: usize) {
        let counter = match source {
            FrameSource::Received => &mut self.received,
            FrameSource::Concealed => &mut self.concealed,
            FrameSource::Silence => &mut self.silence,
        };
        *counter += samples as u64;
    }
}

pub(super) const fn millis(samples: u64) -> u64 {
    samples * 1_000 / SAMPLE_RATE_HZ as u64
}

#[derive(Debug)]
pub(super) struct Renderer {
    decoder: Decoder,
    output: UplinkOutput,
    /// 24 kHz samples for each of the codec's.
    ratio: usize,
    pcm: Box<[i16; MAX_PACKET_SAMPLES]>,
    /// Samples made up since audio was last received.
    made_up: usize,
    /// Gain of what was forwarded last: received audio rises from it.
    gain: f32,
    counters: RendererCounters,
}

impl Renderer {
    pub(super) fn new(codec: Codec, output: UplinkOutput) -> Result<Self, OpusError> {
        Ok(Self {
            decoder: Decoder::new(codec)?,
            output,
            ratio: codec.ratio(),
            pcm: Box::new([0; MAX_PACKET_SAMPLES]),
            // There is nothing to conceal before the first packet.
            made_up: MAX_CONCEALED_SAMPLES,
            gain: 0.0,
            counters: RendererCounters::default(),
        })
    }

    pub(super) const fn counters(&self) -> &RendererCounters {
        &self.counters
    }

    /// Another stream follows: nothing before it says anything about it.
    pub(super) fn reset(&mut self) {
        self.decoder.reset();
        self.made_up = MAX_CONCEALED_SAMPLES;
        self.gain = 0.0;
    }

    /// Forwards a packet's audio from sample `skip` on. Returns the samples forwarded.
    pub(super) fn received(
        &mut self,
        packet: &Packet<'_>,
        skip: usize,
        sink: &mut Sink<'_>,
    ) -> Result<usize, OpusError> {
        let decoded = self.decoder.decode(packet, &mut self.pcm[..])?;
        let skip = (skip / self.ratio).min(decoded);
        self.emit_received(skip..decoded, sink);
        Ok((decoded - skip) * self.ratio)
    }

    /// Forwards `samples` in place of packets lost before `next`: from its FEC as far as that reaches.
    pub(super) fn bridge(&mut self, samples: usize, next: &Packet<'_>, sink: &mut Sink<'_>) {
        let frame = next.fec_samples();
        let recovered = samples.min(frame);
        self.conceal(samples - recovered, sink);
        if recovered == 0 {
            return;
        }
        if self.decoder.recover(next, &mut self.pcm[..frame]) {
            self.counters.recovered += recovered as u64;
            self.emit_received(frame - recovered..frame, sink);
        } else {
            self.conceal(recovered, sink);
        }
    }

    /// Forwards `samples` of concealment as long as it lasts, then silence.
    pub(super) fn conceal(&mut self, samples: usize, sink: &mut Sink<'_>) {
        let mut rest = samples;
        while rest > 0 && self.made_up < MAX_CONCEALED_SAMPLES {
            let piece = rest.min(FRAME_SAMPLES - self.made_up % FRAME_SAMPLES);
            let pcm = &mut self.pcm[..piece / self.ratio];
            self.decoder.conceal(pcm);
            let gain = fade(self.made_up + piece);
            ramp::scale(pcm, self.gain.min(fade(self.made_up)), gain);
            self.gain = gain;
            self.made_up += piece;
            self.counters.count(FrameSource::Concealed, piece);
            self.output.emit(pcm, FrameSource::Concealed, sink);
            rest -= piece;
        }
        self.silence(rest, sink);
    }

    /// Forwards `samples` of silence.
    pub(super) fn silence(&mut self, samples: usize, sink: &mut Sink<'_>) {
        if samples == 0 {
            return;
        }
        self.gain = 0.0;
        self.made_up = MAX_CONCEALED_SAMPLES;
        self.counters.count(FrameSource::Silence, samples);
        self.output.silence(samples / self.ratio, sink);
    }

    fn emit_received(&mut self, range: std::ops::Range<usize>, sink: &mut Sink<'_>) {
        let pcm = &mut self.pcm[range];
        if self.gain < 1.0 {
            ramp::rise_within(pcm, ramp::RAMP_SAMPLES / self.ratio, self.gain);
        }
        self.gain = 1.0;
        self.made_up = 0;
        self.counters.count(FrameSource::Received, pcm.len() * self.ratio);
        self.output.emit(pcm, FrameSource::Received, sink);
    }
}

/// Gain of concealment after `made_up` samples of it.
fn fade(made_up: usize) -> f32 {
    let faded = made_up.saturating_sub(FULL_CONCEALED_SAMPLES) as f32;
    1.0 - faded / (MAX_CONCEALED_SAMPLES - FULL_CONCEALED_SAMPLES) as f32
}
