//! An answer that lasts no longer than the right to it: a stream of events whose key was revoked, or whose read token has
//! expired, breaks off. Whoever connects again learns the reason.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use axum::body::{Body, Bytes, HttpBody};
use http_body::{Frame, SizeHint};

/// Why a body broke off; for the server's log only.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the key was revoked or has expired")]
struct Over;

/// A body until a future is done.
pub(super) struct RevocableBody<F> {
    body: Body,
    /// Gone once it is done.
    end: Option<Pin<Box<F>>>,
}

impl<F: Future<Output = ()> + Send + 'static> RevocableBody<F> {
    /// As a body again.
    pub(super) fn body(body: Body, end: F) -> Body {
        Body::new(Self { body, end: Some(Box::pin(end)) })
    }
}

impl<F: Future<Output = ()>> HttpBody for RevocableBody<F> {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::BoxError>>> {
        let Some(end) = &mut self.end else { return Poll::Ready(None) };
        if end.as_mut().poll(context).is_ready() {
            self.end = None;
            return Poll::Ready(Some(Err(Over.into())));
        }
        Pin::new(&mut self.body).poll_frame(context).map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
