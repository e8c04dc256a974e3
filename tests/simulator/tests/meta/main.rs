//! The simulated Meta seen from outside: its Graph API, its webhooks, and calls with a minimal WebRTC answerer.

#![allow(clippy::unwrap_used)]

mod answerer;
mod business;
mod calls;
mod graph_api;
mod webhooks;
