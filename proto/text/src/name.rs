//! A person's name as somebody else gave it: cleaned once, at the door, so that no page, log, prompt or database behind it
//! has to.

use crate::line;

/// Longest name kept, characters; the rest is cut. Profile names of WhatsApp have 25 at most.
pub const MAX_NAME_CHARS: usize = 128;

/// The name without what may not be in a line; `None` when nothing is left of it.
#[must_use]
pub fn cleaned(name: &str) -> Option<String> {
    line::cleaned(name, MAX_NAME_CHARS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_hold_nothing_that_breaks_a_row_or_turns_a_page_around() {
        let check = |name: &str, expected: Option<&str>| assert_eq!(cleaned(name).as_deref(), expected, "{name:?}");
        check("Ana", Some("Ana"));
        check("José \u{200f}\0 x", Some("José  x"));
        check("\u{202e}nimda\u{202c}", Some("nimda"));
        check("\u{2066}\u{61c}a\u{2069}", Some("a"));
        check("two\r\nlines\u{2028}\u{85}", Some("twolines"));
        check(" \u{feff}Ana\t", Some("Ana"));
        for empty in ["", " ", "\0", "\u{200e}\u{202e} "] {
            check(empty, None);
        }
        // Joiners are part of emoji and of Persian words.
        let family = "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467} \u{645}\u{6cc}\u{200c}\u{631}";
        check(family, Some(family));
        assert_eq!(cleaned(&"é".repeat(MAX_NAME_CHARS + 1)).map(|name| name.chars().count()), Some(MAX_NAME_CHARS));
    }
}
