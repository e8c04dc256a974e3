//! What the control plane says about calls, over gRPC.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Context as _;
use secrecy::SecretString;
use tonic::{
    service::interceptor::InterceptedService,
    transport::{Channel, Endpoint},
};
use voicebridge_proto::{
    control::v1::{
        Call, CallPhase, GetCallRequest, ListCallsRequest, ListTranscriptsRequest, StreamEventsRequest,
        call_service_client::CallServiceClient,
    },
    types::v1::{Event, Speaker, Stage, Termination, Transcript, event::Kind},
};

use voicebridge_telemetry::auth::Bearer;

use crate::wait::{SOON, eventually};

/// The generated client, which shows a key.
pub type Client = CallServiceClient<InterceptedService<Channel, Bearer>>;

/// The API of one control plane. Connects anew by itself after a restart.
#[derive(Clone, Debug)]
pub struct Calls {
    client: Client,
}

impl Calls {
    /// Of the control plane at `url`, asked with this key. Does not connect yet.
    ///
    /// # Errors
    ///
    /// `url` is none.
    pub fn new(url: &str, key: &SecretString) -> anyhow::Result<Self> {
        let endpoint = Endpoint::from_shared(url.to_owned()).context("the control plane's URL")?;
        let endpoint = endpoint.connect_timeout(Duration::from_secs(2)).timeout(SOON);
        let bearer = Bearer::new(Some(key))?;
        Ok(Self { client: CallServiceClient::with_interceptor(endpoint.connect_lazy(), bearer) })
    }

    /// The generated client, for methods without a shorthand here.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// The call, if the control plane knows it.
    ///
    /// # Errors
    ///
    /// Any status but `NOT_FOUND`.
    pub async fn get(&self, call_id: &str) -> Result<Option<Call>, tonic::Status> {
        let request = GetCallRequest { call_id: call_id.to_owned() };
        match self.client().get_call(request).await {
            Ok(response) => Ok(response.into_inner().call),
            Err(status) if status.code() == tonic::Code::NotFound => Ok(None),
            Err(status) => Err(status),
        }
    }

    /// How many calls the control plane has ever claimed.
    ///
    /// # Panics
    ///
    /// When it does not answer.
    pub async fn count(&self) -> usize {
        let request = ListCallsRequest { page_size: 1_000, ..ListCallsRequest::default() };
        let response = self.client().list_calls(request).await.expect("the control plane lists its calls");
        response.into_inner().calls.len()
    }

    /// Waits until the call is as wanted. An API that is away meanwhile is waited for too.
    ///
    /// # Panics
    ///
    /// When it is not by the deadline.
    pub async fn until(&self, call_id: &str, what: &str, wanted: impl Fn(&Call) -> bool) -> Call {
        let what = format!("{call_id}: {what}");
        eventually(&what, SOON, || async { self.get(call_id).await.ok().flatten().filter(&wanted) }).await
    }

    /// What was said on a call so far, in the order of its beginning. An API that is away said nothing.
    pub async fn transcripts(&self, call_id: &str) -> Vec<Transcript> {
        let mut request = ListTranscriptsRequest { call_id: call_id.to_owned(), ..ListTranscriptsRequest::default() };
        let mut said = Vec::new();
        while let Ok(response) = self.client().list_transcripts(request.clone()).await {
            let page = response.into_inner();
            said.extend(page.transcripts);
            if page.next_page_token.is_empty() {
                break;
            }
            request.page_token = page.next_page_token;
        }
        said
    }

    /// Waits until so much was said.
    ///
    /// # Panics
    ///
    /// When it is not by the deadline.
    pub async fn until_said(&self, call_id: &str, count: usize) -> Vec<Transcript> {
        let what = format!("{call_id}: transcript {count}");
        let said = || async { Some(self.transcripts(call_id).await).filter(|said| said.len() >= count) };
        eventually(&what, SOON, said).await
    }

    /// Waits until the call is answered and audio flows.
    ///
    /// # Panics
    ///
    /// When it is not by the deadline.
    pub async fn active(&self, call_id: &str) -> Call {
        self.until(call_id, "an active call", |call| reached(call).contains_key(&Stage::MediaBridgeActive)).await
    }

    /// Waits until the call's record is closed.
    ///
    /// # Panics
    ///
    /// When it is not by the deadline.
    pub async fn ended(&self, call_id: &str) -> Call {
        self.until(call_id, "the end of the call", |call| call.phase() == CallPhase::Ended).await
    }

    /// Every durable event of a call that has ended, from the first.
    ///
    /// # Panics
    ///
    /// When the stream breaks or does not end.
    pub async fn events(&self, call_id: &str) -> Vec<Event> {
        let request = StreamEventsRequest { call_id: call_id.to_owned(), ..Default::default() };
        let mut stream = self.client().stream_events(request).await.expect("an ended call's events").into_inner();
        let mut events = Vec::new();
        let read = async {
            while let Some(message) = stream.message().await.expect("a whole stream of events") {
                events.extend(message.event);
            }
        };
        tokio::time::timeout(SOON, read).await.expect("CallEnded closes the stream");
        events
    }
}

/// Milliseconds since the webhook of each stage reached.
#[must_use]
pub fn reached(call: &Call) -> BTreeMap<Stage, u64> {
    call.timeline.iter().map(|entry| (entry.stage(), entry.elapsed_ms)).collect()
}

/// How the call ended.
///
/// # Panics
///
/// When it has not.
#[must_use]
pub fn termination(call: &Call) -> &Termination {
    call.termination.as_ref().expect("an ended call has its termination")
}

/// What one side said, in order.
#[must_use]
pub fn said(transcripts: &[Transcript], speaker: Speaker) -> Vec<&str> {
    transcripts.iter().filter(|entry| entry.speaker() == speaker).map(|entry| entry.text.as_str()).collect()
}

/// The reasons of incidents among events.
#[must_use]
pub fn incidents(events: &[Event]) -> Vec<&str> {
    events
        .iter()
        .filter_map(|event| match &event.kind {
            Some(Kind::Incident(incident)) => Some(incident.reason.as_str()),
            _ => None,
        })
        .collect()
}
