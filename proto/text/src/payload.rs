//! What comes along with a call from the link or button it was placed by, or from whoever answered it: a text of somebody
//! else's that an agent may be told.

use crate::line;

/// Longest one kept, characters; the rest is cut. Meta allows `biz_opaque_callback_data` 512, and names no bound for the others.
pub const MAX_PAYLOAD_CHARS: usize = 512;

/// The payload without what may not be in a line; `None` when nothing is left of it.
#[must_use]
pub fn cleaned(payload: &str) -> Option<String> {
    line::cleaned(payload, MAX_PAYLOAD_CHARS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_are_lines_of_a_bounded_length() {
        assert_eq!(cleaned("campaign-7").as_deref(), Some("campaign-7"));
        assert_eq!(cleaned("{\"a\":\n1}\0\u{202e}").as_deref(), Some("{\"a\":1}"));
        assert_eq!(cleaned(" \u{0}"), None);
        assert_eq!(cleaned(&"\u{1f338}".repeat(513)).map(|payload| payload.chars().count()), Some(512));
    }
}
