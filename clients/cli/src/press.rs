//! `voicebridge press`: keys towards the caller.

use voicebridge_proto::control::v1::{Command, SendCommandRequest, SendDtmf, command::Kind};

use crate::{args::Press, client::connect, command, failure::refused};

pub(crate) async fn run(args: Press) -> anyhow::Result<()> {
    let mut client = connect(&args.access).await?;
    let command = Command { kind: Some(Kind::SendDtmf(SendDtmf { digits: args.keys })) };
    let command_id = args.command_id.unwrap_or_default();
    let request = SendCommandRequest { call_id: args.call, command: Some(command), command_id };
    command::send(&mut client, request).await.map_err(|status| refused(&status))?;
    Ok(())
}
