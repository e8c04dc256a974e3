//! What the agent said, as the caller heard it: words come ahead of the voice, and are final only when the voice was
//! played, or was cut.

use std::{collections::VecDeque, time::Duration};

use voicebridge_audio::{SAMPLE_RATE_HZ, Time, playout::EndedItem};

use crate::{limits::Limits, provider::TextMode};

/// What the caller heard of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) item: String,
    pub(crate) text: String,
    pub(crate) interrupted: bool,
    pub(crate) span: Span,
}

/// From when to when something was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) began: Time,
    pub(crate) ended: Time,
}

/// Items whose words are remembered after they were reported, for telling an echo of them.
const REMEMBERED: usize = 3;

/// See the module.
#[derive(Debug)]
pub(crate) struct Transcripts {
    items: VecDeque<ItemWords>,
    /// Items that are or were being played, and when that began; oldest first.
    voices: VecDeque<(String, Time)>,
    /// Texts lately reported, oldest first.
    reported: VecDeque<String>,
    max_items: usize,
    max_bytes: usize,
}

#[derive(Debug)]
struct ItemWords {
    item: String,
    text: String,
    /// Nothing more will come.
    complete: bool,
    /// When the voice was played, to its end.
    heard: Option<Span>,
}

impl Transcripts {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            items: VecDeque::new(),
            voices: VecDeque::new(),
            reported: VecDeque::new(),
            max_items: limits.pending_transcripts.max(1),
            max_bytes: limits.transcript_bytes,
        }
    }

    /// Words of an item. Returns what became final by them.
    pub(crate) fn add(&mut self, item: &str, text: &str, mode: TextMode) -> Option<Said> {
        let evicted = self.find_or_create(item);
        let words = self.items.iter_mut().find(|words| words.item == item)?;
        match mode {
            TextMode::Append => append_bounded(&mut words.text, text, self.max_bytes),
            TextMode::Final => {
                words.text.clear();
                append_bounded(&mut words.text, text, self.max_bytes);
                words.complete = true;
            }
        }
        evicted.or_else(|| self.take_if_said(item))
    }

    /// So much of an item's voice has been played.
    pub(crate) fn playing(&mut self, item: &str, heard_samples: u64, now: Time) {
        // The newest is the one being played.
        if self.voices.iter().rev().any(|(known, _)| known == item) {
            return;
        }
        if self.voices.len() == self.max_items {
            self.voices.pop_front();
        }
        self.voices.push_back((item.to_owned(), now.earlier(length(heard_samples))));
    }

    /// When what is over now was heard.
    fn span(&mut self, item: &EndedItem, now: Time) -> Span {
        let position = self.voices.iter().position(|(known, _)| *known == item.item);
        // An item of ours may come again.
        let voice = position.and_then(|position| self.voices.remove(position));
        let began = voice.map_or_else(|| now.earlier(length(item.heard_samples)), |(_, began)| began);
        Span { began, ended: now }
    }

    /// The voice of an item was played to its end.
    pub(crate) fn heard(&mut self, item: &EndedItem, now: Time) -> Option<Said> {
        let span = self.span(item, now);
        self.items.iter_mut().filter(|words| words.item == item.item).for_each(|words| words.heard = Some(span));
        self.take_if_said(&item.item)
    }

    /// A response is over: no item gets more words, and one without a voice is never heard.
    pub(crate) fn response_finished(&mut self, has_voice: impl Fn(&str) -> bool) -> Vec<Said> {
        self.items.retain(|words| has_voice(&words.item));
        self.items.iter_mut().for_each(|words| words.complete = true);
        let ids: Vec<String> =
            self.items.iter().filter(|words| words.heard.is_some()).map(|words| words.item.clone()).collect();
        ids.iter().filter_map(|item| self.take_if_said(item)).collect()
    }

    /// The voice of an item was cut: its words are cut in proportion. `None` when no word was heard.
    pub(crate) fn cut(&mut self, cut: &EndedItem, now: Time) -> Option<Said> {
        let span = self.span(cut, now);
        let position = self.items.iter().position(|words| words.item == cut.item)?;
        let words = self.items.remove(position).expect("the position was just found");
        let text = heard_part(&words.text, cut.heard_samples, cut.received_samples);
        (!text.is_empty()).then(|| Said { item: words.item, text: text.to_owned(), interrupted: true, span })
    }

    /// Remembers what was reported.
    pub(crate) fn remember(&mut self, text: &str) {
        if self.reported.len() == REMEMBERED {
            self.reported.pop_front();
        }
        self.reported.push_back(text.to_owned());
    }

    /// What was said lately or is being said.
    pub(crate) fn said_lately(&self) -> String {
        let texts = self.reported.iter().chain(self.items.iter().map(|words| &words.text));
        texts.flat_map(|text| [text.as_str(), " "]).collect()
    }

    fn find_or_create(&mut self, item: &str) -> Option<Said> {
        if self.items.iter().any(|words| words.item == item) {
            return None;
        }
        self.items.push_back(ItemWords { item: item.to_owned(), text: String::new(), complete: false, heard: None });
        if self.items.len() <= self.max_items {
            return None;
        }
        let oldest = self.items.pop_front()?;
        oldest.heard.map(|span| Said { item: oldest.item, text: oldest.text, interrupted: false, span })
    }

    fn take_if_said(&mut self, item: &str) -> Option<Said> {
        let is_said = |words: &ItemWords| words.item == item && words.complete && words.heard.is_some();
        let position = self.items.iter().position(is_said)?;
        let ItemWords { item, text, heard, .. } = self.items.remove(position)?;
        let span = heard?;
        (!text.is_empty()).then_some(Said { item, text, interrupted: false, span })
    }
}

