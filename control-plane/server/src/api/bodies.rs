//! What all requests together may have sent of their bodies and not yet got an answer to: each is bounded by itself, and so is
//! the number of connections, but not their product.
//!
//! Flow: every piece of a body is counted when it comes, for as long as its request is worked on. One that does not fit ends
//! its request with TOO_MANY_BODIES; nothing waits for room, for those who have it may be waiting for the rest of theirs.
//!
//! Does not look at streams of requests, whose messages are dealt with one by one.

use std::{
    error::Error,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use http_body::{Frame, SizeHint};

use super::body;
use crate::body::NoRoom;

/// Room for bodies.
#[derive(Debug)]
pub(super) struct Room(AtomicUsize);

/// What one request has of it; given back when it is dropped.
#[derive(Debug)]
struct Held {
    room: Arc<Room>,
    bytes: AtomicUsize,
}

impl Room {
    pub(super) fn new(bytes: usize) -> Arc<Self> {
        Arc::new(Self(AtomicUsize::new(bytes)))
    }

    fn hold(self: &Arc<Self>) -> Arc<Held> {
        Arc::new(Held { room: Arc::clone(self), bytes: AtomicUsize::new(0) })
    }
}

impl Held {
    fn takes(&self, bytes: usize) -> bool {
        let taken =
            self.room.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(bytes)).is_ok();
        if taken {
            self.bytes.fetch_add(bytes, Ordering::AcqRel);
        }
        taken
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.room.0.fetch_add(*self.bytes.get_mut(), Ordering::AcqRel);
    }
}

/// A body whose pieces are counted.
struct Counted {
    body: Body,
    held: Arc<Held>,
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        polled.map(|frame| {
            frame.map(|frame| match frame {
                Ok(frame) if !frame.data_ref().is_none_or(|data| self.held.takes(data.len())) => {
                    Err(NoRoom::new().into())
                }
                frame => frame.map_err(Into::into),
            })
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// For every route that lets somebody in.
pub(super) async fn counted(State(room): State<Arc<Room>>, request: Request, next: Next) -> Response {
    if request.body().is_end_stream() || body::is_stream_of_requests(request.uri().path()) {
        return next.run(request).await;
    }
    // Until the answer is there: the handler works on what came.
    let held = room.hold();
    let counted = Arc::clone(&held);
    let response = next.run(request.map(|body| Body::new(Counted { body, held: counted }))).await;
    drop(held);
    response
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[tokio::test]
    async fn what_does_not_fit_is_refused_and_room_is_given_back() {
        let room = Room::new(10);
        let read = async |held: &Arc<Held>, text: &'static str| {
            let counted = Counted { body: Body::from(text), held: Arc::clone(held) };
            crate::body::read_body(Body::new(counted), 100).await
        };
        let (first, second) = (room.hold(), room.hold());
        assert_eq!(read(&first, "123456").await.unwrap().len(), 6);
        let fault = read(&second, "12345").await.unwrap_err();
        assert_eq!(fault.reason(), "TOO_MANY_BODIES");
        assert_eq!(read(&second, "1234").await.unwrap().len(), 4);
        drop(first);
        assert_eq!(read(&second, "12345").await.unwrap().len(), 5);
        drop(second);
        assert_eq!(room.0.load(Ordering::Acquire), 10);
    }
}
