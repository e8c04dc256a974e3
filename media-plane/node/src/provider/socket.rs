//! A provider's WebSocket (RFC 6455) on tokio-tungstenite: one task, which connects within [`CONNECT_TIMEOUT`] and then moves
//! messages both ways (`exchange`) until either side closes.
//!
//! The task always reports exactly one [`Arrival::Closed`] unless the session closed first.

mod exchange;

use std::time::Duration;

use tokio::time::timeout;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async_with_config,
    tungstenite::{
        Error, Message,
        client::IntoClientRequest as _,
        http::{HeaderName, HeaderValue},
        protocol::WebSocketConfig,
    },
};
use tracing::Instrument as _;
use voicebridge_session::{
    Frame,
    provider::{Decode, Decoded, Endpoint},
};

use super::{
    Arrival, Closed, Target,
    incoming::{Incoming, IncomingSender, incoming},
    outgoing::{Outgoing, OutgoingReceiver, SocketOrder, outgoing},
};
use crate::waker::CallWaker;
use exchange::Exchange;

/// DNS, TCP, TLS and the upgrade together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(8);
/// Largest message taken. Realtime servers send audio deltas beyond the common limit of 1 MiB.
const MAX_MESSAGE_BYTES: usize = 16 * 1024 * 1024;
/// Largest message taken that is not audio: it is read on the media thread, and what an event says comes from one message.
const MAX_EVENT_BYTES: usize = 256 * 1024;
/// Longest ids of a piece of audio, together.
const MAX_ID_BYTES: usize = 1_024;
/// Audio handed over at a time, bytes: 1.4 s at 24 kHz. More is cut.
const MAX_PIECE_BYTES: usize = 64 * 1024;
/// Kept of the body of a refused upgrade, bytes.
const MAX_REFUSAL_BODY: usize = 2 * 1024;

/// What the task hands its messages to, and how.
struct Arrivals {
    queue: IncomingSender,
    decode: Decode,
    waker: CallWaker,
}

impl Arrivals {
    /// Hands it over piece by piece, or gives back what there is no room for.
    fn try_send(&mut self, mut arrival: Arrival) -> Result<(), Arrival> {
        loop {
            if !self.queue.fits(arrival.piece_size(MAX_PIECE_BYTES)) {
                return Err(arrival);
            }
            let (piece, rest) = arrival.split(MAX_PIECE_BYTES);
            self.queue.try_send(piece)?;
            self.waker.wake();
            match rest {
                Some(rest) => arrival = rest,
                None => return Ok(()),
            }
        }
    }

    /// Waits for room.
    async fn send(&mut self, arrival: Arrival) {
        self.queue.send(arrival).await;
        self.waker.wake();
    }

    /// Reads a message of the provider; `None` when there is nothing in it for the session.
    fn read(&self, message: Message) -> Option<Arrival> {
        let decoded = match &message {
            Message::Text(text) => (self.decode)(Frame::Text(text)),
            Message::Binary(bytes) => (self.decode)(Frame::Binary(bytes)),
            // Pings are answered by tungstenite.
            _ => return None,
        };
        Some(match (decoded, message) {
            (Decoded::Audio { response_id, item_id, .. }, message)
                if response_id.len() + item_id.len() > MAX_ID_BYTES =>
            {
                Arrival::Oversized(message.len())
            }
            (Decoded::Audio { response_id, item_id, bytes }, _) => {
                Arrival::Audio { response_id, item_id, bytes: bytes.into() }
            }
            (Decoded::Other, message) if message.len() > MAX_EVENT_BYTES => Arrival::Oversized(message.len()),
            (Decoded::Other, Message::Text(text)) => Arrival::Text(text),
            (Decoded::Other, message) => Arrival::Binary(message.into_data()),
        })
    }
}

type Socket = WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>;

/// Starts the task. Dropping or closing the [`Outgoing`] ends it.
#[must_use]
pub(super) fn open(target: Target, waker: CallWaker) -> (Outgoing, Incoming) {
    let (sender, receiver) = outgoing();
    let (queue, taken) = incoming();
    let arrivals = Arrivals { queue, decode: target.decode, waker };
    let span = tracing::info_span!("provider", url = %target.endpoint.url);
    tokio::spawn(run(target, receiver, arrivals).instrument(span));
    (sender, taken)
}

async fn run(target: Target, mut outgoing: OutgoingReceiver, mut arrivals: Arrivals) {
    let connected = tokio::select! {
        connected = timeout(CONNECT_TIMEOUT, connect(&target.endpoint)) => connected.map(|tried| tried.map_err(Some)),
        given_up = given_up(&mut outgoing) => Ok(Err(given_up)),
    };
    let closed = match connected {
        Ok(Ok(socket)) => {
            arrivals.send(Arrival::Opened).await;
            Exchange::new(socket, target.ping, &mut outgoing, &mut arrivals).run().await
        }
        Ok(Err(failed)) => failed,
        Err(_) => Some(Closed::Unreachable(format!("no connection within {CONNECT_TIMEOUT:?}"))),
    };
    if let Some(closed) = closed {
        tracing::debug!(?closed, "the provider's socket is gone");
        arrivals.send(Arrival::Closed(closed)).await;
    }
}

/// Waits until the session wants no connection any more; why, unless it is gone itself.
async fn given_up(outgoing: &mut OutgoingReceiver) -> Option<Closed> {
    loop {
        match outgoing.next_urgent().await {
            SocketOrder::Gone => return None,
            SocketOrder::Stuck => return Some(exchange::stuck()),
            SocketOrder::Send(_) | SocketOrder::Watch(_) | SocketOrder::Close => {}
        }
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
    // Audio is many small messages: without TCP_NODELAY each would wait for the last one's acknowledgement.
    match connect_async_with_config(request, Some(settings()), true).await {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(response)) => {
            let body = response.body().as_deref().unwrap_or_default();
            let body = String::from_utf8_lossy(&body[..body.len().min(MAX_REFUSAL_BODY)]).into_owned();
            Err(Closed::Refused { status: response.status().as_u16(), body })
        }
        Err(error) => Err(Closed::Unreachable(error.to_string())),
    }
}

fn settings() -> WebSocketConfig {
    WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE_BYTES)).max_frame_size(Some(MAX_MESSAGE_BYTES))
}

#[cfg(test)]
mod tests;
