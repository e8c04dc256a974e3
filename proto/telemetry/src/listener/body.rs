//! A deadline for the body of a request. Without one, whoever announces a body and sends nothing keeps a connection, and what
//! waits for the body, for ever.

use std::{
    error::Error,
    fmt,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::Status;

type BoxError = Box<dyn Error + Send + Sync>;

/// What the deadline holds for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// The whole body.
    Whole(Duration),
    /// Each piece anew: the body is a stream that goes on as long as its sender says something.
    Each(Duration),
}

/// The deadline has passed. Over gRPC it is DEADLINE_EXCEEDED.
#[derive(Debug)]
pub struct Late {
    status: Status,
}

impl fmt::Display for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.status.message())
    }
}

impl Error for Late {
    // Where tonic looks for the status to answer with.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.status)
    }
}

impl Late {
    /// The deadline among what caused an error, if it was that.
    #[must_use]
    pub fn find<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(late) = error.downcast_ref() {
                return Some(late);
            }
            next = error.source();
        }
        None
    }
}

/// As `B`, in time.
#[derive(Debug)]
pub struct Timely<B> {
    body: Pin<Box<B>>,
    pace: Pace,
    deadline: Pin<Box<Sleep>>,
    over: bool,
}

impl<B> Timely<B> {
    /// The clock runs from now.
    #[must_use]
    pub fn new(body: B, pace: Pace) -> Self {
        let (Pace::Whole(limit) | Pace::Each(limit)) = pace;
        Self { body: Box::pin(body), pace, deadline: Box::pin(sleep_until(Instant::now() + limit)), over: false }
    }
}

impl<B> Body for Timely<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, BoxError>>> {
        if self.over {
            return Poll::Ready(None);
        }
        if let Poll::Ready(frame) = self.body.as_mut().poll_frame(cx) {
            if let Pace::Each(limit) = self.pace {
                self.deadline.as_mut().reset(Instant::now() + limit);
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        if self.deadline.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.over = true;
        let text = match self.pace {
            Pace::Whole(limit) => format!("the request's body must arrive within {} s", limit.as_secs_f32()),
            Pace::Each(limit) => format!("a stream of messages must go on within {} s", limit.as_secs_f32()),
        };
        Poll::Ready(Some(Err(Box::new(Late { status: Status::deadline_exceeded(text) }))))
    }

    fn is_end_stream(&self) -> bool {
        self.over || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
