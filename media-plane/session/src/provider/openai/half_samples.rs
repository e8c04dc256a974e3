//! Samples of the AI's voice out of pieces that may end within a sample: the half is kept for the item's next piece.

use std::collections::VecDeque;

use crate::provider::AudioFormat;

/// Items whose half is kept: the voice of one is sent at a time. At the bound the oldest is forgotten.
const MAX_ITEMS: usize = 8;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct HalfSamples(VecDeque<(String, u8)>);

impl HalfSamples {
    /// Samples of a piece of an item.
    pub(super) fn join(&mut self, format: AudioFormat, item: &str, bytes: &[u8]) -> Vec<i16> {
        if let AudioFormat::G711(law) = format {
            return bytes.iter().map(|byte| law.decode(*byte)).collect();
        }
        let (first, rest) = match (self.take(item), bytes) {
            (Some(low), [high, rest @ ..]) => (Some([low, *high]), rest),
            (Some(low), []) => {
                self.keep(item, low);
                (None, bytes)
            }
            (None, bytes) => (None, bytes),
        };
        let (pairs, remainder) = rest.as_chunks::<2>();
        if let [half] = remainder {
            self.keep(item, *half);
        }
        let mut samples = Vec::with_capacity(pairs.len() + 1);
        samples.extend(first.map(i16::from_le_bytes));
        samples.extend(pairs.iter().map(|pair| i16::from_le_bytes(*pair)));
        samples
    }

    /// The item is over: its other half will not come.
    pub(super) fn end(&mut self, item: &str) {
        self.take(item);
    }

    /// Everything is over.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    fn take(&mut self, item: &str) -> Option<u8> {
        let position = self.0.iter().position(|(known, _)| known == item)?;
        self.0.remove(position).map(|(_, half)| half)
    }

    fn keep(&mut self, item: &str, half: u8) {
        if self.0.len() == MAX_ITEMS {
            self.0.pop_front();
        }
        self.0.push_back((item.to_owned(), half));
    }
}

#[cfg(test)]
mod tests {
    use voicebridge_audio::g711::Law;

    use super::*;

    #[test]
    fn pieces_of_any_length_are_the_same_samples() {
        let samples: Vec<i16> = (-300..300).map(|step| step * 109).collect();
        let bytes: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        for length in [1, 2, 3, 7, 64, 1_199, 1_200] {
            let mut halves = HalfSamples::default();
            let heard: Vec<i16> =
                bytes.chunks(length).flat_map(|piece| halves.join(AudioFormat::Pcm, "A", piece)).collect();
            assert_eq!(heard, samples, "{length} bytes at a time");
        }
    }

    #[test]
    fn an_empty_piece_loses_no_half() {
        let mut halves = HalfSamples::default();
        assert!(halves.join(AudioFormat::Pcm, "A", &[7]).is_empty());
        assert!(halves.join(AudioFormat::Pcm, "A", &[]).is_empty());
        assert_eq!(halves.join(AudioFormat::Pcm, "A", &[0]), [7]);
    }

    #[test]
    fn a_byte_of_g711_is_a_whole_sample() {
        let mut halves = HalfSamples::default();
        assert_eq!(halves.join(AudioFormat::G711(Law::Mu), "A", &[0xff]), [Law::Mu.decode(0xff)]);
        assert!(halves.0.is_empty());
    }

    #[test]
    fn halves_are_bounded() {
        let mut halves = HalfSamples::default();
        for item in 0..100 {
            halves.join(AudioFormat::Pcm, &item.to_string(), &[1]);
        }
        assert_eq!(halves.0.len(), MAX_ITEMS);
    }
}
