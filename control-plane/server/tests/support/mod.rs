//! A real control plane on a port of its own, a Graph API and media nodes that do as they are told.
//!
//! Nothing here sleeps for luck: tests wait for conditions, bounded by [`PATIENCE`].

#![allow(dead_code, unused_imports, clippy::unwrap_used, unreachable_pub)]

pub mod asking;
pub mod graph;
pub mod nginx;
pub mod node;
pub mod plane;

use std::time::Duration;

pub use graph::{Graph, Reply};
pub use node::{Behaviour, Node};
pub use plane::{Plane, Wire, sign};
use tokio::sync::watch;

/// A condition that does not come true within this time fails the test.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub const NUMBER_ID: &str = "106000000000001";
pub const APP_SECRET: &str = "app-secret";
pub const VERIFY_TOKEN: &str = "verify-word";
pub const ACCESS_TOKEN: &str = "EAAG-token";
/// Of the nodes here, and of a plane unless a test says otherwise.
pub const NODE_TOKEN: &str = "node-token-of-the-tests";

/// A control plane that knows one node, on which calls come up.
pub async fn system() -> (Graph, Plane, Node) {
    let graph = Graph::start().await;
    let plane = Plane::start(&graph).await;
    let node = Node::start("node-1").await;
    node.register(&plane.url, "local", 100);
    plane.nodes(1).await;
    (graph, plane, node)
}

/// Waits until the state fits and returns it.
pub async fn wait<T: Clone>(state: &mut watch::Receiver<T>, what: &str, fits: impl FnMut(&T) -> bool) -> T {
    match tokio::time::timeout(PATIENCE, state.wait_for(fits)).await {
        Ok(found) => found.unwrap().clone(),
        Err(_) => panic!("never happened: {what}"),
    }
}

/// Asks again until the answer fits; for state that can only be asked for.
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let asking = async {
        loop {
            if let Some(found) = ask().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    match tokio::time::timeout(PATIENCE, asking).await {
        Ok(found) => found,
        Err(_) => panic!("never happened: {what}"),
    }
}

/// Unix seconds, as Meta writes them.
pub fn now_s() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

/// One element of `calls[]`.
pub fn connect(call_id: &str) -> serde_json::Value {
    connect_at(call_id, now_s())
}

pub fn connect_at(call_id: &str, timestamp: u64) -> serde_json::Value {
    serde_json::json!({
        "id": call_id, "from": "5511900000001", "to": "15550001111", "from_user_id": "BR.13000000000000001",
        "event": "connect", "timestamp": timestamp.to_string(), "direction": "USER_INITIATED",
        "session": {"sdp_type": "offer", "sdp": format!("v=0\r\ns={call_id}\r\n")},
    })
}

pub fn terminate(call_id: &str) -> serde_json::Value {
    serde_json::json!({
        "id": call_id, "event": "terminate", "direction": "USER_INITIATED", "timestamp": now_s().to_string(),
        "status": "COMPLETED",
    })
}

pub fn terminate_failed(call_id: &str, code: i64) -> serde_json::Value {
    let mut call = terminate(call_id);
    call["status"] = "Failed".into();
    call["errors"] = serde_json::json!([{"code": code, "title": "t"}]);
    call
}

/// A whole delivery.
pub fn delivery(calls: &[serde_json::Value]) -> String {
    serde_json::json!({
        "object": "whatsapp_business_account",
        "entry": [{"id": "1", "changes": [{"field": "calls", "value": {
            "messaging_product": "whatsapp",
            "metadata": {"display_phone_number": "15550001111", "phone_number_id": NUMBER_ID},
            "contacts": [{"profile": {"name": "An\u{e1}"}, "wa_id": "5511900000001"}],
            "calls": calls,
        }}]}],
    })
    .to_string()
}
