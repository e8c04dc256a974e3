//! Whether a secret from the environment is one, or came with what its file or shell put around it.
//!
//! Line ends and spaces at its ends are for the caller to trim: files end in a line feed, and no header carries one. What
//! this looks for is what trimming does not mend. It names the flaw and the next step, never the value.

/// What is wrong with a secret that has been trimmed.
///
/// # Errors
/// The rule it breaks, to be put after the variable's name.
pub fn check(secret: &str) -> Result<(), &'static str> {
    unquoted(secret)?;
    if secret.contains(['\n', '\r']) {
        return Err("has a line end in the middle, as when two values were pasted: set one value, on one line");
    }
    if secret.contains([' ', '\t']) {
        return Err("has a space in the middle: set the value alone, without a second one or a comment after it");
    }
    if !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("holds characters that an HTTP header cannot carry: use visible ASCII");
    }
    Ok(())
}

/// Whether a value that is not shown, secret or not, came with the quotes that a shell would have taken off.
///
/// # Errors
/// As [`check`].
pub fn unquoted(value: &str) -> Result<(), &'static str> {
    const QUOTES: [char; 2] = ['"', '\''];
    if value.starts_with(QUOTES) || value.ends_with(QUOTES) {
        return Err("begins or ends with a quote, which is no part of it (docker run --env-file keeps quotes): \
             write the value without quotes");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_with_a_secret_is_told_apart() {
        #[track_caller]
        fn refused(secret: &str, word: &str) {
            let rule = check(secret).expect_err(secret);
            assert!(rule.contains(word), "{secret:?}: {rule}");
            assert!(!rule.contains("s3cret"), "the value is never shown: {rule}");
        }
        for quoted in ["\"s3cret\"", "'s3cret'", "\"s3cret", "s3cret'", "\"\"", "\"", "\"s3cret two\""] {
            refused(quoted, "quote");
        }
        for broken in ["s3cret\ns3cret", "s3cret\r\ns3cret", "s3cret\rx"] {
            refused(broken, "line end");
        }
        refused("s3cret # of the test account", "space");
        refused("s3cret\tx", "space");
        for strange in ["s\u{e9}cret", "\u{201c}s3cret\u{201d}", "s3cret\0", "s3cret\u{a0}x"] {
            refused(strange, "visible ASCII");
        }
        for sound in ["s3cret", "sk-proj-A_b", "whsec_MfKQ9r8G+/==", "a\"b'c", "=", ""] {
            assert_eq!(check(sound), Ok(()), "{sound}");
        }
    }
}
