//! `voicebridge.media.v1.MediaPlaneService` over [`Node`](crate::node::Node).
//!
//! `convert` is the only place where protobuf types meet the session core's, `status` the only one where errors become
//! gRPC codes and reasons, `service` the methods.

mod convert;
mod service;
mod status;

pub(crate) use convert::node_report;
pub(crate) use service::Service;
