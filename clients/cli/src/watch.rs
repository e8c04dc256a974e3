//! `voicebridge watch`: events as they happen, of one call or of all, over one stream that resumes by itself.

use voicebridge_proto::control::v1::StreamEventsRequest;
use voicebridge_server::json;

use crate::{
    args::Watch,
    client::connect,
    describe,
    failure::refused,
    follow::{Follow, Next},
    print::{DIM, WARN, clean, errln, outln},
};

/// Of a call id, its last characters tell calls apart; the first ones are alike.
const TAG_CHARS: usize = 8;

pub(crate) async fn run(args: Watch) -> anyhow::Result<()> {
    let client = connect(&args.access).await?;
    let one_call = args.call.is_some();
    if !one_call {
        errln(&format!("{DIM}waiting for events; Ctrl-C ends this{DIM:#}"));
    }
    let request = StreamEventsRequest { call_id: args.call.unwrap_or_default(), ..Default::default() };
    let mut follow = Follow::new(client, request);
    let mut is_broken = false;
    while let Some(next) = follow.next().await.map_err(|status| refused(&status))? {
        let response = match next {
            Next::Response(response) => response,
            Next::Broken(status) => {
                // Once, however often it is tried.
                if !std::mem::replace(&mut is_broken, true) {
                    errln(&format!("{WARN}lost the control plane{WARN:#} ({}); trying again", clean(status.message())));
                }
                continue;
            }
        };
        is_broken = false;
        if let Some(lagged) = response.lagged {
            let missed = lagged.transient_missed;
            errln(&format!("{WARN}too slow{WARN:#}: {missed} partial transcripts or statistics were left out"));
        }
        let Some(event) = response.event else { continue };
        if args.json {
            outln(&json::line(&event))?;
        } else if let Some(line) = describe::event(&event) {
            let tag = if one_call { String::new() } else { format!("{DIM}{}{DIM:#} ", tag(&event.call_id)) };
            outln(&format!("{tag}{line}"))?;
        }
    }
    Ok(())
}

fn tag(call_id: &str) -> String {
    let id = call_id.trim_end_matches('=');
    let skip = id.chars().count().saturating_sub(TAG_CHARS);
    clean(&id.chars().skip(skip).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_the_telling_end_of_an_id() {
        assert_eq!(tag("wacid.HBgNNTUxMTkwMDAwMDAwMRUCABIYIEEwMDAwMDAx=="), "MDAwMDAx");
        assert_eq!(tag("ü"), "ü");
    }
}
