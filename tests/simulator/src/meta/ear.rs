//! What a caller hears: packets decoded onto RTP time, and whether it is speech.
//!
//! The recording is aligned on RTP time stamps: a packet that never came leaves silence of its length. Without a jitter
//! buffer on purpose, so that a late packet shows. Speech is energy, nothing finer: the other side is a voice or silence.

use std::time::{Duration, Instant};

use voicebridge_audio::{
    FRAME_SAMPLES, SAMPLE_RATE_HZ,
    codec::Codec,
    g711::{self, Law},
    level,
    opus::{Decoder, MAX_PACKET_SAMPLES, OpusError},
    resample::Upsampler,
};

/// Longest recording; what comes later is heard but not kept.
const MAX_RECORDED_SAMPLES: usize = SAMPLE_RATE_HZ as usize * 600;
/// A jump of the time stamps by more than this is not filled with silence but recorded as a break.
const MAX_JUMP_SAMPLES: i64 = SAMPLE_RATE_HZ as i64 * 60;
/// Louder than this is speech; synthetic speech is about -20, coded silence below -80.
const SPEECH_DBFS: f32 = -50.0;
/// A pause between words does not end a stretch of speech; a longer one does.
pub(crate) const STRETCH_GAP: Duration = Duration::from_millis(300);

/// What was heard so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hearing {
    /// Speech since the start of the call.
    pub(crate) speech: Duration,
    /// Speech in the last stretch of it.
    pub(crate) stretch: Duration,
    /// When that stretch began.
    pub(crate) stretch_began: Option<Instant>,
    /// When speech was heard last.
    pub(crate) last_speech: Option<Instant>,
}

#[derive(Debug)]
pub(crate) struct Ear {
    codec: Codec,
    decoder: Decoding,
    pcm: Vec<i16>,
    /// RTP time stamp of sample 0.
    first_timestamp: Option<u32>,
    /// RTP time stamp of the last packet, and the sample it lies at.
    last: Option<(u32, i64)>,
    hearing: Hearing,
    pub(crate) faults: EarFaults,
}

/// Payloads to 24 kHz.
#[derive(Debug)]
enum Decoding {
    Opus(Decoder),
    /// 5 ms late, as any resampler.
    G711(Law, Box<Upsampler>),
}

impl Decoding {
    /// `None` for what the codec does not know.
    fn decode(&mut self, payload: &[u8]) -> Option<Vec<i16>> {
        match self {
            Self::Opus(decoder) => {
                let mut decoded = vec![0; MAX_PACKET_SAMPLES];
                let samples = decoder.decode(payload, &mut decoded).ok()?;
                decoded.truncate(samples);
                Some(decoded)
            }
            Self::G711(..) if payload.len() > g711::MAX_PACKET_SAMPLES => None,
            Self::G711(law, upsampler) => {
                let narrow: Vec<i16> = payload.iter().map(|&byte| law.decode(byte)).collect();
                let mut decoded = Vec::with_capacity(narrow.len() * 3);
                upsampler.push(&narrow, &mut |block| decoded.extend_from_slice(block));
                Some(decoded)
            }
        }
    }
}

/// What was wrong with packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct EarFaults {
    pub(crate) undecodable: u32,
    pub(crate) not_20_ms: u32,
    pub(crate) late: u32,
    pub(crate) timestamp_breaks: u32,
}

impl Ear {
    pub(crate) fn new(codec: Codec) -> Result<Self, OpusError> {
        let decoder = match codec {
            Codec::Opus => Decoding::Opus(Decoder::new()?),
            Codec::G711(law) => Decoding::G711(law, Box::default()),
        };
        Ok(Self {
            codec,
            decoder,
            pcm: Vec::new(),
            first_timestamp: None,
            last: None,
            hearing: Hearing::default(),
            faults: EarFaults::default(),
        })
    }

    pub(crate) fn hearing(&self) -> Hearing {
        self.hearing
    }

    /// The recording from the packet stamped `from` on; the ear starts a new one. What was not heard is silence.
    pub(crate) fn take_pcm(&mut self, from: u32) -> Vec<i16> {
        self.last = None;
        let mut pcm = std::mem::take(&mut self.pcm);
        if let Some(first) = self.first_timestamp.take() {
            let missing = self.samples(first.wrapping_sub(from));
            if missing < MAX_JUMP_SAMPLES
                && let Ok(missing) = usize::try_from(missing)
            {
                pcm.splice(0..0, std::iter::repeat_n(0, missing));
            }
        }
        pcm
    }

    /// Hears one packet.
    pub(crate) fn hear(&mut self, now: Instant, timestamp: u32, payload: &[u8]) {
        if payload.is_empty() {
            return;
        }
        let Some(decoded) = self.decoder.decode(payload) else {
            self.faults.undecodable += 1;
            return;
        };
        if decoded.len() != FRAME_SAMPLES {
            self.faults.not_20_ms += 1;
        }
        self.listen(now, &decoded);
        let position = self.place(timestamp);
        self.record(position, &decoded);
    }

    /// Samples at 24 kHz of a difference of time stamps.
    fn samples(&self, units: u32) -> i64 {
        i64::from(units.cast_signed()) * i64::from(SAMPLE_RATE_HZ) / i64::from(self.codec.rtp_clock_hz())
    }

    fn listen(&mut self, now: Instant, decoded: &[i16]) {
        if level::rms_dbfs(decoded) < SPEECH_DBFS {
            return;
        }
        let length = Duration::from_micros(decoded.len() as u64 * 1_000_000 / u64::from(SAMPLE_RATE_HZ));
        let hearing = &mut self.hearing;
        let continues = hearing.last_speech.is_some_and(|last| now.duration_since(last) <= STRETCH_GAP);
        if continues {
            hearing.stretch += length;
        } else {
            (hearing.stretch, hearing.stretch_began) = (length, Some(now));
        }
        hearing.speech += length;
        hearing.last_speech = Some(now);
    }

