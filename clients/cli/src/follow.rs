//! A stream of events that resumes by itself, as the contract of `StreamEvents` says: from its last cursor, after a delay
//! that grows, until it ends or what fails cannot heal.

use std::time::Duration;

use tokio::time::Instant;
use tonic::{Code, Status, Streaming};
use voicebridge_proto::control::v1::{StreamEventsRequest, StreamEventsResponse};
use voicebridge_telemetry::status;

use crate::client::Client;

/// Delays before a broken stream is taken up again.
const FIRST_DELAY: Duration = Duration::from_millis(200);
const LAST_DELAY: Duration = Duration::from_secs(10);
/// The control plane may ask for longer delays than ours, up to this one.
const MAX_ASKED_DELAY: Duration = Duration::from_secs(60);
/// A stream on which nothing came for this many keepalive intervals is broken.
const SILENT_INTERVALS: u32 = 3;
/// Until the first response tells the interval.
const FIRST_SILENCE: Duration = Duration::from_secs(45);

/// What [`Follow::next`] found.
#[derive(Debug)]
pub(crate) enum Next {
    /// A response of the stream.
    Response(Box<StreamEventsResponse>),
    /// The stream broke; the next call waits and takes it up again.
    Broken(Status),
}

pub(crate) struct Follow {
    client: Client,
    request: StreamEventsRequest,
    stream: Option<Streaming<StreamEventsResponse>>,
    silence: Duration,
    /// Failures since the last response that was not the first of its stream.
    failures: u32,
    /// The delay that the last of them asked for.
    asked: Duration,
    /// The next response is the first of its stream.
    is_first: bool,
}

impl Follow {
    pub(crate) fn new(client: Client, request: StreamEventsRequest) -> Self {
        Self {
            client,
            request,
            stream: None,
            silence: FIRST_SILENCE,
            failures: 0,
            asked: Duration::ZERO,
            is_first: true,
        }
    }

    /// What comes next. `None`: the call has ended and all was delivered.
    ///
    /// # Errors
    /// What does not heal by itself.
    pub(crate) async fn next(&mut self) -> Result<Option<Next>, Status> {
        let answered = match &mut self.stream {
            Some(stream) => {
                let silent = Instant::now() + self.silence;
                match tokio::time::timeout_at(silent, stream.message()).await {
                    Ok(answered) => answered,
                    Err(_) => Err(Status::unavailable("the control plane fell silent")),
                }
            }
            None => {
                if self.failures > 0 {
                    tokio::time::sleep(delay(self.failures, rand::random(), self.asked)).await;
                }
                self.is_first = true;
                match self.client.stream_events(self.request.clone()).await {
                    Ok(response) => {
                        let stream = self.stream.insert(response.into_inner());
                        stream.message().await
                    }
                    Err(status) => Err(status),
                }
            }
        };
        match answered {
            Ok(Some(mut response)) => {
                if response.cursor.is_empty() {
                    let message = "a response without a cursor: this is no control plane of this version";
                    return Err(status::status(Code::DataLoss, "CURSOR_MISSING", message, &[]));
                }
                // Passed on before: durable events move the cursor.
                if response.cursor == self.request.cursor {
                    response.event.take_if(|event| event.sequence > 0);
                }
                self.request.cursor.clone_from(&response.cursor);
                if response.keepalive_interval_ms > 0 {
                    self.silence = Duration::from_millis(response.keepalive_interval_ms.into()) * SILENT_INTERVALS;
                }
                if !std::mem::replace(&mut self.is_first, false) {
                    self.failures = 0;
                }
                Ok(Some(Next::Response(Box::new(response))))
            }
            Ok(None) if !self.request.call_id.is_empty() => Ok(None),
            Ok(None) => Ok(Some(self.broken(Status::unavailable("the control plane closed the stream")))),
            Err(status) if heals(status.code()) => Ok(Some(self.broken(status))),
            Err(status) => Err(status),
        }
    }

    fn broken(&mut self, status: Status) -> Next {
        self.stream = None;
        self.failures = self.failures.saturating_add(1);
        self.asked = status::retry_delay(&status).unwrap_or_default();
        Next::Broken(status)
    }
}

/// Before the n-th connection in a row: drawn evenly from half of the delay to all of it, and no shorter than asked for.
pub(crate) fn delay(failures: u32, draw: f64, asked: Duration) -> Duration {
    let doubled = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    let whole = FIRST_DELAY.checked_mul(doubled).unwrap_or(LAST_DELAY).min(LAST_DELAY);
    whole.mul_f64(0.5 + draw / 2.0).max(asked.min(MAX_ASKED_DELAY))
}

/// Connections, restarts and bugs pass; a wrong key, an unknown call or a foreign cursor does not.
pub(crate) fn heals(code: Code) -> bool {
    match code {
        Code::Unavailable
        | Code::Unknown
        | Code::Internal
        | Code::Aborted
        | Code::DeadlineExceeded
        | Code::ResourceExhausted
        | Code::Cancelled => true,
        Code::Ok
        | Code::Unauthenticated
        | Code::PermissionDenied
        | Code::NotFound
        | Code::InvalidArgument
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::AlreadyExists
        | Code::DataLoss => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_from_half_of_200_ms_to_all_of_10_s() {
        let bounds = |failures| {
            let drawn = |draw| delay(failures, draw, Duration::ZERO).as_millis();
            (drawn(0.0), drawn(1.0))
        };
        assert_eq!(bounds(1), (100, 200));
        assert_eq!(bounds(2), (200, 400));
        assert_eq!(bounds(6), (3_200, 6_400));
        for failures in [7, 31, 32, 33, u32::MAX] {
            assert_eq!(bounds(failures), (5_000, 10_000), "{failures}");
        }
    }

    #[test]
    fn the_control_plane_asks_for_the_least_delay() {
        let asked = |failures, asked_s| delay(failures, 1.0, Duration::from_secs(asked_s)).as_secs();
        assert_eq!((asked(1, 1), asked(7, 1), asked(1, 3_600)), (1, 10, 60));
    }
}
