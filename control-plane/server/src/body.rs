//! A request's body, whole and within a limit.

use std::{error::Error, fmt};

use axum::{
    body::{Body, Bytes},
    http::StatusCode,
};
use tonic::{Code, Status};
use voicebridge_telemetry::listener::body::Late;

use crate::fault::Fault;

/// A body within the limit.
pub(crate) async fn read_body(body: Body, limit: usize) -> Result<Bytes, Fault> {
    axum::body::to_bytes(body, limit).await.map_err(|error| match Late::find(&error) {
        Some(late) => Fault::invalid("body", &late.to_string()).over_http(StatusCode::REQUEST_TIMEOUT),
        None if NoRoom::caused(&error) => NoRoom::fault(),
        // Too long, or the connection broke: then nobody reads the answer.
        None => {
            let rule = format!("must be at most {limit} bytes");
            Fault::invalid("body", &rule).over_http(StatusCode::PAYLOAD_TOO_LARGE)
        }
    })
}

/// There is no room for what is read of all bodies together. Over gRPC it is the status.
#[derive(Debug)]
pub(crate) struct NoRoom(Status);

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.message())
    }
}

impl Error for NoRoom {
    // Where tonic looks for the status to answer with.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

impl NoRoom {
    pub(crate) fn new() -> Self {
        metrics::counter!("voicebridge_control_refused_total", "reason" => "TOO_MANY_BODIES").increment(1);
        Self(Self::fault().status())
    }

    /// Whether this is what caused an error.
    fn caused(error: &(dyn Error + 'static)) -> bool {
        error.is::<Self>() || error.source().is_some_and(Self::caused)
    }

    fn fault() -> Fault {
        Fault::new(
            Code::Unavailable,
            "TOO_MANY_BODIES",
            "The control plane reads as many requests as it may; ask again.",
        )
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use voicebridge_telemetry::listener::body::{Pace, Timely};

    use super::*;

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
