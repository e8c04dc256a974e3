//! The embedded AI's words against its audio.

#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn words_come_with_the_audio_they_belong_to() {
    let text = "one two three four";
    assert_eq!(words_until(text, 0, 0, 100), "");
    assert_eq!(words_until(text, 0, 50, 100), "one two");
    assert_eq!(words_until(text, 7, 80, 100), " three");
    assert_eq!(words_until(text, 13, 100, 100), " four");
    assert_eq!(words_until("नमस्ते मैं", 0, 90, 100), "नमस्ते");
    let mut told = 0;
    for given in 0..=100 {
        told += words_until(text, told, given, 100).len();
    }
    assert_eq!(told, text.len());
}
