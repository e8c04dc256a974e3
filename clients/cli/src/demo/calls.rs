//! Makes the calls, all at once, and gathers what every side knows of each.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use indicatif::ProgressBar;
use tokio::task::JoinSet;
use voicebridge_proto::{
    control::v1::{Call, CallPhase, StreamEventsRequest},
    types::v1::{Event, Transcript},
};
use voicebridge_simulator::{
    ai::SessionRecord,
    meta::{CallRecord, CallerSettings, Meta},
};

use super::{
    cast::{self, Caller},
    evidence::Evidence,
    world::World,
};
use crate::{calls, client::Client};

/// Between two people who dial.
const RAMP: Duration = Duration::from_millis(100);
/// No call of the demo lasts longer; a call that hangs is ended and reported.
const LONGEST_CALL: Duration = Duration::from_secs(90);
/// From the end of a call at Meta until its record is closed.
const CLOSED_WITHIN: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Makes `count` calls and waits for the end of all.
pub(crate) async fn make(
    world: &mut World,
    client: &Client,
    count: usize,
    progress: &ProgressBar,
) -> anyhow::Result<Vec<Evidence>> {
    let mut calls = JoinSet::new();
    for index in 0..count {
        calls.spawn(one(world.meta.clone(), client.clone(), index, cast::caller(index)));
        tokio::time::sleep(RAMP).await;
    }
    let mut done = BTreeMap::new();
    progress.set_message(format!("{count} calls going on"));
    while let Some(finished) = calls.join_next().await {
        let (index, seen) = finished.context("a call's task broke")??;
        done.insert(index, seen);
        progress.set_message(format!("{} of {count} calls are over", done.len()));
    }
    world.check_alive()?;
    let mut sessions: BTreeMap<String, SessionRecord> =
        world.ai.sessions().into_iter().map(|session| (session.id.clone(), session)).collect();
    Ok(done
        .into_values()
        .map(|(caller, record, call, transcripts, events)| {
            let session = Evidence::provider_session(&events).and_then(|id| sessions.remove(id));
            Evidence { caller, record, session, call, transcripts, events }
        })
        .collect())
}

/// The measuring call: into an AI that echoes.
pub(crate) async fn echo(meta: &Meta) -> anyhow::Result<CallRecord> {
    let settings =
        CallerSettings { script: cast::echo_script()?, max_duration: LONGEST_CALL, ..CallerSettings::default() };
    Ok(meta.call(settings).await?.finish().await)
}

type Seen = (Caller, CallRecord, Call, Vec<Transcript>, Vec<Event>);

async fn one(meta: Meta, mut client: Client, index: usize, caller: Caller) -> anyhow::Result<(usize, Seen)> {
    let settings = CallerSettings {
        from: Some(caller.number.clone()),
        country: caller.country.to_owned(),
        profile_name: caller.name.to_owned(),
        script: caller.script()?,
        max_duration: LONGEST_CALL,
        ..CallerSettings::default()
    };
    let record = meta.call(settings).await?.finish().await;
    let call = closed(&mut client, &record.call_id).await?;
    let transcripts = calls::transcripts(&mut client, &record.call_id).await?;
    let events = events(&mut client, &record.call_id).await?;
    Ok((index, (caller, record, call, transcripts, events)))
}

/// The call's record once it is closed; as it is when that takes too long, which the findings will then say.
async fn closed(client: &mut Client, call_id: &str) -> anyhow::Result<Call> {
    let deadline = Instant::now() + CLOSED_WITHIN;
    loop {
        let call = calls::get(client, call_id).await?;
        if call.phase() == CallPhase::Ended || Instant::now() > deadline {
            return Ok(call);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// All events of a call so far. The stream of a call that has ended ends by itself.
async fn events(client: &mut Client, call_id: &str) -> anyhow::Result<Vec<Event>> {
    let request = StreamEventsRequest { call_id: call_id.to_owned(), ..Default::default() };
    let mut stream = client.stream_events(request).await?.into_inner();
    let mut events = Vec::new();
    let reading = async {
        while let Some(answer) = stream.message().await? {
            events.extend(answer.event);
        }
        Ok::<(), tonic::Status>(())
    };
    // A call that has not ended has a stream that does not end either: what came until then is what there is.
    match tokio::time::timeout(CLOSED_WITHIN, reading).await {
        Ok(outcome) => outcome?,
        Err(_) => tracing::debug!(call_id, "the stream of events did not end"),
    }
    Ok(events)
}
