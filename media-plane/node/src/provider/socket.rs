//! The WebSocket itself (RFC 6455) on tokio-tungstenite.
//!
//! One task: connect within [`CONNECT_TIMEOUT`], then read, write and ping until closed. A message to the session waits
//! until the session's thread has room (so a provider that floods is slowed down by TCP); a peer that answers neither two
//! pings nor anything else for [`PING_EVERY`] twice is gone. The task always reports exactly one [`Arrival::Closed`] unless
//! the session closed first.

use std::{fmt, time::Duration};

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval_at, timeout},
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async_with_config,
    tungstenite::{
        Error, Message, Utf8Bytes,
        client::IntoClientRequest as _,
        http::{HeaderName, HeaderValue},
        protocol::{CloseFrame, WebSocketConfig, frame::coding::CloseCode},
    },
};
use tracing::Instrument as _;
use voicebridge_session::{
    Frame, ProviderClosed,
    provider::{Decode, Decoded, openai::Endpoint},
};

use super::{
    Target,
    outbox::{Next, Outbox},
};
use crate::bell::Bell;

/// DNS, TCP, TLS and the upgrade together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(8);
/// Time between two pings.
const PING_EVERY: Duration = Duration::from_secs(15);
/// Pings without any sign of life until the socket is given up.
const MAX_MISSED_PINGS: u32 = 2;
/// Largest message taken. Realtime servers send audio deltas beyond the common limit of 1 MiB.
const MAX_MESSAGE_BYTES: usize = 16 * 1024 * 1024;
/// Messages waiting for the session's thread, which empties the inbox every tick at the latest.
const INBOX_MESSAGES: usize = 64;
/// One message must be on its way within this time.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for the closing handshake.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Kept of the body of a refused upgrade, bytes.
const MAX_REFUSAL_BODY: usize = 2 * 1024;
/// The connection broke without a close frame (RFC 6455, section 7.4.1).
const ABNORMAL_CLOSURE: u16 = 1006;

/// How long to wait for what; [`Timing::default`] but in tests.
#[derive(Clone, Copy, Debug)]
struct Timing {
    connect: Duration,
    ping_every: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self { connect: CONNECT_TIMEOUT, ping_every: PING_EVERY }
    }
}

/// What comes from a provider.
#[derive(Debug)]
pub enum Arrival {
    /// The socket is open.
    Opened,
    /// A message that is not audio.
    Text(Utf8Bytes),
    /// The same, of bytes.
    Binary(Bytes),
    /// A piece of the AI's voice.
    Audio {
        /// The response it belongs to.
        response_id: String,
        /// The item it belongs to.
        item_id: String,
        /// Samples as they came.
        bytes: Vec<u8>,
    },
    /// The socket is gone. Comes last.
    Closed(Closed),
}

/// Owned form of [`ProviderClosed`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Closed {
    /// The upgrade was answered with something else than 101.
    Refused {
        /// HTTP status.
        status: u16,
        /// Start of the body.
        body: String,
    },
    /// No connection.
    Unreachable(String),
    /// Closed after it was open.
    Closed {
        /// Close code.
        code: u16,
        /// Its text.
        reason: String,
    },
}

impl Closed {
    /// As the session core takes it.
    #[must_use]
    pub fn as_session(&self) -> ProviderClosed<'_> {
        match self {
            Self::Refused { status, body } => ProviderClosed::Refused { status: *status, body },
            Self::Unreachable(why) => ProviderClosed::Unreachable(why),
            Self::Closed { code, reason } => ProviderClosed::Closed { code: *code, reason },
        }
    }

    fn broken(why: impl fmt::Display) -> Self {
        Self::Closed { code: ABNORMAL_CLOSURE, reason: why.to_string() }
    }
}

/// The session's end of the queue from the socket.
#[derive(Debug)]
pub(super) struct Inbox {
    arrivals: mpsc::Receiver<Arrival>,
}

impl Inbox {
    /// The next arrival, if one waits.
    pub(super) fn take(&mut self) -> Option<Arrival> {
        self.arrivals.try_recv().ok()
    }

    /// Whether nothing waits.
    #[must_use]
    pub(super) fn is_empty(&self) -> bool {
        self.arrivals.is_empty()
    }

    /// Waits for the next arrival; none after the last.
    #[cfg(test)]
    async fn recv(&mut self) -> Option<Arrival> {
        self.arrivals.recv().await
    }

    /// Whether the socket is gone and all it brought is taken.
    pub(super) fn is_over(&self) -> bool {
        self.arrivals.is_closed() && self.arrivals.is_empty()
    }
}

/// The socket's end of it.
struct Arrivals {
    queue: mpsc::Sender<Arrival>,
    decode: Decode,
    bell: Bell,
}

impl Arrivals {
    /// Waits for room. False when the session is gone.
    async fn send(&self, arrival: Arrival) -> bool {
        let sent = self.queue.send(arrival).await.is_ok();
        self.bell.ring();
        sent
    }

    /// Reads a message of the provider, and hands it over.
    async fn message(&self, message: Message) -> bool {
        let arrival = match message {
            Message::Text(text) => match (self.decode)(Frame::Text(&text)) {
                Decoded::Audio { response_id, item_id, bytes } => Arrival::Audio { response_id, item_id, bytes },
                Decoded::Other => Arrival::Text(text),
            },
            Message::Binary(bytes) => match (self.decode)(Frame::Binary(&bytes)) {
                Decoded::Audio { response_id, item_id, bytes } => Arrival::Audio { response_id, item_id, bytes },
                Decoded::Other => Arrival::Binary(bytes),
            },
            // Pings are answered by tungstenite.
            _ => return true,
        };
        self.send(arrival).await
    }

