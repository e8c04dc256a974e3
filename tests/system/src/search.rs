//! Whether a text tells a number to whoever decodes it: plain, percent-encoded, in base64 (both alphabets), in hexadecimal,
//! and these within each other.
//!
//! Finds a number that begins anywhere in what was encoded, and base64 that begins anywhere in a run of its characters.

/// So many encodings around each other are undone.
const DEPTH: usize = 4;
/// Shorter runs cannot hold a number.
const MIN_RUN: usize = 11;

/// The outermost runs of `text` that hold the number, each once.
///
/// # Panics
///
/// The number is too short to be told from others.
#[must_use]
pub fn tokens_with(number: &str, text: &[u8]) -> Vec<String> {
    assert!(number.len() >= MIN_RUN, "{number} is too short");
    let mut found: Vec<String> = text
        .split(|byte| {
            byte.is_ascii_whitespace() || byte.is_ascii_control() || matches!(byte, b'"' | b',' | b'{' | b'}')
        })
        .filter(|token| holds(number.as_bytes(), token, DEPTH))
        .map(|token| String::from_utf8_lossy(token).into_owned())
        .collect();
    found.sort();
    found.dedup();
    found
}

fn holds(number: &[u8], text: &[u8], depth: usize) -> bool {
    if text.windows(number.len()).any(|window| window == number) {
        return true;
    }
    if depth == 0 || text.len() < MIN_RUN {
        return false;
    }
    let inside = |decoded: &[u8]| holds(number, decoded, depth - 1);
    percent(text).is_some_and(|decoded| inside(&decoded))
        || runs(text, |byte| byte.is_ascii_hexdigit()).any(|run| (0..2).any(|from| inside(&hex(&run[from..]))))
        || runs(text, |byte| sextet(byte).is_some()).any(|run| (0..4).any(|from| inside(&base64(&run[from..]))))
}

fn runs(text: &[u8], is_part: impl Fn(u8) -> bool) -> impl Iterator<Item = &[u8]> {
    text.split(move |byte| !is_part(*byte)).filter(|run| run.len() >= MIN_RUN)
}

/// `None`: nothing is encoded so.
fn percent(text: &[u8]) -> Option<Vec<u8>> {
    let (mut decoded, mut rest) = (Vec::with_capacity(text.len()), text);
    while let Some((first, after)) = rest.split_first() {
        let byte = match after {
            [high, low, ..] if *first == b'%' => nibble(*high).zip(nibble(*low)),
            _ => None,
        };
        decoded.push(byte.map_or(*first, |(high, low)| high << 4 | low));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    (decoded.len() < text.len()).then_some(decoded)
}

fn nibble(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

fn hex(run: &[u8]) -> Vec<u8> {
    run.chunks_exact(2).filter_map(|pair| Some(nibble(pair[0])? << 4 | nibble(pair[1])?)).collect()
}

fn sextet(byte: u8) -> Option<u32> {
    let value = match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' | b'-' => 62,
        b'/' | b'_' => 63,
        _ => return None,
    };
    Some(u32::from(value))
}

/// What the run says from its beginning; a broken end is left away.
fn base64(run: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(run.len());
    for group in run.chunks(4) {
        let bits = group.iter().filter_map(|byte| sextet(*byte)).fold(0, |bits, value| bits << 6 | value);
        let bits = bits << (6 * (4 - group.len()));
        decoded.extend(&bits.to_be_bytes()[1..group.len().max(1)]);
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    const NUMBER: &str = "5521987654321";

    #[test]
    fn a_number_is_found_in_any_of_its_dresses() {
        fn check(text: &str, expect: bool) {
            assert_eq!(!tokens_with(NUMBER, text.as_bytes()).is_empty(), expect, "{text}");
        }
        check("from +5521987654321, to", true);
        check("call_id=wacid.HBgNNTUyMTk4NzY1NDMyMRUCABIYIDAw=", true);
        // Not on a border of four characters, after others of the alphabet.
        check("GET /sessions/NTUyMTk4NzY1NDMyMQ/stop", true);
        check("aNTUyMTk4NzY1NDMyMQ", true);
        check("abNTUyMTk4NzY1NDMyMQ", true);
        check("abcNTUyMTk4NzY1NDMyMQ", true);
        // A byte and two before the number.
        check("eDU1MjE5ODc2NTQzMjE=", true);
        check("eHg1NTIxOTg3NjU0MzIx", true);
        check("35353231393837363534333231", true);
        check("f35353231393837363534333231", true);
        check("%35%35%32%31987654321", true);
        check("wacid.HBgNNTUyMTk4NzY1NDMyMRUCABIYIDAw%3D%3D", true);
        // base64 of the id in base64; of the hexadecimal; percent of base64.
        check("d2FjaWQuSEJnTk5UVXlNVGs0TnpZMU5ETXlNUlVDQUJJWUlEQXc=", true);
        check("MzUzNTMyMzEzOTM4MzczNjM1MzQzMzMyMzE=", true);
        check("%4e%54%55%79%4d%54%6b%34%4e%7a%59%31%4e%44%4d%79%4d%51", true);
        check("01a0c450-6c00-7abc-8def-0123456789ab 5521987654320 wacid.HBgNNTUyMTk4NzY1NDMyMBUC", false);
    }
}
