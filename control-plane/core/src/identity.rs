//! Ids and personal data as types of their own: parsed once, compared exactly, and silent in logs where they must be.
//!
//! Does not check what only Meta can know, e.g. whether a number exists.

use std::fmt;

/// Longest id taken from outside, bytes. Meta's of calls are about 60.
pub const MAX_ID_BYTES: usize = 512;
/// Longest number of E.164 plus slack for what carriers add, digits.
const MAX_DIGITS: usize = 20;

/// A text from outside is not usable as an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Nothing there.
    #[error("must not be empty")]
    Empty,
    /// Longer than [`MAX_ID_BYTES`].
    #[error("must be at most {MAX_ID_BYTES} bytes")]
    TooLong,
    /// Control characters would corrupt logs and headers.
    #[error("must not contain control characters")]
    Control,
    /// Not what an id of ours looks like.
    #[error("must be a UUID, hyphenated")]
    NotAUuid,
}

fn check_id(text: &str) -> Result<(), IdError> {
    if text.is_empty() {
        Err(IdError::Empty)
    } else if text.len() > MAX_ID_BYTES {
        Err(IdError::TooLong)
    } else if text.chars().any(char::is_control) {
        Err(IdError::Control)
    } else {
        Ok(())
    }
}

/// Our id of a call: a UUID (RFC 9562), of version 7 where we made it, in lower case with hyphens.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(String);

impl CallId {
    /// Takes a hyphenated UUID of any version, in any case.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        check_id(text)?;
        is_uuid(text).then(|| Self(text.to_ascii_lowercase())).ok_or(IdError::NotAUuid)
    }

    /// 36 characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CallId({})", self.0)
    }
}

/// RFC 9562, section 4.
fn is_uuid(text: &str) -> bool {
    const GROUPS: [usize; 5] = [8, 4, 4, 4, 12];
    let mut groups = text.split('-');
    GROUPS.into_iter().all(|length| {
        groups.next().is_some_and(|group| group.len() == length && group.bytes().all(|b| b.is_ascii_hexdigit()))
    }) && groups.next().is_none()
}

/// Meta's id of a call: opaque, may end in `=`. Personal data, as it holds the caller's number for whoever decodes it:
/// `Debug` hides it, there is no `Display`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wacid(String);

impl Wacid {
    /// Takes any printable text of 1 to [`MAX_ID_BYTES`] bytes.
    ///
    /// # Errors
    /// Empty, too long, or with control characters.
    pub fn parse(text: impl Into<String>) -> Result<Self, IdError> {
        let text = text.into();
        check_id(&text)?;
        Ok(Self(text))
    }

    /// As given. Personal data: not for logs.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Wacid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wacid(redacted)")
    }
}

/// How somebody names a call who may know it by either id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallName {
    /// What they say read as an id of ours, if it can be one. Tried first.
    pub call_id: Option<CallId>,
    /// Read as one of Meta's.
    pub wacid: Wacid,
}

impl CallName {
    /// # Errors
    /// Empty, too long, or with control characters.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        Ok(Self { call_id: CallId::parse(text).ok(), wacid: Wacid::parse(text)? })
    }
}

/// A phone number in international digits without a plus sign. Personal data: `Debug` hides it, there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct PhoneNumber(String);

impl PhoneNumber {
    /// Keeps the digits of `text`, so that `+55 11 9...` and Meta's plain form mean the same; `None` when there are
    /// none or more than any number has.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits: String = text.chars().filter(char::is_ascii_digit).take(MAX_DIGITS + 1).collect();
        (!digits.is_empty() && digits.len() <= MAX_DIGITS).then_some(Self(digits))
    }

    /// The digits. Personal data: not for logs.
    #[must_use]
    pub fn digits(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PhoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PhoneNumber(redacted)")
    }
}

/// Meta's business-scoped user id, `<ISO country>.<digits>`. Personal data: `Debug` hides all but the country.
#[derive(Clone, PartialEq, Eq)]
pub struct UserId(String);

