//! What has come of a reply: whether the caller heard one.
//!
//! A moment of sound without a word is none: a server that begins a reply and drops it has given no answer, and has not
//! said goodbye.

use std::time::Duration;

use crate::provider::AudioFormat;

/// So much sound is a reply, whatever is said of its words: the shortest "yes" is longer.
pub(super) const LEAST: Duration = Duration::from_millis(200);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Sound {
    length: Duration,
    /// There is something to read in its text.
    words: bool,
}

impl Sound {
    pub(super) fn on_audio(&mut self, pcm: &[i16], format: AudioFormat) {
        self.length += Duration::from_secs(1) * pcm.len() as u32 / format.sample_rate_hz();
    }

    pub(super) fn on_text(&mut self, text: &str) {
        self.words |= text.chars().any(char::is_alphanumeric);
    }

    /// Whether it is a reply.
    pub(super) fn is_reply(&self) -> bool {
        self.length >= LEAST || (self.words && !self.length.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_reply_by_its_length_or_by_its_words() {
        for (samples, text, expected) in
            [(0, "", false), (0, "Yes.", false), (1, "Yes.", true), (4_799, " ...", false), (4_800, "", true)]
        {
            let mut sound = Sound::default();
            sound.on_text(text);
            sound.on_audio(&vec![0; samples], AudioFormat::Pcm);
            assert_eq!(sound.is_reply(), expected, "{samples} samples of {text:?}");
        }
    }
}
