//! One line of text as somebody else gave it, made fit for pages, prompts and databases.
//!
//! What goes: control characters (PostgreSQL's text holds no NUL), ends of lines, and the characters that turn the direction
//! of text (Unicode Standard Annex 9), with which a text can rearrange the page it is shown on. What joins letters and emoji
//! stays.

use std::ops::RangeInclusive;

/// The directional formatting characters of UAX 9, section 2.
const DIRECTIONAL: [RangeInclusive<char>; 4] =
    ['\u{61c}'..='\u{61c}', '\u{200e}'..='\u{200f}', '\u{202a}'..='\u{202e}', '\u{2066}'..='\u{2069}'];
/// Line and paragraph separator; U+FEFF is a byte order mark wherever it is met today.
const OTHER: [char; 3] = ['\u{2028}', '\u{2029}', '\u{feff}'];

/// The line without what may not be in one, at most so many characters; `None` when nothing is left of it.
#[must_use]
pub fn cleaned(text: &str, longest: usize) -> Option<String> {
    let allowed =
        |c: &char| !c.is_control() && !OTHER.contains(c) && !DIRECTIONAL.iter().any(|range| range.contains(c));
    let cleaned: String = text.chars().filter(allowed).collect();
    let cleaned: String = cleaned.trim().chars().take(longest).collect();
    (!cleaned.is_empty()).then_some(cleaned)
}
