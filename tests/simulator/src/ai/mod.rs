//! A Realtime AI server (OpenAI's GA protocol over WebSocket), as strict as the real one.
//!
//! [`RealtimeServer`] listens on loopback; [`upgrade`] decides about each HTTP request, [`connection`] drives one
//! socket, [`session`] is the protocol itself: pure, in virtual time, its answers real speech whose words are known.
//! [`SessionRecord`] is what a test looks at afterwards: what was heard, recognised, said, cut and complained about.
//!
//! [`Mode::Converse`] detects speech, recognises which utterance it was and replies with a recording, sent faster than
//! real time; [`Mode::Echo`] sends every chunk straight back, to measure the way through a bridge.
//!
//! Audio is 24 kHz PCM or G.711 in each direction, as the client's configuration says ([`wire`]).
//!
//! Not here: models (replies are chosen by table), GPT-Live, WebRTC and SIP transports, MCP, images.

mod connection;
mod protocol;
mod record;
mod server;
mod session;
mod settings;
mod upgrade;
mod wire;

pub use record::{Appends, Interval, Piece, ReplyRecord, SessionRecord, Truncation, Utterance, Violation};
pub use server::RealtimeServer;
pub use settings::{
    AiSettings, CloseFault, Disruption, Faults, Mode, Replies, ResponseFault, UnknownModel, UpdateFault,
};

#[cfg(test)]
mod socket_tests;
