//! Sends a command until it is answered: the call takes it once by its id, however often it is sent.

use tonic::Status;
use voicebridge_proto::control::v1::SendCommandRequest;
use voicebridge_telemetry::status;

use crate::{
    client::Client,
    follow::{delay, heals},
};

/// Times a command is sent.
const ATTEMPTS: u32 = 3;

/// Under the id of the request, or a new one; the id.
///
/// # Errors
/// The last answer.
pub(crate) async fn send(client: &mut Client, mut request: SendCommandRequest) -> Result<String, Status> {
    if request.command_id.is_empty() {
        request.command_id = format!("{:032x}", rand::random::<u128>());
    }
    let mut sent = 1;
    loop {
        match client.send_command(request.clone()).await {
            Ok(answer) => return Ok(answer.into_inner().command_id),
            Err(status) if sent == ATTEMPTS || !heals(status.code()) => return Err(status),
            Err(status) => {
                let asked = status::retry_delay(&status).unwrap_or_default();
                tokio::time::sleep(delay(sent, rand::random(), asked)).await;
            }
        }
        sent += 1;
    }
}
