//! The contracts of voicebridge: Rust types, clients and servers generated from `proto/voicebridge`.
//!
//! Debug output shows `<pii>` and `<secret>` in place of the fields that those options of the contract name.
//! Nothing else lives here. The pure crates know none of these types; both programs hold them at their edges and turn them into
//! the cores' own at one place each (`convert.rs`).

#![allow(missing_docs, clippy::all, unreachable_pub)]

/// Options on the contracts: personal data, secrets, who may call what. Read from the descriptors.
pub mod options {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("voicebridge.options.v1");
    }
}

/// What both planes mean by a call, a stage, an event and an ending.
pub mod types {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("voicebridge.types.v1");
        include!(concat!(env!("OUT_DIR"), "/voicebridge.types.v1.redacted.rs"));
    }
}

/// What the two planes say to each other. Internal: nobody else is meant to speak it.
pub mod media {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("voicebridge.media.v1");
        include!(concat!(env!("OUT_DIR"), "/voicebridge.media.v1.redacted.rs"));
    }
}

/// What the control plane offers to everyone else.
pub mod control {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("voicebridge.control.v1");
        include!(concat!(env!("OUT_DIR"), "/voicebridge.control.v1.redacted.rs"));
    }
}

/// Of the public packages, `major.minor`. `scripts/check-contracts` wants a new one with each addition.
pub const CONTRACT_VERSION: &str = include_str!("../VERSION").trim_ascii();

/// The encoded `FileDescriptorSet` of all contracts, for reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// What Debug shows of a field that is not to be seen: the mark, or that it is not set.
fn redacted<'a, T: std::fmt::Debug + Default + PartialEq>(
    value: &'a T,
    mark: &'static str,
) -> impl std::fmt::Debug + 'a {
    struct Redacted<'a, T>(&'a T, &'static str);
    impl<T: std::fmt::Debug + Default + PartialEq> std::fmt::Debug for Redacted<'_, T> {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            if *self.0 == T::default() { self.0.fmt(f) } else { f.write_str(self.1) }
        }
    }
    Redacted(value, mark)
}

#[cfg(test)]
mod redaction;
