//! One socket: upgrade, then messages, timers, recognitions and disruptions, one after the other.
//!
//! Decisions are the session's; this file only does what it says.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures_util::{SinkExt, StreamExt};
use tokio::{
    net::TcpStream,
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tokio_tungstenite::{
    WebSocketStream, accept_hdr_async_with_config,
    tungstenite::{
        Error, Message,
        handshake::server::{ErrorResponse, Request, Response},
        http::{StatusCode, header::CONTENT_TYPE},
        protocol::{CloseFrame, WebSocketConfig, frame::coding::CloseCode},
    },
};

use super::{
    record::SessionRecord,
    server::Shared,
    session::{Output, Session},
    settings::{CloseFault, Disruption},
    upgrade::{self, Decision},
};
use crate::speech::{Recognised, recognise};

/// The largest append the protocol allows is 15 MiB of audio, 20 MiB of base64.
const MAX_MESSAGE_BYTES: usize = 24 * 1024 * 1024;
/// Turns being recognised at the same time in one session; a further one waits.
const RECOGNITION_QUEUE: usize = 16;
/// How long the peer may take to answer a close frame.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Serves one connection to its end.
pub(super) async fn run(stream: TcpStream, shared: Arc<Shared>) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "realtime server keeps Nagle's algorithm");
    }
    let mut opened = None;
    #[expect(clippy::result_large_err, reason = "tungstenite's callback returns the response by value")]
    let decide = |request: &Request, response: Response| {
        let (index, disruptions) = shared.open(SessionRecord {
            model: upgrade::model(request),
            headers: upgrade::headers(request),
            ..SessionRecord::default()
        });
        let settings = &shared.settings;
        let faults = settings.faults_of.get(&index).unwrap_or(&settings.faults);
        let decision = upgrade::decide(request, settings, faults);
        let answer = match &decision {
            Decision::Refuse { status, body } => Err(refusal(*status, &body.to_string())),
            Decision::Accept | Decision::AcceptThenRefuse(_) => Ok(response),
        };
        let status = answer.as_ref().map_or_else(ErrorResponse::status, |_| StatusCode::SWITCHING_PROTOCOLS);
        shared.with_record(index, |record| record.http_status = status.as_u16());
        opened = Some((index, disruptions, decision));
        answer
    };
    let config =
        WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE_BYTES)).max_frame_size(Some(MAX_MESSAGE_BYTES));
    let upgraded = accept_hdr_async_with_config(stream, decide, Some(config)).await;
    let Some((index, disruptions, decision)) = opened else { return };
    let closed = match upgraded {
        Ok(socket) => converse(socket, &shared, index, disruptions, decision).await,
        Err(error) => format!("refused: {error}"),
    };
    shared.with_record(index, |record| record.closed = Some(closed));
}

fn refusal(status: u16, body: &str) -> ErrorResponse {
    let mut response = ErrorResponse::new(Some(body.to_owned()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, "application/json".parse().expect("a header value"));
    response
}

async fn converse(
    socket: WebSocketStream<TcpStream>,
    shared: &Arc<Shared>,
    index: usize,
    disruptions: mpsc::Receiver<Disruption>,
    decision: Decision,
) -> String {
    let (found, recognitions) = mpsc::channel(RECOGNITION_QUEUE);
    let unix_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let model = shared.with_record(index, |record| record.model.clone());
    let opened = Instant::now();
    shared.with_record(index, |record| record.opened = Some(opened.into_std()));
    let mut connection = Connection {
        socket,
        shared: Arc::clone(shared),
        index,
        opened,
        flow: Flow::Open,
        held_back: VecDeque::new(),
        found,
    };
    if let Decision::AcceptThenRefuse(error) = decision {
        let outputs = shared.with_record(index, |record| Session::refused(index, &error, record));
        return connection.perform(outputs.into()).await.unwrap_or_else(|| "refused".to_owned());
    }
    let settings = Arc::clone(&shared.settings);
    let session = shared.with_record(index, |record| Session::new(settings, index, &model, unix_s, record));
    connection.drive(session, disruptions, recognitions).await
}

type Found = (String, Option<Recognised>);

/// What goes through the socket.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    Open,
    /// Reads, but sends no events.
    Silent,
    /// Neither reads nor writes.
    Frozen,
}

struct Connection {
    socket: WebSocketStream<TcpStream>,
    shared: Arc<Shared>,
    index: usize,
    opened: Instant,
    flow: Flow,
    /// Events not sent while silent.
    held_back: VecDeque<Output>,
    found: mpsc::Sender<Found>,
}

