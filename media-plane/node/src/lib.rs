//! The media-plane node.
#![warn(missing_docs)]

pub mod peer;
