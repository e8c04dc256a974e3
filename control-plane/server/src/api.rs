//! What the control plane offers: gRPC, gRPC-web and HTTP on one listener.

mod agent;
mod arguments;
mod bodies;
mod body;
mod grpc;
mod guard;
mod health;
mod keys;
mod list;
mod media_type;
mod page_token;
mod refusals;
mod revocable_body;
mod routes;
mod server_info;
mod session_info;
mod sessions_http;
mod shares;
mod sse;
mod state;
mod stream;
mod transcripts;
mod wait;

pub(crate) use guard::Guard;
pub(crate) use health::Health;
pub(crate) use keys::Keys;
pub(crate) use page_token::{PAGE_KEY, PageTokens};
pub(crate) use routes::router;
pub(crate) use shares::Shares;
pub(crate) use state::Api;

use crate::{body::read_body, fault::Fault};
