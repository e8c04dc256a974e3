//! The connections to providers.

pub(super) mod link;
