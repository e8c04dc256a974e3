//! The four bytes of an event (RFC 4733, section 2.3) and the digits they stand for (section 3.2).

use super::UNITS_PER_MS;
use std::fmt;

/// One key: `0` to `9`, `*`, `#`, `A` to `D`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digit(u8);

/// In the order of their event codes.
const KEYS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '*', '#', 'A', 'B', 'C', 'D'];

impl Digit {
    /// The key of this character; lower case letters are taken too.
    #[must_use]
    pub fn from_char(key: char) -> Option<Self> {
        let code = KEYS.iter().position(|&each| each == key.to_ascii_uppercase())?;
        Some(Self(code as u8))
    }

    /// Its character.
    #[must_use]
    pub fn as_char(self) -> char {
        KEYS[usize::from(self.0)]
    }
}

impl fmt::Display for Digit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.as_char())
    }
}

/// Why a payload is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadEvent {
    /// Not four bytes.
    #[error("telephone-event payload of {bytes} bytes instead of 4")]
    Length {
        /// Its size.
        bytes: usize,
    },
    /// An event that is no key, e.g. a fax tone.
    #[error("telephone-event {code} is no key")]
    NotAKey {
        /// The event code.
        code: u8,
    },
}

/// One report on an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EventReport {
    pub(super) digit: Digit,
    pub(super) end: bool,
    /// At the event's clock, from its beginning to this report.
    pub(super) duration: u16,
}

/// Power of a digit sent, -dBm0: what telephones use.
const VOLUME: u8 = 10;
const END: u8 = 0x80;

impl EventReport {
    pub(super) fn parse(payload: &[u8]) -> Result<Self, BadEvent> {
        let &[code, flags, high, low] = payload else {
            return Err(BadEvent::Length { bytes: payload.len() });
        };
        if usize::from(code) >= KEYS.len() {
            return Err(BadEvent::NotAKey { code });
        }
        Ok(Self { digit: Digit(code), end: flags & END != 0, duration: u16::from_be_bytes([high, low]) })
    }

    pub(super) fn to_payload(self) -> [u8; 4] {
        let [high, low] = self.duration.to_be_bytes();
        [self.digit.0, VOLUME | if self.end { END } else { 0 }, high, low]
    }
}

pub(super) const fn millis(duration: u32) -> u32 {
    duration / UNITS_PER_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits() {
        for key in "0123456789*#ABCD".chars() {
            assert_eq!(Digit::from_char(key).map(Digit::as_char), Some(key));
        }
        assert_eq!(Digit::from_char('b').map(Digit::as_char), Some('B'));
        assert_eq!(Digit::from_char('E'), None);
        assert_eq!(Digit::from_char('１'), None);
    }

    #[test]
    fn payloads() {
        // The example of RFC 4733, section 5.1, and its last digit: 9 of 50 ms, 911 of 100 ms.
        let report =
            EventReport::parse(&[9, 7, 0x01, 0x90]).map(|report| (report.digit.as_char(), report.end, report.duration));
        assert_eq!(report, Ok(('9', false, 400)));
        assert_eq!(
            EventReport::parse(&[1, 0x80 | 20, 0x03, 0x20]).map(|report| (report.end, report.duration)),
            Ok((true, 800))
        );
        assert_eq!(EventReport::parse(&[]), Err(BadEvent::Length { bytes: 0 }));
        assert_eq!(EventReport::parse(&[1, 2, 3, 4, 5]), Err(BadEvent::Length { bytes: 5 }));
        assert_eq!(EventReport::parse(&[16, 0, 0, 0]), Err(BadEvent::NotAKey { code: 16 }));
        let report = EventReport { digit: Digit(11), end: true, duration: 0x1234 };
        assert_eq!(report.to_payload(), [11, 0x8A, 0x12, 0x34]);
        assert_eq!(EventReport::parse(&report.to_payload()), Ok(report));
    }
}
