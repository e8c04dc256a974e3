//! Streams of events from a script: what the server says, what the client must ask.
//!
//! One listener per run of a scenario, so that runs share nothing and may go on side by side. Frames are written by hand,
//! because no gRPC server would break off in mid-message when asked. It judges requests and leaves; what the client
//! delivered is judged by the client's own runner.

mod link;
mod play;
mod run;
mod script;
mod server;
mod wire;

pub use script::{Scenario, load};
pub use server::serve;
