//! `voicebridge label`: notes something on a call.

use voicebridge_proto::control::v1::UpdateCallLabelsRequest;

use crate::{args::Label, client::connect, describe, failure::refused, print::outln};

pub(crate) async fn run(args: Label) -> anyhow::Result<()> {
    let mut client = connect(&args.access).await?;
    let Label { call, set, remove, .. } = args;
    let request = UpdateCallLabelsRequest { call_id: call, set: set.into_iter().collect(), remove };
    let labels = client.update_call_labels(request).await.map_err(|status| refused(&status))?.into_inner().labels;
    Ok(outln(&if labels.is_empty() { "no labels".to_owned() } else { describe::labels(&labels) })?)
}
