//! gRPC and gRPC-web by hand: how a message and a status stand in the body of a response.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, header::CONTENT_TYPE};
use http_body::Frame;
use prost::Message as _;
use tonic::Status;
use tonic_types::{ErrorDetails, StatusExt as _};
use voicebridge_proto::{
    control::v1::{Lagged, StreamEventsResponse},
    types::v1::Event,
};
use voicebridge_telemetry::status::Details;

use super::script::{Failure, Message};

/// The flag of a frame that holds trailers (gRPC-web).
const TRAILERS: u8 = 0x80;
/// Of an event in the body: any moment will do, as long as it is the same.
const OCCURRED_AT: prost_types::Timestamp = prost_types::Timestamp { seconds: 1_800_000_000, nanos: 0 };
/// Protobuf's wire type of a field with a length.
const LENGTH_DELIMITED: u32 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Grpc,
    GrpcWeb,
}

impl Protocol {
    /// As the request's content type says.
    pub(super) fn of(headers: &HeaderMap) -> anyhow::Result<Self> {
        match headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes) {
            Some(b"application/grpc" | b"application/grpc+proto") => Ok(Self::Grpc),
            Some(b"application/grpc-web" | b"application/grpc-web+proto") => Ok(Self::GrpcWeb),
            other => bail!("content-type {other:?}"),
        }
    }

    pub(super) const fn content_type(self) -> &'static str {
        match self {
            Self::Grpc => "application/grpc",
            Self::GrpcWeb => "application/grpc-web+proto",
        }
    }

    /// The status at the end of a body: HTTP trailers, or a frame that holds them.
    pub(super) fn end(self, status: &Status) -> Frame<Bytes> {
        let trailers = trailers(status);
        match self {
            Self::Grpc => Frame::trailers(trailers),
            Self::GrpcWeb => {
                let mut text = Vec::new();
                for (name, value) in &trailers {
                    text.extend_from_slice(name.as_str().as_bytes());
                    text.extend_from_slice(b": ");
                    text.extend_from_slice(value.as_bytes());
                    text.extend_from_slice(b"\r\n");
                }
                Frame::data(frame(TRAILERS, &text))
            }
        }
    }
}

/// The one message of a request's body.
pub(super) fn request<M: prost::Message + Default>(body: &[u8]) -> anyhow::Result<M> {
    let (head, message) = body.split_at_checked(5).context("a body without a frame")?;
    ensure!(head[0] == 0, "a frame with flags {}", head[0]);
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
    ensure!(length as usize == message.len(), "a frame of {length} bytes in a body with {}", message.len());
    Ok(M::decode(message)?)
}

/// A response as it stands in the body.
pub(super) fn response(message: &Message, call_id: &str) -> anyhow::Result<Bytes> {
    let mut bytes = StreamEventsResponse {
        event: None,
        cursor: message.cursor.clone(),
        lagged: message.lagged.map(|transient_missed| Lagged { transient_missed }),
        keepalive_interval_ms: message.keepalive_ms.map(u32::try_from).transpose()?.unwrap_or_default(),
    }
    .encode_to_vec();
    if let Some(event) = &message.event {
        let mut event_bytes = Event {
            call_id: event.call_id.clone().unwrap_or_else(|| call_id.to_owned()),
            session_id: "session".to_owned(),
            sequence: event.sequence,
            occurred_at: Some(OCCURRED_AT),
            ..Default::default()
        }
        .encode_to_vec();
        // By its number, so that kinds we do not know ourselves go the same way.
        prost::encoding::encode_varint(u64::from(event.field()? << 3 | LENGTH_DELIMITED), &mut event_bytes);
        event_bytes.push(0);
        // `StreamEventsResponse.event`
        prost::encoding::encode_varint(u64::from(1 << 3 | LENGTH_DELIMITED), &mut bytes);
        prost::encoding::encode_varint(event_bytes.len() as u64, &mut bytes);
        bytes.extend_from_slice(&event_bytes);
    }
    Ok(frame(0, &bytes))
}

/// A frame whose message ends in the middle of a field.
pub(super) fn garbage() -> Bytes {
    frame(0, &[0xff, 0xff, 0xff])
}

pub(super) fn trailers(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    status.add_header(&mut trailers).expect("messages and reasons of scenarios are ASCII");
    trailers
}

pub(super) fn status(failure: &Failure) -> anyhow::Result<Status> {
    let message = "as the scenario says";
    let retry_after = failure.retry_delay_ms.map(Duration::from_millis);
    if failure.reason.is_empty() {
        return Ok(match retry_after {
            None => Status::new(failure.code()?, message),
            Some(_) => Status::with_error_details(failure.code()?, message, ErrorDetails::with_retry_info(retry_after)),
        });
    }
    let metadata = failure.metadata.clone().into_iter().collect();
    let details = Details { metadata, violations: Vec::new(), retry_after };
    Ok(voicebridge_telemetry::status::detailed(failure.code()?, &failure.reason, message, details))
}

fn frame(flags: u8, content: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(5 + content.len());
    frame.put_u8(flags);
    frame.put_u32(u32::try_from(content.len()).expect("scenarios are small"));
    frame.put_slice(content);
    frame.freeze()
}
