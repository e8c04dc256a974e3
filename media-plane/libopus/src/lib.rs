//! The libopus that `audiopus` calls: that of `opusic-sys`, which builds a released version from source and links it in.
//!
//! `audiopus` asks for a binding of its own, which links whatever libopus the machine has, or else builds a snapshot from
//! between releases, and no longer builds with new versions of CMake. The C interface is the same.
//!
//! Not here: any code of ours. Which version and why: `docs/adr/0006-libopus.md`.

pub use opusic_sys::*;
