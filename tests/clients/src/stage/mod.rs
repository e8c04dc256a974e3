//! The whole system for the tests of a client in any language, moved by HTTP.
//!
//! Real planes, Meta and the AI simulated, a caller with a voice; a proxy in front of the control plane whose connections can
//! be cut, and a control plane that can be restarted. What is stored of a call can be had for comparison, read over another
//! connection by another client. The requests are described in `tests/clients/README.md`.

mod calls;
mod proxy;
mod server;

pub use server::{Settings, Stage};
