//! `voicebridge watch`: events as they happen, of one call or of all.
//!
//! One task per call reads its events into one bounded channel; this prints them. A task whose stream breaks takes it up
//! again after the last event it passed on.

use std::{collections::BTreeSet, time::Duration};

use tokio::sync::mpsc;
use tonic::Code;
use voicebridge_proto::{
    control::v1::{ListCallsRequest, StreamEventsRequest},
    types::v1::{Event, event::Kind},
};
use voicebridge_telemetry::status;

use crate::{
    args::Watch,
    client::{Client, connect},
    describe,
    failure::refused,
    json,
    print::{DIM, WARN, clean, errln, outln},
};

/// How often to look for new calls, and how long to wait before a broken stream is taken up again.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Consecutive failures of one stream before giving up on it; with the pause above, a control plane may restart meanwhile.
const MAX_FAILURES: u32 = 30;
/// Events read and not yet printed. When a terminal is slower than the calls, the streams wait.
const QUEUE: usize = 256;
/// Calls looked at in one go.
const PAGE: u32 = 1000;
/// Of a call id, its last characters tell calls apart; the first ones are alike.
const TAG_CHARS: usize = 8;

type Outcome = anyhow::Result<Event>;

pub(crate) async fn run(args: Watch) -> anyhow::Result<()> {
    let client = connect(&args.access).await?;
    let (sender, mut events) = mpsc::channel(QUEUE);
    match args.call.clone() {
        Some(call_id) => {
            tokio::spawn(follow(client, call_id, sender));
        }
        None => {
            errln(&format!("{DIM}waiting for calls; Ctrl-C ends this{DIM:#}"));
            tokio::spawn(look_for_calls(client, sender));
        }
    }
    while let Some(event) = events.recv().await {
        let event = event?;
        if args.json {
            outln(&json::line(&event))?;
        } else if let Some(line) = describe::event(&event) {
            let tag = if args.call.is_none() { format!("{DIM}{}{DIM:#} ", tag(&event.call_id)) } else { String::new() };
            outln(&format!("{tag}{line}"))?;
        }
    }
    Ok(())
}

/// Follows every live call once, for as long as somebody reads.
async fn look_for_calls(mut client: Client, sender: mpsc::Sender<Outcome>) {
    let mut seen = BTreeSet::new();
    let mut failures = 0;
    while !sender.is_closed() {
        match live(&mut client).await {
            Ok(live) => {
                failures = 0;
                // What is no longer live needs no remembering.
                seen.retain(|call_id| live.contains(call_id));
                for call_id in live {
                    if seen.insert(call_id.clone()) {
                        tokio::spawn(follow(client.clone(), call_id, sender.clone()));
                    }
                }
            }
            Err(status) => {
                failures += 1;
                if failures > MAX_FAILURES || !is_passing(&status) {
                    let _ = sender.send(Err(refused(&status))).await;
                    return;
                }
                if failures == 1 {
                    errln(&format!("{WARN}lost the control plane{WARN:#}; trying again"));
                }
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn live(client: &mut Client) -> Result<BTreeSet<String>, tonic::Status> {
    let mut ids = BTreeSet::new();
    let mut page_token = String::new();
    loop {
        let page =
            client.list_calls(ListCallsRequest { page_size: PAGE, page_token, live_only: true }).await?.into_inner();
        ids.extend(page.calls.into_iter().map(|call| call.call_id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(ids);
        }
    }
}

/// Passes on the events of one call until it has ended.
async fn follow(mut client: Client, call_id: String, sender: mpsc::Sender<Outcome>) {
    let mut cursor = Cursor::default();
    let mut failures = 0;
    loop {
        match read(&mut client, &call_id, &mut cursor, &sender).await {
            Ok(()) => return,
            Err(Broken { progressed, status }) => {
                failures = if progressed { 1 } else { failures + 1 };
                if failures > MAX_FAILURES || !is_passing(&status) {
                    let _ = sender.send(Err(refused(&status))).await;
                    return;
                }
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// How far a call's events have been passed on.
#[derive(Debug, Default)]
struct Cursor {
    sequence: u64,
}

impl Cursor {
    /// Whether this event is new. Transient events carry no sequence and are always new.
    fn advance(&mut self, event: &Event) -> bool {
        if event.sequence == 0 {
            return true;
        }
        let new = event.sequence > self.sequence;
        self.sequence = self.sequence.max(event.sequence);
        new
    }
}

struct Broken {
    progressed: bool,
    status: tonic::Status,
}

/// Reads one stream. Ok: the call has ended, or nobody listens any more.
async fn read(
    client: &mut Client,
    call_id: &str,
    cursor: &mut Cursor,
    sender: &mpsc::Sender<Outcome>,
) -> Result<(), Broken> {
    let mut progressed = false;
    let request =
        StreamEventsRequest { call_id: call_id.to_owned(), after_sequence: cursor.sequence, ..Default::default() };
    let mut stream = client.stream_events(request).await.map_err(|status| Broken { progressed, status })?.into_inner();
    while let Some(answer) = stream.message().await.map_err(|status| Broken { progressed, status })? {
        let Some(event) = answer.event else { continue };
        progressed = true;
        let ended = matches!(event.kind, Some(Kind::CallEnded(_)));
        if cursor.advance(&event) && sender.send(Ok(event)).await.is_err() {
            return Ok(());
        }
        if ended {
            return Ok(());
        }
    }
    Err(Broken { progressed, status: tonic::Status::unavailable("the stream of events ended before the call") })
}

/// Whether trying again may help: connections and restarts pass, a wrong key or an unknown call does not.
fn is_passing(status: &tonic::Status) -> bool {
    match status.code() {
        Code::Unavailable | Code::Cancelled | Code::Aborted | Code::DeadlineExceeded => true,
        // tonic's own word for a connection that broke in the middle of a stream.
        Code::Unknown | Code::Internal => status::reason(status).is_none(),
        _ => false,
    }
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
    fn nothing_is_shown_twice_after_a_stream_was_taken_up_again() {
        let mut cursor = Cursor::default();
        let mut advance = |sequence| cursor.advance(&Event { sequence, ..Event::default() });
        assert!(advance(1) && advance(2));
        assert!(advance(0), "transient events have no sequence");
        assert!(!advance(2) && !advance(1));
        assert!(advance(3));
    }

    #[test]
    fn restarts_pass_and_refusals_do_not() {
        assert!(is_passing(&tonic::Status::unavailable("tcp connect error")));
        assert!(is_passing(&tonic::Status::unknown("h2 protocol error")));
        assert!(!is_passing(&status::status(Code::Internal, "INTERNAL", "bug", &[])));
        assert!(!is_passing(&status::status(Code::NotFound, "CALL_NOT_FOUND", "no such call", &[])));
        assert!(!is_passing(&status::status(Code::Unauthenticated, "UNAUTHENTICATED", "no token", &[])));
    }

    #[test]
    fn a_tag_is_the_telling_end_of_an_id() {
        assert_eq!(tag("wacid.HBgNNTUxMTkwMDAwMDAwMRUCABIYIEEwMDAwMDAx=="), "MDAwMDAx");
        assert_eq!(tag("ü"), "ü");
    }
}
