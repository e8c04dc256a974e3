//! `GET /events`: the same stream as `StreamEvents`, as server-sent events, for tools that speak only HTTP.
//!
//! `id` is the cursor, `event` the kind, `data` the event as JSON in protobuf's mapping. Where gRPC ends a stream with OK,
//! this sends `end` first; where it ends with a status, `fault`. A browser's `EventSource` takes both for a broken
//! connection and comes back with its last id, so `end` must close it; one that comes back all the same after the last
//! event of a call is told to stay away by 204, as the HTML standard has it.

use std::{collections::VecDeque, convert::Infallible, time::Duration};

use axum::{
    Extension, Router,
    extract::{Query, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{
        IntoResponse as _, Response,
        sse::{Event, Sse},
    },
    routing::get,
};
use futures_util::stream;
use serde::Deserialize;
use voicebridge_proto::{
    control::v1::{StreamEventsRequest, StreamStart},
    types::v1::EventKind,
};

use super::{
    Api, Fault,
    stream::{EventStream, StreamItem},
};
use crate::access::Authentication;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// What a browser waits before it comes back.
const RETRY: Duration = Duration::from_secs(1);
/// Of the contract's names of kinds, upper case.
const KIND_PREFIX: &str = "EVENT_KIND_";

pub(super) fn router(api: Api) -> Router {
    Router::new().route("/events", get(events)).with_state(api)
}

/// As in the query; `access_token` is the guard's.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Asked {
    call_id: String,
    /// Lower case, separated by commas.
    kinds: String,
    /// Separated by commas.
    phone_number_ids: String,
    cursor: String,
    /// oldest or now.
    start: String,
}

fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|word| !word.is_empty())
}

fn request(asked: Asked, headers: &HeaderMap) -> Result<StreamEventsRequest, Fault> {
    let kind = |name: &str| {
        let kind = EventKind::from_str_name(&format!("{KIND_PREFIX}{}", name.to_ascii_uppercase()));
        let kind = kind.filter(|kind| *kind != EventKind::Unspecified && !name.contains(char::is_uppercase));
        kind.map(i32::from)
            .ok_or_else(|| Fault::invalid("kinds", "must be kinds of events in lower case, e.g. transcript"))
    };
    let start = match asked.start.as_str() {
        "" => StreamStart::Unspecified,
        "oldest" => StreamStart::Oldest,
        "now" => StreamStart::Now,
        _ => return Err(Fault::invalid("start", "must be oldest or now")),
    };
    // What a browser sends when it comes back is newer than the address it was given.
    let cursor = match headers.get(LAST_EVENT_ID).filter(|id| !id.is_empty()) {
        // One that is no text is none of ours, and will be refused as such.
        Some(id) => String::from_utf8_lossy(id.as_bytes()).into_owned(),
        None => asked.cursor,
    };
    Ok(StreamEventsRequest {
        call_id: asked.call_id,
        cursor,
        start: start.into(),
        kinds: list(&asked.kinds).map(kind).collect::<Result<_, _>>()?,
        phone_number_ids: list(&asked.phone_number_ids).map(str::to_owned).collect(),
        ..StreamEventsRequest::default()
    })
}

async fn events(
    State(api): State<Api>,
    Extension(authentication): Extension<Authentication>,
    asked: Result<Query<Asked>, axum::extract::rejection::QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    let Query(asked) = asked.map_err(|_| Fault::invalid("query", "must be percent-encoded UTF-8, each name once"))?;
    let principal = authentication.principal()?;
    // Before anything else is said of the query.
    api.readable_or_all(principal, &asked.call_id).await?;
    let comes_back = headers.contains_key(LAST_EVENT_ID);
    let mut following = api.follow(principal, request(asked, &headers)?).await?;
    let mut held = VecDeque::new();
    if comes_back && following.is_closed() {
        // Expiry by itself, so this does not wait for anything to happen.
        held.extend(following.next().await);
        match following.next().await {
            None => return Ok(StatusCode::NO_CONTENT.into_response()),
            next => held.extend(next),
        }
    }
    let writer = Writer { following: Some(following), held, written: VecDeque::new() };
    let events = stream::unfold(writer, |mut writer| async move {
        let event = writer.next().await?;
        Some((Ok::<_, Infallible>(event), writer))
    });
    let head = [
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        // nginx would hold events back until its buffer is full.
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    Ok((head, Sse::new(events)).into_response())
}

/// Deliveries on their way out, one or more server-sent events each.
struct Writer {
    /// None: nothing more comes.
    following: Option<EventStream>,
    /// Taken already.
    held: VecDeque<Result<StreamItem, Fault>>,
    written: VecDeque<Event>,
}

impl Writer {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.written.pop_front() {
                return Some(event);
            }
            let following = self.following.as_mut()?;
            let next = match self.held.pop_front() {
                None => following.next().await,
                held => held,
            };
            match next {
                Some(Ok(told)) => self.written.extend(write(told)),
                Some(Err(fault)) => {
                    let data = serde_json::json!({"reason": fault.reason(), "message": fault.message()});
                    self.written.push_back(Event::default().event("fault").data(data.to_string()));
                    self.following = None;
                }
                None => {
                    self.written.push_back(Event::default().event("end").data("{}"));
                    self.following = None;
                }
            }
        }
    }
}

fn write(told: StreamItem) -> impl Iterator<Item = Event> {
    let lagged = told.delivery.lagged.map(|missed| {
        // Without an id: what comes with it is not there yet.
        let data = serde_json::json!({"transientMissed": missed});
        Event::default().event("lagged").data(data.to_string())
    });
    let event = Event::default().id(told.cursor);
    let event = match &told.delivery.entry {
        Some(entry) => event.event(entry.kind_name()).data(entry.json()),
        None if told.delivery.is_first => event.retry(RETRY).comment("begun"),
        None => event.comment("alive"),
    };
    lagged.into_iter().chain([event])
}
