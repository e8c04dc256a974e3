//! The methods of `MediaPlaneService`.

use std::{pin::Pin, sync::Arc};

use futures_util::{Stream, stream};
use tonic::{Request, Response, Status, metadata::MetadataMap};
use voicebridge_proto::media::v1::{
    AdvanceSessionRequest, AdvanceSessionResponse, DrainRequest, DrainResponse, EndSessionRequest, EndSessionResponse,
    GetNodeRequest, GetNodeResponse, GetSessionRequest, GetSessionResponse, ListSessionsRequest, ListSessionsResponse,
    SendCommandRequest, SendCommandResponse, StartSessionRequest, StartSessionResponse, StreamEventsRequest,
    StreamEventsResponse, media_plane_service_server::MediaPlaneService,
};

use super::{convert, status};
use crate::{node::Node, sessions::Ended};

/// The service. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    node: Arc<Node>,
}

impl Service {
    pub(crate) const fn new(node: Arc<Node>) -> Self {
        Self { node }
    }
}

/// The span of a session's whole life, continuing the control plane's trace.
fn session_span(request: &StartSessionRequest, metadata: &MetadataMap) -> tracing::Span {
    let span = tracing::info_span!("session", call_id = %request.call_id, session_id = %request.session_id);
    voicebridge_telemetry::set_parent(&span, metadata);
    span
}

#[tonic::async_trait]
impl MediaPlaneService for Service {
    async fn start_session(
        &self,
        request: Request<StartSessionRequest>,
    ) -> Result<Response<StartSessionResponse>, Status> {
        let span = session_span(request.get_ref(), request.metadata());
        let start = convert::start(request.into_inner(), span)?;
        let entry = self.node.start(start).await.map_err(|error| status::of_start(&error))?;
        Ok(Response::new(StartSessionResponse {
            session_id: entry.session_id.clone(),
            sdp_answer: entry.sdp_answer.clone(),
            warnings: entry.warnings.iter().map(|&warning| warning.to_owned()).collect(),
        }))
    }

    async fn advance_session(
        &self,
        request: Request<AdvanceSessionRequest>,
    ) -> Result<Response<AdvanceSessionResponse>, Status> {
        let request = request.into_inner();
        let session_id = convert::session_id(request.session_id)?;
        let stage = convert::stage(request.stage)?;
        let stage =
            self.node.advance(&session_id, stage).await.map_err(|error| status::of_request(error, &session_id))?;
        Ok(Response::new(AdvanceSessionResponse { stage: convert::stage_out(Some(stage)).into() }))
    }

    async fn end_session(&self, request: Request<EndSessionRequest>) -> Result<Response<EndSessionResponse>, Status> {
        let request = request.into_inner();
        let session_id = convert::session_id(request.session_id)?;
        let termination = convert::termination_of(request.termination)?;
        let standing =
            self.node.end(&session_id, termination).await.map_err(|error| status::of_request(error, &session_id))?;
        Ok(Response::new(EndSessionResponse { termination: Some(convert::termination(&standing)) }))
    }

    async fn get_session(&self, request: Request<GetSessionRequest>) -> Result<Response<GetSessionResponse>, Status> {
        let session_id = convert::session_id(request.into_inner().session_id)?;
        let held = self.node.find(&session_id).map_err(|error| status::of_request(error, &session_id))?;
        Ok(Response::new(GetSessionResponse { session: Some(convert::session(&held)) }))
    }

    async fn list_sessions(
        &self,
        request: Request<ListSessionsRequest>,
    ) -> Result<Response<ListSessionsResponse>, Status> {
        let ended = if request.into_inner().include_ended { Ended::Included } else { Ended::LeftOut };
        let sessions = self.node.list(ended).iter().map(convert::session).collect();
        Ok(Response::new(ListSessionsResponse { sessions }))
    }

    async fn send_command(
        &self,
        request: Request<SendCommandRequest>,
    ) -> Result<Response<SendCommandResponse>, Status> {
        let request = request.into_inner();
        let session_id = convert::session_id(request.session_id)?;
        let command_id = convert::command_id(request.command_id)?;
        let command = convert::command(request.command)?;
        self.node
            .act(&session_id, command_id, command)
            .await
            .map_err(|error| status::of_request(error, &session_id))?;
        Ok(Response::new(SendCommandResponse {}))
    }

    type StreamEventsStream = Pin<Box<dyn Stream<Item = Result<StreamEventsResponse, Status>> + Send>>;

    async fn stream_events(
        &self,
        request: Request<StreamEventsRequest>,
    ) -> Result<Response<Self::StreamEventsStream>, Status> {
        let request = request.into_inner();
        let session_id = convert::session_id(request.session_id)?;
        let held = self.node.find(&session_id).map_err(|error| status::of_request(error, &session_id))?;
        let reader = held.entry.journal.follow(request.after_sequence).map_err(status::of_gone)?;
        let report = Arc::new(self.node.report());
        let events = stream::unfold(reader, move |mut reader| {
            let (entry, report) = (held.entry.clone(), report.clone());
            async move {
                let next = reader.next().await?;
                let response =
                    next.map(|record| convert::event_response(&entry, &record, &report)).map_err(status::of_gone);
                Some((response, reader))
            }
        });
        Ok(Response::new(Box::pin(events)))
    }

    async fn drain(&self, _request: Request<DrainRequest>) -> Result<Response<DrainResponse>, Status> {
        let live_sessions = self.node.drain();
        tracing::info!(live_sessions, "draining: no new sessions are taken");
        Ok(Response::new(DrainResponse { live_sessions }))
    }

    async fn get_node(&self, _request: Request<GetNodeRequest>) -> Result<Response<GetNodeResponse>, Status> {
        let node = Some(convert::node_report(self.node.report()));
        Ok(Response::new(GetNodeResponse { node, node_secret_sha256: self.node.secret().sha256() }))
    }
}
