//! The contracts of voicebridge: Rust types, clients and servers generated from `proto/voicebridge`.
//!
//! Nothing else lives here. Both planes convert these types to their own at one place each (`convert.rs`).

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
    }
}

/// What a media-plane node offers to the control plane.
pub mod media {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("voicebridge.media.v1");
    }
}

/// What the control plane offers to everyone else, and to nodes.
pub mod control {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("voicebridge.control.v1");
    }
}

/// The encoded `FileDescriptorSet` of all contracts, for reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
