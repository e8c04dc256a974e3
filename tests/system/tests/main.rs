//! The scenarios, one file per behaviour, over real processes.

#![allow(clippy::unwrap_used)]

mod agent;
mod api;
mod bad_network;
mod barge_in;
mod configuration;
mod continuity;
mod control_life;
mod conversation;
mod g711;
mod graph_faults;
mod killed;
mod local_key;
mod node_life;
mod offers;
mod personal_data;
mod placement;
mod provider_faults;
mod self_held;
mod talk;
mod transport;
mod webhooks;