impl UserId {
    /// `None` when empty or too long.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        check_id(text).is_ok().then(|| Self(text.to_owned()))
    }

    /// As given. Personal data: not for logs.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The two-letter prefix before the first dot, upper case.
    #[must_use]
    pub fn country(&self) -> Option<String> {
        let (prefix, _) = self.0.split_once('.')?;
        (prefix.len() == 2 && prefix.bytes().all(|b| b.is_ascii_alphabetic())).then(|| prefix.to_ascii_uppercase())
    }
}

impl fmt::Debug for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UserId({}.redacted)", self.country().unwrap_or_default())
    }
}

/// What is known of the person on the other end; WhatsApp users may hide their number.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Caller {
    /// Meta: `from`, else `contacts[].wa_id`.
    pub phone_number: Option<PhoneNumber>,
    /// Meta: `from_user_id`, else `contacts[].user_id`.
    pub user_id: Option<UserId>,
    /// Meta: `contacts[].profile.name`. Personal data.
    pub name: Option<String>,
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller")
            .field("phone_number", &self.phone_number)
            .field("user_id", &self.user_id)
            .field("name", &self.name.as_ref().map(|_| "redacted"))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn ids_are_checked() {
        fn check(text: &str, expect: Result<(), IdError>) {
            assert_eq!(Wacid::parse(text).map(|_| ()), expect, "{text:?}");
        }
        check("wacid.HBgNNTUxMTkwMDAwMDAwMQ==", Ok(()));
        check("", Err(IdError::Empty));
        check("a\nb", Err(IdError::Control));
        check(&"x".repeat(MAX_ID_BYTES), Ok(()));
        check(&"x".repeat(MAX_ID_BYTES + 1), Err(IdError::TooLong));
    }

    #[test]
    fn numbers_are_digits() {
        fn check(text: &str, expect: Option<&str>) {
            assert_eq!(PhoneNumber::parse(text).as_ref().map(PhoneNumber::digits), expect, "{text:?}");
        }
        check("5511900000001", Some("5511900000001"));
        check("+55 (11) 90000-0001", Some("5511900000001"));
        check("", None);
        check("ana.example", None);
        check("123456789012345678901", None);
    }

    #[test]
    fn an_id_of_ours_is_a_uuid() {
        fn check(text: &str, expect: Result<&str, IdError>) {
            assert_eq!(CallId::parse(text).as_ref().map(CallId::as_str), expect.as_ref().copied(), "{text:?}");
            let name = CallName::parse(text).ok();
            assert_eq!(name.and_then(|name| name.call_id), CallId::parse(text).ok(), "{text:?}");
        }
        let ours = "01a2e1f0-9c00-7abc-8def-0123456789ab";
        check(ours, Ok(ours));
        check(&ours.to_uppercase(), Ok(ours));
        check("", Err(IdError::Empty));
        let not = [
            "wacid.HBgNNTUxMTkwMDAwMDAwMQ==",
            "01a2e1f09c007abc8def0123456789ab",
            "{01a2e1f0-9c00-7abc-8def-0123456789ab}",
            "01a2e1f0-9c00-7abc-8def-0123456789ab-",
            "01a2e1f0-9c00-7abc-8def-0123456789ag",
            "01a2e1f0-9c00-7abc-8def0-123456789ab",
        ];
        not.into_iter().for_each(|text| check(text, Err(IdError::NotAUuid)));
    }

    #[test]
    fn the_country_of_a_user_id() {
        fn check(text: &str, expect: Option<&str>) {
            assert_eq!(UserId::parse(text).unwrap().country().as_deref(), expect, "{text:?}");
        }
        check("BR.13000000000000001", Some("BR"));
        check("br.ENT.9", Some("BR"));
        check("13000000000000001", None);
        check("BRA.1", None);
        check("1x.1", None);
    }

    #[test]
    fn personal_data_stays_out_of_debug_output() {
        let caller = Caller {
            phone_number: PhoneNumber::parse("5511900000001"),
            user_id: UserId::parse("BR.13000000000000001"),
            name: Some("Ana".to_owned()),
        };
        let wacid = Wacid::parse("wacid.HBgNNTUxMTkwMDAwMDAwMQ==").unwrap();
        let debug = format!("{caller:?} {wacid:?}");
        for secret in ["HBgN", "5511900000001", "13000000000000001", "Ana"] {
            assert!(!debug.contains(secret), "{debug}");
        }
    }
}
