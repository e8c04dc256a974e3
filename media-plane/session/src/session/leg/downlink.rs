//! From the AI to the caller: playout, the send clock, the codec, RTP numbers.
//!
//! From the moment audio may flow there is one packet for every 20 ms slot: the AI's voice, else silence. Silence costs
//! as much to encode as speech, so it is encoded once, at the start, and that packet is repeated. After speech one frame
//! of real silence goes through the encoder, so that its voice fades out and its state is silence when it speaks again.
//!
//! Timestamps follow the wall clock whatever the driver does (RFC 3550, section 5.1: they reflect the sampling instant);
//! sequence numbers count what was sent. Slots given up after a stall are time without a packet: nothing of the AI's voice
//! is spent on them, and the audio behind them is marked as after silence.
//!
//! Opus's error correction is off until the far side reports loss: it takes its bits from the voice.

use voicebridge_audio::{
    FRAME_SAMPLES, SAMPLE_RATE_HZ, Time,
    codec::{Codec, Encoder},
    dtmf::{KeyPacket, Sender},
    opus::{EncoderSettings, MAX_PAYLOAD_BYTES, MaxBandwidth, OpusError},
    pacer::{Pacer, PacerDue},
    playout::{EndedItem, Playout, PlayoutSettings, PlayoutSlot},
    protection::{Advice, Protection},
    resample,
};

use crate::{
    limits::Limits,
    ports::RtpOut,
    provider::AudioFormat,
    sdp::{AudioCodec, Negotiated, OpusParameters},
};

/// Bit rate when the far side names none: good wideband speech.
const DEFAULT_BITRATE_BPS: u32 = 24_000;
/// More than this buys nothing for a voice at 24 kHz.
const MAX_BITRATE_BPS: u32 = 40_000;
/// A byte for each sample at 8 kHz.
const G711_BITRATE_BPS: u32 = 64_000;

/// See the module.
#[derive(Debug)]
pub(crate) struct Downlink {
    playout: Playout,
    codec: Codec,
    /// Of the AI's audio.
    format: AudioFormat,
    encoder: Encoder,
    /// Of Opus; G.711 has none.
    settings: EncoderSettings,
    /// The far side can use in-band error correction.
    may_protect: bool,
    protection: Protection,
    keys: Sender,
    payload_type: u8,
    telephone_event: Option<u8>,
    pacer: Option<Pacer>,
    sequence: u16,
    timestamp: u32,
    /// The packet that is sent for silence.
    silence: Vec<u8>,
    packet: Box<[u8; MAX_PAYLOAD_BYTES]>,
    tone: Tone,
    /// Slots were given up, and no audio was sent since.
    after_gap: bool,
    last_sent: Option<Time>,
    /// When the AI's voice was first sent.
    first_voice: Option<Time>,
    /// When the AI's voice began, while it is being sent.
    voice_since: Option<Time>,
    statistics: DownlinkStatistics,
}

/// What was sent last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tone {
    /// Nothing, or the silence packet.
    Silence,
    Speech,
}

/// Counters since the beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DownlinkStatistics {
    pub(crate) packets_sent: u64,
    pub(crate) longest_gap_ms: u32,
    /// Slots of silence within replies because nothing was there.
    pub(crate) dry_slots: u64,
}

impl Downlink {
    /// The AI's audio comes in `format`: 24 kHz, or the law of the call itself. `seed` gives sequence number and timestamp their beginnings (RFC 3550, section 5.1: random).
    pub(crate) fn new(
        negotiated: &Negotiated,
        format: AudioFormat,
        limits: &Limits,
        seed: u64,
    ) -> Result<Self, OpusError> {
        let codec = negotiated.audio.codec();
        let (settings, may_protect) = match &negotiated.audio {
            AudioCodec::Opus(opus) => (encoder_settings(opus), opus.in_band_fec),
            AudioCodec::G711 { .. } => (EncoderSettings::default(), false),
        };
        let playout = PlayoutSettings {
            prefill_ms: limits.prefill_ms,
            prefill_patience_ms: limits.prefill_patience_ms,
            // As much time in either format.
            max_bytes: limits.playout_bytes / (SAMPLE_RATE_HZ / format.sample_rate_hz()) as usize,
            sample_rate_hz: format.sample_rate_hz(),
            ..PlayoutSettings::default()
        };
        Ok(Self {
            playout: Playout::new(playout),
            codec,
            format,
            encoder: match format {
                AudioFormat::Pcm => Encoder::new(codec, settings)?,
                AudioFormat::G711(_) => Encoder::native(codec, settings)?,
            },
            settings,
            may_protect,
            protection: Protection::default(),
            keys: Sender::new(codec.rtp_clock_hz()),
            payload_type: negotiated.audio.payload_type(),
            telephone_event: negotiated.telephone_event.map(|event| event.payload_type),
            pacer: None,
            // Half the range: SRTP may lose its roll-over counter when the first packets wrap (RFC 3711, section 3.3.1).
            sequence: seed as u16 & 0x7fff,
            timestamp: (seed >> 16) as u32,
            silence: Encoder::silence(codec, settings)?,
            packet: Box::new([0; MAX_PAYLOAD_BYTES]),
            tone: Tone::Silence,
            after_gap: false,
            last_sent: None,
            first_voice: None,
            voice_since: None,
            statistics: DownlinkStatistics::default(),
        })
    }

