//! Moves messages between an open socket and the two queues, and watches whether the socket is alive.
//!
//! Sending and receiving do not wait for each other: what comes is read while a message is stuck on its way out, and what
//! the session says about the connection is heard meanwhile. Reading stops while the session has no room; for that long
//! neither silence nor a stuck message is held against the provider, for it is us who are slow.

use std::{future::poll_fn, task::Poll, time::Duration};

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, sleep_until, timeout},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message, Utf8Bytes,
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};
use voicebridge_session::provider::PingPolicy;

use super::{Arrival, Arrivals, Closed, MAX_PIECE_BYTES, OutgoingReceiver, SocketOrder};
use crate::provider::liveness::{Liveness, SocketDue};

/// One message must be on its way within this time.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for the closing handshake.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// See the module.
pub(super) struct Exchange<'a, S> {
    socket: WebSocketStream<S>,
    outgoing: &'a mut OutgoingReceiver,
    arrivals: &'a mut Arrivals,
    liveness: Liveness,
    /// A message is on its way out; until when it must be.
    send_by: Option<Instant>,
    /// Read, and waits for room. Nothing more is read meanwhile.
    held: Option<Arrival>,
}

/// How an exchange ends.
enum ExchangeEnd {
    /// The session is through: close politely.
    SessionDone,
    Closed(Closed),
}

/// What the socket did.
enum Io {
    Sent(Result<(), Error>),
    Received(Option<Result<Message, Error>>),
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Exchange<'a, S> {
    pub(super) fn new(
        socket: WebSocketStream<S>,
        ping: Option<PingPolicy>,
        outgoing: &'a mut OutgoingReceiver,
        arrivals: &'a mut Arrivals,
    ) -> Self {
        let now = Instant::now();
        let mut liveness = Liveness::new(now, ping);
        liveness.watch(now, outgoing.watch());
        Self { socket, outgoing, arrivals, liveness, send_by: None, held: None }
    }

    /// Until either side closes; `None` when it was the session.
    pub(super) async fn run(mut self) -> Option<Closed> {
        loop {
            match self.step().await {
                Ok(()) => {}
                Err(ExchangeEnd::SessionDone) => {
                    send_close(&mut self.socket).await;
                    return None;
                }
                Err(ExchangeEnd::Closed(closed)) => return Some(closed),
            }
        }
    }

    /// Waits for one thing to happen.
    async fn step(&mut self) -> Result<(), ExchangeEnd> {
        let (sends, reads) = (self.send_by.is_some(), self.held.is_none());
        let deadline = [self.liveness.deadline(), self.send_by.filter(|_| reads)].into_iter().flatten().min();
        let held = self.held.as_ref().map_or(0, |held| held.piece_size(MAX_PIECE_BYTES));
        let socket = &mut self.socket;
        let outgoing = &mut self.outgoing;
        tokio::select! {
            io = poll_fn(|context| {
                if sends && let Poll::Ready(sent) = socket.poll_flush_unpin(context) {
                    return Poll::Ready(Io::Sent(sent));
                }
                if reads && let Poll::Ready(message) = socket.poll_next_unpin(context) {
                    return Poll::Ready(Io::Received(message));
                }
                Poll::Pending
            }) => match io {
                Io::Sent(sent) => {
                    self.send_by = None;
                    sent.map_err(broken)
                }
                Io::Received(message) => self.received(message),
            },
            next = async { if sends { outgoing.next_urgent().await } else { outgoing.next().await } } => self.next(next),
            () = self.arrivals.queue.room(held), if !reads => {
                self.go_on_reading();
                Ok(())
            }
            () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => self.due(),
        }
    }

    fn received(&mut self, message: Option<Result<Message, Error>>) -> Result<(), ExchangeEnd> {
        self.liveness.heard(Instant::now());
        let message = match message {
            Some(Ok(Message::Close(frame))) => return Err(ExchangeEnd::Closed(closed_by(frame.as_ref()))),
            Some(Ok(message)) => message,
            Some(Err(error)) => return Err(broken(error)),
            None => return Err(ExchangeEnd::Closed(Closed::broken("the connection ended"))),
        };
        if let Some(arrival) = self.arrivals.read(message)
            && let Err(rest) = self.arrivals.try_send(arrival)
        {
            self.held = Some(rest);
            self.liveness.stop_reading();
        }
        Ok(())
    }

    /// There is room again, or nobody takes anything any more, which the other queue tells.
    fn go_on_reading(&mut self) {
        let now = Instant::now();
        if let Some(arrival) = self.held.take()
            && let Err(rest) = self.arrivals.try_send(arrival)
            && !self.arrivals.queue.is_abandoned()
        {
            self.held = Some(rest);
            return;
        }
        self.liveness.go_on_reading(now);
        self.send_by = self.send_by.map(|_| now + SEND_TIMEOUT);
    }

    fn next(&mut self, next: SocketOrder) -> Result<(), ExchangeEnd> {
        match next {
            SocketOrder::Send(message) => self.send(message),
            SocketOrder::Watch(watch) => {
                self.liveness.watch(Instant::now(), watch);
                Ok(())
            }
            SocketOrder::Close | SocketOrder::Gone => Err(ExchangeEnd::SessionDone),
            SocketOrder::Stuck => Err(ExchangeEnd::Closed(stuck())),
        }
    }

    fn send(&mut self, message: Message) -> Result<(), ExchangeEnd> {
        self.send_by = Some(Instant::now() + SEND_TIMEOUT);
        self.socket.start_send_unpin(message).map_err(broken)
    }

    fn due(&mut self) -> Result<(), ExchangeEnd> {
        let now = Instant::now();
        if self.held.is_none() && self.send_by.is_some_and(|by| by <= now) {
            return Err(ExchangeEnd::Closed(Closed::broken("the provider takes nothing any more")));
        }
        match self.liveness.due(now) {
            Some(SocketDue::Dead(silence)) => {
                let silence = silence.as_millis();
                Err(ExchangeEnd::Closed(Closed::broken(format!(
                    "no sign of life for {silence} ms, and no answer to pings"
                ))))
            }
            // A message that is stuck asks for a sign of life as well as a ping behind it would.
            Some(SocketDue::Ping) if self.send_by.is_none() => self.send(Message::Ping(Default::default())),
            Some(SocketDue::Ping) | None => Ok(()),
        }
    }
}

/// Too much waits for the socket.
pub(super) fn stuck() -> Closed {
    Closed::broken("the provider does not read what it is sent")
}

fn broken(error: Error) -> ExchangeEnd {
    ExchangeEnd::Closed(Closed::broken(error))
}

fn closed_by(frame: Option<&CloseFrame>) -> Closed {
    // Without a code: 1005 (RFC 6455, section 7.1.5).
    frame.map_or_else(
        || Closed::Closed { code: 1005, reason: String::new() },
        |frame| Closed::Closed { code: frame.code.into(), reason: frame.reason.to_string() },
    )
}

async fn send_close<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut WebSocketStream<S>) {
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
