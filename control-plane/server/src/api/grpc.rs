//! CallService.

use std::time::Duration;

use tonic::{Request, Response, Status};
use voicebridge_core::{
    identity::{CallId, Wacid},
    labels::{LabelChange, Labels},
    payloads::Payloads,
};
use voicebridge_proto::{
    control::v1::{self as control, call_service_server::CallService},
    media::v1 as media,
    types::v1::{self as types, event::Kind},
};

use super::{
    Api, Fault, agent,
    arguments::{call_name, command_id, end_reason, labels, number_id},
    session_info, stream,
};
use crate::{
    access::{Authentication, Principal, Scope},
    calls::{CallError, Outcome, SelfHeldStart},
    convert,
    store::{CallRow, Holder, StoreError},
    webhook::Webhook,
};

/// Longest offer, bytes; by contract.
const MAX_OFFER_BYTES: usize = 64 * 1024;
/// Longest text of a command, bytes.
const MAX_COMMAND_BYTES: usize = 16 * 1024;
/// Kinds of events that tell more of a call than its record.
const TOLD_BY_EVENTS: [&str; 2] = ["stage_reached", "session_ended"];

fn notice_outcome(outcome: Outcome) -> control::NoticeOutcome {
    match outcome {
        Outcome::Claimed => control::NoticeOutcome::Claimed,
        Outcome::Duplicate => control::NoticeOutcome::Duplicate,
        Outcome::Stale => control::NoticeOutcome::Stale,
        Outcome::Terminated => control::NoticeOutcome::Terminated,
        Outcome::Tombstoned => control::NoticeOutcome::Tombstoned,
        Outcome::Ignored => control::NoticeOutcome::Ignored,
    }
}

impl Api {
    /// What both APIs do to start a self-held call.
    pub(super) async fn start(
        &self,
        request: control::StartSessionRequest,
        holder: Holder,
    ) -> Result<control::StartSessionResponse, Fault> {
        let wacid = Wacid::parse(request.call_id).map_err(|error| Fault::invalid("call_id", &error.to_string()))?;
        if request.sdp_offer.is_empty() || request.sdp_offer.len() > MAX_OFFER_BYTES {
            return Err(Fault::invalid("sdp_offer", "must be 1 to 65536 bytes"));
        }
        let started = self
            .calls
            .start(SelfHeldStart {
                wacid,
                sdp_offer: request.sdp_offer,
                caller: convert::caller_from_wire(request.caller.unwrap_or_default()),
                agent: agent::check("agent", request.agent)?,
                labels: labels("labels", request.labels)?,
                payloads: Payloads::cleaned(
                    &request.deeplink_payload,
                    &request.cta_payload,
                    &request.biz_opaque_callback_data,
                ),
                holder,
                phone_number_id: number_id("phone_number_id", request.phone_number_id)?,
                elapsed: Duration::from_millis(request.elapsed_ms),
            })
            .await?;
        Ok(control::StartSessionResponse {
            call_id: started.call_id.as_str().to_owned(),
            session_id: started.session_id,
            sdp_answer: started.answer.sdp,
            warnings: started.answer.warnings,
            already_started: started.already,
        })
    }

    pub(super) async fn advance(
        &self,
        name: &str,
        stage: types::SignallingStage,
    ) -> Result<types::SignallingStage, Fault> {
        let name = call_name(name)?;
        let stage = convert::signalling_stage_from_wire(stage)
            .ok_or_else(|| Fault::invalid("stage", "must be ANSWER_DELIVERED or ACCEPTED"))?;
        let call_id = self.calls.find(&name).await?;
        Ok(self.calls.advance(&call_id, stage).await?)
    }

    /// `reason`: of the contract's `EndReason`.
    pub(super) async fn end(&self, name: &str, reason: i32) -> Result<types::Termination, Fault> {
        let (name, reason) = (call_name(name)?, end_reason(reason)?);
        Ok(convert::termination_to_wire(&self.calls.end(&name, reason).await?))
    }

