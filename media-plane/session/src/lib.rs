//! One call as a state machine, pure: no socket, clock, task or random source. Time is an argument.
//!
//! A driver (the node's shard, or a test in virtual time) feeds [`Session::handle`] with what happened and gives it
//! [`Ports`] to act on; [`Session::deadline`] says when it wants to be called next even if nothing happens.
//!
//! ```text
//! offer ─▶ sdp ─▶ answer, or the other way     Input ─▶ Session ─▶ Ports: RTP, provider messages, events
//!                 └───────▶ Setup ─▶ Session::new       │
//!                                     provider::{openai, embedded}
//! ```

pub mod agent;
pub mod event;
pub mod limits;
pub mod ports;
pub mod provider;
pub mod reason;
pub mod sdp;
mod session;

pub use agent::{Agent, AgentError, AgentErrors, AgentOverlay, BargeIn, Dtmf, Reversible};
pub use event::{
    DirectionQuality, Event, EventKind, Milestone, Models, Quality, ResponseStatus, Speaker, Statistics, Termination,
    TerminationResult, Usage,
};
pub use limits::Limits;
pub use ports::{
    AudioDelta, Command, CommandIdReused, ConnectionId, ConnectionInput, Frame, Input, Ports, ProviderClosed,
    ReceiverReport, RtpIn, RtpOut, Stage, Watch,
};
pub use session::{
    CALLER, Gain, LegId, LegPacket, MAX_ROWS, PacketSink, Party, Routing, Row, RowError, RowId, Session, Setup,
    SetupError, SignallingMode, State, SuccessorError,
};
