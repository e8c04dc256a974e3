//! What the control plane has stored of a call, read with the stage's own key.

use std::time::Duration;

use anyhow::Context as _;
use prost::Message as _;
use tokio::time::{sleep, timeout};
use tonic::{
    Code, Request,
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint},
};
use voicebridge_proto::control::v1::{
    Call, CallPhase, GetCallRequest, LookupCallRequest, StreamEventsRequest, call_service_client::CallServiceClient,
};

/// How long the record of a call that is over may take to be closed.
const CLOSED: Duration = Duration::from_secs(30);
/// Between two looks at it.
const LOOK_EVERY: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(super) struct Calls {
    client: CallServiceClient<Channel>,
    authorization: MetadataValue<Ascii>,
}

impl Calls {
    pub(super) fn new(url: &str, key: &str) -> anyhow::Result<Self> {
        let channel = Endpoint::from_shared(url.to_owned())?.connect_lazy();
        Ok(Self {
            client: CallServiceClient::new(channel),
            authorization: format!("Bearer {key}").parse().context("a key for a header")?,
        })
    }

    fn ask<M>(&self, message: M) -> Request<M> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", self.authorization.clone());
        request
    }

    /// Waits until there is such a call, as its webhook may still be on the way, and says what the control plane calls it.
    pub(super) async fn known(&self, wacid: &str) -> anyhow::Result<String> {
        let known = async {
            loop {
                let request = self.ask(LookupCallRequest { wacid: wacid.to_owned() });
                match self.client.clone().lookup_call(request).await {
                    Ok(found) => return anyhow::Ok(found.into_inner().call.unwrap_or_default().call_id),
                    Err(status) if status.code() == Code::NotFound => sleep(LOOK_EVERY).await,
                    Err(status) => return Err(status.into()),
                }
            }
        };
        timeout(CLOSED, known).await.context("the control plane does not know the call")?
    }

    /// The call, once its record is closed.
    pub(super) async fn ended(&self, call_id: &str) -> anyhow::Result<Call> {
        let closed = async {
            loop {
                let request = self.ask(GetCallRequest { call_id: call_id.to_owned() });
                let call = self.client.clone().get_call(request).await?.into_inner().call.context("no call")?;
                if call.phase() == CallPhase::Ended {
                    return anyhow::Ok(call);
                }
                sleep(LOOK_EVERY).await;
            }
        };
        timeout(CLOSED, closed).await.context("the call's record is not closed")?
    }

    /// Every durable event of a call that has ended, from the first, encoded.
    pub(super) async fn events(&self, call_id: &str) -> anyhow::Result<Vec<Vec<u8>>> {
        let request = self.ask(StreamEventsRequest { call_id: call_id.to_owned(), ..Default::default() });
        let mut stream = self.client.clone().stream_events(request).await?.into_inner();
        let mut events = Vec::new();
        let read = async {
            while let Some(response) = stream.message().await? {
                events.extend(response.event.filter(|event| event.sequence != 0).map(|event| event.encode_to_vec()));
            }
            anyhow::Ok(())
        };
        timeout(CLOSED, read).await.context("the events of an ended call do not end")??;
        Ok(events)
    }
}