    /// The call somebody wants to read, if they may. Whoever may read one call only is not told which others there are.
    pub(super) async fn readable(&self, principal: &Principal, name: &str) -> Result<CallId, Fault> {
        let name = call_name(name);
        let found = match &name {
            Ok(name) => match self.calls.find(name).await {
                Ok(call_id) => Some(call_id),
                Err(CallError::NotFound) => None,
                Err(error) => return Err(error.into()),
            },
            Err(_) => None,
        };
        principal.may_read(found.as_ref())?;
        name?;
        Ok(found.ok_or(CallError::NotFound)?)
    }

    /// As [`Api::readable`]; without a name it is about all calls.
    pub(super) async fn readable_or_all(&self, principal: &Principal, name: &str) -> Result<Option<CallId>, Fault> {
        match name {
            "" => principal.may_read(None).map(|()| None),
            name => self.readable(principal, name).await.map(Some),
        }
    }

    /// A call with what its events tell.
    pub(super) async fn with_events(&self, row: &CallRow) -> Result<control::Call, Fault> {
        let mut call = convert::call_to_wire(row);
        for kind in TOLD_BY_EVENTS {
            for event in self.store.events_of_kind(&row.call_id, kind).await? {
                let event =
                    convert::event_from_row(&row.call_id, &event).map_err(|_| StoreError::Corrupt("events.payload"))?;
                convert::add_event(&mut call, event);
            }
        }
        call.timeline.sort_by_key(|entry| entry.elapsed_ms);
        // Until the session's end brings both.
        if call.statistics.is_none() {
            call.statistics = self.calls.statistics(&row.call_id);
        }
        if call.usage.is_none() {
            call.usage = self.usage_so_far(&row.call_id).await?;
        }
        Ok(call)
    }

    /// A call with all that is known of it, and its row.
    pub(super) async fn whole(&self, call_id: &CallId) -> Result<(CallRow, control::Call), Fault> {
        let row = self.store.call(call_id).await?.ok_or(CallError::NotFound)?;
        let call = self.with_events(&row).await?;
        Ok((row, call))
    }

    /// Of the replies finished so far; what transcription costs is known at the end only.
    async fn usage_so_far(&self, call_id: &CallId) -> Result<Option<types::Usage>, Fault> {
        let mut total: Option<types::Usage> = None;
        for row in self.store.events_of_kind(call_id, "response_finished").await? {
            let event = convert::event_from_row(call_id, &row).map_err(|_| StoreError::Corrupt("events.payload"))?;
            if let Some(Kind::ResponseFinished(types::ResponseFinished { usage: Some(usage), .. })) = event.kind {
                total = Some(session_info::add_usage(total.unwrap_or_default(), &usage));
            }
        }
        Ok(total)
    }

    async fn change_labels(&self, request: control::UpdateCallLabelsRequest) -> Result<Labels, Fault> {
        let name = call_name(&request.call_id)?;
        let change = LabelChange::new(labels("set", request.set)?, request.remove);
        let change = change.map_err(|error| Fault::invalid("remove", &error.to_string()))?;
        Ok(self.calls.label(&self.calls.find(&name).await?, &change).await?)
    }

    /// The call with this id of Meta's, if somebody may read it.
    async fn looked_up(&self, principal: &Principal, wacid: String) -> Result<control::Call, Fault> {
        let wacid = Wacid::parse(wacid);
        let found = match &wacid {
            Ok(wacid) => self.store.call_by_wacid(wacid).await?,
            Err(_) => None,
        };
        principal.may_read(found.as_ref().map(|row| &row.call_id))?;
        wacid.map_err(|error| Fault::invalid("wacid", &error.to_string()))?;
        let row = found.ok_or(CallError::NotFound)?;
        Ok(self.whole(&row.call_id).await?.1)
    }

