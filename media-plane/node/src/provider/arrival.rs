//! One thing that comes from a provider's socket: its opening, a message, a piece of audio, its end. How arrivals wait for
//! the session's thread is in `incoming`.

use std::fmt;

use bytes::Bytes;
use tokio_tungstenite::tungstenite::Utf8Bytes;
use voicebridge_session::ProviderClosed;

/// The connection broke without a close frame (RFC 6455, section 7.4.1).
const ABNORMAL_CLOSURE: u16 = 1006;

/// What comes from a provider.
#[derive(Debug)]
pub enum Arrival {
    /// The socket is open.
    Opened,
    /// A message that is not audio.
    Text(Utf8Bytes),
    /// The same, of bytes.
    Binary(Bytes),
    /// A piece of the AI's voice.
    Audio {
        /// The response it belongs to.
        response_id: String,
        /// The item it belongs to.
        item_id: String,
        /// Samples as they came.
        bytes: Bytes,
    },
    /// A message too large to be read on the media thread was dropped; its bytes.
    Oversized(usize),
    /// The socket is gone. Comes last.
    Closed(Closed),
}

impl Arrival {
    /// Its first piece and what is left: audio is cut after so many bytes, anything else is whole.
    pub(super) fn split(mut self, bytes: usize) -> (Self, Option<Self>) {
        match &mut self {
            Self::Audio { response_id, item_id, bytes: audio } if audio.len() > bytes => {
                let (response_id, item_id, bytes) = (response_id.clone(), item_id.clone(), audio.split_to(bytes));
                (Self::Audio { response_id, item_id, bytes }, Some(self))
            }
            _ => (self, None),
        }
    }

    /// Size of the first piece of [`Self::split`].
    pub(super) fn piece_size(&self, bytes: usize) -> usize {
        match self {
            Self::Audio { bytes: audio, .. } => self.size() - audio.len().saturating_sub(bytes),
            _ => self.size(),
        }
    }

    /// What of it waits in memory, bytes.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Opened | Self::Oversized(_) | Self::Closed(_) => 0,
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
            Self::Audio { response_id, item_id, bytes } => response_id.len() + item_id.len() + bytes.len(),
        }
    }
}

/// Owned form of [`ProviderClosed`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Closed {
    /// The upgrade was answered with something else than 101.
    Refused {
        /// HTTP status.
        status: u16,
        /// Start of the body.
        body: String,
    },
    /// No connection.
    Unreachable(String),
    /// Closed after it was open.
    Closed {
        /// Close code.
        code: u16,
        /// Its text.
        reason: String,
    },
}

impl Closed {
    /// As the session core takes it.
    #[must_use]
    pub fn as_session(&self) -> ProviderClosed<'_> {
        match self {
            Self::Refused { status, body } => ProviderClosed::Refused { status: *status, body },
            Self::Unreachable(why) => ProviderClosed::Unreachable(why),
            Self::Closed { code, reason } => ProviderClosed::Closed { code: *code, reason },
        }
    }

    pub(super) fn broken(why: impl fmt::Display) -> Self {
        Self::Closed { code: ABNORMAL_CLOSURE, reason: why.to_string() }
    }
}
