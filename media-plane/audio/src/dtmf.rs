//! Keypad tones as telephone-events (RFC 4733), in and out.
//!
//! Flow: [`Receiver`] takes the payloads of the event payload type and gives every digit once, when it is over.
//! [`Sender`] takes a string of digits and gives a payload for every 20 ms slot it needs, in place of the audio of that
//! slot.
//!
//! Events share SSRC, sequence numbers and timestamps with the audio, but durations count at the event's own clock: on a
//! WhatsApp call timestamps are Opus's 48 kHz and durations 8 kHz (`telephone-event/8000`).
//!
//! Not here: payload types, RTP headers, tones in the audio itself.

mod payload;
mod receiver;
mod sender;

pub use payload::{BadEvent, Digit};
pub use receiver::{PATIENCE_MS, Pressed, Receiver, ReceiverStatistics};
pub use sender::{DIGIT_MS, KeyPacket, KeysRefused, MAX_DIGITS, PAUSE_MS, Sender};

/// Clock of event durations, Hz.
pub const EVENT_CLOCK_HZ: u32 = 8_000;
/// Event durations in a millisecond.
const UNITS_PER_MS: u32 = EVENT_CLOCK_HZ / 1_000;
