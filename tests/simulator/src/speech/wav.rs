//! WAV files of 24 kHz mono 16 bit, in and out. No other format is read: fixtures are generated in this one.

use std::{io::Cursor, path::Path};

use hound::{SampleFormat, WavReader, WavSpec, WavWriter};

use super::SAMPLE_RATE_HZ;

const SPEC: WavSpec =
    WavSpec { channels: 1, sample_rate: SAMPLE_RATE_HZ, bits_per_sample: 16, sample_format: SampleFormat::Int };

/// Why a WAV file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum WavError {
    /// Not a WAV file, or the disk refused.
    #[error("the WAV file cannot be read or written")]
    File(#[from] hound::Error),
    /// Another rate, width or number of channels.
    #[error("expected 24000 Hz, 1 channel, 16 bit; found {rate} Hz, {channels} channels, {bits} bit")]
    Format {
        /// Sample rate of the file, Hz.
        rate: u32,
        /// Channels of the file.
        channels: u16,
        /// Bits per sample of the file.
        bits: u16,
    },
}

/// Samples of a WAV file.
pub fn read_wav(bytes: &[u8]) -> Result<Vec<i16>, WavError> {
    let reader = WavReader::new(Cursor::new(bytes))?;
    let spec = reader.spec();
    if spec != SPEC {
        return Err(WavError::Format { rate: spec.sample_rate, channels: spec.channels, bits: spec.bits_per_sample });
    }
    Ok(reader.into_samples().collect::<Result<_, _>>()?)
}

/// Writes samples to a WAV file, replacing it.
pub fn write_wav(path: &Path, pcm: &[i16]) -> Result<(), WavError> {
    let mut writer = WavWriter::create(path, SPEC)?;
    for sample in pcm {
        writer.write_sample(*sample)?;
    }
    writer.finalize()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn written_samples_are_read_back() {
        let folder = std::env::temp_dir().join(format!("voicebridge-wav-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("a.wav");
        write_wav(&path, &[0, 1, -1, i16::MAX, i16::MIN]).unwrap();
        assert_eq!(read_wav(&std::fs::read(&path).unwrap()).unwrap(), [0, 1, -1, i16::MAX, i16::MIN]);
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn another_rate_is_refused() {
        let mut bytes = Cursor::new(Vec::new());
        let mut writer = WavWriter::new(&mut bytes, WavSpec { sample_rate: 16_000, ..SPEC }).unwrap();
        writer.write_sample(0_i16).unwrap();
        writer.finalize().unwrap();
        let error = read_wav(bytes.get_ref()).unwrap_err();
        assert!(matches!(error, WavError::Format { rate: 16_000, .. }), "{error}");
    }

    #[test]
    fn rubbish_is_refused() {
        assert!(matches!(read_wav(b"RIFF"), Err(WavError::File(_))));
    }
}
