//! Mends JSON that names half a surrogate pair: servers that cut text in UTF-16 send it, and JSON readers refuse the
//! whole message for it (RFC 8259, section 8.2).

use std::ops::RangeInclusive;

const HIGH: RangeInclusive<u16> = 0xd800..=0xdbff;
const LOW: RangeInclusive<u16> = 0xdc00..=0xdfff;
/// U+FFFD, which stands for what cannot be told.
const REPLACEMENT: &str = r"\ufffd";
/// Length of an escape such as `\ud83d`.
const ESCAPE: usize = 6;

/// The text with each escape of half a pair replaced; `None` when there is no such. For a text that a reader has refused: one
/// it takes needs no mending.
#[must_use]
pub fn mended(text: &str) -> Option<String> {
    let mut mended = String::new();
    let (mut copied, mut at) = (0, 0);
    while let Some(found) = text[at..].find('\\') {
        let escape = at + found;
        match unit(text, escape) {
            Some(high) if HIGH.contains(&high) && unit(text, escape + ESCAPE).is_some_and(|low| LOW.contains(&low)) => {
                at = escape + 2 * ESCAPE;
            }
            Some(half) if HIGH.contains(&half) || LOW.contains(&half) => {
                mended.push_str(&text[copied..escape]);
                mended.push_str(REPLACEMENT);
                at = escape + ESCAPE;
                copied = at;
            }
            Some(_) => at = escape + ESCAPE,
            // Of another escape the next character is a part, which may be a backslash.
            None => at = text[escape + 1..].chars().next().map_or(text.len(), |next| escape + 1 + next.len_utf8()),
        }
    }
    mended.push_str(&text[copied..]);
    (copied > 0).then_some(mended)
}

/// The UTF-16 unit that is escaped here.
fn unit(text: &str, at: usize) -> Option<u16> {
    let digits = text.get(at..at + ESCAPE)?.strip_prefix("\\u")?;
    digits.bytes().all(|digit| digit.is_ascii_hexdigit()).then(|| u16::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_replaced_and_nothing_else() {
        let check = |text: &str, expected: Option<&str>| assert_eq!(mended(text).as_deref(), expected, "{text}");
        check("", None);
        check("plain é", None);
        check(r"\ud83d\ude00", None);
        check(r"\\ud83d", None);
        check(r"\\\ud83d", Some(r"\\\ufffd"));
        check(r"\ud83d", Some(r"\ufffd"));
        check(r"a\uD83Db\uDE00c", Some(r"a\ufffdb\ufffdc"));
        check(r"\ud83d\ud83d\ude00\ude00", Some(r"\ufffd\ud83d\ude00\ufffd"));
        check(r"\ud83dé\n", Some(r"\ufffdé\n"));
        check(r"\ud83", None);
        check("\\", None);
        check("\\é\\ud83d", Some("\\é\\ufffd"));
    }
}
