//! One person's transport and audio.

pub(super) mod downlink;
pub(super) mod quality;
pub(super) mod stages;
