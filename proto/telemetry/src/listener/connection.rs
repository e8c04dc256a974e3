//! One accepted connection: ended when it does not say which HTTP it speaks, and when it takes nothing of what it is sent.
//!
//! Neither is looked after by hyper: before the first bytes it has no clock running, and it writes as long as TCP lives.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};
use tonic::transport::server::Connected;

use super::{Bounds, incoming::count, places::Place};

/// How HTTP/2 begins (RFC 9113, section 3.4). What is as long and no such preface is the head of an HTTP/1.1 request, for
/// which hyper has a deadline.
const PREFACE_BYTES: usize = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len();

/// As `IO`, within the bounds.
#[derive(Debug)]
pub struct Connection<IO> {
    io: IO,
    listener: &'static str,
    /// Runs until the preface has come.
    opening: Option<Pin<Box<Sleep>>>,
    received: usize,
    /// Runs while something waits to be taken.
    stalled: Option<Pin<Box<Sleep>>>,
    stalled_after: Duration,
    _place: Option<Place>,
}

impl<IO> Connection<IO> {
    pub(super) fn new(io: IO, listener: &'static str, bounds: &Bounds, place: Option<Place>) -> Self {
        Self {
            io,
            listener,
            opening: Some(Box::pin(sleep(bounds.opening))),
            received: 0,
            stalled: None,
            stalled_after: bounds.stalled,
            _place: place,
        }
    }

    fn over(&self, bound: &'static str, what: &'static str) -> io::Error {
        count(self.listener, bound);
        io::Error::new(io::ErrorKind::TimedOut, what)
    }

    /// What became of a write: while it waits, the clock runs.
    fn after_write(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let stalled_after = self.stalled_after;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(stalled_after)));
        match stalled.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(self.over("stalled", "the peer takes nothing of what it is sent"))),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Connection<IO> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        if self.opening.is_some() {
            self.received += buf.filled().len() - before;
            if self.received >= PREFACE_BYTES {
                self.opening = None;
            }
        }
        if read.is_pending()
            && let Some(opening) = &mut self.opening
            && opening.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Err(self.over("opening", "the peer does not say which HTTP it speaks")));
        }
        read
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Connection<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        self.after_write(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.after_write(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

impl<IO: Connected> Connected for Connection<IO> {
    type ConnectInfo = IO::ConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.io.connect_info()
    }
}
