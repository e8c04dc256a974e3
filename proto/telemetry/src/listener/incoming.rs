//! A listener's connections, those above its bounds closed at once: a load balancer then knows, and the peers that are there
//! keep their places. Nobody is kept waiting in the system's queue, where no health check would be answered either.
//!
//! When the process can open no further file, accepting pauses; what is refused and what fails is counted.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    time::{Sleep, sleep},
};
use tokio_stream::Stream;
use tonic::transport::server::TcpIncoming;

use super::{
    Bounds, Connection, open_files,
    places::{Full, Places},
};

/// Pause after accepting has failed: without it the failure would be had again at once, and take a core.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Connections accepted within the bounds.
#[derive(Debug)]
pub struct Incoming {
    listener: TcpIncoming,
    name: &'static str,
    bounds: Bounds,
    places: Arc<Places>,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Incoming {
    /// `name` is the label of what is counted.
    #[must_use]
    pub fn new(listener: TcpListener, name: &'static str, bounds: Bounds) -> Self {
        open_files::allow(bounds.connections);
        // Small answers, requests and events must not wait for acknowledgements.
        let listener = TcpIncoming::from(listener).with_nodelay(Some(true)).with_keepalive(Some(bounds.probe));
        Self { listener, name, bounds, places: Places::new(&bounds), pause: None }
    }
}

impl Stream for Incoming {
    type Item = io::Result<Connection<TcpStream>>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(pause) = &mut self.pause {
                ready!(pause.as_mut().poll(cx));
                self.pause = None;
            }
            let Some(accepted) = ready!(Pin::new(&mut self.listener).poll_next(cx)) else { return Poll::Ready(None) };
            // A peer that has gone already has no address.
            let accepted = accepted.map(|stream| (stream.peer_addr(), stream));
            let (address, stream) = match accepted {
                Ok((Ok(address), stream)) => (address, stream),
                Ok((Err(_), _)) => continue,
                Err(error) if is_of_the_peer(&error) => continue,
                Err(error) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "accepting connections pauses");
                    count(self.name, "accept");
                    self.pause = Some(Box::pin(sleep(ACCEPT_PAUSE)));
                    continue;
                }
            };
            match self.places.take(address.ip()) {
                Ok(place) => {
                    let connection = Connection::new(stream, self.name, &self.bounds, Some(place));
                    return Poll::Ready(Some(Ok(connection)));
                }
                Err(Full::All) => count(self.name, "all"),
                Err(Full::Address) => count(self.name, "address"),
            }
        }
    }
}

/// Errors of `accept` that are one connection's, not the listener's.
fn is_of_the_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// Which bound ended or prevented a connection.
pub(super) fn count(listener: &'static str, bound: &'static str) {
    metrics::counter!("voicebridge_connections_refused_total", "listener" => listener, "bound" => bound).increment(1);
}