    async fn closed(&self) {
        self.queue.closed().await;
    }
}

type Socket = WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>;

/// Starts the task. Dropping the [`Inbox`] or closing the [`Outbox`] ends it.
#[must_use]
pub(super) fn open(target: Target, bell: Bell) -> (Outbox, Inbox) {
    open_with(target, bell, Timing::default())
}

fn open_with(target: Target, bell: Bell, timing: Timing) -> (Outbox, Inbox) {
    let Target { endpoint, decode, .. } = target;
    let outbox = Outbox::default();
    let (queue, taken) = mpsc::channel(INBOX_MESSAGES);
    let (arrivals, inbox) = (Arrivals { queue, decode, bell }, Inbox { arrivals: taken });
    let span = tracing::info_span!("provider", url = %endpoint.url);
    tokio::spawn(run(endpoint, timing, outbox.clone(), arrivals).instrument(span));
    (outbox, inbox)
}

async fn run(endpoint: Endpoint, timing: Timing, outbox: Outbox, arrivals: Arrivals) {
    let connected = tokio::select! {
        connected = timeout(timing.connect, connect(&endpoint)) => connected,
        // The call is over before the provider answered.
        () = arrivals.closed() => return,
    };
    let closed = match connected {
        Ok(Ok(socket)) => {
            if !arrivals.send(Arrival::Opened).await {
                return;
            }
            converse(socket, timing, &outbox, &arrivals).await
        }
        Ok(Err(closed)) => Some(closed),
        Err(_) => Some(Closed::Unreachable(format!("no connection within {:?}", timing.connect))),
    };
    if let Some(closed) = closed {
        tracing::debug!(?closed, "the provider's socket is gone");
        // False: the session is gone as well.
        let _ = arrivals.send(Arrival::Closed(closed)).await;
    }
}

async fn connect(endpoint: &Endpoint) -> Result<Socket, Closed> {
    let unusable = |what: &str| Closed::Unreachable(format!("{what} cannot be used"));
    let mut request = endpoint.url.as_str().into_client_request().map_err(|_| unusable("the URL"))?;
    for (name, value) in &endpoint.headers {
        let name = HeaderName::from_static(name);
        let mut value = HeaderValue::try_from(value).map_err(|_| unusable("a header value"))?;
        value.set_sensitive(true);
        request.headers_mut().insert(name, value);
    }
    let config =
        WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE_BYTES)).max_frame_size(Some(MAX_MESSAGE_BYTES));
    // Audio is many small messages: without TCP_NODELAY each would wait for the last one's acknowledgement.
    match connect_async_with_config(request, Some(config), true).await {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(response)) => {
            let body = response.body().as_deref().unwrap_or_default();
            let body = String::from_utf8_lossy(&body[..body.len().min(MAX_REFUSAL_BODY)]).into_owned();
            Err(Closed::Refused { status: response.status().as_u16(), body })
        }
        Err(error) => Err(Closed::Unreachable(error.to_string())),
    }
}

/// `None` when the session closed first.
async fn converse(mut socket: Socket, timing: Timing, outbox: &Outbox, arrivals: &Arrivals) -> Option<Closed> {
    let mut ping = interval_at(Instant::now() + timing.ping_every, timing.ping_every);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut missed = 0;
    loop {
        tokio::select! {
            next = outbox.next() => match next {
                Next::Send(message) => {
                    if let Err(closed) = send(&mut socket, message).await {
                        return Some(closed);
                    }
                }
                Next::Close => {
                    say_goodbye(&mut socket).await;
                    return None;
                }
                Next::Stuck => return Some(Closed::broken("the provider does not read what it is sent")),
            },
            message = socket.next() => {
                missed = 0;
                match message {
                    Some(Ok(Message::Close(frame))) => return Some(closed_by(frame.as_ref())),
                    Some(Ok(message)) => {
                        if !arrivals.message(message).await {
                            say_goodbye(&mut socket).await;
                            return None;
                        }
                    }
                    Some(Err(error)) => return Some(Closed::broken(error)),
                    None => return Some(Closed::broken("the connection ended")),
                }
            }
            _ = ping.tick() => {
                if missed == MAX_MISSED_PINGS {
                    return Some(Closed::broken(format!("no answer to {missed} pings")));
                }
                missed += 1;
                if let Err(closed) = send(&mut socket, Message::Ping(Default::default())).await {
                    return Some(closed);
                }
            }
            () = arrivals.closed() => {
                say_goodbye(&mut socket).await;
                return None;
            }
        }
    }
}

async fn send(socket: &mut Socket, message: Message) -> Result<(), Closed> {
    match timeout(SEND_TIMEOUT, socket.send(message)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(Closed::broken(error)),
        Err(_) => Err(Closed::broken("the provider takes nothing any more")),
    }
}

fn closed_by(frame: Option<&CloseFrame>) -> Closed {
    // Without a code: 1005 (RFC 6455, section 7.1.5).
    frame.map_or_else(
        || Closed::Closed { code: 1005, reason: String::new() },
        |frame| Closed::Closed { code: frame.code.into(), reason: frame.reason.to_string() },
    )
}

async fn say_goodbye(socket: &mut Socket) {
    let frame = CloseFrame { code: CloseCode::Normal, reason: Utf8Bytes::default() };
    let goodbye = async {
        if socket.close(Some(frame)).await.is_ok() {
            while let Some(Ok(_)) = socket.next().await {}
        }
    };
    // Whatever comes of it, the socket is dropped next.
    let _ = timeout(CLOSE_TIMEOUT, goodbye).await;
}

#[cfg(test)]
mod tests;
