//! A connection that can be cut exactly: after the bytes meant to arrive have gone, and before any other.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use axum::serve::{IncomingStream, Listener};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::oneshot,
};

/// How long the far end may take to close a connection that was cut.
const LINGER: Duration = Duration::from_secs(5);

/// The handle of a connection.
#[derive(Clone, Debug)]
pub(super) struct Link(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    /// None once cut.
    stream: Option<TcpStream>,
    watch: Option<Watch>,
    reader: Option<Waker>,
}

/// Bytes whose way into the socket somebody waits for.
#[derive(Debug)]
struct Watch {
    awaited: Vec<u8>,
    written: Vec<u8>,
    done: oneshot::Sender<()>,
}

impl Link {
    fn new(stream: TcpStream) -> Self {
        Self(Arc::new(Mutex::new(State { stream: Some(stream), watch: None, reader: None })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Resolves once these bytes, in one piece, have been taken by the socket from now on.
    pub(super) fn written(&self, bytes: &[u8]) -> oneshot::Receiver<()> {
        let (done, written) = oneshot::channel();
        self.state().watch = Some(Watch { awaited: bytes.to_vec(), written: Vec::new(), done });
        written
    }

    /// Cuts the connection: what was written arrives, then comes its end, out of any order of the protocols above.
    pub(super) fn cut(&self) {
        let mut state = self.state();
        let Some(mut stream) = state.stream.take() else { return };
        if let Some(reader) = state.reader.take() {
            reader.wake();
        }
        drop(state);
        tokio::spawn(async move {
            let _ = stream.shutdown().await;
            // Closing with something unread would reset the connection, and what was written might not arrive.
            let drained = async { while stream.read(&mut [0; 1_024]).await.is_ok_and(|read| read > 0) {} };
            let _ = tokio::time::timeout(LINGER, drained).await;
        });
    }
}

impl State {
    fn note(&mut self, bytes: &[u8]) {
        let Some(watch) = &mut self.watch else { return };
        watch.written.extend_from_slice(bytes);
        let arrived = watch.written.windows(watch.awaited.len()).any(|window| window == watch.awaited);
        if arrived && let Some(watch) = self.watch.take() {
            let _ = watch.done.send(());
        }
    }
}

/// The connection itself, for the HTTP server.
#[derive(Debug)]
pub(super) struct Connection(Link);

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut state = self.0.state();
        state.reader = Some(cx.waker().clone());
        match &mut state.stream {
            Some(stream) => Pin::new(stream).poll_read(cx, buf),
            None => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.0.state();
        let Some(stream) = &mut state.stream else { return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())) };
        let taken = ready!(Pin::new(stream).poll_write(cx, buf))?;
        state.note(&buf[..taken]);
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0.state().stream {
            Some(stream) => Pin::new(stream).poll_flush(cx),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0.state().stream {
            Some(stream) => Pin::new(stream).poll_shutdown(cx),
            None => Poll::Ready(Ok(())),
        }
    }
}

/// Accepts connections that can be cut.
#[derive(Debug)]
pub(super) struct Links(pub(super) TcpListener);

impl Listener for Links {
    type Io = Connection;
    type Addr = Link;

    async fn accept(&mut self) -> (Connection, Link) {
        let (stream, _) = Listener::accept(&mut self.0).await;
        // Frames are small and each is waited for.
        let _ = stream.set_nodelay(true);
        let link = Link::new(stream);
        (Connection(link.clone()), link)
    }

    fn local_addr(&self) -> io::Result<Link> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl axum::extract::connect_info::Connected<IncomingStream<'_, Links>> for Link {
    fn connect_info(stream: IncomingStream<'_, Links>) -> Self {
        stream.remote_addr().clone()
    }
}
