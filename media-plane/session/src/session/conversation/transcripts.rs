//! What the agent said, as the caller heard it: words come ahead of the voice, and are final only when the voice was
//! played, or was cut.

use std::collections::VecDeque;

use voicebridge_audio::playout::EndedItem;

use crate::{limits::Limits, provider::TextMode};

/// What the caller heard of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) item: String,
    pub(crate) text: String,
    pub(crate) interrupted: bool,
}

/// Items whose words are remembered after they were reported, for telling an echo of them.
const REMEMBERED: usize = 3;

/// See the module.
#[derive(Debug)]
pub(crate) struct Transcripts {
    items: VecDeque<ItemWords>,
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
    /// The voice was played to its end.
    heard: bool,
}

impl Transcripts {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            items: VecDeque::new(),
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

    /// The voice of an item was played to its end.
    pub(crate) fn heard(&mut self, item: &str) -> Option<Said> {
        self.items.iter_mut().filter(|words| words.item == item).for_each(|words| words.heard = true);
        self.take_if_said(item)
    }

    /// A response is over: no item gets more words, and one without a voice is never heard.
    pub(crate) fn response_finished(&mut self, has_voice: impl Fn(&str) -> bool) -> Vec<Said> {
        self.items.retain(|words| has_voice(&words.item));
        self.items.iter_mut().for_each(|words| words.complete = true);
        let ids: Vec<String> = self.items.iter().filter(|words| words.heard).map(|words| words.item.clone()).collect();
        ids.iter().filter_map(|item| self.take_if_said(item)).collect()
    }

    /// The voice of an item was cut: its words are cut in proportion. `None` when no word was heard.
    pub(crate) fn cut(&mut self, cut: &EndedItem) -> Option<Said> {
        let position = self.items.iter().position(|words| words.item == cut.item)?;
        let words = self.items.remove(position).expect("the position was just found");
        let text = heard_part(&words.text, cut.heard_samples, cut.received_samples);
        (!text.is_empty()).then(|| Said { item: words.item, text: text.to_owned(), interrupted: true })
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
        self.items.push_back(ItemWords { item: item.to_owned(), text: String::new(), complete: false, heard: false });
        if self.items.len() <= self.max_items {
            return None;
        }
        let oldest = self.items.pop_front()?;
        oldest.heard.then_some(Said { item: oldest.item, text: oldest.text, interrupted: false })
    }

    fn take_if_said(&mut self, item: &str) -> Option<Said> {
        let position = self.items.iter().position(|words| words.item == item && words.complete && words.heard)?;
        let words = self.items.remove(position)?;
        (!words.text.is_empty()).then_some(Said { item: words.item, text: words.text, interrupted: false })
    }
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

    fn said(item: &str, text: &str, interrupted: bool) -> Said {
        Said { item: item.into(), text: text.into(), interrupted }
    }

    #[test]
    fn final_when_both_words_and_voice_are_complete() {
        let mut transcripts = transcripts();
        assert_eq!(transcripts.add("A", "Hel", TextMode::Append), None);
        assert_eq!(transcripts.add("A", "Hello", TextMode::Final), None);
        assert_eq!(transcripts.heard("A"), Some(said("A", "Hello", false)));
        assert_eq!(transcripts.heard("A"), None);

        assert_eq!(transcripts.add("B", "Bye", TextMode::Append), None);
        assert_eq!(transcripts.heard("B"), None);
        assert_eq!(transcripts.response_finished(|_| true), [said("B", "Bye", false)]);
    }

    #[test]
    fn a_cut_item_is_over_and_one_without_voice_is_forgotten() {
        let mut transcripts = transcripts();
        transcripts.add("A", "one two", TextMode::Append);
        let cut = |heard_samples| EndedItem { item: "A".into(), heard_samples, received_samples: 7 };
        assert_eq!(transcripts.cut(&cut(3)), Some(said("A", "one", true)));
        assert_eq!(transcripts.cut(&cut(3)), None);
        transcripts.add("A", "one two", TextMode::Append);
        assert_eq!(transcripts.cut(&cut(0)), None, "nothing heard");

        transcripts.add("B", "thought", TextMode::Final);
        assert!(transcripts.response_finished(|_| false).is_empty());
        assert!(transcripts.items.is_empty());
    }

    #[test]
    fn bounded_in_items_and_bytes() {
        let mut transcripts = transcripts();
        transcripts.add("A", "héééééééééé", TextMode::Append);
        assert_eq!(transcripts.items[0].text, "hééééé");
        transcripts.heard("A");
        transcripts.add("B", "b", TextMode::Append);
        assert_eq!(transcripts.add("C", "c", TextMode::Append), Some(said("A", "hééééé", false)));
        assert_eq!(transcripts.items.len(), 2);
    }
}
