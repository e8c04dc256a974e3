//! The media-plane node: answers callers over WebRTC, bridges their audio to an AI, and is steered over gRPC.
//!
//! Map: methods come in at `grpc`, mean something in [`node`], and reach a session on its media thread through [`shard`];
//! there [`peer`] speaks WebRTC on a port of [`udp`], the session core decides, and [`provider`] holds the AI's socket.
//! `registration` makes the node known to the control plane, `server` is the listener, `health` what it says to checks,
//! [`config`] the settings.
//!
//! What is not here: what a call means (the session core), Graph credentials, any database.

#![warn(missing_docs)]

mod call_log;
#[cfg(test)]
#[path = "../tests/support/caller.rs"]
mod caller;
pub mod clock;
pub mod config;
pub mod entry;
mod grpc;
mod health;
pub mod journal;
pub mod node;
pub mod peer;
pub mod provider;
mod registration;
mod run;
mod secret;
mod server;
pub mod sessions;
pub mod shard;
pub mod start_arguments;
pub mod udp;
mod waker;

pub use config::{Config, ConfigErrors, RawConfig};
pub use run::{run, run_until};
