//! FleetService: what operators see of the nodes, and ask of them.

use std::{sync::Arc, time::Duration};

use tonic::{Code, Request, Response, Status};
use voicebridge_proto::{
    control::v1::{
        DrainNodeRequest, DrainNodeResponse, ListNodesRequest, ListNodesResponse, Node,
        fleet_service_server::FleetService,
    },
    media::v1 as media,
};
use voicebridge_telemetry::status::{self, status};

use super::{Clients, Registry, beat::Beat};

/// The service.
#[derive(Clone, Debug)]
pub(crate) struct Fleet {
    registry: Arc<Registry>,
    clients: Arc<Clients>,
    /// What a node gets to answer.
    timeout: Duration,
}

impl Fleet {
    pub(crate) fn new(registry: Arc<Registry>, clients: Arc<Clients>, timeout: Duration) -> Self {
        Self { registry, clients, timeout }
    }

    /// Sessions left on it.
    async fn drain(&self, url: &str) -> Result<u32, Status> {
        let mut client = self.clients.client(url)?;
        let answer = tokio::time::timeout(self.timeout, client.drain(media::DrainRequest {}));
        let answer = answer.await.map_err(|_| Status::deadline_exceeded("the node did not answer"))??;
        Ok(answer.into_inner().live_sessions)
    }
}

/// As operators see it.
pub(super) fn to_wire(beat: Beat) -> Node {
    Node {
        node_id: beat.node_id,
        region: beat.region,
        advertise_url: beat.url,
        live_sessions: beat.live_sessions,
        max_sessions: beat.max_sessions,
        draining: beat.draining,
        media_load: beat.media_load,
        version: beat.version,
        provider: beat.provider,
        media_threads: beat.media_threads,
        media_threads_lost: beat.media_threads_lost,
    }
}

#[tonic::async_trait]
impl FleetService for Fleet {
    async fn list_nodes(&self, _request: Request<ListNodesRequest>) -> Result<Response<ListNodesResponse>, Status> {
        let mut nodes: Vec<Node> = self.registry.beats().into_iter().map(to_wire).collect();
        nodes.sort_by(|one, other| (&one.region, &one.node_id).cmp(&(&other.region, &other.node_id)));
        Ok(Response::new(ListNodesResponse { nodes }))
    }

    async fn drain_node(&self, request: Request<DrainNodeRequest>) -> Result<Response<DrainNodeResponse>, Status> {
        let node_id = request.into_inner().node_id;
        let Some(beat) = self.registry.last_beat(&node_id) else {
            let message = "There is no such node; ListNodes names those there are.";
            return Err(status(Code::NotFound, "NODE_NOT_FOUND", message, &[]));
        };
        let live_sessions = self.drain(&beat.url).await.map_err(|error| {
            if status::reason(&error).is_some() {
                return error;
            }
            tracing::warn!(node = node_id, code = ?error.code(), error = error.message(), "a node could not be drained");
            status(Code::Unavailable, "NODE_LOST", "The node did not answer; whether it drains is not known.", &[])
        })?;
        // Its next beat says so too; calls placed until then would only be refused.
        self.registry.drains(&node_id);
        tracing::info!(node = node_id, live_sessions, "node drains");
        let node = to_wire(Beat { draining: true, live_sessions, ..beat });
        Ok(Response::new(DrainNodeResponse { node: Some(node) }))
    }
}