impl Connection {
    /// Runs the session; returns how it ended.
    async fn drive(
        &mut self,
        mut session: Session,
        mut disruptions: mpsc::Receiver<Disruption>,
        mut recognitions: mpsc::Receiver<Found>,
    ) -> String {
        loop {
            let outputs = std::iter::from_fn(|| session.take_output()).collect();
            if let Some(ended) = self.perform(outputs).await {
                return ended;
            }
            let deadline = session.deadline().and_then(|deadline| self.opened.checked_add(deadline));
            let due = async {
                match deadline {
                    Some(deadline) => sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            let shared = Arc::clone(&self.shared);
            let (index, opened) = (self.index, self.opened);
            tokio::select! {
                // What a test asked for before a message was sent happens before that message is read.
                biased;
                Some(disruption) = disruptions.recv() => {
                    if let Some(ended) = self.disrupt(disruption).await {
                        return ended;
                    }
                }
                Some((item_id, recognised)) = recognitions.recv() => {
                    shared.with_record(index, |record| {
                        session.recognised(opened.elapsed(), &item_id, recognised, record);
                    });
                }
                () = due => shared.with_record(index, |record| session.poll(opened.elapsed(), record)),
                message = self.socket.next(), if self.flow != Flow::Frozen => {
                    match message {
                        Some(Ok(Message::Text(text))) => {
                            shared.with_record(index, |record| session.handle(opened.elapsed(), &text, record));
                        }
                        Some(Ok(Message::Close(frame))) => return self.closed_by_client(frame).await,
                        Some(Ok(_)) => {}
                        Some(Err(Error::ConnectionClosed)) | None => return "client closed".to_owned(),
                        Some(Err(error)) => return format!("client gone: {error}"),
                    }
                }
            }
        }
    }

    /// Does what the session said. `Some` when the socket ended.
    async fn perform(&mut self, outputs: VecDeque<Output>) -> Option<String> {
        let mut sent = false;
        for output in outputs {
            match output {
                Output::Recognise { item_id, pcm } => self.recognise(item_id, pcm),
                Output::Silence => self.flow = Flow::Silent,
                Output::Close { code, reason } => return Some(self.close(code, &reason).await),
                Output::Abort => return Some("aborted by the server".to_owned()),
                Output::Event(_) if self.flow != Flow::Open => self.held_back.push_back(output),
                Output::Event(json) => {
                    sent = true;
                    if let Err(error) = self.socket.feed(Message::text(json)).await {
                        return Some(format!("client gone: {error}"));
                    }
                }
            }
        }
        if sent && let Err(error) = self.socket.flush().await {
            return Some(format!("client gone: {error}"));
        }
        None
    }

    /// Away from the workers of the runtime: it takes milliseconds of a core.
    fn recognise(&self, item_id: String, pcm: Arc<Vec<i16>>) {
        let (permits, found) = (Arc::clone(&self.shared.recognitions), self.found.clone());
        tokio::spawn(async move {
            let permit = permits.acquire_owned().await.expect("the semaphore is never closed");
            let recognised = tokio::task::spawn_blocking(move || recognise(&pcm)).await;
            drop(permit);
            match recognised {
                // Nobody is there any more when the session has ended meanwhile.
                Ok(recognised) => drop(found.send((item_id, recognised)).await),
                Err(error) => tracing::error!(%error, "recognition failed"),
            }
        });
    }

    async fn disrupt(&mut self, disruption: Disruption) -> Option<String> {
        match disruption {
            Disruption::Close(CloseFault::Code(code)) => Some(self.close(code, "fault on demand").await),
            Disruption::Close(CloseFault::Abort) => Some("aborted by the server".to_owned()),
            Disruption::Silence => {
                self.flow = Flow::Silent;
                None
            }
            Disruption::Freeze => {
                self.flow = Flow::Frozen;
                None
            }
            Disruption::Resume => {
                self.flow = Flow::Open;
                let held_back = std::mem::take(&mut self.held_back);
                self.perform(held_back).await
            }
        }
    }

    /// Sends a close frame and waits a moment for the answer, so that TCP does not reset what is on its way.
    async fn close(&mut self, code: u16, reason: &str) -> String {
        let frame = CloseFrame { code: CloseCode::from(code), reason: reason.into() };
        let socket = &mut self.socket;
        let farewell = async {
            if socket.close(Some(frame)).await.is_ok() {
                while let Some(Ok(_)) = socket.next().await {}
            }
        };
        if tokio::time::timeout(CLOSE_TIMEOUT, farewell).await.is_err() {
            tracing::debug!(session = self.index, "realtime client did not answer the close frame");
        }
        format!("server closed {code}: {reason}")
    }

    async fn closed_by_client(&mut self, frame: Option<CloseFrame>) -> String {
        // tungstenite has queued the answer; reading to the end sends it.
        let socket = &mut self.socket;
        let rest = async { while let Some(Ok(_)) = socket.next().await {} };
        if tokio::time::timeout(CLOSE_TIMEOUT, rest).await.is_err() {
            tracing::debug!(session = self.index, "realtime client did not end the connection it closed");
        }
        match frame {
            Some(frame) => format!("client closed {}", u16::from(frame.code)),
            None => "client closed".to_owned(),
        }
    }
}
