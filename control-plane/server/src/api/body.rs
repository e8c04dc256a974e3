//! How long the bodies of requests may take, by path.

use axum::{
    body::{Body, HttpBody as _},
    extract::{Request, State},
};
use voicebridge_telemetry::listener::{
    Bounds,
    body::{Pace, Timely},
};

/// Methods to which messages are sent as long as both sides live.
const STREAMS_OF_REQUESTS: [&str; 1] = ["/voicebridge.media.v1.NodeService/Connect"];
/// Reflection is a stream of questions, in all its versions.
const REFLECTION: &str = "/grpc.reflection.";

/// Messages are sent as long as both sides live.
pub(super) fn is_stream_of_requests(path: &str) -> bool {
    STREAMS_OF_REQUESTS.contains(&path) || path.starts_with(REFLECTION)
}

fn pace(path: &str, bounds: &Bounds) -> Pace {
    match is_stream_of_requests(path) {
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use prost_reflect::DescriptorPool;
    use voicebridge_proto::FILE_DESCRIPTOR_SET;

    use super::*;

    #[test]
    fn whoever_streams_requests_is_known() {
        let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap();
        let served = |package: &str, name: &str| package == "voicebridge.control.v1" || name == "NodeService";
        let methods = pool.services().filter(|service| served(service.package_name(), service.name()));
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
}