    /// The id it was sent with.
    async fn command(&self, request: control::SendCommandRequest) -> Result<String, Fault> {
        use control::command::Kind;
        let name = call_name(&request.call_id)?;
        let command_id = command_id(request.command_id)?;
        let command = request.command.ok_or_else(|| Fault::invalid("command", "must be given"))?;
        let text = match &command.kind {
            None => return Err(Fault::invalid("command", "must be say, interrupt, inject_text or send_dtmf")),
            // The node knows which keys there are.
            Some(Kind::Interrupt(_) | Kind::SendDtmf(_)) => None,
            Some(Kind::Say(say)) => Some(&say.text),
            Some(Kind::InjectText(inject)) => Some(&inject.text),
        };
        if text.is_some_and(|text| text.is_empty() || text.len() > MAX_COMMAND_BYTES) {
            return Err(Fault::invalid("command.text", "must be 1 to 16384 bytes"));
        }
        let session = self.calls.session(&self.calls.find(&name).await?).await?;
        let mut client = self.clients.client(&session.node_url).map_err(CallError::Node)?;
        let request = media::SendCommandRequest {
            session_id: session.session_id,
            command: Some(convert::command_to_node(command)),
            command_id: command_id.clone(),
        };
        let send = async {
            self.lease.held().await;
            client.send_command(request).await
        };
        tokio::time::timeout(self.limits.node_timeout, send)
            .await
            .map_err(|_| CallError::Node(Status::deadline_exceeded("the node did not answer")))?
            .map_err(CallError::Node)?;
        Ok(command_id)
    }
}

#[tonic::async_trait]
impl CallService for Api {
    type StreamEventsStream = stream::Responses;

    async fn handle_webhook(
        &self,
        request: Request<control::HandleWebhookRequest>,
    ) -> Result<Response<control::HandleWebhookResponse>, Status> {
        let authentication = Authentication::of(request.extensions());
        let request = request.into_inner();
        let labels = labels("labels", request.labels).map_err(Fault::status)?;
        if request.agent.is_some() || !request.agents.is_empty() || !labels.is_empty() {
            // Meta's signature proves the delivery, not this.
            let principal = authentication.may(Scope::CallsWrite).map_err(Fault::status)?;
            tracing::debug!(by = &*principal.name, "a delivery comes with an agent or labels");
        }
        let agents = agent::check_all(request.agents, request.agent).map_err(Fault::status)?;
        if request.body.len() > self.limits.max_body_bytes {
            return Err(Fault::invalid("body", "is larger than the limit of this server").status());
        }
        let signature = Some(request.signature).filter(|signature| !signature.is_empty());
        let taken = self.webhook.receive(&request.body, signature.as_deref(), agents, labels).await;
        let outcomes = taken.map_err(|error| {
            Webhook::log_refusal(&error);
            Fault::from(error).status()
        })?;
        let outcomes = outcomes.into_iter().map(|notice| control::WebhookOutcome {
            call_id: notice.call_id.map_or_else(String::new, |id| id.as_str().to_owned()),
            outcome: notice_outcome(notice.outcome).into(),
            wacid: notice.wacid.map_or_else(String::new, |id| id.as_str().to_owned()),
        });
        Ok(Response::new(control::HandleWebhookResponse { outcomes: outcomes.collect() }))
    }

    async fn start_session(
        &self,
        request: Request<control::StartSessionRequest>,
    ) -> Result<Response<control::StartSessionResponse>, Status> {
        let request = request.into_inner();
        let holder = match request.signalling_mode() {
            types::SignallingMode::Unspecified | types::SignallingMode::Staged => Holder::SelfStaged,
            types::SignallingMode::Immediate => Holder::SelfImmediate,
        };
        Ok(Response::new(self.start(request, holder).await.map_err(Fault::status)?))
    }