fn length(samples: u64) -> Duration {
    Duration::from_micros(samples * 1_000_000 / u64::from(SAMPLE_RATE_HZ))
}

/// The start of a text, at most so many bytes, whole characters only.
pub(crate) fn start_of(text: &str, max_bytes: usize) -> &str {
    let mut end = text.len().min(max_bytes);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn append_bounded(text: &mut String, more: &str, max_bytes: usize) {
    text.push_str(start_of(more, max_bytes.saturating_sub(text.len())));
}

/// The words that fit into the share of the audio that was heard. Cut between words where the writing has such.
fn heard_part(text: &str, heard: u64, received: u64) -> &str {
    if heard >= received {
        return text;
    }
    let letters = text.chars().count() as u64;
    let reach = (letters * heard / received) as usize;
    let end = text.char_indices().nth(reach).map_or(text.len(), |(index, _)| index);
    let part = &text[..end];
    if text[end..].starts_with(char::is_whitespace) || !text.contains(char::is_whitespace) {
        return part.trim_end();
    }
    part.rfind(char::is_whitespace).map_or("", |index| part[..index].trim_end())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn words_are_cut_where_the_voice_was() {
        let check = |text: &str, heard: u64, received: u64, expected: &str| {
            assert_eq!(heard_part(text, heard, received), expected, "{text} {heard}/{received}");
        };
        check("Hello, how can I help you?", 100, 100, "Hello, how can I help you?");
        check("Hello, how can I help you?", 120, 100, "Hello, how can I help you?");
        check("Hello, how can I help you?", 50, 100, "Hello, how");
        check("Hello, how can I help you?", 10, 100, "");
        check("one two", 3, 7, "one");
        check("नमस्ते मैं आपकी", 50, 100, "नमस्ते");
        check("你好我能帮你吗", 50, 100, "你好我");
        check("", 1, 2, "");
        check("x", 0, 0, "x");
    }

    fn transcripts() -> Transcripts {
        Transcripts::new(&Limits { pending_transcripts: 2, transcript_bytes: 12, ..Limits::default() })
    }

    const NOW: Time = Time::from_millis(5_000);

    fn said(item: &str, text: &str, interrupted: bool) -> Said {
        Said { item: item.into(), text: text.into(), interrupted, span: Span { began: NOW, ended: NOW } }
    }

    fn ended(item: &str, heard_samples: u64) -> EndedItem {
        EndedItem { item: item.into(), heard_samples, received_samples: 7 }
    }

    #[test]
    fn words_were_said_while_their_voice_was_played() {
        let at = Time::from_millis;
        let mut transcripts = transcripts();
        transcripts.add("A", "Hello", TextMode::Final);
        transcripts.playing("A", 480, at(1_020));
        transcripts.playing("A", 24_000, at(2_500));
        let heard = transcripts.heard(&ended("A", 24_000), at(2_520)).unwrap();
        assert_eq!(heard.span, Span { began: at(1_000), ended: at(2_520) }, "with the pauses within");
        transcripts.add("B", "Hm", TextMode::Final);
        let heard = transcripts.heard(&ended("B", 240), at(3_000)).unwrap();
        assert_eq!(heard.span, Span { began: at(2_990), ended: at(3_000) }, "too short to be seen");
        transcripts.add("C", "one two", TextMode::Append);
        transcripts.playing("C", 480, at(4_020));
        assert_eq!(
            transcripts.cut(&ended("C", 3), at(4_600)).unwrap().span,
            Span { began: at(4_000), ended: at(4_600) }
        );
    }

    #[test]
    fn final_when_both_words_and_voice_are_complete() {
        let mut transcripts = transcripts();
        assert_eq!(transcripts.add("A", "Hel", TextMode::Append), None);
        assert_eq!(transcripts.add("A", "Hello", TextMode::Final), None);
        assert_eq!(transcripts.heard(&ended("A", 0), NOW), Some(said("A", "Hello", false)));
        assert_eq!(transcripts.heard(&ended("A", 0), NOW), None);

        assert_eq!(transcripts.add("B", "Bye", TextMode::Append), None);
        assert_eq!(transcripts.heard(&ended("B", 0), NOW), None);
        assert_eq!(transcripts.response_finished(|_| true), [said("B", "Bye", false)]);
    }

    #[test]
    fn a_cut_item_is_over_and_one_without_voice_is_forgotten() {
        let mut transcripts = transcripts();
        transcripts.add("A", "one two", TextMode::Append);
        transcripts.playing("A", 0, NOW);
        let cut = |heard_samples| ended("A", heard_samples);
        assert_eq!(transcripts.cut(&cut(3), NOW), Some(said("A", "one", true)));
        assert_eq!(transcripts.cut(&cut(3), NOW), None);
        transcripts.add("A", "one two", TextMode::Append);
        assert_eq!(transcripts.cut(&cut(0), NOW), None, "nothing heard");

        transcripts.add("B", "thought", TextMode::Final);
        assert!(transcripts.response_finished(|_| false).is_empty());
        assert!(transcripts.items.is_empty());
    }

    #[test]
    fn bounded_in_items_and_bytes() {
        let mut transcripts = transcripts();
        transcripts.add("A", "héééééééééé", TextMode::Append);
        assert_eq!(transcripts.items[0].text, "hééééé");
        transcripts.heard(&ended("A", 0), NOW);
        transcripts.add("B", "b", TextMode::Append);
        assert_eq!(transcripts.add("C", "c", TextMode::Append), Some(said("A", "hééééé", false)));
        assert_eq!(transcripts.items.len(), 2);
    }
}
