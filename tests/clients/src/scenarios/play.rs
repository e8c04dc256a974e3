//! Plays one connection, step by step. Each step is in the socket before the next begins.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use axum::{
    body::Body,
    extract::{ConnectInfo, Request, State},
    response::Response,
};
use bytes::Bytes;
use http::{
    StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use http_body::Frame;
use http_body_util::StreamBody;
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use voicebridge_proto::control::v1::StreamEventsRequest;

use super::{
    link::Link,
    run::Run,
    script::{Connection, Step},
    wire::{self, Protocol},
};

/// More than any request needs.
const REQUEST_BYTES: usize = 64 * 1_024;
/// A client that has not gone by then hangs.
const STALL: Duration = Duration::from_secs(30);
/// What a proxy says when there is nobody behind it.
const PAGE: &str = "<html><body>as the scenario says</body></html>";

/// Broken off on purpose.
#[derive(Debug)]
struct Aborted;

impl std::fmt::Display for Aborted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("aborted by the scenario")
    }
}

impl std::error::Error for Aborted {}

/// `CallService.StreamEvents`.
pub(super) async fn stream_events(
    ConnectInfo(link): ConnectInfo<Link>,
    State(run): State<Arc<Run>>,
    request: Request,
) -> Response {
    match answer(link, &run, request).await {
        Ok(response) => response,
        Err(problem) => {
            run.violation(format!("{problem:#}"));
            plain(StatusCode::BAD_REQUEST, PAGE)
        }
    }
}

async fn answer(link: Link, run: &Arc<Run>, request: Request) -> anyhow::Result<Response> {
    let (parts, body) = request.into_parts();
    let protocol = Protocol::of(&parts.headers)?;
    let authorization = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let body = axum::body::to_bytes(body, REQUEST_BYTES).await.context("cannot read the request")?;
    let message: StreamEventsRequest = wire::request(&body).context("the request")?;
    let Some(connection) = run.connect(&message, authorization.as_deref()).cloned() else {
        return Ok(status_alone(protocol, &Status::failed_precondition("the scenario is over")));
    };
    match connection.steps.as_slice() {
        [Step::Http(status)] => return Ok(plain(StatusCode::from_u16(*status)?, "")),
        [Step::Page(status)] => return Ok(plain(StatusCode::from_u16(*status)?, PAGE)),
        [Step::Error(failure)] => return Ok(status_alone(protocol, &wire::status(failure)?)),
        _ => {}
    }
    let (out, frames) = mpsc::channel(1);
    let run = Arc::clone(run);
    tokio::spawn(async move {
        let _playing = run.begin();
        if let Err(problem) = (Player { run: &run, link, protocol, out }).play(&connection).await {
            run.violation(format!("{problem:#}"));
        }
    });
    Ok(response(protocol, Body::new(StreamBody::new(ReceiverStream::new(frames)))))
}

/// Status in the headers and no body, as servers do when they refuse at once.
fn status_alone(protocol: Protocol, status: &Status) -> Response {
    let mut response = response(protocol, Body::empty());
    response.headers_mut().extend(wire::trailers(status));
    response
}

fn response(protocol: Protocol, body: Body) -> Response {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(protocol.content_type()));
    response
}

fn plain(status: StatusCode, page: &'static str) -> Response {
    let mut response = Response::new(Body::from(page));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static("text/html"));
    response
}

struct Player<'a> {
    run: &'a Run,
    link: Link,
    protocol: Protocol,
    out: mpsc::Sender<Result<Frame<Bytes>, Aborted>>,
}

impl Player<'_> {
    async fn play(self, connection: &Connection) -> anyhow::Result<()> {
        let call_id = &self.run.scenario.request.call_id;
        for step in &connection.steps {
            if step.breaks_off() {
                self.run.all_taken().await;
            }
            match step {
                Step::Send(message) => {
                    self.run.sends();
                    self.write(wire::response(message, call_id)?).await?;
                }
                Step::SendPartly(message) => {
                    let whole = wire::response(message, call_id)?;
                    self.write(whole.slice(..whole.len() / 2)).await?;
                    self.link.cut();
                }
                Step::Garbage => self.write(wire::garbage()).await?,
                Step::Pause { ms } => tokio::time::sleep(Duration::from_millis(*ms)).await,
                Step::Cut => self.link.cut(),
                Step::Abort => self.frame(Err(Aborted)).await?,
                Step::EndWithoutStatus => {}
                Step::Ok => self.frame(Ok(self.protocol.end(&Status::new(tonic::Code::Ok, "")))).await?,
                Step::Error(failure) => self.frame(Ok(self.protocol.end(&wire::status(failure)?))).await?,
                Step::Stall { at_least_ms } => self.stall(Duration::from_millis(*at_least_ms)).await,
                Step::Http(_) | Step::Page(_) => unreachable!("they come alone"),
            }
        }
        Ok(())
    }

    async fn write(&self, bytes: Bytes) -> anyhow::Result<()> {
        let written = self.link.written(&bytes);
        self.frame(Ok(Frame::data(bytes))).await?;
        tokio::select! {
            // A client may go as soon as it has been sent all.
            biased;
            written = written => written.context("the client went before it was sent all"),
            () = self.out.closed() => anyhow::bail!("the client went before it was sent all"),
        }
    }

    async fn frame(&self, frame: Result<Frame<Bytes>, Aborted>) -> anyhow::Result<()> {
        self.out.send(frame).await.ok().context("the client went too early")
    }

    async fn stall(&self, at_least: Duration) {
        let begun = Instant::now();
        if timeout(STALL, self.out.closed()).await.is_err() {
            self.run.violation(format!("the client was still there after {} s of nothing", STALL.as_secs()));
        } else if begun.elapsed() < at_least {
            self.run.violation(format!("the client went after {} ms", begun.elapsed().as_millis()));
        }
    }
}
