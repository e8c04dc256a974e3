//! Text as every database takes it.

use std::borrow::Cow;

/// Without NUL, which PostgreSQL refuses in text, SQLite's own functions end at, and no text means anything by. Names are
/// cleaned when they come; this is for whatever else strangers may send, so that it cannot make a write fail for ever.
pub(super) fn storable(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "")) } else { Cow::Borrowed(text) }
}