    /// Starts the send clock; the first slot is due at once.
    pub(crate) fn start(&mut self, now: Time) {
        self.pacer.get_or_insert(Pacer::new(now));
    }

    /// Sends what is due.
    pub(crate) fn run(&mut self, now: Time, out: &mut dyn FnMut(RtpOut<'_>)) {
        let PacerDue { slots, skipped } = self.pacer.as_mut().map_or(PacerDue::default(), |pacer| pacer.take(now));
        if skipped > 0 {
            self.skip(skipped);
        }
        for _ in 0..slots {
            self.send(now, out);
        }
    }

    /// Lets time pass for which nothing is sent.
    fn skip(&mut self, slots: u64) {
        self.timestamp = self.timestamp.wrapping_add((slots as u32).wrapping_mul(self.codec.frame_rtp_units()));
        self.after_gap = true;
        self.voice_since = None;
    }

    fn send(&mut self, now: Time, out: &mut dyn FnMut(RtpOut<'_>)) {
        self.last_sent_at(now);
        if !self.send_key(out) {
            self.send_audio(now, out);
        }
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(self.codec.frame_rtp_units());
        self.statistics.packets_sent += 1;
    }

    /// Sends a report on a key in place of this slot's audio, if there is one.
    fn send_key(&mut self, out: &mut dyn FnMut(RtpOut<'_>)) -> bool {
        let (Some(payload_type), Some(key)) = (self.telephone_event, self.keys.next(self.timestamp)) else {
            return false;
        };
        let KeyPacket { payload, timestamp, marker } = key;
        out(RtpOut { payload_type, sequence: self.sequence, timestamp, marker, payload: &payload });
        true
    }

    fn send_audio(&mut self, now: Time, out: &mut dyn FnMut(RtpOut<'_>)) {
        let mut pcm = [0; FRAME_SAMPLES];
        let pcm = &mut pcm[..FRAME_SAMPLES * self.format.sample_rate_hz() as usize / SAMPLE_RATE_HZ as usize];
        let slot = self.playout.next_frame(now, pcm);
        let tone = if slot == PlayoutSlot::Frame { Tone::Speech } else { Tone::Silence };
        self.statistics.dry_slots += u64::from(slot == PlayoutSlot::Underrun);
        let first = self.statistics.packets_sent == 0;
        let after_gap = std::mem::take(&mut self.after_gap);
        let marker = first || after_gap || (tone == Tone::Speech && self.tone == Tone::Silence);
        // The frame after speech is silence, but goes through the encoder.
        let encode = tone == Tone::Speech || self.tone == Tone::Speech;
        self.tone = tone;
        self.voice_since = if tone == Tone::Speech { self.voice_since.or(Some(now)) } else { None };
        self.first_voice = self.first_voice.or(self.voice_since);
        let encoded = if encode { self.encoder.encode(pcm, &mut self.packet[..]).ok() } else { None };
        if encode && tone == Tone::Silence {
            self.encoder.reset();
        }
        let payload = encoded.map_or(&self.silence[..], |bytes| &self.packet[..bytes]);
        let (payload_type, sequence, timestamp) = (self.payload_type, self.sequence, self.timestamp);
        out(RtpOut { payload_type, sequence, timestamp, marker, payload });
    }

    fn last_sent_at(&mut self, now: Time) {
        if let Some(last) = self.last_sent.replace(now) {
            let gap_ms = now.since(last).as_millis() as u32;
            self.statistics.longest_gap_ms = self.statistics.longest_gap_ms.max(gap_ms);
        }
    }

    /// Adapts the error correction to the loss the far side reports.
    pub(crate) fn protect(&mut self, now: Time, fraction_lost: u8) {
        if !self.may_protect {
            return;
        }
        if let Some(Advice { fec, expected_loss_percent }) = self.protection.report(now, fraction_lost) {
            self.apply(EncoderSettings { fec, expected_loss_percent, ..self.settings });
        }
    }

    /// The encoder's complexity, one of [`voicebridge_audio::opus::COMPLEXITIES`]; any other changes nothing.
    pub(crate) fn set_complexity(&mut self, complexity: u8) {
        self.apply(EncoderSettings { complexity, ..self.settings });
    }

    fn apply(&mut self, settings: EncoderSettings) {
        if settings != self.settings && self.encoder.apply(settings).is_ok() {
            self.settings = settings;
        }
    }

    /// Whether packets carry error correction at present.
    pub(crate) const fn is_protected(&self) -> bool {
        self.settings.fec
    }

    pub(crate) const fn codec(&self) -> Codec {
        self.codec
    }

    /// Of the codec's payloads.
    pub(crate) const fn bitrate_bps(&self) -> u32 {
        match self.codec {
            Codec::Opus => self.settings.bitrate_bps,
            Codec::G711(_) => G711_BITRATE_BPS,
        }
    }

    /// Queues keys.
    pub(crate) fn send_dtmf(&mut self, digits: &str) -> Result<(), String> {
        if self.telephone_event.is_none() {
            return Err("no telephone-event was agreed on with the caller".to_owned());
        }
        self.keys.push(digits).map_err(|refused| refused.to_string())
    }

    /// Queues audio of an item. False when there is no room; nothing of it is taken then.
    pub(crate) fn push(&mut self, now: Time, item: &str, pcm: &[i16]) -> bool {
        self.playout.push(now, item, pcm).is_ok()
    }

    /// Queues a whole item of ours, at 24 kHz whatever the AI's audio is.
    pub(crate) fn push_notice(&mut self, now: Time, item: &str, pcm: &[i16]) {
        // There is room: what was queued before was silenced.
        let _fits = match self.format {
            AudioFormat::Pcm => self.push(now, item, pcm),
            AudioFormat::G711(_) => self.push(now, item, &resample::narrowed(pcm)),
        };
        self.finish(item);
    }

    pub(crate) fn finish(&mut self, item: &str) {
        self.playout.finish(item);
    }

    /// Silences at once.
    pub(crate) fn flush(&mut self) -> Vec<EndedItem> {
        self.playout.flush()
    }

    /// Holds back what is being played.
    pub(crate) fn pause(&mut self) {
        self.playout.pause();
    }

    /// Goes on with it.
    pub(crate) fn resume(&mut self) {
        self.playout.resume();
    }

    /// The item being played or waiting to be, and how many samples of it were sent.
    pub(crate) fn playing(&self) -> Option<(String, u64)> {
        let item = self.playout.current()?;
        Some((item.to_owned(), self.playout.heard(item)?.heard_samples))
    }

    /// The item being played, once something of it was sent, and how many samples were.
    pub(crate) fn sounding(&self) -> Option<(&str, u64)> {
        let item = self.playout.current()?;
        let heard_samples = self.playout.heard(item)?.heard_samples;
        (heard_samples > 0).then_some((item, heard_samples))
    }

    /// When the AI's voice was first sent.
    pub(crate) const fn first_voice(&self) -> Option<Time> {
        self.first_voice
    }

    /// Since when the AI's voice is being sent without a pause.
    pub(crate) const fn voice_since(&self) -> Option<Time> {
        self.voice_since
    }

    pub(crate) fn take_completed(&mut self) -> Vec<EndedItem> {
        self.playout.take_completed()
    }

    /// Whether any audio of this item ever came.
    pub(crate) fn knows(&self, item: &str) -> bool {
        self.playout.heard(item).is_some()
    }

    /// Audio waiting to be sent, milliseconds.
    pub(crate) const fn queued_ms(&self) -> u64 {
        self.playout.queued_ms()
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.playout.is_idle()
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        self.pacer.map(|pacer| pacer.deadline())
    }

    pub(crate) const fn statistics(&self) -> DownlinkStatistics {
        self.statistics
    }

    pub(crate) fn played_ms(&self) -> u64 {
        self.playout.statistics().played_samples * 1_000 / u64::from(SAMPLE_RATE_HZ)
    }

    pub(crate) fn underruns(&self) -> u64 {
        self.playout.statistics().underruns
    }
}

/// What the far side can use, and not more (RFC 7587, section 6.1).
fn encoder_settings(opus: &OpusParameters) -> EncoderSettings {
    EncoderSettings {
        max_bandwidth: opus.max_playback_rate.map_or(MaxBandwidth::Superwideband, MaxBandwidth::for_playback_rate),
        bitrate_bps: opus.max_average_bitrate.unwrap_or(DEFAULT_BITRATE_BPS).min(MAX_BITRATE_BPS),
        ..EncoderSettings::default()
    }
}

#[cfg(test)]
mod tests;
