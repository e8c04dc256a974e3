//! The control plane of voicebridge: takes Meta's webhooks, speaks Graph, places calls on media nodes and keeps their
//! records; offers all of it as gRPC, gRPC-web and HTTP on one listener. It carries no media.
//!
//! What is decided is decided in `voicebridge-core`; here it is executed. One task owns one call, the store is behind a
//! trait, and everything that can take long has a deadline in [`config::Limits`].

#![warn(missing_docs)]

pub mod access;
mod api;
mod body;
mod callback;
mod calls;
mod clock;
pub mod config;
mod convert;
mod events;
mod fault;
pub mod graph;
mod ids;
pub mod json;
mod lifetime;
pub mod nodes;
mod retention;
mod scope;
mod serve;
pub mod store;
mod webhook;

pub use config::{Config, ConfigErrors, RawConfig};
pub use serve::run;
