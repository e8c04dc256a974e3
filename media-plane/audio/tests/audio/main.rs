//! Behaviour of the audio path as others see it, in virtual time. One binary, one file for each part.
#![allow(clippy::unwrap_used)]

mod click;
mod codec;
mod common;
mod dtmf;
mod network;
mod opus;
mod playout;
mod playout_pace;
mod uplink;
mod uplink_network;
mod uplink_order;
mod uplink_quality;
mod vad;
