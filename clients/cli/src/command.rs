//! Sends a command until it is answered: the call takes it once by its id, however often it is sent.

use std::time::Duration;

use tokio::time::Instant;
use tonic::Status;
use voicebridge_proto::control::v1::SendCommandRequest;
use voicebridge_telemetry::status;

use crate::{
    client::Client,
    follow::{delay, heals},
};

/// Times a command is sent.
const ATTEMPTS: u32 = 3;
/// All of them together.
const DEADLINE: Duration = Duration::from_secs(10);

/// Under the id of the request, or a new one; the id.
///
/// # Errors
/// The last answer, or that there was none in time.
pub(crate) async fn send(client: &mut Client, mut request: SendCommandRequest) -> Result<String, Status> {
    if request.command_id.is_empty() {
        request.command_id = format!("{:032x}", rand::random::<u128>());
    }
    let send = async || client.send_command(request.clone()).await.map(|answer| answer.into_inner().command_id);
    send_until_answered(send).await
}

async fn send_until_answered(mut send: impl AsyncFnMut() -> Result<String, Status>) -> Result<String, Status> {
    let end = Instant::now() + DEADLINE;
    let mut sent = 1;
    loop {
        let answer = tokio::time::timeout_at(end, send()).await;
        let status = match answer {
            Ok(Ok(command_id)) => return Ok(command_id),
            Ok(Err(status)) => status,
            Err(_) => return Err(Status::deadline_exceeded("the control plane did not answer in time")),
        };
        let pause = delay(sent, rand::random(), status::retry_delay(&status).unwrap_or_default());
        if sent == ATTEMPTS || !heals(status.code()) || Instant::now() + pause >= end {
            return Err(status);
        }
        tokio::time::sleep(pause).await;
        sent += 1;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tonic::Code;

    use super::*;

    fn refusal(retry_s: u64) -> Status {
        let reason = "CONTROL_DRAINING";
        let details = status::Details { retry_after: Some(Duration::from_secs(retry_s)), ..Default::default() };
        status::detailed(Code::Unavailable, reason, "ending", details)
    }

    #[tokio::test(start_paused = true)]
    async fn a_command_is_sent_again_after_the_delay_asked_for() {
        let (begun, mut sent) = (Instant::now(), 0);
        let found = send_until_answered(async || {
            sent += 1;
            if sent < 2 { Err(refusal(3)) } else { Ok("id".to_owned()) }
        });
        assert_eq!(found.await.unwrap(), "id");
        assert_eq!(sent, 2);
        assert!(begun.elapsed() >= Duration::from_secs(3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_delay_beyond_the_deadline_is_not_waited_for() {
        let (begun, mut sent) = (Instant::now(), 0);
        let found = send_until_answered(async || {
            sent += 1;
            Err(refusal(30))
        });
        assert_eq!(found.await.unwrap_err().code(), Code::Unavailable);
        assert_eq!((sent, begun.elapsed()), (1, Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn no_answer_ends_with_the_deadline() {
        let begun = Instant::now();
        let found = send_until_answered(async || std::future::pending().await);
        assert_eq!(found.await.unwrap_err().code(), Code::DeadlineExceeded);
        assert_eq!(begun.elapsed(), DEADLINE);
    }
}
