//! Tags of languages (BCP 47), by their shape.

/// The shape of RFC 5646 tags: a language of 2 or 3 letters (never the 4 to 8 that are reserved), then subtags. Whether there is
/// such a language is not looked at.
#[must_use]
pub fn is_tag(text: &str) -> bool {
    let mut parts = text.split('-');
    let primary = parts.next().unwrap_or_default();
    let primary_ok = (2..=3).contains(&primary.len()) && primary.bytes().all(|byte| byte.is_ascii_alphabetic());
    primary_ok
        && parts.all(|part| (1..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_known_by_their_shape() {
        for tag in ["pt", "pt-BR", "zh-Hant-TW", "gsw", "en-x-a"] {
            assert!(is_tag(tag), "{tag}");
        }
        for text in ["", "p", "portuguese", "pt_BR", "pt-", "-BR", "pt-abcdefghi", "12", "p\u{e4}"] {
            assert!(!is_tag(text), "{text}");
        }
    }
}
