//! The reasons a session gives, in terminations and incidents. Stable; one page each in docs/errors.

/// ICE and DTLS were not up in time, or failed before they were.
pub const MEDIA_CONNECTION_TIMEOUT: &str = "MEDIA_CONNECTION_TIMEOUT";
/// ICE or DTLS was up, and failed for good.
pub const MEDIA_TRANSPORT_LOST: &str = "MEDIA_TRANSPORT_LOST";
/// Nothing came from the caller for too long.
pub const MEDIA_TIMEOUT: &str = "MEDIA_TIMEOUT";
/// The call was not answered in time.
pub const RING_TIMEOUT: &str = "RING_TIMEOUT";
/// The AI's session never came to be.
pub const PROVIDER_SESSION_FAILED: &str = "PROVIDER_SESSION_FAILED";
/// The AI was there and is gone.
pub const PROVIDER_LOST: &str = "PROVIDER_LOST";
/// The AI owed an answer and was silent.
pub const PROVIDER_SILENT: &str = "PROVIDER_SILENT";
/// The AI complained; the call goes on.
pub const PROVIDER_ERROR: &str = "PROVIDER_ERROR";
/// The caller hung up.
pub const USER_HANGUP: &str = "USER_HANGUP";
/// The caller hung up before the call was answered.
pub const CALLER_ABANDONED: &str = "CALLER_ABANDONED";
/// The AI hung up.
pub const AGENT_HANGUP: &str = "AGENT_HANGUP";
/// The longest duration was reached.
pub const MAX_DURATION_REACHED: &str = "MAX_DURATION_REACHED";
/// A reply did not fit into the playout queue.
pub const PLAYOUT_FULL: &str = "PLAYOUT_FULL";
/// A command could not be carried out.
pub const COMMAND_REFUSED: &str = "COMMAND_REFUSED";