    /// The sample at which a packet with this time stamp belongs.
    fn place(&mut self, timestamp: u32) -> i64 {
        let Some((last_timestamp, last_position)) = self.last else {
            self.first_timestamp = Some(timestamp);
            self.last = Some((timestamp, 0));
            return 0;
        };
        // Wrapping difference: time stamps start at random and pass 2^32.
        let mut position = last_position + self.samples(timestamp.wrapping_sub(last_timestamp));
        if (position - last_position).abs() > MAX_JUMP_SAMPLES {
            self.faults.timestamp_breaks += 1;
            position = self.pcm.len() as i64;
        }
        self.last = Some((timestamp, position));
        position
    }

    fn record(&mut self, position: i64, decoded: &[i16]) {
        let Ok(position) = usize::try_from(position) else {
            self.faults.late += 1;
            return;
        };
        let end = position + decoded.len();
        if end > MAX_RECORDED_SAMPLES {
            return;
        }
        if position < self.pcm.len() {
            self.faults.late += 1;
        }
        if end > self.pcm.len() {
            self.pcm.resize(end, 0);
        }
        self.pcm[position..end].copy_from_slice(decoded);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::meta::utterance::{self, Utterance};

    fn speech(frames: usize) -> Utterance {
        let pcm: Vec<i16> = (0..frames * 480).map(|i| ((i as f32 * 0.11).sin() * 8_000.0) as i16).collect();
        Utterance::new("speech", &pcm).unwrap()
    }

    fn loud(pcm: &[i16]) -> Vec<bool> {
        pcm.chunks(480).map(|frame| level::rms_dbfs(frame) > SPEECH_DBFS).collect()
    }

    #[test]
    fn packets_lie_where_their_time_stamps_say() {
        let mut ear = Ear::new(Codec::Opus).unwrap();
        let start = Instant::now();
        let spoken = speech(6);
        // From just below the wrap of the time stamps, with the fourth packet lost.
        for (index, packet) in spoken.packets(Codec::Opus).iter().enumerate().filter(|(index, _)| *index != 3) {
            let timestamp = (u32::MAX - 1_000).wrapping_add(index as u32 * 960);
            ear.hear(start, timestamp, packet);
        }
        assert_eq!(ear.faults, EarFaults::default());
        // The business's first packet came 20 ms earlier and was not heard.
        let first = (u32::MAX - 1_000).wrapping_sub(960);
        assert_eq!(loud(&ear.take_pcm(first)), [false, true, true, true, false, true, true]);
    }

    #[test]
    fn g711_lies_where_its_time_stamps_say() {
        for law in [Law::Mu, Law::A] {
            let codec = Codec::G711(law);
            let mut ear = Ear::new(codec).unwrap();
            for (index, packet) in speech(6).packets(codec).iter().enumerate().filter(|(index, _)| *index != 3) {
                ear.hear(Instant::now(), (u32::MAX - 300).wrapping_add(index as u32 * 160), packet);
            }
            assert_eq!(ear.faults, EarFaults::default());
            let pcm = ear.take_pcm((u32::MAX - 300).wrapping_sub(160));
            assert_eq!(loud(&pcm), [false, true, true, true, false, true, true], "{law:?}");
            ear.hear(Instant::now(), 0, &[0x55; 80]);
            ear.hear(Instant::now(), 80, &[0x55; 1_000]);
            assert_eq!((ear.faults.not_20_ms, ear.faults.undecodable), (1, 1));
        }
    }

    #[test]
    fn stretches_of_speech_are_measured() {
        let mut ear = Ear::new(Codec::Opus).unwrap();
        let start = Instant::now();
        let (spoken, silence) = (speech(30), utterance::silence(Codec::Opus).unwrap());
        let mut at = 0;
        let mut hear = |ear: &mut Ear, packet: &[u8]| {
            ear.hear(start + Duration::from_millis(u64::from(at) * 20), at * 960, packet);
            at += 1;
        };
        for _ in 0..10 {
            hear(&mut ear, &silence);
        }
        assert_eq!(ear.hearing(), Hearing::default());
        for packet in &spoken.packets(Codec::Opus)[..20] {
            hear(&mut ear, packet);
        }
        assert_eq!(ear.hearing().stretch, Duration::from_millis(400));
        assert_eq!(ear.hearing().last_speech, Some(start + Duration::from_millis(29 * 20)));
        for _ in 0..40 {
            hear(&mut ear, &silence);
        }
        for packet in &spoken.packets(Codec::Opus)[20..25] {
            hear(&mut ear, packet);
        }
        assert_eq!(ear.hearing().stretch, Duration::from_millis(100));
        assert_eq!(ear.hearing().stretch_began, Some(start + Duration::from_millis(70 * 20)));
        assert!(ear.hearing().speech >= Duration::from_millis(500));
    }

    #[test]
    fn strange_packets_are_counted() {
        let mut ear = Ear::new(Codec::Opus).unwrap();
        let now = Instant::now();
        let packet = utterance::silence(Codec::Opus).unwrap();
        ear.hear(now, 5_000, &packet);
        ear.hear(now, 5_000, &packet);
        ear.hear(now, 1_000, &packet);
        ear.hear(now, 1_000 + 48_000 * 3_600, &packet);
        ear.hear(now, 6_000, &[]);
        ear.hear(now, 6_000, &[0xFF; 1_600]);
        assert_eq!(ear.faults, EarFaults { undecodable: 1, not_20_ms: 0, late: 2, timestamp_breaks: 1 });
        assert_eq!(ear.take_pcm(5_000).len(), 960);
    }
}
