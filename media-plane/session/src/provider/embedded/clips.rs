//! What the embedded AI can say: a few spoken clips in several languages, each with its exact words.

use std::io::Cursor;

/// Which clip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClipName {
    /// First words.
    Greeting,
    /// An answer, one of three.
    Reply(u8),
    /// Last words.
    Goodbye,
    /// When the AI was lost in the middle of a call.
    Apology,
}

impl ClipName {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Greeting => "greeting",
            Self::Reply(0) => "reply-1",
            Self::Reply(1) => "reply-2",
            Self::Reply(_) => "reply-3",
            Self::Goodbye => "goodbye",
            Self::Apology => "apology",
        }
    }
}

/// Replies there are.
pub const REPLIES: u8 = 3;
/// Spoken when there is no clip in the language asked for.
pub const FALLBACK_LANGUAGE: &str = "en";

/// A clip with its words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clip {
    /// Exactly what is said.
    pub text: &'static str,
    /// 24 kHz mono.
    pub pcm: Vec<i16>,
}

/// The clip in this language (a primary subtag such as `pt`), or in English.
#[must_use]
pub fn clip(language: &str, name: ClipName) -> Clip {
    let name = name.as_str();
    let (language, wav) = wav(language, name)
        .or_else(|| wav(FALLBACK_LANGUAGE, name))
        .expect("every clip exists in English; a test reads all");
    let text = text(language, name).expect("the index has every clip; a test reads all");
    Clip { text, pcm: samples(wav) }
}

/// Languages there are clips in.
pub fn languages() -> impl Iterator<Item = &'static str> {
    CLIPS.iter().map(|(language, _)| *language)
}

const INDEX: &str = include_str!("../../../assets/embedded/clips.tsv");

type Clips = [(&'static str, &'static [u8]); 6];

macro_rules! clips {
    ($($language:literal),*) => {
        [$(($language, [
            ("greeting", include_bytes!(concat!("../../../assets/embedded/", $language, "/greeting.wav")) as &[u8]),
            ("reply-1", include_bytes!(concat!("../../../assets/embedded/", $language, "/reply-1.wav")) as &[u8]),
            ("reply-2", include_bytes!(concat!("../../../assets/embedded/", $language, "/reply-2.wav")) as &[u8]),
            ("reply-3", include_bytes!(concat!("../../../assets/embedded/", $language, "/reply-3.wav")) as &[u8]),
            ("goodbye", include_bytes!(concat!("../../../assets/embedded/", $language, "/goodbye.wav")) as &[u8]),
            ("apology", include_bytes!(concat!("../../../assets/embedded/", $language, "/apology.wav")) as &[u8]),
        ])),*]
    };
}

static CLIPS: [(&str, Clips); 5] = clips!("en", "pt", "es", "de", "hi");

fn wav(language: &str, name: &str) -> Option<(&'static str, &'static [u8])> {
    let (language, clips) = CLIPS.iter().find(|(known, _)| *known == language)?;
    let (_, wav) = clips.iter().find(|(known, _)| *known == name)?;
    Some((language, wav))
}

/// The index has the columns path, language, name, text.
fn text(language: &str, name: &str) -> Option<&'static str> {
    INDEX.lines().find_map(|line| {
        let mut columns = line.split('\t').skip(1);
        (columns.next() == Some(language) && columns.next() == Some(name)).then(|| columns.next()).flatten()
    })
}

fn samples(wav: &[u8]) -> Vec<i16> {
    let mut reader = hound::WavReader::new(Cursor::new(wav)).expect("a clip is a WAV file; a test reads all");
    reader.samples::<i16>().map(|sample| sample.expect("a clip is complete; a test reads all")).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use voicebridge_audio::SAMPLE_RATE_HZ;

    use super::*;

    #[test]
    fn every_clip_is_there_in_the_right_format_with_its_words() {
        for (language, clips) in &CLIPS {
            for (name, wav) in clips {
                let spec = hound::WavReader::new(Cursor::new(wav)).unwrap().spec();
                assert_eq!(
                    (spec.sample_rate, spec.channels, spec.bits_per_sample),
                    (SAMPLE_RATE_HZ, 1, 16),
                    "{language}/{name}"
                );
                assert!(samples(wav).len() > SAMPLE_RATE_HZ as usize / 2, "{language}/{name} is shorter than 0.5 s");
                assert!(!text(language, name).unwrap().is_empty(), "{language}/{name}");
            }
        }
    }

    #[test]
    fn an_unknown_language_is_english() {
        assert_eq!(clip("fi", ClipName::Apology), clip("en", ClipName::Apology));
        assert_ne!(clip("pt", ClipName::Apology).text, clip("en", ClipName::Apology).text);
        assert_eq!(languages().count(), 5);
    }
}
