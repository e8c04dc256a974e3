//! A session under scripted callers, signallers and providers, in virtual time. One file per behaviour.
#![allow(clippy::unwrap_used)]

mod ai_lost;
mod barge_in;
mod broken_replies;
mod chaos;
mod collision;
mod commands;
mod dead_air;
mod dialogues;
mod dtmf;
mod dtx;
mod embedded;
mod end_call;
mod errors;
mod g711;
mod gating;
mod greeting;
mod harness;
mod last_words;
mod late_deltas;
mod lost_turns;

mod pacing;
mod passthrough;
mod quality;
mod reversible;
mod routing;
mod stages;
mod takeover;
mod timeouts;
mod transcripts;
mod uplink;
