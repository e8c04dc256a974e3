//! The two parties voicebridge talks to, simulated on loopback as strictly as the real ones behave.
//!
//! [`meta`] is Meta's side of a WhatsApp call: the Graph API, signed webhooks and callers behind an ICE-lite relay.
//! [`ai`] is a Realtime AI server; [`speech`] holds the spoken fixtures both sides use and recognises them again;
//! [`delay`] tells how long they took.
//! Faults happen on demand only: without any configured, both sides behave as documented.

pub mod ai;
pub mod delay;
pub mod meta;
pub mod speech;