    async fn advance_session(
        &self,
        request: Request<control::AdvanceSessionRequest>,
    ) -> Result<Response<control::AdvanceSessionResponse>, Status> {
        let request = request.into_inner();
        let stage = request.stage();
        let stage = self.advance(&request.call_id, stage).await.map_err(Fault::status)?;
        Ok(Response::new(control::AdvanceSessionResponse { stage: stage.into() }))
    }

    async fn wait_for_session(
        &self,
        request: Request<control::WaitForSessionRequest>,
    ) -> Result<Response<control::WaitForSessionResponse>, Status> {
        let authentication = Authentication::of(request.extensions());
        let principal = authentication.principal().map_err(Fault::status)?;
        Ok(Response::new(self.wait(principal, request.into_inner()).await.map_err(Fault::status)?))
    }

    async fn end_call(
        &self,
        request: Request<control::EndCallRequest>,
    ) -> Result<Response<control::EndCallResponse>, Status> {
        let request = request.into_inner();
        let termination = self.end(&request.call_id, request.reason).await.map_err(Fault::status)?;
        Ok(Response::new(control::EndCallResponse { termination: Some(termination) }))
    }

    async fn get_call(
        &self,
        request: Request<control::GetCallRequest>,
    ) -> Result<Response<control::GetCallResponse>, Status> {
        let authentication = Authentication::of(request.extensions());
        let principal = authentication.principal().map_err(Fault::status)?;
        let name = request.into_inner().call_id;
        let call_id = self.readable(principal, &name).await.map_err(Fault::status)?;
        let (_, call) = self.whole(&call_id).await.map_err(Fault::status)?;
        Ok(Response::new(control::GetCallResponse { call: Some(call) }))
    }

    async fn lookup_call(
        &self,
        request: Request<control::LookupCallRequest>,
    ) -> Result<Response<control::LookupCallResponse>, Status> {
        let authentication = Authentication::of(request.extensions());
        let principal = authentication.principal().map_err(Fault::status)?;
        let call = self.looked_up(principal, request.into_inner().wacid).await.map_err(Fault::status)?;
        Ok(Response::new(control::LookupCallResponse { call: Some(call) }))
    }

    async fn list_calls(
        &self,
        request: Request<control::ListCallsRequest>,
    ) -> Result<Response<control::ListCallsResponse>, Status> {
        Ok(Response::new(self.list(request.into_inner()).await.map_err(Fault::status)?))
    }

    async fn list_transcripts(
        &self,
        request: Request<control::ListTranscriptsRequest>,
    ) -> Result<Response<control::ListTranscriptsResponse>, Status> {
        let authentication = Authentication::of(request.extensions());
        let principal = authentication.principal().map_err(Fault::status)?;
        let request = request.into_inner();
        let call_id = self.readable(principal, &request.call_id).await.map_err(Fault::status)?;
        Ok(Response::new(self.transcripts(&call_id, &request).await.map_err(Fault::status)?))
    }

    async fn update_call_labels(
        &self,
        request: Request<control::UpdateCallLabelsRequest>,
    ) -> Result<Response<control::UpdateCallLabelsResponse>, Status> {
        let labels = self.change_labels(request.into_inner()).await.map_err(Fault::status)?;
        Ok(Response::new(control::UpdateCallLabelsResponse { labels: convert::labels_to_wire(&labels) }))
    }

    async fn send_command(
        &self,
        request: Request<control::SendCommandRequest>,
    ) -> Result<Response<control::SendCommandResponse>, Status> {
        let command_id = self.command(request.into_inner()).await.map_err(Fault::status)?;
        Ok(Response::new(control::SendCommandResponse { command_id }))
    }

    async fn stream_events(
        &self,
        request: Request<control::StreamEventsRequest>,
    ) -> Result<Response<Self::StreamEventsStream>, Status> {
        let authentication = Authentication::of(request.extensions());
        let request = request.into_inner();
        let principal = authentication.principal().map_err(Fault::status)?;
        let following = self.follow(principal, request).await.map_err(Fault::status)?;
        Ok(Response::new(stream::responses(following)))
    }
}
