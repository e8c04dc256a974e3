//! Bodies of requests: in time on every path, and for those who want one whole, within the limit.

use axum::{
    body::{Body, Bytes, HttpBody as _},
    extract::{Request, State},
    http::StatusCode,
};
use voicebridge_telemetry::listener::{
    Bounds,
    body::{Late, Pace, Timely},
};

use super::Fault;

/// Methods to which messages are sent as long as both sides live.
const STREAMS_OF_REQUESTS: [&str; 1] = ["/voicebridge.control.v1.NodeService/Connect"];
/// Reflection is a stream of questions, in all its versions.
const REFLECTION: &str = "/grpc.reflection.";

fn pace(path: &str, bounds: &Bounds) -> Pace {
    match STREAMS_OF_REQUESTS.contains(&path) || path.starts_with(REFLECTION) {
        true => Pace::Each(bounds.between_messages),
        false => Pace::Whole(bounds.body),
    }
}

/// The request with a deadline for its body.
pub(super) async fn in_time(State(bounds): State<Bounds>, request: Request) -> Request {
    if request.body().is_end_stream() {
        return request;
    }
    let pace = pace(request.uri().path(), &bounds);
    request.map(|body| Body::new(Timely::new(body, pace)))
}

/// A body within the limit.
pub(crate) async fn read_body(body: Body, limit: usize) -> Result<Bytes, Fault> {
    axum::body::to_bytes(body, limit).await.map_err(|error| match Late::find(&error) {
        Some(late) => Fault::invalid("body", &late.to_string()).over_http(StatusCode::REQUEST_TIMEOUT),
        // Too long, or the connection broke: then nobody reads the answer.
        None => {
            let rule = format!("must be at most {limit} bytes");
            Fault::invalid("body", &rule).over_http(StatusCode::PAYLOAD_TOO_LARGE)
        }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use prost_reflect::DescriptorPool;
    use voicebridge_proto::FILE_DESCRIPTOR_SET;

    use super::*;

    #[test]
    fn whoever_streams_requests_is_known() {
        let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap();
        let methods = pool.services().filter(|service| service.package_name() == "voicebridge.control.v1");
        let methods = methods.flat_map(|service| service.methods().collect::<Vec<_>>());
        let streamed = methods.filter(|method| method.is_client_streaming());
        let paths: Vec<_> =
            streamed.map(|method| format!("/{}/{}", method.parent_service().full_name(), method.name())).collect();
        assert_eq!(paths, STREAMS_OF_REQUESTS);
        let bounds = Bounds::default();
        let each = Pace::Each(bounds.between_messages);
        assert_eq!(pace("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", &bounds), each);
        assert_eq!(pace("/voicebridge.control.v1.CallService/StreamEvents", &bounds), Pace::Whole(bounds.body));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_is_late_and_one_too_long_is_too_long() {
        let silent = futures_util::stream::pending::<Result<Bytes, std::io::Error>>();
        let late = Body::new(Timely::new(Body::from_stream(silent), Pace::Whole(Duration::from_secs(10))));
        let fault = read_body(late, 10).await.unwrap_err();
        assert!(fault.message().contains("must arrive within 10 s"), "{}", fault.message());
        let fault = read_body(Body::from("12345678901"), 10).await.unwrap_err();
        assert!(fault.message().contains("at most 10 bytes"), "{}", fault.message());
        assert_eq!(read_body(Body::from("1234567890"), 10).await.unwrap().len(), 10);
    }
}
